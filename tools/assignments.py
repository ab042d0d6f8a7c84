"""Release the problem sets of book/assignments for one class.

    python tools/assignments.py --seed 2027

writes into dist/assignments/2027/

    student/psN.ipynb               what the class gets: no solutions, no hidden tests
    instructor/psN.ipynb            the master, from which submissions are graded
    instructor/psN_solutions.ipynb  the master, executed
    instructor/rubrics.md           model answers and rubrics of the hand-graded questions
    instructor/expected_values.json the values of the named answers
    instructor/nbgrader/            the same sets as an nbgrader course

The seed is the number in the one cell tagged `cohort`; all data of a set derive from it. Every set
is executed, and one whose solutions do not earn full marks is not released.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import re
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

import jupytext
import nbformat
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
)
from nbgrader.utils import determine_grade
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from ntp_book.addresses import addresses_of  # noqa: E402
from ntp_book.export.cells import code_cell, dump, name_cells  # noqa: E402
from ntp_book.export.markdown import myst_leftover  # noqa: E402
from ntp_book.export.setup_cell import Messages, setup_cell  # noqa: E402

UNANSWERED = "Not answered yet: replace this line with your code."
CODE_STUB = f'# Your code here.\nraise NotImplementedError("{UNANSWERED}")'
TEXT_STUB = "Your derivation here."
SETTINGS = {"ClearSolutions": {"code_stub": {"python": CODE_STUB}, "text_stub": TEXT_STUB}}
COHORT = re.compile(r"COHORT = \d+")
HEADING = re.compile(r"^## Question (\d+)\. (.+)$", re.MULTILINE)
EFFORT = re.compile(r"^\*(\d+) points, about (\d+) minutes, (coded|by hand)\.\*$", re.MULTILINE)
RUBRIC = re.compile(r"^- \((\d+)\) ", re.MULTILINE)
TABLE = "<!-- points -->"
# What the set-up cell says to a student, whose cell is locked.
ADVICE = Messages(
    no_address="This notebook does not know the course's repository. Ask your instructor for its "
    "address, install the package in a cell of your own above this one, with "
    '`%pip install "ntp_lite[chapters] @ git+ADDRESS"`, and run this cell again. '
    "(Instructors: `make notebooks REPOSITORY=owner/name`, then `make assignments` again.)",
    not_installed="ntp_lite is not installed here. Run the line below in a cell of your own above "
    "this one (your instructor knows the address, if the line says ADDRESS), and restart the "
    "kernel.",
)
QUESTION = re.compile(r"(ps\d+)-q(\d+)-[a-z][a-z0-9-]*")
PROBE = """
def plain(value):
    import numpy

    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    array = numpy.asarray(value)
    if array.size > 100:
        return {"shape": array.shape, "sum": array.sum().item(), "norm": numpy.linalg.norm(array)}
    return array.tolist()


print(__import__("json").dumps({name: plain(globals()[name]) for name in NAMES}))
"""


class AssignmentError(Exception):
    """A problem set that breaks the format, or whose solutions do not earn full marks."""


# --- Cells ---


def grading(cell: NotebookNode) -> dict[str, Any]:
    """Return the cell's nbgrader metadata, or an empty dictionary."""
    return cell.metadata.get("nbgrader", {})


def is_test(cell: NotebookNode) -> bool:
    """Say whether running this cell earns points."""
    return bool(grading(cell).get("grade") and not grading(cell).get("solution"))


def is_answer(cell: NotebookNode) -> bool:
    """Say whether a student writes this cell."""
    return bool(grading(cell).get("solution"))


def is_by_hand(cell: NotebookNode) -> bool:
    """Say whether a person grades this cell."""
    return bool(grading(cell).get("grade") and grading(cell).get("solution"))


def answer_names(notebook: NotebookNode) -> list[str]:
    """Return the names whose values the instructor gets."""
    return [
        name for c in notebook.cells for name in c.metadata.get("ntp_lite", {}).get("answers", [])
    ]


def mistakes(cell: NotebookNode) -> list[tuple[str, str, str]]:
    """Return the likely mistakes listed for an answer: (replace this, by this, to be told this)."""
    return [tuple(item) for item in cell.metadata.get("ntp_lite", {}).get("mistakes") or []]


def question_of(cell: NotebookNode) -> int:
    """Return 3 for a cell with grade_id `ps1-q3-test`."""
    match = QUESTION.fullmatch(grading(cell)["grade_id"])
    assert match is not None
    return int(match[2])


# --- From the source to the master ---


