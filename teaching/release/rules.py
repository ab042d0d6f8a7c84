"""The format of a problem set, checked cell by cell; every offence names its cell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from nbformat import NotebookNode

from teaching.cells import is_answer, is_by_hand, is_test
from teaching.release.errors import AssignmentError

POINTS_TABLE = "<!-- points -->"  # the first cell's place for the table of questions
TOTAL_POINTS = 100
HEADING = re.compile(r"^## Question (\d+)\. (.+)$", re.MULTILINE)
_EFFORT = re.compile(r"^\*(\d+) points, about (\d+) minutes, (coded|by hand)\.\*$", re.MULTILINE)
_RUBRIC_ITEM = re.compile(r"^- \((\d+)\) ", re.MULTILINE)
_GRADE_ID = re.compile(r"(ps\d+)-q(\d+)-[a-z][a-z0-9-]*")
_MYST = re.compile(r"^\s*(```+|:::+)\{|\{[a-z]+(:[a-z]+)*\}`", re.MULTILINE)
_REGIONS = {"SOLUTION": is_answer, "HIDDEN TESTS": is_test}


@dataclass(frozen=True)
class Question:
    """What a question's heading says, and what its cells add up to."""

    number: int
    title: str
    announced_points: int
    minutes: int
    points: int
    points_by_hand: int


def grading(cell: NotebookNode) -> dict[str, Any]:
    """Return the cell's nbgrader metadata, or an empty dictionary."""
    return dict(cell.metadata.get("nbgrader", {}))


def notes(cell: NotebookNode) -> dict[str, Any]:
    """Return what the authors of a set note at a cell: answers and likely mistakes."""
    return dict(cell.metadata.get("ntp_lite", {}))


def answer_names(notebook: NotebookNode) -> list[str]:
    """Return the names whose values the instructor gets."""
    return [name for cell in notebook.cells for name in notes(cell).get("answers", [])]


def mistakes(cell: NotebookNode) -> list[tuple[str, str, str]]:
    """Return the likely mistakes listed for an answer: (replace this, by this, to be told this)."""
    return [(old, new, told) for old, new, told in notes(cell).get("mistakes") or []]


def question_number(cell: NotebookNode) -> int:
    """Return 3 for a cell with grade_id `ps1-q3-test`."""
    match = _GRADE_ID.fullmatch(grading(cell)["grade_id"])
    if match is None:
        raise AssignmentError(f"{grading(cell)['grade_id']!r} names no question.")
    return int(match[2])


