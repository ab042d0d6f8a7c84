"""A tiny problem set, and how to grade it: shared by the tests of the grader."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from teaching.grader.errors import BadInputError
from teaching.grader.sandbox import open_sandbox

ROOT = Path(__file__).resolve().parents[2]

try:
    SANDBOX = open_sandbox([ROOT], [])
    REASON = SANDBOX.description
except BadInputError as broken:
    SANDBOX = None
    REASON = str(broken)
NO_BWRAP = SANDBOX is None or not SANDBOX.is_closed
OPTIONS = ["--no-sandbox"] if NO_BWRAP else []
needs_bwrap = pytest.mark.skipif(NO_BWRAP, reason=REASON)

GIVEN = """\
import numpy as np
COHORT = 2027
x = np.random.default_rng(COHORT).random(5)
def double(v):
    return 2 * v
"""
SQUARE = """\
def mean_square(v):
    return float((np.asarray(v) ** 2).mean())
"""
SQUARE_TEST = """\
assert abs(mean_square(x) - np.mean(x * x)) < 1e-12, "mean_square(x) is not the mean of squares."
assert np.allclose(mean_square([1, 2]), 2.5), f"mean_square([1, 2]) is {mean_square([1, 2])}."
### BEGIN HIDDEN TESTS
HIDDEN_CANARY = np.arange(7) * COHORT
assert mean_square(HIDDEN_CANARY) == np.mean(HIDDEN_CANARY**2), f"Wrong for {COHORT} numbers."
### END HIDDEN TESTS
"""
TOTAL = "total = float(x.sum())"
TOTAL_TEST = "assert abs(total - x.sum()) < 1e-12, 'total is not the sum of x.'"
MAPPED = """\
def mapped(f, v):
    return [f(item) for item in v]
"""
MAPPED_TEST = """\
calls = []
assert mapped(lambda n: calls.append(n) or n + 1, (1, 2)) == [2, 3] and calls == [1, 2]
assert mapped(double, [3]) == [6]
"""


def code(name: str, source: str, **marks) -> nbformat.NotebookNode:
    marks = {"grade": False, "solution": False, "locked": True, "schema_version": 3} | marks
    return nbformat.v4.new_code_cell(source, metadata={"nbgrader": {"grade_id": name} | marks})


def tiny_master() -> nbformat.NotebookNode:
    answer, test = {"solution": True, "locked": False}, {"grade": True}
    proof = {"grade_id": "q3-proof", "grade": True, "solution": True, "points": 15}
    heading = "## Question 1. Mean squares\n\nWrite `mean_square`."
    cells = [
        code("given", GIVEN),
        nbformat.v4.new_markdown_cell(heading, metadata={"nbgrader": {"grade_id": "q1-text"}}),
        code("q1-code", SQUARE + "# KEEP-SOLUTION-SECRET", **answer),
        code("q1-test", SQUARE_TEST, points=10, **test),
        code("q2-code", TOTAL, **answer),
        code("q2-test", TOTAL_TEST, points=20, **test),
        nbformat.v4.new_markdown_cell("KEEP-SOLUTION-SECRET", metadata={"nbgrader": proof}),
        code("q4-code", MAPPED, **answer),
        code("q4-test", MAPPED_TEST, points=5, **test),
    ]
    mark = {"ntp_lite": {"assignment": "ps9", "seed": 2027}}
    return nbformat.v4.new_notebook(cells=cells, metadata=mark)


def submission(**answers: str) -> nbformat.NotebookNode:
    """A student's notebook: right answers without the master's secrets, except those given."""
    notebook = tiny_master()
    for cell in notebook.cells:
        name = cell.metadata.nbgrader.grade_id
        cell.source = cell.source.split("### BEGIN HIDDEN")[0].replace("KEEP-SOLUTION-SECRET", "")
        cell.source = answers.get(name.replace("-code", ""), cell.source)
    return notebook


WRONG = "def mean_square(v):\n    return 0.0\n"


def command(folder: Path, out: Path, *options: str) -> list[str]:
    """The grader's command line; it must run in the repository's root."""
    words = [sys.executable, "-m", "teaching.grader", str(folder), "--out", str(out)]
    if "--master" not in options:
        words += ["--master", str(folder.parent / "master.ipynb")]
    return [*words, *options]


def run(folder: Path, out: Path, *options: str, path: str | None = None):
    """Run the command as an instructor would."""
    extra = {"GRADER_SECRET": "the password", "PATH": path or os.environ["PATH"]}
    words = command(folder, out, *options)
    return subprocess.run(words, capture_output=True, text=True, env=os.environ | extra, cwd=ROOT)


def results(out: Path) -> dict[str, dict]:
    """The points and messages of each submission, by its name."""
    found = {}
    for file in (out / "records").glob("*.json"):
        record = json.loads(file.read_text())
        parts = {part["id"]: part for part in record["parts"]}
        record["said"] = {name: part["message"] for name, part in parts.items()}
        record["marks"] = tuple(parts[f"q{n}-test"]["points"] for n in (1, 2, 4))
        found[record["name"]] = record
    return found


def make_folder(place: Path, notebooks: dict[str, nbformat.NotebookNode | str | bytes]) -> Path:
    folder = place / "submissions"
    folder.mkdir(parents=True)
    nbformat.write(tiny_master(), place / "master.ipynb")
    for name, notebook in notebooks.items():
        if isinstance(notebook, nbformat.NotebookNode):
            notebook = json.dumps(notebook)
        data = notebook if isinstance(notebook, bytes) else notebook.encode()
        (folder / f"{name}.ipynb").write_bytes(data)
    return folder


def table(file: Path, key: str = "submission") -> dict[str, dict[str, str]]:
    """The rows of a CSV file by one of their columns."""
    with open(file, encoding="utf-8-sig", newline="") as lines:
        return {row[key]: row for row in csv.DictReader(lines)}
