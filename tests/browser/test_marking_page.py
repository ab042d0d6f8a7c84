"""What the marking page of the grader saves."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from teaching.grader.hand_grades import Sheet, version
from teaching.grader.pages import Pages
from teaching.grader.plan import Kind, Step
from teaching.grader.records import Part, Record
from teaching.grader.results import Marked

STEPS = [Step("q1-proof", Kind.DERIVATION, "Question 1", "Model answer", 15)]


def record(name: str, proof: str, refused: str = "") -> Record:
    part = Part("q1-proof", Kind.DERIVATION, "Question 1", 15, source=proof)
    return Record(name, refused, [], [part], [], 1.0)


@pytest.fixture
def save(tmp_path: Path, browser: Any):
    """Write the page of a class with a sheet, save it untouched, and return the saved rows."""

    def saved(sheet_text: str, *records: Record) -> list[dict[str, str]]:
        path = tmp_path / "hand_grades.csv"
        path.write_text(sheet_text)
        sheet = Sheet(path, STEPS)
        marked = [Marked(one, sheet.grades_of(one.name), None, None) for one in records]
        sheet.update(list(records))
        Pages(tmp_path, "ps1", STEPS).write_marking(marked, sheet)
        page = browser.new_page()
        page.goto((tmp_path / "marking.html").as_uri())
        with page.expect_download() as download:
            page.click("#save")
        text = Path(download.value.path()).read_text(encoding="utf-8-sig")
        page.close()
        return list(csv.DictReader(text.splitlines()))

    return saved


def test_points_for_an_unreadable_file_are_kept(save):
    sheet = (
        "submission,q1-proof,q1-proof comment,q1-proof version,comment\nb,7,On paper,none,Late\n"
    )
    [a, b] = save(sheet, record("a", "A proof"), record("b", "", "not a notebook"))
    assert a["submission"] == "a" and a["q1-proof (max 15)"] == ""
    assert list(b.values()) == ["b", "7", "On paper", "none", "Late"]


def test_points_without_a_version_get_that_of_the_proof_on_the_page(save):
    one = record("a", "A proof")
    [row] = save("submission,q1-proof\na,9\n", one)
    assert row["q1-proof (max 15)"] == "9"
    assert row["q1-proof version"] == version(one.derivations[0])