def master(path: Path, seed: int, config: Path = ROOT / "_config.yml") -> NotebookNode:
    """Return the instructor's notebook of the set in `path`, with the data of this seed.

    Raises AssignmentError where the set breaks the format.
    """
    notebook = jupytext.read(path)
    name = path.stem
    cohort = [c for c in notebook.cells if "cohort" in c.metadata.get("tags", [])]
    if len(cohort) != 1 or not COHORT.fullmatch(cohort[0].source.strip()):
        raise AssignmentError(
            f"{path.name}: one cell must be tagged cohort and be `COHORT = 2027`."
        )
    cohort[0].source = f"COHORT = {seed}"
    url, branch = _repository(config)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _links(cell.source, url)
        else:  # no blank line is to stay behind where hidden tests are cut out
            cell.source = re.sub(r"\n+(?=\n### BEGIN HIDDEN TESTS)", "", cell.source)
    notebook.cells.insert(1, _setup(url, branch))
    for i, cell in enumerate(notebook.cells):
        if not grading(cell):
            cell.metadata["nbgrader"] = {"grade_id": f"{name}-text-{i:02}", "locked": True}
            cell.metadata["nbgrader"] |= {"grade": False, "solution": False, "schema_version": 3}
        cell.metadata["nbgrader"].setdefault("task", False)
    check(notebook, name)
    for cell in filter(is_test, notebook.cells):
        what = f"Question {question_of(cell)}, {grading(cell)['points']} points"
        cell.source = f"# Tests of {what}; more tests run at grading.\n\n{cell.source}"
    notebook.cells[0].source = notebook.cells[0].source.replace(TABLE, _table(notebook))
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "ntp_lite": {"assignment": name, "seed": seed},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    name_cells(notebook.cells)
    return _apply(notebook, LockCells, ClearOutput, CheckCellMetadata, ComputeChecksums)


def check(notebook: NotebookNode, name: str) -> None:
    """Raise AssignmentError, with the offending cell, where a set breaks the format."""
    cells = notebook.cells

    def insist(right: bool, cell: NotebookNode | None, message: str) -> None:
        if not right:
            place = f" {grading(cell).get('grade_id', cell.source[:50])!r}:" if cell else ""
            raise AssignmentError(f"{name}:{place} {message}")

    ids = [grading(c)["grade_id"] for c in cells]
    for cell in cells:
        meta, source = grading(cell), cell.source
        marks = {m: source.count(m) for m in ("SOLUTION", "HIDDEN TESTS")}
        for mark, kind in (("SOLUTION", is_answer), ("HIDDEN TESTS", is_test)):
            lines = re.findall(rf"^ *### (BEGIN|END) {mark}$", source, re.MULTILINE)
            insist(len(lines) == marks[mark], cell, f"a marker of {mark} has the wrong form.")
            insist(lines == ["BEGIN", "END"] * (len(lines) // 2), cell, f"{mark}: unbalanced.")
            insist(not lines or kind(cell), cell, f"a region {mark} does not belong here.")
        insist(ids.count(meta["grade_id"]) == 1, cell, "two cells have this grade_id.")
        insist(meta.get("schema_version") == 3, cell, "schema_version must be 3.")
        insist(is_answer(cell) != bool(meta["locked"]), cell, "lock all cells but the answers.")
        plain = cell.cell_type == "code" or not myst_leftover(source)
        insist(plain, cell, "write plain CommonMark, no MyST.")
        if is_answer(cell) or is_test(cell):
            match = QUESTION.fullmatch(meta["grade_id"])
            insist(bool(match and match[1] == name), cell, f"call it {name}-q1-code or the like.")
        if is_answer(cell) and cell.cell_type == "code":
            insist(not meta["grade"] and bool(marks["SOLUTION"]), cell, "no solution in this cell.")
            insist(len(mistakes(cell)) >= 2, cell, "list two likely mistakes or more.")
            for old, _, _ in mistakes(cell):
                insist(source.count(old) == 1, cell, f"{old!r} is not there exactly once.")
        if is_test(cell):
            insist(marks["HIDDEN TESTS"] == 2, cell, "a graded code cell needs a hidden region.")
            last = source.rstrip().split("\n")[-1]
            insist("### END HIDDEN TESTS" in last, cell, "the hidden region must come last.")
            public = source.split("### BEGIN HIDDEN TESTS")[0]
            insist("assert" in public, cell, "public tests are missing.")
        if is_by_hand(cell):
            insist(cell.cell_type == "markdown", cell, "a hand-graded answer is a Markdown cell.")
            items = [int(points) for points in RUBRIC.findall(source)]
            insist(sum(items) == meta["points"], cell, f"the rubric adds up to {sum(items)}.")
    insist(TABLE in cells[0].source, cells[0], f"the first cell must contain {TABLE}.")
    questions = _questions(notebook)
    numbers = [q.number for q in questions]
    insist(numbers == list(range(1, len(numbers) + 1)), None, "number the questions 1, 2, 3, ...")
    for q in questions:
        insist(
            q.said == q.points, None, f"question {q.number} says {q.said}, is {q.points} points."
        )
    total = sum(c.metadata["nbgrader"]["points"] for c in cells if grading(c)["grade"])
    insist(total == 100, None, f"the points add up to {total}, not 100.")
    insist(sum(q.points for q in questions) == 100, None, "a graded cell belongs to no question.")
    insist(len(answer_names(notebook)) > 0, None, "no cell names its answers.")


def _questions(notebook: NotebookNode) -> list[SimpleNamespace]:
    found = []
    for cell in notebook.cells:
        if cell.cell_type != "markdown" or not (heading := HEADING.search(cell.source)):
            continue
        number, title = int(heading[1]), heading[2]
        effort = EFFORT.search(cell.source)
        if effort is None:
            message = "say `*10 points, about 30 minutes, coded.*` below the heading."
            raise AssignmentError(f"Question {number}: {message}")
        mine = [c for c in notebook.cells if grading(c)["grade"] and question_of(c) == number]
        points = sum(grading(c)["points"] for c in mine)
        hand = sum(grading(c)["points"] for c in mine if is_by_hand(c))
        found.append(
            SimpleNamespace(number=number, title=title, said=int(effort[1]), minutes=int(effort[2]),
                            points=points, by_hand=hand)
        )  # fmt: skip
    return found


def _table(notebook: NotebookNode) -> str:
    rows = ["| Question | Points | Graded | Minutes |", "|---|---|---|---|"]
    questions = _questions(notebook)
    for q in questions:
        how = {0: "by tests", q.points: "by hand"}.get(q.by_hand, "by tests and by hand")
        rows.append(f"| {q.number}. {q.title} | {q.points} | {how} | {q.minutes} |")
    minutes = sum(q.minutes for q in questions)
    by_tests = sum(q.points - q.by_hand for q in questions)
    rows.append(f"| Together | 100 | {by_tests} by tests, {100 - by_tests} by hand | {minutes} |")
    return "\n".join(rows) + f"\n\nPlan about {round(minutes / 30) / 2:g} hours."


def _repository(config: Path) -> tuple[str, str]:
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))["repository"]
    return settings["url"].rstrip("/"), settings["branch"]


