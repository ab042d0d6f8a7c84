"""A class of forty on the tiny set, made as benchmarks/classroom.py makes it of the real ones."""

from __future__ import annotations

import importlib.util
import json
import sys

import nbformat
import pytest
from tiny_set import OPTIONS, ROOT, needs_bwrap, tiny_master

pytestmark = needs_bwrap  # half of the class is hostile: nothing of it runs outside the sandbox

spec = importlib.util.spec_from_file_location("classroom", ROOT / "benchmarks" / "classroom.py")
classroom = importlib.util.module_from_spec(spec)
sys.modules["classroom"] = classroom  # dataclasses look their module up
spec.loader.exec_module(classroom)

LIMITS = ["--cell-seconds", "8", "--notebook-seconds", "90", "--memory", "400", *OPTIONS]
# What the solutions of the tiny set look like with a mistake.
MISTAKES = {"q1-code": [["** 2", "** 3", "not the mean"]], "q2-code": [["sum", "max", "not the"]]}


@pytest.fixture(scope="module")
def forty(tmp_path_factory):
    """A class, graded twice: (submissions, the most that can be earned, results of each run)."""
    place = tmp_path_factory.mktemp("forty")
    master = json.loads(nbformat.writes(tiny_master()))
    for cell in master["cells"]:
        name = cell["metadata"]["nbgrader"]["grade_id"]
        if name in MISTAKES:
            cell["metadata"]["ntp_lite"] = {"mistakes": MISTAKES[name]}
    (place / "master.ipynb").write_text(json.dumps(master))
    submissions = classroom.make_class(master)
    classroom.write_class(place / "submissions", submissions)
    runs = []
    for out in (place / "first", place / "second"):
        classroom.grade(place / "submissions", place / "master.ipynb", out, *LIMITS)
        runs.append(classroom.results(out))
    return submissions, 35, runs


def test_it_is_a_class(forty):
    submissions = forty[0]
    assert len(submissions) >= 40 and len({s.name for s in submissions}) == len(submissions)
    assert len(list(classroom.LOSES_ONE | classroom.LOSES_NOTHING | classroom.MAY_LOSE_MORE)) == 20


def test_everybody_gets_the_marks_that_are_due(forty):
    submissions, most, (found, _) = forty
    assert classroom.wrong_marks(submissions, found, most) == []


def test_a_second_run_gives_the_same(forty):
    assert forty[2][0] == forty[2][1] and len(forty[2][0]) == len(forty[0])


def test_a_wrong_mark_would_be_seen(forty):
    submissions, most, (found, _) = forty
    for name, test in (("Colab", "q1-test"), ("exits", "q2-test"), ("mistake 0", "q4-test")):
        spoilt = {**found, name: {**found[name], test: 1.0}}
        assert len(classroom.wrong_marks(submissions, spoilt, most)) == 1
    for name, marks in (("empty", found["lines"]), ("mistake 0", found["lines"]), ("lines", None)):
        assert len(classroom.wrong_marks(submissions, {**found, name: marks}, most)) == 1
