"""Which of several files of one student counts.

A student has one row in every table. Of several files counts the one that the roster's column
`submission` names; without it, of those that could be graded, the last by name, where numbers are
read as numbers: Canvas calls later versions `ps1-1`, `ps1-2`, and a browser `ps1 (1)`.
"""

from __future__ import annotations

import re

from teaching.grader.records import Record
from teaching.grader.roster import Person


def not_counted(records: list[Record], people: dict[str, Person]) -> dict[str, str]:
    """Return, by the name of each file that does not count, the one that counts in its place."""
    of_student: dict[str, list[Record]] = {}
    for record in records:
        if record.name in people:
            of_student.setdefault(people[record.name].id, []).append(record)
    others: dict[str, str] = {}
    for files in of_student.values():
        counts = max(files, key=lambda record: _rank(record, people[record.name]))
        others |= {record.name: counts.name for record in files if record is not counts}
    return others


def _rank(record: Record, person: Person) -> tuple[bool, bool, list[str | int], str]:
    is_named = record.name == person.submission
    return is_named, not record.refused, _in_order(record.name), record.name


def _in_order(name: str) -> list[str | int]:
    """Return what puts names in order: words and numbers in turn."""
    parts: list[str | int] = list(re.split("([0-9]+)", name.casefold()))
    parts[1::2] = [int(number) for number in parts[1::2]]
    return parts
