"""The problem sets: full marks for the solutions, none for the stubs, nothing given away."""

import copy
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("nbgrader", reason="releasing problem sets needs `pip install -e .[teach]`")

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import assignments  # noqa: E402

SOURCE = ROOT / "book" / "assignments"
SETS = sorted(path.stem for path in SOURCE.glob("ps*.md"))
SEED, OTHER_SEED = 2027, 2028
REGION = r"^ *### BEGIN {0}\n(.*?)^ *### END {0}$"

every_set = pytest.mark.parametrize("name", SETS)


@cache
def master(name: str, seed: int = SEED) -> nbformat.NotebookNode:
    return assignments.master(SOURCE / f"{name}.md", seed)


@cache
def student(name: str) -> nbformat.NotebookNode:
    return assignments.student_version(master(name))


@pytest.fixture(scope="session")
def run():
    """Runs a notebook once, all in one kernel: (name, which) -> executed notebook and values."""
    with assignments.Kernel(timeout=120) as kernel:

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
        if assignments.is_test(cell):
            cell.source = regions(full.source, "HIDDEN TESTS")
    return notebook


def regions(source: str, mark: str) -> str:
    return "".join(re.findall(REGION.format(mark), source, re.MULTILINE | re.DOTALL))


def strings(value) -> list[str]:
    """All texts of a JSON value, keys included; lists of lines joined."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.items() for part in item for text in strings(part)]
    if isinstance(value, list):
        if value and all(isinstance(item, str) for item in value):
            return ["".join(value)]
        return [text for item in value for text in strings(item)]
    return [str(value)]


def numbers(value) -> list[float]:
    if isinstance(value, dict):
        return [x for item in value.values() for x in numbers(item)]
    if isinstance(value, list):
        return [x for item in value for x in numbers(item)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def secrets(notebook: nbformat.NotebookNode) -> set[str]:
    """Lines of solutions, hidden tests, model answers and rubrics that stand nowhere else."""
    hidden, public = [], []
    for cell in notebook.cells:
        if assignments.is_by_hand(cell):
            hidden += cell.source.split("\n")
            continue
        inside = "".join(regions(cell.source, mark) for mark in ("SOLUTION", "HIDDEN TESTS"))
        outside = cell.source
        for mark in ("SOLUTION", "HIDDEN TESTS"):
            pattern = re.compile(REGION.format(mark), re.MULTILINE | re.DOTALL)
            outside = pattern.sub("", outside)
        hidden += inside.split("\n")
        public += outside.split("\n")
    known = "\n".join(public)
    lines = {line.strip() for line in hidden}
    return {x for x in lines if len(x) >= 12 and re.search(r"[a-z]", x) and x not in known}


def value_patterns(values) -> list[re.Pattern]:
    """An expected value to five digits, rounded or cut, where it is long enough to be told."""
    found = []
    for value in numbers(values):
        digits = f"{abs(value):.5g}" if isinstance(value, float) else str(abs(value))
        if len(re.sub(r"^[0.]+|\.|e.*$", "", digits)) >= (5 if isinstance(value, float) else 4):
            rounded = digits.split("e")[0]
            cut = f"{abs(value):.12g}"[: len(rounded)] if isinstance(value, float) else rounded
            tail = r"\b" if isinstance(value, int) else ""
            either = "|".join(map(re.escape, sorted({rounded, cut})))
            found.append(re.compile(rf"(?<![\d.])(?:{either}){tail}"))
    return found


def leaks(texts: list[str], notebook: nbformat.NotebookNode, values) -> list[str]:
    """Whatever in the texts belongs to the instructor."""
    text = "\n".join(texts)
    found = re.findall(r"(?:BEGIN|END) (?:SOLUTION|HIDDEN)|HIDDEN TESTS|[Rr]ubric|Model ans", text)
    found += [line for line in secrets(notebook) if line in text]
    return found + [p.pattern for p in value_patterns(values) if p.search(text)]


# --- Every set ---


def test_there_is_a_set():
    assert "ps1" in SETS


@every_set
@pytest.mark.parametrize("which", ["master", "other seed"])
def test_solutions_earn_full_marks(name, which, run):
    graded = assignments.grades(run(name, which)[0])
    assert graded
    for grade_id, (points, most, why) in graded.items():
        assert points == most > 0, f"{grade_id}: {why}"
    for cell in run(name, which)[0].cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", cell.source


@every_set
def test_the_grader_agrees(name, tmp_path):
    """Its tests run apart from the answers, so a set must not rely on a common kernel."""
    folder = tmp_path / "submissions"
    folder.mkdir()
    nbformat.write(master(name), tmp_path / "master.ipynb")
    nbformat.write(master(name), folder / "solved.ipynb")
    nbformat.write(student(name), folder / "untouched.ipynb")
    command = [sys.executable, ROOT / "tools" / "grade.py", folder, "--jobs", "1"]
    command += ["--master", tmp_path / "master.ipynb", "--out", tmp_path / "out"]
    if shutil.which("bwrap") is None:
        command.append("--no-sandbox")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out" / "grades.csv").read_text(encoding="utf-8-sig")
    rows = {row["submission"]: row for row in csv.DictReader(text.splitlines())}
    total = next(key for key in rows["solved"] if key.startswith("autograded"))
    assert f"(max {rows['solved'][total]})" in total, rows["solved"]
    assert float(rows["untouched"][total]) == 0, rows["untouched"]


@every_set
@pytest.mark.parametrize("which", ["student", "hidden alone"])
def test_the_untouched_notebook_earns_nothing_and_says_why(name, which, run):
    notebook, _ = run(name, which)
    graded = assignments.grades(notebook)
    assert set(graded) == set(assignments.grades(run(name, "master")[0]))
    for grade_id, (points, _, why) in graded.items():
        assert points == 0, f"{grade_id} earns points without an answer"
        kind, _, message = why.partition(": ")
        assert kind in ("NotImplementedError", "AssertionError"), f"{grade_id}: {why}"
        assert len(message.split()) >= 4, f"{grade_id} fails without a clear sentence: {why!r}"
        if kind == "NotImplementedError":
            assert message == assignments.UNANSWERED
    for cell in notebook.cells:  # cells that are not graded run, but for answers at top level
        errors = [o.ename for o in cell.get("outputs", []) if o.output_type == "error"]
        if not assignments.is_test(cell):
            assert errors in ([], ["NotImplementedError"]), cell.source
            assert not errors or assignments.is_answer(cell), cell.source
    by_hand = [cell for cell in student(name).cells if assignments.is_by_hand(cell)]
    for cell in by_hand:
        assert cell.source == assignments.TEXT_STUB
        assert assignments.determine_grade(cell)[0] == 0


@every_set
def test_likely_mistakes_are_told(name, run):
    """The i-th mistake of every question at once: the question is lost, with the intended hint."""
    answers = [i for i, cell in enumerate(master(name).cells) if assignments.mistakes(cell)]
    most = max(len(assignments.mistakes(master(name).cells[i])) for i in answers)
    for turn in range(most):
        notebook, told = copy.deepcopy(master(name)), {}
        for i in answers:
            listed = assignments.mistakes(notebook.cells[i])
            if turn < len(listed):
                old, new, told[i] = listed[turn]
                notebook.cells[i].source = notebook.cells[i].source.replace(old, new)
        executed, _ = run.kernel.run(notebook)
        tests = [cell for cell in executed.cells if assignments.is_test(cell)]
        graded = assignments.grades(executed)
        for i, message in told.items():
            question = assignments.question_of(notebook.cells[i])
            ids = [
                c.metadata.nbgrader.grade_id
                for c in tests
                if assignments.question_of(c) == question
            ]
            lost = [graded[grade_id][2] for grade_id in ids if graded[grade_id][0] == 0]
            assert any(message in why for why in lost), f"question {question}: {message}: {lost}"


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
    tests = sum(c.metadata.nbgrader.points for c in master(name).cells if assignments.is_test(c))
    assert 50 <= tests <= 80
    assert (
        f"| Together | 100 | {tests} by tests, {100 - tests} by hand |"
        in student(name).cells[0].source
    )


@every_set
def test_the_instructor_guide_tells_hours_and_points(name):
    guide = (ROOT / "book" / "instructors.md").read_text(encoding="utf-8")
    text = (SOURCE / f"{name}.md").read_text(encoding="utf-8")
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
    chapters = {"numpy", "scipy", "torch", "matplotlib", "ntp_lite"} | set(sys.stdlib_module_names)
    assert set(imports) <= chapters


def test_the_set_up_cell_speaks_to_students(monkeypatch):
    """Theirs is locked, so it must not ask them to edit it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    real, placeholder = "https://github.com/some/one", "https://github.com/an_owner/name"
    cells = {url: assignments._setup(url, "main").source for url in (real, placeholder)}
    for url, colab in ((placeholder, True), (placeholder, False), (real, False)):
        if colab:
            monkeypatch.setitem(sys.modules, "google.colab", object())
        else:
            monkeypatch.delitem(sys.modules, "google.colab", raising=False)
        with pytest.raises(RuntimeError, match=r"(?s)pip install .*\[chapters\] @ git") as said:
            exec(cells[url], {})
        assert "your instructor" in str(said.value) and "set REPOSITORY" not in str(said.value)
        assert ("make notebooks REPOSITORY=owner/name" in str(said.value)) == colab


