"""What the marking page says of points that are none; the browser is that of tests/browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser.conftest import browser  # noqa: F401

from teaching.grader.hand_grades import Sheet
from teaching.grader.pages import Pages
from teaching.grader.plan import Kind, Step
from teaching.grader.records import Part, Record
from teaching.grader.results import Marked

STEPS = [Step("q1-proof", Kind.DERIVATION, "Question 1", "Model answer", 15)]


@pytest.fixture
def page(tmp_path, browser):  # noqa: F811
    """The marking page of two students, open in a browser."""
    part = Part("q1-proof", Kind.DERIVATION, "Question 1", 15, source="A proof")
    records = [Record(name, "", [], [part], [], 1.0) for name in ("ada", "emmy")]
    sheet = Sheet(tmp_path / "hand_grades.csv", STEPS)
    marked = [Marked(record, sheet.grades_of(record.name), None, None) for record in records]
    Pages(tmp_path, "ps1", STEPS).write_marking(marked, sheet)
    page = browser.new_page()
    page.goto((tmp_path / "marking.html").as_uri())
    yield page
    page.close()


def test_no_proof_reaches_out_of_its_box(tmp_path, browser):  # noqa: F811
    """Mutation seen to fail: without `contain: paint` the second field is covered."""
    covers = '<div style="position: fixed; inset: 0; background: black">15 points</div>'
    part = Part("q1-proof", Kind.DERIVATION, "Question 1", 15, source="A proof")
    records = [Record(name, "", [], [part], [], 1.0) for name in ("ada", "emmy")]
    sheet = Sheet(tmp_path / "hand_grades.csv", STEPS)
    marked = [Marked(record, sheet.grades_of(record.name), None, None) for record in records]
    pages = Pages(tmp_path, "ps1", STEPS)
    pages.environment.filters["markdown"] = lambda text, keep_lines=True: covers
    pages.write_marking(marked, sheet)
    page = browser.new_page()
    page.goto((tmp_path / "marking.html").as_uri())
    for n in range(2):
        page.locator(".marks input").nth(n).click(timeout=2000)
    page.close()


@pytest.mark.parametrize("typed", ["15.5", "-1", "1e9", "7e"])
def test_wrong_points_are_named_with_their_range_and_nothing_is_lost(page, typed):
    """Seen to fail: the browser's bubble alone, gone after some seconds, without a name."""
    ada, emmy = (page.locator(".marks").nth(n) for n in range(2))
    ada.locator("input").fill("7.25")
    ada.locator("textarea").fill("Good")
    emmy.locator("input").press_sequentially(typed)
    page.click("#save")
    said = page.locator("#state").inner_text()
    assert said == (
        "Not saved, and nothing is lost: the points of emmy in q1-proof must be a number from 0 to "
        "15."
    )
    assert ada.locator("input").input_value() == "7.25"
    assert ada.locator("textarea").input_value() == "Good"
    assert page.evaluate("document.activeElement.closest('.marks').dataset.submission") == "emmy"
    emmy.locator("input").fill("12.5")
    with page.expect_download() as download:
        page.click("#save")
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    assert "ada,7.25,Good," in text and "emmy,12.5," in text
    assert page.locator("#state").inner_text().startswith("saved")


def test_the_number_of_wrong_points_is_said(page):
    for n in range(2):
        page.locator(".marks input").nth(n).fill("99")
    page.click("#save")
    assert "of ada in q1-proof (and 1 more) must be" in page.locator("#state").inner_text()
