"""The notebooks that are made from the instructor's one."""

from __future__ import annotations

import copy
import re

from nbformat import NotebookNode
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
)

from teaching._book import name_cells
from teaching.cells import is_by_hand, without_hidden_tests
from teaching.release.master import preprocess
from teaching.release.rules import grading

_RUBRIC = re.compile(r"\n*\*\*Rubric\.\*\*.*", re.DOTALL)
_REGION_MARK = re.compile(r"^ *### (BEGIN|END) SOLUTION\n?", re.MULTILINE)


def without_notes(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook without what authors note at its cells: answers and likely mistakes."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        cell.metadata.pop("ntp_lite", None)
    return notebook


def student_version(notebook: NotebookNode) -> NotebookNode:
    """Return the master without solutions, hidden tests, rubrics and the names of answers."""
    notebook = preprocess(without_notes(notebook), ClearSolutions, ClearHiddenTests, ClearOutput)
    name_cells(notebook.cells)
    return preprocess(notebook, LockCells, ComputeChecksums, CheckCellMetadata)


def solutions_for_students(executed: NotebookNode) -> NotebookNode:
    """Return the executed master as a class may read it: no hidden tests, no rubrics.

    Model answers and the output of every cell stay.
    """
    notebook = without_notes(executed)
    for cell in notebook.cells:
        cell.source = without_hidden_tests(cell.source).rstrip()
        cell.source = _REGION_MARK.sub("", cell.source)
        if is_by_hand(grading(cell)):
            cell.source = _RUBRIC.sub("", cell.source)
        cell.metadata.pop("nbgrader", None)  # it is read, and not handed in
        cell.metadata.pop("deletable", None)
        cell.metadata.pop("editable", None)
    name_cells(notebook.cells)
    return notebook
