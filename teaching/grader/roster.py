"""Names and numbers of a class, and tables for learning-management systems.

The roster is a table in one of three forms, told by its titles:

* Canvas: what *Grades, Export* writes (`Student, ID, SIS User ID, SIS Login ID, Section, ...`, or
  `LastName, FirstName` in the place of `Student`);
* Moodle: an assignment's *grading worksheet* (`Identifier, Full name, Email address, ...`);
* your own: `name`, `id`, and, if you like, the columns in `OWN_TITLES`.

Those columns count in a table of Canvas or Moodle, too, where somebody added them: a gradebook of
Canvas does not say when anything was handed in. `Roster.unused` are the columns that nothing reads.

From the first comes a table that *Grades, Import* of Canvas reads; from the second the worksheet
with points and comments, which Moodle's *Upload grading worksheet* reads; from the third both a
Canvas table and one for Moodle's grade import (which maps columns by hand).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path

from teaching.grader.errors import BadInputError
from teaching.grader.late import read_time
from teaching.grader.matching import Keys, find_claims, settle
from teaching.grader.tables import Table, number, read_table, write_table

# In the order in which Canvas wants them; those that an export has stand in the import.
CANVAS_TITLES = (
    *("Student", "LastName", "FirstName", "ID"),
    *("SIS User ID", "SIS Login ID", "Integration ID", "Root Account", "Section"),
)
_OWN_CANVAS_TITLES = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
POINTS_POSSIBLE = "    Points Possible"  # the name in Canvas's second row, with its four spaces
_MOODLE_SUBMITTED = "Last modified (submission)"
# `submission` is the name of the file that counts, `submitted` the time when it was handed in.
OWN_TITLES = ("email", "login", "section", "submission", "submitted")
# Columns that the systems write and the grader has no use for: no word about them.
_OF_CANVAS = re.compile(
    r".* \([0-9]+\)|((Unposted )?(Current|Final)|Override|.* (Unposted )?(Current|Final)) "
    r"(Score|Grade|Points|Status)|Notes|"
)
_OF_MOODLE = re.compile(
    r"Status|Group|Team|Username|Department|Institution|Maximum grade|Maximum Grade|Scale|"
    r"Online text|Marking workflow state|(Allocated )?[Mm]arkers?|Grade can be changed|Due date|"
    r"Last modified \((submission|grade)\)|Identifier|Full name|ID number|Email address|Grade|"
    r"Feedback comments|Word count|"
)


class Form(Enum):
    """Where a roster comes from."""

    CANVAS = "Canvas"
    MOODLE = "Moodle"
    OWN = "own"


@dataclass(frozen=True)
class Person:
    """One student of the roster."""

    name: str
    id: str
    email: str = ""
    login: str = ""
    section: str = ""
    submission: str = ""
    submitted: datetime | None = None
    row: dict[str, str] = field(default_factory=dict)  # the row of the roster, by its titles

    def keys(self, form: Form) -> Keys:
        """Return everything that a file may be called after."""
        number = self.id.removeprefix("Participant ")
        numbers = {self.id, number, self.row.get("SIS User ID", ""), self.row.get("ID number", "")}
        addresses = {self.email, self.email.partition("@")[0]}
        return Keys(
            system=form.value,
            system_number=number,
            numbers=_in_small_letters(numbers),
            logins=_in_small_letters({self.login}),
            addresses=_in_small_letters(addresses),
            name=self.name.strip().casefold(),
        )


@dataclass(frozen=True)
class Outcome:
    """What a system is told of one student."""

    person: Person
    total: float | None
    comment: str


class Roster:
    """The students of a class."""

    def __init__(self, path: Path) -> None:
        table = read_table(path)
        self.path = path
        self.titles = [title.strip() for title in (table.rows or [[]])[0]]
        self.form = self._recognise()
        self.disputed: list[tuple[Person, list[str]]] = []  # known when files are assigned
        width = len(self.titles)
        padded = [[*row, *[""] * width][:width] for row in table.rows[1:]]  # rows may be short
        rows = [dict(zip(self.titles, row, strict=True)) for row in padded]
        self.people = [self._person(row) for row in rows if self._is_person(row)]
        numbers = [person.id for person in self.people]
        twice = next((n for n in numbers if numbers.count(n) > 1), None)
        if twice is not None:
            raise BadInputError(
                f"{path} has the student {twice!r} twice, or without a number: one row for each "
                "student, whose column `submission` names the file that counts"
            )
        files = self.named_files
        shared = next((file for file in files if files.count(file) > 1), None)
        if shared is not None:
            raise BadInputError(f"{path} gives the submission {shared!r} to two students")

    @property
    def has_times(self) -> bool:
        """Say whether there is a column of the times when submissions were handed in."""
        return bool({"submitted", _MOODLE_SUBMITTED.lower()} & set(map(str.lower, self.titles)))

    @property
    def unused(self) -> list[str]:
        """Return the columns that nothing reads, but those that the system itself adds."""
        known = {Form.CANVAS: CANVAS_TITLES, Form.MOODLE: (), Form.OWN: ("name", "id")}[self.form]
        patterns = {Form.CANVAS: _OF_CANVAS, Form.MOODLE: _OF_MOODLE}
        of_system = patterns.get(self.form, re.compile(""))
        return [
            title
            for title in self.titles
            if title not in known
            and title.lower() not in OWN_TITLES
            and not of_system.fullmatch(title)
        ]

    @property
    def named_files(self) -> list[str]:
        """Return the submissions that the roster names."""
        return [person.submission for person in self.people if person.submission]

    def _recognise(self) -> Form:
        if "ID" in self.titles and {"Student", "LastName"} & set(self.titles):
            return Form.CANVAS
        if {"Identifier", "Grade"} <= set(self.titles):
            return Form.MOODLE
        self.titles = [title.lower() for title in self.titles]
        if {"name", "id"} <= set(self.titles):
            return Form.OWN
        raise BadInputError(
            f"{self.path} is no roster: it needs the columns name and id, or must be a table that "
            "Canvas (Grades, Export) or Moodle (grading worksheet) wrote"
        )

    def _is_person(self, row: dict[str, str]) -> bool:
        if not any(value.strip() for value in row.values()):
            return False
        # Canvas writes rows that are no students: points, and how grades are posted.
        return self.form is not Form.CANVAS or bool(row.get("ID", "").strip())

    def _person(self, row: dict[str, str]) -> Person:
        cells = {title.lower(): value.strip() for title, value in row.items()}
        submitted = cells.get("submitted", "")
        name, number = cells.get("name", ""), cells.get("id", "")
        email, login = cells.get("email", ""), cells.get("login", "")
        if self.form is Form.CANVAS:
            first_and_last = f"{row.get('FirstName', '')} {row.get('LastName', '')}".strip()
            name = row.get("Student", "") or first_and_last
            login = row.get("SIS Login ID", "") or login
        elif self.form is Form.MOODLE:
            name, number = row.get("Full name", ""), row["Identifier"].strip()
            email = row.get("Email address", "") or email
            written = row.get(_MOODLE_SUBMITTED, "")  # "-" where nothing was handed in
            submitted = submitted or (written if any(map(str.isdigit, written)) else "")
        return Person(
            name=name,
            id=number,
            email=email,
            login=login,
            section=cells.get("section", ""),
            submission=cells.get("submission", "").removesuffix(".ipynb"),
            submitted=self._time(submitted) if submitted else None,
            row=row,
        )

    def _time(self, text: str) -> datetime:
        return read_time(text, str(self.path))

    def assign(self, names: list[str]) -> dict[str, Person]:
        """Return the student of each submission whose name tells it, and tells one only.

        What the column `submission` says counts first. Students for whom several senders claim a
        file, where it says nothing, are kept in `disputed` with these files.
        """
        claims = find_claims([person.keys(self.form) for person in self.people], names)
        named = {
            person.submission: place
            for place, person in enumerate(self.people)
            if person.submission in names
        }
        settled = set(named.values())
        claims = {file: claim for file, claim in claims.items() if file not in named}
        others = {file: claim for file, claim in claims.items() if claim.student not in settled}
        owners, disputed = settle(others)
        owners |= {
            file: claim.student
            for file, claim in claims.items()
            if claim.student in settled and not claim.is_weak
        }
        self.disputed = [(self.people[place], files) for place, files in disputed.items()]
        return {
            name: self.people[place] for name, place in (owners | named).items() if name in names
        }

    def export(self, folder: Path, title: str, most: float, outcomes: list[Outcome]) -> list[Path]:
        """Write the tables for the systems; return their paths."""
        tables: dict[str, Callable[[str, float, list[Outcome]], Table]] = {}
        if self.form is not Form.MOODLE:
            tables["canvas.csv"] = self._canvas
        if self.form is not Form.CANVAS:
            tables["moodle.csv"] = self._moodle
        for name, make in tables.items():
            write_table(folder / name, make(title, most, outcomes), for_excel=False)
        return [folder / name for name in tables]

    def other_maximum(self, most: float) -> str:
        """Return the maximum grade of a Moodle worksheet, where it is not that of the set."""
        title = next((t for t in self.titles if t.lower() == "maximum grade"), "")
        for person in self.people if self.form is Form.MOODLE else []:
            said = person.row.get(title, "").replace(",", ".")
            if said and not (said.replace(".", "", 1).isdigit() and float(said) == most):
                return said
        return ""

    def _canvas(self, title: str, most: float, outcomes: list[Outcome]) -> Table:
        known = CANVAS_TITLES if self.form is Form.CANVAS else _OWN_CANVAS_TITLES
        titles = [t for t in known if self.form is Form.OWN or t in self.titles]
        column = next((t for t in self.titles if t == title or t.startswith(f"{title} (")), title)
        rows = [[*titles, column]]
        rows.append([POINTS_POSSIBLE, *[""] * (len(titles) - 1), number(most)])
        for outcome in outcomes:
            person = outcome.person
            own = {
                "Student": person.name,
                "ID": "",
                "SIS User ID": person.id,
                "SIS Login ID": person.login or person.email,
                "Section": person.section,
            }
            row = person.row if self.form is Form.CANVAS else own
            rows.append([*(row.get(t, "") for t in titles), number(outcome.total)])
        return Table(rows)

    def _moodle(self, title: str, most: float, outcomes: list[Outcome]) -> Table:
        if self.form is Form.OWN:
            rows = [["ID number", "Email address", "Full name", title, f"{title} feedback"]]
            for outcome in outcomes:
                person = outcome.person
                about = [person.id, person.email, person.name]
                rows.append([*about, number(outcome.total), outcome.comment])
            return Table(rows)
        rows = [self.titles]
        for outcome in outcomes:
            new = {"Grade": number(outcome.total), "Feedback comments": outcome.comment}
            rows.append([(outcome.person.row | new).get(t, "") for t in self.titles])
        return Table(rows)


def _in_small_letters(words: set[str]) -> set[str]:
    return {word.strip().casefold() for word in words} - {""}