def questions(notebook: NotebookNode) -> list[Question]:
    """Return the questions in their order."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type != "markdown" or not (heading := HEADING.search(cell.source)):
            continue
        number = int(heading[1])
        effort = _EFFORT.search(cell.source)
        if effort is None:
            message = "say `*10 points, about 30 minutes, coded.*` below the heading."
            raise AssignmentError(f"Question {number}: {message}")
        graded = [c for c in notebook.cells if grading(c)["grade"] and question_number(c) == number]
        question = Question(
            number=number,
            title=heading[2],
            announced_points=int(effort[1]),
            minutes=int(effort[2]),
            points=sum(grading(c)["points"] for c in graded),
            points_by_hand=sum(grading(c)["points"] for c in graded if is_by_hand(grading(c))),
        )
        found.append(question)
    return found


class Rules:
    """The rules of the format, for one set."""

    def __init__(self, notebook: NotebookNode, name: str) -> None:
        self.notebook = notebook
        self.name = name

    def insist(self, right: bool, message: str, cell: NotebookNode | None = None) -> None:
        """Raise AssignmentError, naming the cell, where something is not right."""
        if right:
            return
        place = ""
        if cell is not None:
            place = f" {grading(cell).get('grade_id', cell.source[:50])!r}:"
        raise AssignmentError(f"{self.name}:{place} {message}")

    def check(self) -> None:
        """Check every cell, and then the set as a whole."""
        for cell in self.notebook.cells:
            self.check_markers(cell)
            self.check_metadata(cell)
            if is_answer(grading(cell)) and cell.cell_type == "code":
                self.check_answer(cell)
            if is_test(grading(cell)):
                self.check_test(cell)
            if is_by_hand(grading(cell)):
                self.check_derivation(cell)
        self.check_total()

    def check_markers(self, cell: NotebookNode) -> None:
        """Check that solutions and hidden tests are marked where they may be, in pairs."""
        for mark, belongs in _REGIONS.items():
            lines = re.findall(rf"^ *### (BEGIN|END) {mark}$", cell.source, re.MULTILINE)
            mentioned = cell.source.count(mark)
            self.insist(len(lines) == mentioned, f"a marker of {mark} has the wrong form.", cell)
            pairs = ["BEGIN", "END"] * (len(lines) // 2)
            self.insist(lines == pairs, f"{mark}: unbalanced.", cell)
            allowed = not lines or belongs(grading(cell))
            self.insist(allowed, f"a region {mark} does not belong here.", cell)

    def check_metadata(self, cell: NotebookNode) -> None:
        """Check names, locks and markup."""
        metadata = grading(cell)
        identities = [grading(c)["grade_id"] for c in self.notebook.cells]
        unique = identities.count(metadata["grade_id"]) == 1
        self.insist(unique, "two cells have this grade_id.", cell)
        self.insist(metadata.get("schema_version") == 3, "schema_version must be 3.", cell)
        locked_if_given = is_answer(metadata) != bool(metadata["locked"])
        self.insist(locked_if_given, "lock all cells but the answers.", cell)
        plain = cell.cell_type == "code" or not _MYST.search(cell.source)
        self.insist(plain, "write plain CommonMark, no MyST.", cell)
        if is_answer(metadata) or is_test(metadata):
            match = _GRADE_ID.fullmatch(metadata["grade_id"])
            named = match is not None and match[1] == self.name
            self.insist(named, f"call it {self.name}-q1-code or the like.", cell)

    def check_answer(self, cell: NotebookNode) -> None:
        """Check that an answer has a solution and likely mistakes."""
        solved = not grading(cell)["grade"] and "### BEGIN SOLUTION" in cell.source
        self.insist(solved, "no solution in this cell.", cell)
        self.insist(len(mistakes(cell)) >= 2, "list two likely mistakes or more.", cell)
        for old, _, _ in mistakes(cell):
            once = cell.source.count(old) == 1
            self.insist(once, f"{old!r} is not there exactly once.", cell)

    def check_test(self, cell: NotebookNode) -> None:
        """Check that a test has a public part, and after it hidden tests."""
        hidden = cell.source.count("HIDDEN TESTS") == 2
        self.insist(hidden, "a graded code cell needs a hidden region.", cell)
        last = cell.source.rstrip().split("\n")[-1]
        at_the_end = "### END HIDDEN TESTS" in last
        self.insist(at_the_end, "the hidden region must come last.", cell)
        public = cell.source.split("### BEGIN HIDDEN TESTS")[0]
        self.insist("assert" in public, "public tests are missing.", cell)

    def check_derivation(self, cell: NotebookNode) -> None:
        """Check that the rubric of a hand-graded answer adds up."""
        written = cell.cell_type == "markdown"
        self.insist(written, "a hand-graded answer is a Markdown cell.", cell)
        points = sum(int(item) for item in _RUBRIC_ITEM.findall(cell.source))
        right = points == grading(cell)["points"]
        self.insist(right, f"the rubric adds up to {points}.", cell)

    def check_total(self) -> None:
        """Check the questions, the points and the named answers."""
        first = self.notebook.cells[0]
        self.insist(
            POINTS_TABLE in first.source, f"the first cell must contain {POINTS_TABLE}.", first
        )
        found = questions(self.notebook)
        in_order = [q.number for q in found] == list(range(1, len(found) + 1))
        self.insist(in_order, "number the questions 1, 2, 3, ...")
        for q in found:
            message = f"question {q.number} says {q.announced_points}, is {q.points} points."
            self.insist(q.announced_points == q.points, message)
        total = sum(grading(c)["points"] for c in self.notebook.cells if grading(c)["grade"])
        self.insist(total == TOTAL_POINTS, f"the points add up to {total}, not {TOTAL_POINTS}.")
        in_questions = sum(q.points for q in found) == TOTAL_POINTS
        self.insist(in_questions, "a graded cell belongs to no question.")
        self.insist(bool(answer_names(self.notebook)), "no cell names its answers.")
