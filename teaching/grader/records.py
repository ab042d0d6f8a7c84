"""What is kept of one submission."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from teaching.grader.marking import Failed, Found, Refused, Reported, Result
from teaching.grader.notebook import NO_NOTEBOOK
from teaching.grader.plan import PLACEHOLDERS, Kind, Step
from teaching.markup import LONGEST_TEXT

MOST_PICTURES = 20  # of one answer: thousands of them open no marking page


@dataclass
class Part:
    """One step of a submission: a test, an answer, or a given cell that failed."""

    id: str
    kind: Kind
    title: str
    most: float  # the points that it can give
    message: str = ""
    points: float = 0  # of a test
    source: str = ""  # of an answer
    pictures: list[str] = field(default_factory=list)
    pictures_left_out: int = 0
    is_blank: bool = False
    is_missing: bool = False


@dataclass
class Record:
    """One submission."""

    name: str
    refused: str
    notes: list[str]
    parts: list[Part]
    other_text: list[str]
    seconds: float

    @property
    def is_no_notebook(self) -> bool:
        """Say whether the file is something else than a notebook."""
        return self.refused.startswith(NO_NOTEBOOK)

    @property
    def tests(self) -> list[Part]:
        """Return the parts that tests mark."""
        return [part for part in self.parts if part.kind is Kind.TEST]

    @property
    def derivations(self) -> list[Part]:
        """Return the parts that a person marks."""
        return [part for part in self.parts if part.kind is not Kind.TEST and part.most]

    @property
    def points(self) -> float:
        """Return the points from the tests."""
        return sum(part.points for part in self.tests)

    @property
    def most(self) -> float:
        """Return the points that tests can give."""
        return sum(part.most for part in self.tests)

    def to_json(self) -> str:
        """Return the record as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Return the record that `to_json` wrote."""
        content = json.loads(text)
        parts = [Part(**(part | {"kind": Kind(part["kind"])})) for part in content["parts"]]
        return cls(**(content | {"parts": parts}))


def make_record(name: str, steps: list[Step], reports: list[Reported], seconds: float) -> Record:
    """Put together what the marking process reported."""
    messages = {report.step: report.message for report in reports if isinstance(report, Result)}
    problems = [report.reason for report in reports if isinstance(report, Refused | Failed)]
    found = next((report for report in reports if isinstance(report, Found)), None)
    refused = problems[0] if problems else ""
    parts = []
    for step in steps:
        message = messages.get(step.id, refused or "Stopped before this cell.")
        part = Part(step.id, step.kind, step.title, step.points, message)
        if step.kind is Kind.TEST:
            part.points = 0 if message else step.points
        elif step.kind in (Kind.ANSWER, Kind.DERIVATION):
            _fill_in_answer(part, found)
        elif refused or not message:
            continue  # a given cell is worth a word where it failed
        parts.append(part)
    notes = found.notes if found else []
    other_text = _together(found.answers.other_text) if found else []
    return Record(name, refused, notes, parts, other_text, round(seconds, 1))


def _together(texts: list[str]) -> list[str]:
    """Return texts as they are, or as one, which is shown as typed, where they are too many.

    A notebook can hold a thousand texts that are short enough to be read as Markdown, and take the
    pages of the whole class a quarter of an hour.
    """
    is_long = sum(map(len, texts)) > LONGEST_TEXT
    return ["\n\n".join(texts)] if is_long else texts


def _fill_in_answer(part: Part, found: Found | None) -> None:
    if found is None:
        return
    sources = found.answers.sources[part.id]
    part.source = "\n\n".join(sources)
    pictures = found.answers.pictures[part.id]
    part.pictures = pictures[:MOST_PICTURES]
    part.pictures_left_out = len(pictures) - len(part.pictures)
    part.is_blank = part.source.strip() in PLACEHOLDERS and not part.pictures
    part.is_missing = not sources


def write(path: Path, text: str) -> None:
    """Write a file in one piece, so that an interruption leaves no half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:40]}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    part.replace(path)