# --- The release and nbgrader ---


@pytest.fixture(scope="session")
def released(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("dist") / str(SEED)
    assert assignments.release(SOURCE, target, SEED, execute=False) == SETS
    return target


def test_the_release_is_complete(released):
    for name in SETS:
        assert nbformat.read(released / "student" / f"{name}.ipynb", 4) == student(name)
        full = assignments.without_notes(master(name))
        assert nbformat.read(released / "instructor" / f"{name}.ipynb", 4) == full
        course = released / "instructor" / "nbgrader"
        for kind, notebook in (("source", full), ("release", student(name))):
            assert nbformat.read(course / kind / name / f"{name}.ipynb", 4) == notebook
        rubrics = (released / "instructor" / "rubrics.md").read_text(encoding="utf-8")
        for cell in filter(assignments.is_by_hand, master(name).cells):
            assert cell.source in rubrics
    assert {path.suffix for path in (released / "student").iterdir()} == {".ipynb"}


def test_the_command_executes_and_keeps_what_is_not_its_own(tmp_path):
    sources = tmp_path / "sets"
    sources.mkdir()
    text = (SOURCE / "ps1.md").read_text(encoding="utf-8")
    (sources / "ps1.md").write_text(text, encoding="utf-8")
    handed_in = (
        tmp_path / "out" / "5" / "instructor" / "nbgrader" / "submitted" / "ann" / "ps1.ipynb"
    )
    handed_in.parent.mkdir(parents=True)
    handed_in.write_text("kept")
    stale = tmp_path / "out" / "5" / "student" / "ps9.ipynb"
    stale.parent.mkdir(parents=True)
    stale.write_text("old")
    command = [sys.executable, str(ROOT / "tools" / "assignments.py"), "--seed", "5"]
    command += ["--out", str(tmp_path / "out"), "--source", str(sources)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    target = tmp_path / "out" / "5"
    values = json.loads((target / "instructor" / "expected_values.json").read_text())
    assert set(values) == {"ps1"} and numbers(values)
    ran = nbformat.read(target / "instructor" / "ps1_solutions.ipynb", 4)
    assert all(points == most for points, most, _ in assignments.grades(ran).values())
    assert handed_in.read_text() == "kept" and not stale.exists()


def test_a_wrong_solution_is_not_released(run, tmp_path):
    text = (SOURCE / "ps1.md").read_text(encoding="utf-8")
    right = "np.add.at(N, (windows[:, c], column.reshape(-1)), 1)"
    assert right in text
    path = tmp_path / "ps1.md"
    path.write_text(text.replace(right, "N[windows[:, c], column] = 1"), encoding="utf-8")
    executed, _ = run.kernel.run(assignments.master(path, SEED))
    message = r"ps1-q1-test-one: the solution earns 0 of 6\.\nAssertionError: "
    with pytest.raises(assignments.AssignmentError, match=message):
        assignments.require_full_marks(executed)


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
    text = (SOURCE / "ps1.md").read_text(encoding="utf-8")
    if isinstance(old, str):
        assert old in text
        text = text.replace(old, new, 1)
    else:
        text = old.sub(new, text)
    if message == "add up to 99":
        text = text.replace("*14 points, ", "*13 points, ", 1)
    path = tmp_path / "ps1.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(assignments.AssignmentError, match=re.escape(message)):
        assignments.master(path, SEED)


def test_no_set_is_an_error(tmp_path):
    with pytest.raises(assignments.AssignmentError, match="no problem set"):
        assignments.release(tmp_path, tmp_path / "out", SEED)


def test_links_lead_to_the_published_site(tmp_path):
    text = "See [Chapter 2](../02_entropy_floor.md#sec-a) and [Notation](../notation.md)."
    assert assignments._links(text, "https://github.com/your_account/x") == (
        "See Chapter 2 and Notation."
    )
    assert assignments._links(text, "https://github.com/Ann/x") == (
        "See [Chapter 2](https://ann.github.io/x/book/02_entropy_floor.html#sec-a)"
        " and [Notation](https://ann.github.io/x/book/notation.html)."
    )


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
    shutil.rmtree(course / "release")
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
        if assignments.is_answer(cell):
            cell.source = full.source
    for person, notebook in (("solved", solved), ("untouched", student("ps1"))):
        folder = course / "submitted" / person / "ps1"
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / "ps1.ipynb")
        result = api.autograde("ps1", person)
        assert result["success"], result.get("error") or result.get("log")
    tests = sum(c.metadata.nbgrader.points for c in master("ps1").cells if assignments.is_test(c))
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
