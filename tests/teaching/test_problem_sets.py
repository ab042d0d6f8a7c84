"""The problem sets: full marks for the solutions, none for the stubs, nothing given away."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from functools import cache

import nbformat
import pytest

pytest.importorskip("nbgrader", reason="releasing problem sets needs `pip install -e .[teach]`")

from nbgrader.utils import determine_grade
from released import (
    OTHER_SEED,
    SEED,
    SETS,
    every_set,
    leaks,
    master,
    numbers,
    regions,
    secrets,
    strings,
    student,
    value_patterns,
)
from tiny_set import OPTIONS, table

from teaching.cells import TEXT_STUB, UNANSWERED, is_answer, is_by_hand, is_test
from teaching.paths import PROBLEM_SETS, ROOT
from teaching.release.execution import Kernel, grades
from teaching.release.rules import grading, mistakes, question_number


@pytest.fixture(scope="session")
def run():
    """Runs a notebook once, all in one kernel: (name, which) -> executed notebook and values."""
    with Kernel(timeout=900) as kernel:  # a busy machine is no error

        @cache
        def run(name: str, which: str):
            notebook = {
                "master": lambda: master(name),
                "other seed": lambda: master(name, OTHER_SEED),
                "student": lambda: student(name),
                "hidden alone": lambda: hidden_alone(name),
            }[which]()
            return kernel.run(notebook)

        run.kernel = kernel
        yield run


def hidden_alone(name: str) -> nbformat.NotebookNode:
    """The untouched student notebook, but each test cell holds its hidden region only."""
    notebook = student(name).copy()
    notebook.cells = [cell.copy() for cell in notebook.cells]
    for cell, full in zip(notebook.cells, master(name).cells, strict=True):
        if is_test(grading(cell)):
            cell.source = regions(full.source, "HIDDEN TESTS")
    return notebook


def test_there_is_a_set():
    assert "ps1" in SETS


@every_set
@pytest.mark.parametrize("which", ["master", "other seed"])
def test_solutions_earn_full_marks(name, which, run):
    graded = grades(run(name, which)[0])
    assert graded
    for grade_id, (points, most, why) in graded.items():
        assert points == most > 0, f"{grade_id}: {why}"
    for cell in run(name, which)[0].cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", cell.source


@every_set
def test_the_grader_agrees(name, tmp_path):
    """Its tests run apart from the answers, so a set must not rely on a common kernel.

    Before anything else the grader gives the solutions, an untouched notebook and empty answers
    their marks, and stops where one is wrong.
    """
    folder = tmp_path / "submissions"
    folder.mkdir()
    nbformat.write(master(name), tmp_path / "master.ipynb")
    nbformat.write(student(name), folder / "untouched.ipynb")
    words = [sys.executable, "-m", "teaching.grader", folder, "--jobs", "1", *OPTIONS]
    words += ["--master", tmp_path / "master.ipynb", "--out", tmp_path / "out"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    row = table(tmp_path / "out" / "grades.csv")["untouched"]
    total = next(key for key in row if key.startswith("autograded"))
    assert float(row[total]) == 0 and row[list(row)[-1]] == "0"  # derivations left blank count 0


@every_set
@pytest.mark.parametrize("which", ["student", "hidden alone"])
def test_the_untouched_notebook_earns_nothing_and_says_why(name, which, run):
    notebook, _ = run(name, which)
    graded = grades(notebook)
    assert set(graded) == set(grades(run(name, "master")[0]))
    for grade_id, (points, _, why) in graded.items():
        assert points == 0, f"{grade_id} earns points without an answer"
        kind, _, message = why.partition(": ")
        assert kind in ("NotImplementedError", "AssertionError"), f"{grade_id}: {why}"
        assert len(message.split()) >= 4, f"{grade_id} fails without a clear sentence: {why!r}"
        if kind == "NotImplementedError":
            assert message == UNANSWERED
    for cell in notebook.cells:  # cells that are not graded run, but for answers at top level
        errors = [o.ename for o in cell.get("outputs", []) if o.output_type == "error"]
        if not is_test(grading(cell)):
            assert errors in ([], ["NotImplementedError"]), cell.source
            assert not errors or is_answer(grading(cell)), cell.source
    by_hand = [cell for cell in student(name).cells if is_by_hand(grading(cell))]
    for cell in by_hand:
        assert cell.source == TEXT_STUB
        assert determine_grade(cell)[0] == 0


@every_set
def test_likely_mistakes_are_told(name, run):
    """The i-th mistake of every question at once: the question is lost, with the intended hint."""
    answers = [i for i, cell in enumerate(master(name).cells) if mistakes(cell)]
    most = max(len(mistakes(master(name).cells[i])) for i in answers)
    for turn in range(most):
        notebook, told = copy.deepcopy(master(name)), {}
        for i in answers:
            listed = mistakes(notebook.cells[i])
            if turn < len(listed):
                old, new, told[i] = listed[turn]
                notebook.cells[i].source = notebook.cells[i].source.replace(old, new)
        executed, _ = run.kernel.run(notebook)
        tests = [cell for cell in executed.cells if is_test(grading(cell))]
        graded = grades(executed)
        for i, message in told.items():
            question = question_number(notebook.cells[i])
            ids = [c.metadata.nbgrader.grade_id for c in tests if question_number(c) == question]
            lost = [graded[grade_id][2] for grade_id in ids if graded[grade_id][0] == 0]
            assert any(message in why for why in lost), f"question {question}: {message}: {lost}"


def names_of_tests(name: str) -> dict[int, list[int]]:
    """The test cells of each answer cell: those that follow it before the next answer."""
    found: dict[int, list[int]] = {}
    for i, cell in enumerate(master(name).cells):
        if is_answer(grading(cell)) and not is_by_hand(grading(cell)):
            found[i] = []
        elif is_test(grading(cell)):
            found[max(found)].append(i)
    return found


@every_set
def test_a_missing_answer_costs_its_own_points_only(name, run):
    """In a question with several answers the others keep theirs.

    Mutation seen to fail: a test of the second answer of set 2, question 6, that calls the first.
    """
    cells, of_answer = master(name).cells, names_of_tests(name)
    questions: dict[int, list[int]] = {}
    for i in of_answer:
        questions.setdefault(question_number(cells[i]), []).append(i)
    several = [answers for answers in questions.values() if len(answers) > 1]
    for turn in range(max(map(len, several), default=0)):
        left_out = {answers[turn] for answers in several if turn < len(answers)}
        notebook = copy.deepcopy(master(name))
        for i in left_out:
            notebook.cells[i].source = student(name).cells[i].source
        marks = grades(run.kernel.run(notebook)[0])
        for i, tests in of_answer.items():
            for grade_id in (grading(cells[k])["grade_id"] for k in tests):
                points, most, why = marks[grade_id]
                assert points == (0 if i in left_out else most), f"{grade_id}: {why}"


@every_set
def test_no_single_test_decides_over_much(name):
    """An answer with more than twelve points has a test for its easy cases, and another."""
    cells = master(name).cells
    for i, tests in names_of_tests(name).items():
        points = [grading(cells[k])["points"] for k in tests]
        assert sum(points) <= 18 and max(points) <= 12, cells[i].source
        assert len(points) > 1 or sum(points) <= 12, cells[i].source


@every_set
def test_nothing_of_the_instructors_is_left(name, run):
    for executed, values in (run(name, "master"), run(name, "other seed")):
        assert len(secrets(executed)) > 10
        assert leaks(strings(student(name)), executed, values) == []
    assert all("ntp_lite" not in cell.metadata for cell in student(name).cells)
    assert all(cell.get("outputs", []) == [] for cell in student(name).cells)


@every_set
def test_the_search_finds_what_is_planted(name, run):
    """The search above can fail: on a marker, a line, a number, a model answer."""
    executed, values = run(name, "master")
    texts = strings(student(name))
    line = max(secrets(executed), key=len)
    number = next(x for x in numbers(values) if isinstance(x, float) and value_patterns([x]))
    for planted in ("### BEGIN SOLUTION", line, f"about {number:.7g}", "**Rubric.**"):
        assert leaks([*texts, planted], executed, values)
    full = strings(master(name))
    assert set(leaks(full, executed, {})) >= secrets(executed)


@every_set
def test_two_classes_get_different_numbers(name, run):
    first, second = (run(name, which)[1] for which in ("master", "other seed"))
    assert first and set(first) == set(second)
    for answer, value in first.items():
        assert numbers(value), f"{answer} is no number"
        assert value != second[answer], f"{answer} does not depend on the class's seed"
    pairs = zip(master(name).cells, master(name, OTHER_SEED).cells, strict=True)
    changed = [cell for cell, other in pairs if cell.source != other.source]
    assert [cell.source for cell in changed] == [f"COHORT = {SEED}"]
    assert sum(str(SEED) in cell.source for cell in master(name).cells) == 1


@every_set
def test_points_and_names(name):
    graded = [c.metadata.nbgrader for c in master(name).cells if c.metadata.nbgrader.grade]
    assert sum(meta.points for meta in graded) == 100
    ids = [cell.metadata.nbgrader.grade_id for cell in master(name).cells]
    assert len(ids) == len(set(ids))
    assert master(name).metadata.ntp_lite == {"assignment": name, "seed": SEED}
    tests = sum(c.metadata.nbgrader.points for c in master(name).cells if is_test(grading(c)))
    assert 50 <= tests <= 80
    assert (
        f"| Together | 100 | {tests} by tests, {100 - tests} by hand |"
        in student(name).cells[0].source
    )


@every_set
def test_the_instructor_guide_tells_hours_and_points(name):
    guide = (ROOT / "book" / "instructors.md").read_text(encoding="utf-8")
    text = (PROBLEM_SETS / f"{name}.md").read_text(encoding="utf-8")
    head = r"\*(\d+) points, about (\d+) minutes, (coded|by hand)\.\*"
    questions = [(int(p), int(m), kind) for p, m, kind in re.findall(head, text)]
    hours = sum(minutes for _, minutes, _ in questions) / 60
    coded = sum(points for points, _, kind in questions if kind == "coded")
    row = next(line for line in guide.splitlines() if line.startswith(f"| {name[2:]}: "))
    assert row.endswith(f"| {hours:.1f} | {coded} | {100 - coded} |")


@every_set
def test_the_student_notebook_is_plain(name):
    notebook = student(name)
    nbformat.validate(notebook)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.source.startswith("# @title Set-up") and "REPOSITORY" in first.source
    for cell in notebook.cells:
        locked = not cell.metadata.nbgrader.solution
        assert cell.metadata.deletable is False
        assert (cell.metadata.get("editable") is False) == locked
        if cell.cell_type == "markdown":
            assert not re.search(
                r"^\s*:::|```\{|\{\w+(:\w+)*\}`|^\(\w+\)=$|^\+\+\+", cell.source, re.M
            )
            assert not re.search(r"\]\((?!https?:)", cell.source), "a link that leads nowhere"
            assert not re.search(r"\\begin\{align|\\label|\\tag", cell.source)
            assert cell.source.count("$$") % 2 == 0
        else:
            assert max(map(len, cell.source.split("\n"))) <= 100
    imports = re.findall(
        r"^\s*(?:import|from) (\w+)", "\n".join(c.source for c in notebook.cells), re.M
    )
    # Jupyter brings packaging, with which the set-up cell compares versions
    brought = {"numpy", "scipy", "torch", "matplotlib", "packaging", "ntp_lite"}
    assert set(imports) <= brought | set(sys.stdlib_module_names)
