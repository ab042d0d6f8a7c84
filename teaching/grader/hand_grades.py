"""The points that a person gives: read from, and kept in, `hand_grades.csv`.

Each derivation has three columns: points, a comment, and the version of the proof that the points
are for (a short hash, or `none` where there is no proof). Columns may stand in any order; comments
and versions may be missing. The grader adds rows for new submissions, and renews the version of
proofs that have no points yet, or points without a version, which are for the proof of now; it
changes nothing else.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from teaching.grader.errors import BadInputError
from teaching.grader.plan import PLACEHOLDERS, Step
from teaching.grader.records import Part, Record
from teaching.grader.submissions import in_table
from teaching.grader.tables import Table, read_table, write_table

_COMMENT = " comment"
_VERSION = " version"
_NO_PROOF = "none"


@dataclass
class HandGrades:
    """What a person entered for one submission."""

    points: dict[str, float] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    comment: str = ""  # on the submission as a whole

    @property
    def is_empty(self) -> bool:
        """Say whether a person entered nothing; versions are the grader's own."""
        return not (self.points or self.comments or self.comment)

    def points_for(self, part: Part) -> float | None:
        """Return the points of a derivation; an answer that was left blank counts 0."""
        if part.id in self.points:
            return self.points[part.id]
        return 0.0 if is_unanswered(part) else None

    def has_changed(self, part: Part) -> bool:
        """Say whether the proof is another one than the one that was marked."""
        marked = self.versions.get(part.id)
        if part.id not in self.points or marked is None:
            return False
        return marked not in (version(part), _digest(part))  # earlier sheets hold the hash alone


def is_unanswered(part: Part) -> bool:
    """Say whether a derivation's cell is there, as it was handed out."""
    return part.is_blank and not part.is_missing


def version(part: Part) -> str:
    """Return a short hash of what stands in a derivation; a word where nothing does.

    Nothing stands in one that was left unanswered, is missing, or is part of an unreadable file.
    The letter before the hash keeps spreadsheets from reading 01234567 or 123456e7 as a number.
    """
    return f"v{_digest(part)}" if _text(part) or part.pictures else _NO_PROOF


def _text(part: Part) -> str:
    return "" if part.source.strip() in PLACEHOLDERS else part.source


def _digest(part: Part) -> str:
    content = "\0".join([_text(part), *part.pictures])
    return hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()[:8]


class Sheet:
    """The table `hand_grades.csv` of one problem set."""

    def __init__(self, path: Path, steps: list[Step]) -> None:
        self.path = path
        self.most = {step.id: step.points for step in steps if step.is_by_hand}
        self.is_new = not path.exists()
        self.table = Table([self._titles()]) if self.is_new else read_table(path)
        if not self.table.rows:
            self.table.rows = [self._titles()]
        self.columns = [title.split(" (max")[0].strip() for title in self.table.rows[0]]
        self._check_columns()
        self.problems: list[str] = []  # rows that count for nobody, in one sentence each
        self.rows: dict[str, list[str]] = {}  # by the names that they are for
        self.unclear: set[str] = set()  # names that stand in several rows with different marks
        self.grades = self._read_rows()

    def _titles(self) -> list[str]:
        titles = ["submission"]
        for name, most in self.most.items():
            titles += [f"{name} (max {most:g})", name + _COMMENT, name + _VERSION]
        return [*titles, "comment"]

    def _check_columns(self) -> None:
        known = {"submission", "comment", *self.most}
        known |= {name + ending for name in self.most for ending in (_COMMENT, _VERSION)}
        for name in self.columns:
            if name and (name not in known or self.columns.count(name) > 1):
                raise BadInputError(
                    f"{self.path} has the column {name!r}, unknown or a second time"
                )
        for name in ("submission", *self.most):
            if name not in self.columns:
                raise BadInputError(f"{self.path} lacks the column {name!r}")

    def _read_rows(self) -> dict[str, HandGrades]:
        """Read all rows; one that tells nobody's marks is named, and stops nothing."""
        grades: dict[str, HandGrades] = {}
        places: dict[str, int] = {}
        for place, row in enumerate(self.table.rows[1:], start=2):
            cells = self._cells(place, row)
            name = cells.pop("submission", "").strip()
            read = self._read_row(name or f"row {place}", cells)
            if not name:
                if not read.is_empty:
                    self.problems.append(
                        f"row {place} of {self.path.name} has no name, and counts for nobody: "
                        "enter the submission's name, or delete the row"
                    )
            elif name not in grades or grades[name].is_empty:
                grades[name] = read
                places[name] = place
                self.rows[name] = row
            elif not read.is_empty and read != grades[name]:
                self.unclear.add(name)
                self.problems.append(
                    f"rows {places[name]} and {place} of {self.path.name} are both called "
                    f"{name:.80} and differ, and neither counts: delete one, or mend its name "
                    "(a spreadsheet makes 42 of 0042)"
                )
        return {name: read for name, read in grades.items() if name not in self.unclear}

    def _cells(self, place: int, row: list[str]) -> dict[str, str]:
        """Return the cells of a row in which something stands, by their columns."""
        cells = {
            column: value
            for column, value in zip_longest(self.columns, row, fillvalue="")
            if value.strip()
        }
        if "" in cells:
            raise BadInputError(
                f"row {place} of {self.path} has more cells than columns: {', '.join(row):.80}; "
                "put a text with commas between quotation marks"
            )
        return cells

    def _read_row(self, name: str, cells: dict[str, str]) -> HandGrades:
        entered = HandGrades(comment=cells.get("comment", ""))
        for question in self.most:
            if question in cells:
                entered.points[question] = self._read_points(name, question, cells[question])
            if question + _COMMENT in cells:
                entered.comments[question] = cells[question + _COMMENT]
            if question + _VERSION in cells:
                entered.versions[question] = cells[question + _VERSION].strip()
        return entered

    def _read_points(self, name: str, question: str, text: str) -> float:
        try:
            points = float(text.replace(",", "."))
        except ValueError:
            points = math.nan
        if not 0 <= points <= self.most[question]:
            raise BadInputError(
                f"{self.path}: {text!r} for {name} in {question} is no number from 0 to "
                f"{self.most[question]:g}"
            )
        return points

    def grades_of(self, name: str) -> HandGrades:
        """Return what was entered for a submission."""
        return self.grades.get(in_table(name), HandGrades())

    def update(self, records: list[Record]) -> None:
        """Add rows for new submissions, and versions, but where points are for another proof."""
        changed = self.is_new
        for record in records:
            name = in_table(record.name)
            if name in self.unclear:
                continue
            if name not in self.rows:
                row = [name if column == "submission" else "" for column in self.columns]
                self.rows[name] = row
                self.table.rows.append(row)
                changed = True
            changed |= self._renew_versions(self.rows[name], record)
        if changed:
            write_table(self.path, self.table)

    def _renew_versions(self, row: list[str], record: Record) -> bool:
        changed = False
        grades = self.grades_of(record.name)
        for part in record.derivations:
            if part.id + _VERSION not in self.columns or grades.has_changed(part):
                continue
            column = self.columns.index(part.id + _VERSION)
            row += [""] * (column + 1 - len(row))
            if row[column] != version(part):
                row[column] = version(part)
                grades.versions[part.id] = row[column]
                changed = True
        return changed
