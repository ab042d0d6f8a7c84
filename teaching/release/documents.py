"""What an instructor gets besides notebooks: rubrics, and an nbgrader course's configuration."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from nbformat import NotebookNode

from teaching.cells import CODE_STUB, TEXT_STUB, is_by_hand
from teaching.markup import markdown_to_html
from teaching.mathml import STYLE
from teaching.release.rules import HEADING, grading

_TEMPLATES = Path(__file__).parent / "templates"


def rubric(notebook: NotebookNode) -> str:
    """Return the hand-graded questions of a master as Markdown: text, model answer, rubric."""
    parts = [f"# {notebook.metadata.ntp_lite.assignment}"]
    text = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and HEADING.search(cell.source):
            text = cell.source
        if is_by_hand(grading(cell)):
            metadata = grading(cell)
            parts += [text, f"### {metadata['grade_id']}: {metadata['points']} points", cell.source]
            text = ""
    return "\n\n".join(part for part in parts if part) + "\n"


def rubrics_page(title: str, rubrics: list[str]) -> str:
    """Return all rubrics as one page to read or to print."""
    loader = FileSystemLoader(_TEMPLATES)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    texts = [markdown_to_html(text, keep_lines=False) for text in rubrics]
    page = environment.get_template("rubrics.html.j2")
    return page.render(title=title, texts=texts, formulas=STYLE)


def nbgrader_config(seed: int) -> str:
    """Return the configuration of the nbgrader course."""
    return f'''"""An nbgrader course with the problem sets of this class: FOR TRUSTED CLASSES ONLY.

nbgrader runs answers and tests in one process: one line in an answer can give full marks to
everything. Its feedback pages run the markup that students write into derivations.

    nbgrader generate_assignment ps1 --force   # writes release/ and the data base
    nbgrader autograde ps1                     # after submitted/STUDENT/ps1/ps1.ipynb were put here
    nbgrader formgrader                        # hand grading
    nbgrader generate_feedback ps1

The environment must be activated, because nbgrader calls its parts by name.
"""

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "ntp_{seed}"
c.ClearSolutions.code_stub = {{"python": {CODE_STUB!r}}}
c.ClearSolutions.text_stub = {TEXT_STUB!r}
c.ExecutePreprocessor.timeout = 120
# Feedback pages would show hidden tests.
c.GenerateFeedback.preprocessors = [
    "nbgrader.preprocessors.GetGrades",
    "nbgrader.preprocessors.ClearHiddenTests",
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]
'''
