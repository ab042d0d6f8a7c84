"""The pages that students and instructors read. None of them loads anything from elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from teaching.grader.hand_grades import Sheet, version
from teaching.grader.left_over import FEEDBACK
from teaching.grader.plan import Kind, Step
from teaching.grader.records import write
from teaching.grader.results import Marked
from teaching.grader.similarity import Alike
from teaching.grader.submissions import in_table, page_name, printable
from teaching.grader.tables import number
from teaching.markup import markdown_to_html, new_nonce
from teaching.mathml import STYLE

_TEMPLATES = Path(__file__).parent / "templates"
_BINS = 10


@dataclass(frozen=True)
class Rate:
    """How many solved one test."""

    step: Step
    solved: int
    percent: float


class Pages:
    """Writes the pages of one problem set."""

    def __init__(self, folder: Path, title: str, steps: list[Step]) -> None:
        self.folder = folder
        self.title = title
        self.steps = steps
        self.most = sum(step.points for step in steps)
        self.written: list[Path] = []
        self.environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters["points"] = number
        self.environment.filters["printable"] = printable
        self.environment.filters["in_table"] = in_table
        self.environment.filters["markdown"] = markdown_to_html
        self.environment.globals["formulas"] = STYLE

    def _write(self, path: str, template: str, **content: Any) -> None:
        page = self.environment.get_template(template)
        html = page.render(title=self.title, most=self.most, **content)
        write(self.folder / path, html)
        self.written.append(self.folder / path)

    def write_feedback(self, marked: list[Marked]) -> None:
        """Write a page for each student."""
        for m in marked:
            path = f"{FEEDBACK}/{page_name(m.record.name)}"
            self._write(path, "feedback.html.j2", m=m, record=m.record)

    def write_summary(self, marked: list[Marked], alike: list[Alike], how: str) -> None:
        """Write the page for the instructor."""
        graded = [m for m in marked if not m.record.refused]
        shares = [100 * m.record.points / m.record.most for m in graded if m.record.most]
        bins = [sum(min(int(s // _BINS), 9) == b for s in shares) for b in range(_BINS)]
        tests = [step for step in self.steps if step.kind is Kind.TEST]
        rates = [_rate(test, graded) for test in tests]
        self._write(
            "summary.html",
            "summary.html.j2",
            marked=marked,
            graded=graded,
            bins=bins,
            rates=rates,
            median=median(shares) if shares else None,
            shares=sorted(shares),
            by_hand=[step for step in self.steps if step.is_by_hand],
            alike=alike,
            how=how,
            most_by_tests=sum(test.points for test in tests),
        )

    def write_marking(self, marked: list[Marked], sheet: Sheet) -> None:
        """Write the page on which a person marks the derivations."""
        by_hand = [step for step in self.steps if step.is_by_hand]
        if not by_hand:
            return
        questions = []
        for step in by_hand:
            answers = [
                (m, part)
                for m in marked
                for part in m.record.derivations
                if part.id == step.id and not m.record.refused
            ]
            questions.append((step, answers))
        self._write(
            "marking.html",
            "marking.html.j2",
            questions=questions,
            marked=marked,
            nonce=new_nonce(),
            script=(_TEMPLATES / "marking.js").read_text(encoding="utf-8"),
            data=_for_script([step.id for step in by_hand], marked, sheet),
            version=version,
        )


def _rate(test: Step, graded: list[Marked]) -> Rate:
    parts = [part for m in graded for part in m.record.tests if part.id == test.id]
    solved = sum(not part.message for part in parts)
    return Rate(test, solved, 100 * solved / len(graded) if graded else 0.0)


def _for_script(questions: list[str], marked: list[Marked], sheet: Sheet) -> str:
    """Return what the marking page needs to write hand_grades.csv, as JSON that ends no script."""
    names = [in_table(m.record.name) for m in marked if not m.record.refused]
    others = [row for row in sheet.table.rows[1:] if any(row)]
    column = sheet.columns.index("submission")
    content = {
        "questions": [{"id": name, "most": sheet.most[name]} for name in questions],
        "submissions": names,
        "comments": {in_table(m.record.name): m.hand.comment for m in marked},
        "columns": sheet.columns,
        "kept": [row for row in others if row[column] not in names],
    }
    return json.dumps(content).replace("<", "\\u003c")
