"""The marks of a class, put together from tests, a person's points and lateness."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from teaching.grader.hand_grades import HandGrades, is_unanswered
from teaching.grader.late import LatePolicy
from teaching.grader.plan import Kind, Step
from teaching.grader.records import Part, Record
from teaching.grader.roster import Outcome, Person, Roster
from teaching.grader.submissions import in_table, printable, without_formulas
from teaching.grader.tables import Table, number, write_table


@dataclass(frozen=True)
class Marked:
    """One submission with all of its marks."""

    record: Record
    hand: HandGrades
    person: Person | None
    late: LatePolicy | None
    other_files: list[str] = field(default_factory=list)  # of the same student, not counted

    @property
    def name(self) -> str:
        """Return the name as it is shown."""
        return printable(self.record.name)

    @property
    def student(self) -> str:
        """Return the student's name, where the roster knows it; else the file's."""
        return printable(self.person.name) if self.person and self.person.name else self.name

    def is_empty(self, part: Part) -> bool:
        """Say whether a derivation was left as it was, and nothing else could be meant for it."""
        return is_unanswered(part) and not self.record.other_text

    @property
    def unanswered(self) -> list[Part]:
        """Return the derivations that were left as they were."""
        return [part for part in self.record.derivations if self.is_empty(part)]

    def points_of(self, part: Part) -> float | None:
        """Return the points of a test or a derivation; None for one that waits for a person.

        A derivation counts 0 where it was left blank, unless there is other text in the notebook.
        """
        if part.kind is Kind.TEST:
            return part.points
        if is_unanswered(part) and not self.is_empty(part):
            return self.hand.points.get(part.id)
        return self.hand.points_for(part)

    @property
    def points_by_hand(self) -> float:
        """Return the points that a person has given so far."""
        return sum(self.points_of(part) or 0 for part in self.record.derivations)

    @property
    def waits_for(self) -> list[Part]:
        """Return the derivations that are not marked yet."""
        return [part for part in self.record.derivations if self.points_of(part) is None]

    @property
    def changed(self) -> list[Part]:
        """Return the derivations that are other ones than those that were marked."""
        return [part for part in self.record.derivations if self.hand.has_changed(part)]

    @property
    def is_complete(self) -> bool:
        """Say whether everything is marked."""
        return not self.record.refused and not self.waits_for

    @property
    def submitted(self) -> datetime | None:
        """Return when it was handed in, where the roster says so."""
        return self.person.submitted if self.person else None

    @property
    def has_no_time(self) -> bool:
        """Say whether late days are to be counted, and nobody knows when this was handed in."""
        return self.late is not None and self.submitted is None and not self.record.refused

    @property
    def days_late(self) -> int:
        """Return how many days have begun since the set was due."""
        return self.late.days_late(self.submitted) if self.late else 0

    @property
    def late_reduction(self) -> float:
        """Return the points that lateness costs."""
        if self.late is None:
            return 0.0
        return self.late.reduction(self.record.points + self.points_by_hand, self.submitted)

    @property
    def total(self) -> float | None:
        """Return all points together, once everything is marked."""
        if not self.is_complete:
            return None
        return self.record.points + self.points_by_hand - self.late_reduction

    @property
    def status(self) -> str:
        """Say in few words what a person should know."""
        if self.record.refused:
            return f"not graded: {self.record.refused}"
        missing = [part.id for part in self.record.parts if part.is_missing]
        empty = [p.id for p in self.record.derivations if is_unanswered(p) and not self.is_empty(p)]
        changed = [part.id for part in self.changed]
        given = [part.id for part in self.record.parts if part.kind is Kind.GIVEN]
        lists = {
            "cells missing": missing,
            "empty, but there is other text": empty,
            "changed since it was marked": changed,
            "given cells that failed": given,
        }
        said = [f"{what}: {', '.join(ids)}" for what, ids in lists.items() if ids]
        if self.days_late:
            said.append(f"days late: {self.days_late}")
        if self.other_files:
            said.append(f"other files, not counted: {', '.join(map(printable, self.other_files))}")
        if self.has_no_time:
            said.append("time of submission unknown")
        return "; ".join(said + self.record.notes) or "graded"


def grades_table(marked: list[Marked], steps: list[Step]) -> Table:
    """Return the table of all marks: a row for each submission, a column for each question."""
    tests = [step for step in steps if step.kind is Kind.TEST]
    by_hand = [step for step in steps if step.is_by_hand]
    most = sum(step.points for step in tests)
    most_together = most + sum(step.points for step in by_hand)
    has_people = any(m.person for m in marked)
    titles = ["submission", *(("id", "name") if has_people else ()), "status"]
    titles += [f"{test.id} (max {test.points:g})" for test in tests]
    titles.append(f"autograded (max {most:g})")
    titles += [f"{step.id} (by hand, max {step.points:g})" for step in by_hand]
    titles += ["late", f"total (max {most_together:g})"]
    rows = [titles]
    for m in marked:
        about = [in_table(m.record.name)]
        if has_people:
            about += [in_table(m.person.id), in_table(m.person.name)] if m.person else ["", ""]
        parts = {part.id: part for part in m.record.parts}
        points: list[float | None] = [m.points_of(parts[test.id]) for test in tests]
        points.append(m.record.points)
        points += [m.points_of(parts[step.id]) for step in by_hand]
        points += [-m.late_reduction or None, m.total]
        if m.record.refused:
            points = [None] * len(points)
        rows.append([*about, without_formulas(m.status), *map(number, points)])
    return Table(rows)


def export_to_systems(
    roster: Roster, folder: Path, title: str, most: float, marked: list[Marked]
) -> list[Path]:
    """Write the tables for Canvas and Moodle; return their paths."""
    outcomes = [Outcome(m.person, m.total, m.hand.comment) for m in marked if m.person]
    return roster.export(folder, title, most, outcomes)


def write_grades(folder: Path, marked: list[Marked], steps: list[Step]) -> Path:
    """Write grades.csv; return its path."""
    path = folder / "grades.csv"
    write_table(path, grades_table(marked, steps))
    return path
