"""The slides on a screen: everything is drawn, nothing is cut, nothing comes from a network."""

from __future__ import annotations

from pathlib import Path

import pytest
from built_site import SITE
from ntp_book import slides

CHAPTERS = [Path(page).name for page in slides.chapters()]
# A wide screen for all, and an old projector for a deck with tables, formulas and moving figures.
CASES = [(name, 1440, 900) for name in CHAPTERS] + [("max_margin", 1024, 768)]
# Shows the k-th slide and says what is wrong with it.
LOOK = """async (k) => {
  const section = document.querySelectorAll("section:has(> .slide)")[k];
  const { h, v } = Reveal.getIndices(section);
  Reveal.slide(h, v);
  await fitting;
  const slide = section.querySelector(".slide");
  const count = (selector, bad) => [...slide.querySelectorAll(selector)].filter(bad).length;
  return {
    isShown: section === Reveal.getCurrentSlide(),
    fitted: slide.dataset.fitted,
    notDrawn: count(".math", (formula) => !formula.querySelector("mjx-math")),
    wrong: count("mjx-merror", () => true),
    noPictures: count("figure > img", (image) => !image.naturalWidth),
    stills: count(".ntp-drawing", (drawing) => !drawing.querySelector("svg")),
    small: parseFloat(getComputedStyle(slide).getPropertyValue("--fit")) < 0.45,
  };
}"""
RIGHT = {
    "isShown": True,
    "fitted": "whole",
    "notDrawn": 0,
    "wrong": 0,
    "noPictures": 0,
    "stills": 0,
    "small": False,
}


@pytest.fixture(scope="module")
def decks(tmp_path_factory, browser) -> Path:
    if not (SITE / "book").is_dir():
        pytest.skip(f"there is no site in {SITE}: build it with `make book`")
    out = tmp_path_factory.mktemp("slides")
    slides.write_slides(SITE, out, slides.chapters(), slides.book_title(SITE))
    return out


@pytest.mark.parametrize("name, width, height", CASES)
def test_every_slide_is_whole(decks, opener, name, width, height):
    shown = opener((decks / f"{name}.html").as_uri(), width)
    shown.page.set_viewport_size({"width": width, "height": height})
    shown.page.evaluate("started.then(() => fitting)")
    count = shown.page.locator("section:has(> .slide)").count()
    assert count > 8
    found = {k: shown.page.evaluate(LOOK, k) for k in range(count)}
    assert {k: seen for k, seen in found.items() if seen != RIGHT} == {}
    assert not shown.problems


def test_the_answer_waits_for_a_key_and_a_figure_moves(decks, opener):
    """As a lecturer goes through the first slides of a chapter, by keyboard and mouse."""
    shown = opener((decks / "max_margin.html").as_uri())
    page = shown.page
    page.evaluate("started.then(() => fitting)")
    page.keyboard.press("ArrowRight")
    answer = page.locator("section.present .answer")
    assert answer.evaluate("node => getComputedStyle(node).visibility") == "hidden"
    page.keyboard.press("ArrowRight")
    answer.wait_for(state="visible", timeout=2000)
    page.keyboard.press("ArrowRight")
    page.evaluate("fitting")
    figure = page.locator("section.present .ntp-interactive")
    before = figure.locator(".ntp-says").inner_text()
    figure.locator("input[type=range]").focus()
    page.keyboard.press("ArrowRight")  # moves the slider, and not the slides
    page.wait_for_timeout(700)
    assert figure.locator(".ntp-says").inner_text() != before
    dot = figure.locator("svg").first.locator("text", has_text="a cat").bounding_box()
    page.mouse.move(dot["x"] - 10, dot["y"] + dot["height"] / 2)  # its mark is left of the name
    tip = figure.locator(".ntp-tip")
    tip.wait_for(state="visible", timeout=2000)
    assert "a cat" in tip.inner_text()
    over = tip.bounding_box()
    assert abs(over["x"] + over["width"] / 2 - dot["x"]) < over["width"], "the tip is elsewhere"
    assert not shown.problems
