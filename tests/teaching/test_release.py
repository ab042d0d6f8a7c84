"""The release: its files, its refusals, and nbgrader."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("nbgrader", reason="releasing problem sets needs `pip install -e .[teach]`")

from released import SEED, SETS, leaks, master, numbers, strings, student

from teaching._book import addresses_of, setup_cell
from teaching.cells import is_answer, is_by_hand, is_test
from teaching.paths import PROBLEM_SETS, ROOT
from teaching.release.course import release
from teaching.release.errors import AssignmentError
from teaching.release.execution import Kernel, grades, require_full_marks
from teaching.release.master import lead_links_to_the_site, read_master
from teaching.release.rules import grading
from teaching.release.versions import without_notes


def test_the_set_up_cell_speaks_to_students(monkeypatch):
    """Theirs is locked, so it must not ask them to edit it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    real, placeholder = "https://github.com/some/one", "https://github.com/an_owner/name"
    cells = {url: setup_cell(url, "main").source for url in (real, placeholder)}
    for url, colab in ((placeholder, True), (placeholder, False), (real, False)):
        if colab:
            monkeypatch.setitem(sys.modules, "google.colab", object())
        else:
            monkeypatch.delitem(sys.modules, "google.colab", raising=False)
        with pytest.raises(RuntimeError, match=r"(?s)pip install .*\[chapters\] @ git") as said:
            exec(cells[url], {})
        assert "your instructor" in str(said.value) and "set REPOSITORY" not in str(said.value)
        assert ("make notebooks REPOSITORY=owner/name" in str(said.value)) == colab


