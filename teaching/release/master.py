"""From the source of a problem set to the instructor's notebook, with the data of one class."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ComputeChecksums, LockCells
from traitlets.config import Config

from teaching import agreement
from teaching._book import Addresses, addresses, chapter_numbers, name_cells, setup_cell
from teaching.cells import CODE_STUB, TEXT_STUB, is_test
from teaching.paths import ROOT
from teaching.release.errors import AssignmentError
from teaching.release.rules import (
    POINTS_TABLE,
    TOTAL_POINTS,
    Question,
    Rules,
    grading,
    question_number,
    questions,
)

# The settings of nbgrader's preprocessors: what stands where a solution stood.
NBGRADER = {"ClearSolutions": {"code_stub": {"python": CODE_STUB}, "text_stub": TEXT_STUB}}
_COHORT = re.compile(r"COHORT = \d+")
# As in the chapters: {numref}`Chapter {number} <ch-max-margin>`.
_CHAPTER = re.compile(r"\{numref\}`([^`<]*)\{number\}([^`<]*)<ch-([a-z-]+)>`")
_LINK = re.compile(r"\[([^\]]+)\]\(\.\./\.\./book/(\w+)\.md(#[\w.-]+)?\)")


def read_master(path: Path, seed: int, config: Path = ROOT / "_config.yml") -> NotebookNode:
    """Return the instructor's notebook of the set in `path`, with the data of this seed.

    Raises AssignmentError where the set breaks the format.
    """
    notebook = jupytext.read(path)
    name = path.stem
    _set_seed(notebook, path.name, seed)
    course = addresses(config)
    numbers = chapter_numbers()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = lead_links_to_the_site(cell.source, course, numbers)
        else:  # no blank line is to stay behind where hidden tests are cut out
            cell.source = re.sub(r"\n+(?=\n### BEGIN HIDDEN TESTS)", "", cell.source)
    notebook.cells.insert(1, setup_cell(course.repository, course.ref))
    notebook.cells.insert(2, comparison_cell())
    _name_given_cells(notebook, name)
    Rules(notebook, name).check()
    for cell in notebook.cells:
        if is_test(grading(cell)):
            what = f"Question {question_number(cell)}, {grading(cell)['points']} points"
            cell.source = f"# Tests of {what}; more tests run at grading.\n\n{cell.source}"
    table = points_table(questions(notebook))
    notebook.cells[0].source = notebook.cells[0].source.replace(POINTS_TABLE, table)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "ntp_lite": {"assignment": name, "seed": seed},
    }
    notebook.nbformat = 4
    notebook.nbformat_minor = 5
    name_cells(notebook.cells)
    return preprocess(notebook, LockCells, ClearOutput, CheckCellMetadata, ComputeChecksums)


def comparison_cell() -> NotebookNode:
    """Return the given cell that defines `agrees`, which the tests use."""
    source = f"import numpy as np\n\n\n{inspect.getsource(agreement.agrees)}".rstrip()
    title = "# @title How the tests compare your answers with what is expected."
    folded = {"jupyter": {"source_hidden": True}, "cellView": "form", "tags": ["hide-input"]}
    return nbformat.v4.new_code_cell(f"{title}\n{source}", metadata=folded)


def lead_links_to_the_site(text: str, course: Addresses, numbers: Mapping[str, str]) -> str:
    """Lead links to pages of the book to the published site; without one, keep their text.

    numbers : the number of each chapter by its page, `{"book/max_margin": "7", ...}`; it stands
        where the text refers to a chapter by its label. Raises AssignmentError for another label.
    """

    def link(label: str, page: str, anchor: str = "") -> str:
        if not course.real:
            return label
        return f"[{label}]({course.site}book/{page}.html{anchor})"

    def numbered(found: re.Match[str]) -> str:
        before, after, name = found.groups()
        page = name.replace("-", "_")
        if f"book/{page}" not in numbers:
            raise AssignmentError(f"no chapter has the label ch-{name}; see _toc.yml")
        return link((before + numbers[f"book/{page}"] + after).strip(), page)

    def titled(found: re.Match[str]) -> str:
        label, page, anchor = found.groups()
        return link(label, page, anchor or "")

    return _LINK.sub(titled, _CHAPTER.sub(numbered, text))


def points_table(found: list[Question]) -> str:
    """Return the table of questions, with the hours that they take together."""
    rows = ["| Question | Points | Graded | Minutes |", "|---|---|---|---|"]
    for q in found:
        how = {0: "by tests", q.points: "by hand"}.get(q.points_by_hand, "by tests and by hand")
        rows.append(f"| {q.number}. {q.title} | {q.points} | {how} | {q.minutes} |")
    minutes = sum(q.minutes for q in found)
    by_hand = sum(q.points_by_hand for q in found)
    graded = f"{TOTAL_POINTS - by_hand} by tests, {by_hand} by hand"
    rows.append(f"| Together | {TOTAL_POINTS} | {graded} | {minutes} |")
    return "\n".join(rows) + f"\n\nPlan about {round(minutes / 30) / 2:g} hours."


def preprocess(notebook: NotebookNode, *steps: type) -> NotebookNode:
    """Return a copy of the notebook after these steps of nbgrader."""
    notebook = copy.deepcopy(notebook)
    resources: dict[str, Any] = {}
    for step in steps:
        notebook, resources = step(config=Config(NBGRADER)).preprocess(notebook, resources)
    return notebook


def _set_seed(notebook: NotebookNode, file_name: str, seed: int) -> None:
    cohort = [cell for cell in notebook.cells if "cohort" in cell.metadata.get("tags", [])]
    if len(cohort) != 1 or not _COHORT.fullmatch(cohort[0].source.strip()):
        raise AssignmentError(
            f"{file_name}: one cell must be tagged cohort and be `COHORT = 2027`."
        )
    cohort[0].source = f"COHORT = {seed}"


def _name_given_cells(notebook: NotebookNode, name: str) -> None:
    for number, cell in enumerate(notebook.cells):
        if not grading(cell):
            cell.metadata["nbgrader"] = {
                "grade_id": f"{name}-text-{number:02}",
                "locked": True,
                "grade": False,
                "solution": False,
                "schema_version": 3,
            }
        cell.metadata["nbgrader"].setdefault("task", False)
