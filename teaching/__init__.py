"""Teaching with the book: the problem sets, their release for a class, and the grader.

    problem_sets/   the sources: text, solutions, hidden tests, model answers, rubrics
    release/        `python -m teaching.release`: student and instructor notebooks of one class
    grader/         `python -m teaching.grader`: marks a folder of submissions
    inside/         what the sandbox shows of this package: it runs beside a student's code
    cells.py        the kinds of cells, by their nbgrader metadata
    agreement.py    the comparison that every hidden test uses, copied into each notebook
    markup.py     Markdown as HTML, for pages that instructors and students read
    mathml.py     formulas of pages that students are sent
    _book.py        what is taken from the exporter of the chapters

Both commands run from the repository's root, or by `make assignments` and `make grade`.
"""