@pytest.fixture(scope="session")
def released(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("dist") / str(SEED)
    assert release(PROBLEM_SETS, target, SEED, execute=False) == SETS
    return target


def test_the_release_is_complete(released):
    for name in SETS:
        assert nbformat.read(released / "student" / f"{name}.ipynb", 4) == student(name)
        full = without_notes(master(name))
        assert nbformat.read(released / "instructor" / f"{name}.ipynb", 4) == full
        course = released / "instructor" / "nbgrader"
        assert nbformat.read(course / "source" / name / f"{name}.ipynb", 4) == full
        rubrics = (released / "instructor" / "rubrics.md").read_text(encoding="utf-8")
        for cell in master(name).cells:
            assert not is_by_hand(grading(cell)) or cell.source in rubrics
    assert {path.suffix for path in (released / "student").iterdir()} == {".ipynb"}


def test_the_command_executes_and_keeps_what_is_not_its_own(tmp_path):
    sources = tmp_path / "sets"
    sources.mkdir()
    text = (PROBLEM_SETS / "ps1.md").read_text(encoding="utf-8")
    (sources / "ps1.md").write_text(text, encoding="utf-8")
    handed_in = (
        tmp_path / "out" / "5" / "instructor" / "nbgrader" / "submitted" / "ann" / "ps1.ipynb"
    )
    handed_in.parent.mkdir(parents=True)
    handed_in.write_text("kept")
    stale = tmp_path / "out" / "5" / "student" / "ps9.ipynb"
    stale.parent.mkdir(parents=True)
    stale.write_text("old")
    command = [sys.executable, "-m", "teaching.release", "--seed", "5"]
    command += ["--out", str(tmp_path / "out"), "--source", str(sources)]
    book = os.pathsep.join([str(ROOT), str(ROOT / "book" / "_ext")])  # as the Makefile calls it
    environment = {**os.environ, "PYTHONPATH": book}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    target = tmp_path / "out" / "5"
    values = json.loads((target / "instructor" / "expected_values.json").read_text())
    assert set(values) == {"ps1"} and numbers(values)
    ran = nbformat.read(target / "instructor" / "ps1_solutions.ipynb", 4)
    assert all(points == most for points, most, _ in grades(ran).values())
    assert handed_in.read_text() == "kept" and not stale.exists()
    solved = (target / "solutions" / "ps1_solutions.ipynb").read_text()
    assert "np.add.at(N, (windows" in solved and "Model answer" in solved and "outputs" in solved
    for word in ("HIDDEN TESTS", "def hidden", "Rubric", "BEGIN SOLUTION", 'nbgrader":'):
        assert word not in solved
    page = (target / "instructor" / "rubrics.html").read_text()
    assert 'alttext="f(\\ell' in page and "<script" not in page
    around = re.sub(r"<main>.*</main>", "", page, flags=re.DOTALL)
    assert not re.search(r"https?:", around), "the page loads something from elsewhere"


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
@pytest.mark.parametrize("out", ["", "a folder"])
def test_make_hands_on_where_to_write(out):
    command = ["make", "--dry-run", "assignments", "SEED=5", *([f"OUT={out}"] if out else [])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    line = done.stdout.replace("\\\n", " ")  # as the shell reads it
    words = shlex.split(line.partition("-m teaching.release")[2])
    assert words == ["--seed", "5", *(["--out", out] if out else [])]


def test_a_wrong_solution_is_not_released(tmp_path):
    text = (PROBLEM_SETS / "ps1.md").read_text(encoding="utf-8")
    right = "np.add.at(N, (windows[:, c], column.reshape(-1)), 1)"
    assert right in text
    path = tmp_path / "ps1.md"
    path.write_text(text.replace(right, "N[windows[:, c], column] = 1"), encoding="utf-8")
    with Kernel(timeout=120) as kernel:
        executed, _ = kernel.run(read_master(path, SEED))
    message = r"ps1-q1-test-one: the solution earns 0 of 6\.\nAssertionError: "
    with pytest.raises(AssignmentError, match=message):
        require_full_marks(executed)


BROKEN = {
    "add up to 99": ("points: 6, schema", "points: 5, schema"),
    "question 1 says 14": ("points: 6, schema", "points: 5, schema"),
    "tagged cohort": ("COHORT = 2027", "COHORT = 2027 + 1"),
    "two cells have this grade_id": ("ps1-q2-code", "ps1-q1-code"),
    "call it ps1-q1-code": ("ps1-q2-code", "ps2-q2-code"),
    "SOLUTION: unbalanced": ("    ### END SOLUTION\n", ""),
    "wrong form": ("### BEGIN HIDDEN TESTS", "# BEGIN HIDDEN TESTS"),
    "hidden region must come last": ("### END HIDDEN TESTS\n", "### END HIDDEN TESTS\nx = 1\n"),
    "the rubric adds up to": ("- (2) Part 1", "- (3) Part 1"),
    "plain CommonMark": ("Write `facts(N)`", "See {ref}`x`. Write `facts(N)`"),
    "must contain <!-- points -->": ("<!-- points -->", ""),
    "below the heading": ("*10 points, about 30 minutes, coded.*", "*10 points*"),
    "lock all cells but": ("solution: false, locked: true", "solution: false, locked: false"),
    "list two likely mistakes": (re.compile(r"  - \['.*\n"), ""),
    "is not there exactly once": ("- ['pi @ k'", "- ['pi @ k_j'"),
    "no cell names its answers": (re.compile(r":ntp_lite: .*\n"), ""),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_set_is_refused(message, tmp_path):
    old, new = BROKEN[message]
    text = (PROBLEM_SETS / "ps1.md").read_text(encoding="utf-8")
    if isinstance(old, str):
        assert old in text
        text = text.replace(old, new, 1)
    else:
        text = old.sub(new, text)
    if message == "add up to 99":
        text = text.replace("*14 points, ", "*13 points, ", 1)
    path = tmp_path / "ps1.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AssignmentError, match=re.escape(message)):
        read_master(path, SEED)


def test_no_set_is_an_error(tmp_path):
    with pytest.raises(AssignmentError, match="no problem set"):
        release(tmp_path, tmp_path / "out", SEED)


def test_links_lead_to_the_published_site():
    text = (
        "See {numref}`Chapter {number} <ch-entropy-floor>`, chapters {numref}`{number} <ch-a>` and "
        "[Notation](../../book/notation.md#sec-a)."
    )
    numbers = {"book/entropy_floor": "2", "book/a": "B"}
    course = addresses_of("https://github.com/Ann/x")
    assert lead_links_to_the_site(text, course._replace(real=False), numbers) == (
        "See Chapter 2, chapters B and Notation."
    )
    assert lead_links_to_the_site(text, course, numbers) == (
        "See [Chapter 2](https://ann.github.io/x/book/entropy_floor.html), "
        "chapters [B](https://ann.github.io/x/book/a.html)"
        " and [Notation](https://ann.github.io/x/book/notation.html#sec-a)."
    )
    with pytest.raises(AssignmentError, match="no chapter has the label ch-a"):
        lead_links_to_the_site(text, course, {"book/entropy_floor": "2"})


def test_numbers_of_chapters_come_from_the_table_of_contents():
    text = "\n".join(cell.source for cell in master("ps3").cells if cell.cell_type == "markdown")
    assert "Chapter 7" in text
    assert "{numref}" not in text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_nbgrader_takes_the_course(released, tmp_path, monkeypatch):
    """nbgrader releases the same notebooks itself, and grades a solved and an untouched one."""
    from nbgrader.api import Gradebook
    from nbgrader.apps import NbGraderAPI
    from traitlets.config.loader import PyFileConfigLoader

    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # alembic
    course = tmp_path / "course"
    shutil.copytree(released / "instructor" / "nbgrader", course)
    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    config.CourseDirectory.root = str(course)
    api = NbGraderAPI(config=config)

    def essence(notebook):
        keys = ("grade_id", "points", "checksum", "locked")
        return [
            (cell.source, [cell.metadata.nbgrader.get(key) for key in keys])
            for cell in notebook.cells
        ]

    for name in SETS:
        assert api.generate_assignment(name)["success"]
        made = nbformat.read(course / "release" / name / f"{name}.ipynb", 4)
        assert essence(made) == essence(student(name))
        assert leaks(strings(made), master(name), {}) == []
        assert all("ntp_lite" not in cell.metadata for cell in made.cells)

    solved = nbformat.read(released / "student" / "ps1.ipynb", 4)
    for cell, full in zip(solved.cells, master("ps1").cells, strict=True):
        if is_answer(grading(cell)):
            cell.source = full.source
    for person, notebook in (("solved", solved), ("untouched", student("ps1"))):
        folder = course / "submitted" / person / "ps1"
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / "ps1.ipynb")
        result = api.autograde("ps1", person)
        assert result["success"], result.get("error") or result.get("log")
    tests = sum(c.metadata.nbgrader.points for c in master("ps1").cells if is_test(grading(c)))
    with Gradebook(
        f"sqlite:///{course / 'gradebook.db'}", config.CourseDirectory.course_id
    ) as book:
        solved, untouched = (book.find_submission("ps1", who) for who in ("solved", "untouched"))
        assert (solved.score, solved.max_score, solved.needs_manual_grade) == (tests, 100, True)
        assert (untouched.score, untouched.needs_manual_grade) == (0, False)

    assert api.generate_feedback("ps1", "solved")["success"]
    page = (course / "feedback" / "solved" / "ps1" / "ps1.html").read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>", "", page)
    assert "def count_stories" in text
    assert "HIDDEN TESTS" not in text
    assert "def hidden" not in text


# The kernel waits for its own streams, but not for ever.
LATE_OUTPUT = """\
import sys, time
sys.stdout.flush_timeout = sys.stderr.flush_timeout = 0.1
get_ipython().kernel.iopub_thread.schedule(lambda: time.sleep(6))
raise AssertionError("told late")
"""


def test_an_error_that_a_busy_machine_tells_late_still_costs_the_points():
    """Mutation seen to fail: nbclient's own four seconds, after which the error is not seen."""
    marks = {"grade_id": "t", "grade": True, "solution": False, "locked": True, "points": 3}
    cell = nbformat.v4.new_code_cell(LATE_OUTPUT, metadata={"nbgrader": marks})
    with Kernel() as kernel:
        executed, _ = kernel.run(nbformat.v4.new_notebook(cells=[cell]))
    assert grades(executed)["t"] == (0, 3, "AssertionError: told late")