def _setup(url: str, branch: str) -> NotebookNode:
    """Return the chapters' set-up cell with messages for a student, who cannot edit the cell."""
    return code_cell(setup_cell(url, branch, messages=ADVICE), ["hide-input"], {})


def _links(text: str, url: str) -> str:
    """Lead links between the book's files to the published site; without one, keep their text."""
    found = addresses_of(url)
    link = re.compile(r"\[([^\]]+)\]\(\.\./(\w+)\.md(#[\w.-]+)?\)")
    return link.sub(
        lambda m: f"[{m[1]}]({found.site}book/{m[2]}.html{m[3] or ''})" if found.real else m[1],
        text,
    )


def _apply(notebook: NotebookNode, *preprocessors: type) -> NotebookNode:
    notebook, resources = copy.deepcopy(notebook), {}
    for preprocessor in preprocessors:
        step = preprocessor(config=Config(SETTINGS))
        notebook, resources = step.preprocess(notebook, resources)
    return notebook


# --- What is released ---


def without_notes(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook without what authors note for this tool: answers and mistakes."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        cell.metadata.pop("ntp_lite", None)
    return notebook


def student_version(notebook: NotebookNode) -> NotebookNode:
    """Return the master without solutions, hidden tests, rubrics and the names of answers."""
    notebook = _apply(without_notes(notebook), ClearSolutions, ClearHiddenTests, ClearOutput)
    name_cells(notebook.cells)
    return _apply(notebook, LockCells, ComputeChecksums, CheckCellMetadata)


class Kernel:
    """Runs notebooks one after another, each in an emptied namespace; errors do not stop them."""

    def __init__(self, timeout: int = 300) -> None:
        self.timeout, self.manager = timeout, None

    def __enter__(self) -> Kernel:
        self.folder = tempfile.TemporaryDirectory()
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.manager is not None:
            from jupyter_core.utils import run_sync

            run_sync(self.manager.shutdown_kernel)(now=True)
        self.folder.cleanup()

    def run(self, notebook: NotebookNode) -> tuple[NotebookNode, dict[str, Any]]:
        """Return the notebook with its outputs, and the values of its named answers."""
        ran = copy.deepcopy(notebook)
        names = answer_names(notebook)
        probe = nbformat.v4.new_code_cell(PROBE.replace("NAMES", repr(names)))
        reset = nbformat.v4.new_code_cell("%reset -f")
        ran.cells = [reset, *ran.cells, probe]
        client = NotebookClient(
            ran, km=self.manager, kernel_name="python3", timeout=self.timeout, allow_errors=True,
            resources={"metadata": {"path": self.folder.name}},
            extra_arguments=["--IPKernelApp.log_level=40"],
        )  # fmt: skip
        if self.manager is None:
            self.manager = client.create_kernel_manager()
            client.owns_km = False
        client.execute()
        ran.cells = ran.cells[1:-1]
        printed = [o.text for o in probe.outputs if o.output_type == "stream"]
        return ran, json.loads(printed[0]) if printed else {}


def grades(notebook: NotebookNode) -> dict[str, tuple[float, float, str]]:
    """Return (points, of how many, error message) of every test cell of an executed notebook."""
    quiet = logging.getLogger("nbgrader")
    result = {}
    for cell in filter(is_test, notebook.cells):
        points, most = determine_grade(cell, quiet)
        errors = [f"{o.ename}: {o.evalue}" for o in cell.outputs if o.output_type == "error"]
        streams = [o.text for o in cell.outputs if o.get("name") == "stderr"]
        result[grading(cell)["grade_id"]] = points or 0.0, most, "\n".join(errors + streams)
    return result


def require_full_marks(executed: NotebookNode) -> None:
    """Raise AssignmentError, with the error's message, if a solution does not earn its points."""
    for grade_id, (points, most, why) in grades(executed).items():
        if points != most:
            raise AssignmentError(f"{grade_id}: the solution earns {points:g} of {most:g}.\n{why}")


def rubric(notebook: NotebookNode) -> str:
    """Return the hand-graded questions of a master as Markdown: text, model answer, rubric."""
    parts, text = [f"# {notebook.metadata.ntp_lite.assignment}"], ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and HEADING.search(cell.source):
            text = cell.source
        if is_by_hand(cell):
            meta = grading(cell)
            parts += [text, f"### {meta['grade_id']}: {meta['points']} points", cell.source]
            text = ""
    return "\n\n".join(part for part in parts if part) + "\n"


def nbgrader_config(seed: int) -> str:
    """Return the configuration of the nbgrader course."""
    return f'''"""An nbgrader course with the problem sets of this class. In this folder:

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


def release(source: Path, target: Path, seed: int, execute: bool = True) -> list[str]:
    """Write all sets found in `source` for this seed into `target`; return their names.

    Notebooks of an earlier release in `target` are replaced. With execute=False the executed
    notebooks and the expected values are left out. Raises AssignmentError.
    """
    paths = sorted(source.glob("ps*.md"))
    if not paths:
        raise AssignmentError(f"There is no problem set ps*.md in {source}.")
    masters = {path.stem: master(path, seed) for path in paths}
    executed, values = {}, {}
    for name, notebook in masters.items() if execute else ():
        with Kernel() as kernel:
            try:
                executed[name], values[name] = kernel.run(notebook)
            except (CellTimeoutError, DeadKernelError) as error:
                raise AssignmentError(
                    f"{name}: the solutions do not run to the end.\n{error}"
                ) from None
        require_full_marks(executed[name])
    student, instructor = target / "student", target / "instructor"
    for folder in (student, instructor):  # nothing else is touched: submissions may lie here
        for old in folder.glob("ps*.ipynb"):
            old.unlink()
    course = instructor / "nbgrader"
    for name, notebook in masters.items():
        stripped, full = student_version(notebook), without_notes(notebook)
        _write(student / f"{name}.ipynb", dump(stripped))
        _write(instructor / f"{name}.ipynb", dump(full))
        _write(course / "source" / name / f"{name}.ipynb", dump(full))
        _write(course / "release" / name / f"{name}.ipynb", dump(stripped))
        if execute:
            _write(instructor / f"{name}_solutions.ipynb", dump(executed[name]))
    head = f"Model answers and rubrics for the class with seed {seed}. Not for students.\n\n"
    _write(instructor / "rubrics.md", head + "\n".join(map(rubric, masters.values())))
    _write(course / "nbgrader_config.py", nbgrader_config(seed))
    if execute:
        _write(instructor / "expected_values.json", json.dumps(values, indent=1) + "\n")
    return list(masters)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Release the problem sets for one class.")
    parser.add_argument("--seed", type=int, required=True, help="the class's number, such as 2027")
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "assignments")
    parser.add_argument("--source", type=Path, default=ROOT / "book" / "assignments")
    arguments = parser.parse_args()
    if arguments.seed < 0:
        parser.error("the seed is a whole number, 0 or larger")
    target = arguments.out / str(arguments.seed)
    try:
        names = release(arguments.source, target, arguments.seed)
    except AssignmentError as error:
        print(f"assignments: {error}", file=sys.stderr)
        return 1
    print(f"{', '.join(names)}: {target}/student is for the class, {target}/instructor is not.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
