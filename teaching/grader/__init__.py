"""Grade a folder of notebooks, one per student.

The master is the instructor's notebook. From a submission come only the answers: the cells that the
master marks `solution: true`, found by their grade_id, and cells of the student's own that define a
name which an answer uses. All else is the master's, in its order. Each submission has two
processes: one runs the master's cells and the tests and is out of its reach; the other, in a
bubblewrap sandbox where there is one, runs the master's given cells and the student's.

    command_line.py  the options, and what happens in which order
    submissions.py   the notebooks of a folder, and names for them
    notebook.py      read a notebook that may hold anything
    master.py        find the instructor's notebook
    plan.py          what to do with each of its cells, and what a submission has for them
    helpers.py       cells of a student's own that an answer needs
    sandbox.py       the sandbox
    memory.py        control groups that limit memory
    student.py       a submission's process, and the watch over it
    marking.py       mark one submission
    explain.py       errors in words
    bounds.py        bounds on the time and memory of what the grader does itself
    batch.py         many submissions side by side
    self_check.py    the master, an untouched and an empty notebook, graded before the class
    records.py       what is kept of one submission
    hand_grades.py   the points that a person gives
    roster.py        names and numbers, and files for Canvas and Moodle
    matching.py      which student a file belongs to
    late.py          points for late submissions
    attempts.py      which of several files of one student counts
    similarity.py    answers that are alike
    tables.py        CSV files
    left_over.py     files of earlier runs, which nobody should be sent
    pages.py         feedback, summary and marking pages, from templates/

What this does not protect against: answers that are copied, looked up in the package or fitted to
the public tests; a submission that reads the inputs with which its functions are called, or that
forges what is measured in its own process (memory); submissions that leave each other words in what
the kernel remembers (cached pages of system files); an attack on the kernel. Without bubblewrap a
submission runs with the rights of whoever grades. Without a control group, memory that belongs to
no process (files in memory) is not counted.
"""
