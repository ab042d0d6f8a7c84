"""Before a class is graded: does the grader give the right marks here?

The master must earn full marks, an untouched notebook nothing, and a notebook whose answers are all
empty arrays nothing, in the same sandbox and under the same limits as the class. Otherwise the
environment or the problem set is broken, and no mark would be worth anything.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from teaching.cells import without_solution
from teaching.grader.errors import BadInputError
from teaching.grader.notebook import Cell, Notebook
from teaching.grader.records import Record

_EXPECTED_SHARE = {"the model solution": 1.0, "an untouched notebook": 0.0, "empty answers": 0.0}


def write_self_checks(master: Notebook, folder: Path) -> dict[str, Path]:
    """Write the three notebooks into a folder; return their paths by what they are."""
    versions: dict[str, Callable[[str], str]] = {
        "the model solution": str,
        "an untouched notebook": without_solution,
        "empty answers": empty_answer,
    }
    paths = {}
    for number, (name, change) in enumerate(versions.items()):
        cells = [
            replace(cell, source=change(cell.source)) if _is_coded_answer(cell) else cell
            for cell in master.cells
        ]
        paths[name] = folder / f"{number}.ipynb"
        paths[name].write_text(json.dumps(_as_json(replace(master, cells=cells))))
    return paths


def _is_coded_answer(cell: Cell) -> bool:
    return bool(cell.grading.get("solution")) and cell.kind == "code"


def empty_answer(source: str) -> str:
    """Return an answer whose functions return, and whose names are, arrays without an entry."""
    lines = ["import numpy as np"]
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            lines.append(f"def {node.name}(*arguments, **options): return np.zeros(0)")
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            lines += [f"{name} = np.zeros(0)" for name in names]
    return "\n".join(lines)


def _as_json(notebook: Notebook) -> dict[str, Any]:
    cells = [
        {"cell_type": c.kind, "source": c.source, "metadata": {"nbgrader": c.grading}}
        for c in notebook.cells
    ]
    identity = {"assignment": notebook.assignment, "seed": notebook.seed}
    return {"cells": cells, "metadata": {"ntp_lite": identity}, "nbformat": 4, "nbformat_minor": 5}


def require_right_marks(records: list[Record]) -> None:
    """Raise BadInputError, naming the first test, where one of the three has a wrong mark."""
    for record in records:
        expected = _EXPECTED_SHARE[record.name] * record.most
        if not record.refused and record.points == expected:
            continue
        problem = record.refused or _first_surprise(record, full_marks=expected > 0)
        raise BadInputError(
            f"nothing is graded, because the grader gives wrong marks here: {record.name} earns "
            f"{record.points:g} of {record.most:g} points from the tests, not {expected:g} "
            f"({problem:.300})"
        )


def _first_surprise(record: Record, full_marks: bool) -> str:
    for part in record.parts:
        if full_marks and part.message:
            return f"{part.id}: {' '.join(part.message.split())}"
        if not full_marks and part.points:
            return f"{part.id} gives {part.points:g} points"
    return "no message"
