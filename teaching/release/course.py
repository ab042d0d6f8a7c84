"""All files of one class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from teaching._book import dump
from teaching.release.documents import nbgrader_config, rubric, rubrics_page
from teaching.release.errors import AssignmentError
from teaching.release.execution import Kernel, require_full_marks
from teaching.release.master import read_master
from teaching.release.versions import solutions_for_students, student_version, without_notes


def release(source: Path, target: Path, seed: int, execute: bool = True) -> list[str]:
    """Write all sets found in `source` for this seed into `target`; return their names.

    Notebooks of an earlier release in `target` are replaced. With execute=False the executed
    notebooks and the expected values are left out. Raises AssignmentError.
    """
    paths = sorted(source.glob("ps*.md"))
    if not paths:
        raise AssignmentError(f"There is no problem set ps*.md in {source}.")
    masters = {path.stem: read_master(path, seed) for path in paths}
    executed: dict[str, NotebookNode] = {}
    values: dict[str, Any] = {}
    if execute:
        for name, notebook in masters.items():
            executed[name], values[name] = run_solutions(name, notebook)
    _remove_old_notebooks(target)
    student = target / "student"
    instructor = target / "instructor"
    course = instructor / "nbgrader"
    for name, notebook in masters.items():
        stripped = dump(student_version(notebook))
        full = dump(without_notes(notebook))
        _write(student / f"{name}.ipynb", stripped)
        _write(instructor / f"{name}.ipynb", full)
        _write(course / "source" / name / f"{name}.ipynb", full)
    for name, notebook in executed.items():
        _write(instructor / f"{name}_solutions.ipynb", dump(notebook))
        for_students = dump(solutions_for_students(notebook))
        _write(target / "solutions" / f"{name}_solutions.ipynb", for_students)
    head = f"Model answers and rubrics for the class with seed {seed}. Not for students.\n\n"
    rubrics = [rubric(notebook) for notebook in masters.values()]
    _write(instructor / "rubrics.md", head + "\n".join(rubrics))
    _write(instructor / "rubrics.html", rubrics_page(head.strip(), rubrics))
    _write(course / "nbgrader_config.py", nbgrader_config(seed))
    if execute:
        _write(instructor / "expected_values.json", json.dumps(values, indent=1) + "\n")
    return list(masters)


def run_solutions(name: str, notebook: NotebookNode) -> tuple[NotebookNode, dict[str, Any]]:
    """Return the executed master and its named answers; AssignmentError without full marks."""
    with Kernel() as kernel:
        try:
            executed, values = kernel.run(notebook)
        except (CellTimeoutError, DeadKernelError) as error:
            message = f"{name}: the solutions do not run to the end.\n{error}"
            raise AssignmentError(message) from None
    require_full_marks(executed)
    return executed, values


def _remove_old_notebooks(target: Path) -> None:
    for folder in (target / "student", target / "solutions", target / "instructor"):
        for old in folder.glob("ps*.ipynb"):  # nothing else: submissions may lie here
            old.unlink()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
