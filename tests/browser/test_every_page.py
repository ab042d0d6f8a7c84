"""Every page of the built site: it fits, draws, folds and moves; it asks nobody for anything."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from functools import partial

import pytest
from built_site import ROOT, SITE
from moving_figures import assert_all_changed, glance, glance_when_changed

ALL_PAGES = sorted(path.stem for path in (SITE / "book").glob("*.html")) or ["intro"]
PAGES = os.environ.get("PAGES", "").split() or ALL_PAGES
CHAPTERS = [
    name
    for name in PAGES
    if (ROOT / "book" / f"{name}.md").exists()
    and ":class: chapter-frame" in (ROOT / "book" / f"{name}.md").read_text(encoding="utf-8")
]
FOLDS = "details.ntp-fold:not(.ntp-answer)"
# Hints are closed by a button of their own. What opens is drawn then.
OPEN_EVERYTHING = """async () => {
  document.querySelectorAll("details").forEach(fold => { fold.open = true; });
  document.querySelectorAll(".toggle-hidden .toggle-button").forEach(button => button.click());
  await drawOpened();
  markWide(); // without formulas nothing is drawn, and what opened is not measured
}"""
DRAWN = "[...document.querySelectorAll('.math')].map(node => !!node.querySelector('mjx-container'))"


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wrong_on_a_phone(visit, name):
    """No error, no foreign request, no sideways scroll, each formula drawn; folds open, too."""
    shown = visit(name, 390, "dark")
    page = shown.page
    too_wide = "document.documentElement.scrollWidth - innerWidth"
    assert page.evaluate(too_wide) <= 0
    page.evaluate(OPEN_EVERYTHING)
    assert page.evaluate(too_wide) <= 0
    unnamed = page.evaluate(
        "[...document.querySelectorAll('.cards-on-phones td:not(:first-child, [data-column])')]"
        ".map(cell => cell.textContent.trim()).filter(Boolean)"
    )
    assert not unnamed
    assert page.locator("mjx-merror, .math:not(:has(mjx-container))").count() == 0
    broken = page.evaluate(
        "[...document.images].filter(image => image.complete && !image.naturalWidth)"
        ".map(image => image.src.slice(0, 80))"
    )
    assert not broken
    assert not shown.problems


@pytest.mark.parametrize("name", PAGES)
def test_figures_move_by_keyboard_and_by_mouse(visit, name):
    """Another picture, another text: the sentence, or the value that its slider says aloud.

    A solid is turned, too: who turns it hears its angle, and the sentence stays.
    """
    shown = visit(name, formulas=False, reduced_motion="reduce")
    page = shown.page
    page.evaluate(OPEN_EVERYTHING)
    for k in range(page.locator(".ntp-interactive").count()):
        figure = page.locator(f"#figure-{k} .ntp-interactive")
        slider = figure.locator("> .ntp-controls input[type=range]")
        for move in (press_an_arrow, click_at_the_other_end):
            for control in (slider, figure.get_by_label("Turn:")):
                if control.count():
                    before = seen_and_heard(page, k, control.first)
                    move(page, control.first)
                    assert_all_changed(before, seen_and_heard(page, k, control.first))
        if figure.locator("textarea").count():
            before = glance(page, f"figure-{k}")
            figure.locator("textarea").fill("a cat sat . a dog sat .")
            assert_all_changed(before, glance_when_changed(page, f"figure-{k}", before))
    assert not shown.problems


def seen_and_heard(page, k, slider):
    """The drawing of a figure, and what is read aloud: its slider's value and its sentence."""
    page.wait_for_timeout(150)  # the sentence waits for a pause
    drawing, sentence = glance(page, f"figure-{k}")
    return drawing, f"{slider.get_attribute('aria-valuetext')} {sentence}"


def press_an_arrow(page, slider):
    """Away from the end at which the slider stands."""
    slider.focus()
    last = slider.evaluate("node => node.value === node.max")
    page.keyboard.press("ArrowLeft" if last else "ArrowRight")


def click_at_the_other_end(page, slider):
    """With the mouse."""
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    middle = "(Number(node.max) + Number(node.min)) / 2"
    at = 0.1 if slider.evaluate(f"node => node.value > {middle}") else 0.9
    page.mouse.click(box["x"] + at * box["width"], box["y"] + box["height"] / 2)


@pytest.mark.parametrize("name", CHAPTERS)
def test_folds_are_closed_until_they_are_opened(visit, name):
    """By the switch, by the key, and by a link to what is inside."""
    page = visit(name, formulas=False).page
    folds = page.locator(FOLDS).count()
    assert folds > 0
    is_open = f"{FOLDS}[open]"
    assert page.locator(is_open).count() == 0
    switch = page.locator(".ntp-open-all input")
    switch.check()
    assert page.locator(is_open).count() == folds
    assert page.locator("details.ntp-answer[open]").count() == 0
    page.keyboard.press("?")
    assert page.locator(is_open).count() == 0
    assert not switch.is_checked()
    inside = page.evaluate(
        f"document.querySelector('{FOLDS} > .ntp-fold-body [id]:not(.MathJax)')?.id"
    )
    if inside:
        page.evaluate("id => { location.hash = id; }", inside)
        page.wait_for_timeout(100)
        assert page.evaluate(f"!!document.getElementById('{inside}').closest('details[open]')")


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_violation_in_what_is_ours(visit, axe, name):
    """All rules on the light page; on the dark one those about colours, since nothing else changes.

    Formulas stand as their source: MathJax would make ten thousands of elements of them.
    """
    page = visit(name, formulas=False).page
    still = "* { transition: none !important; animation: none !important; }"
    page.add_style_tag(content=still)  # no colour on its way
    page.evaluate(OPEN_EVERYTHING)
    page.evaluate(axe)
    assert not violations(page, ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"])
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_timeout(100)
    assert not violations(page, ["color-contrast", "link-in-text-block"])


def violations(page, rules_or_tags):
    """What axe finds in the article, with the elements concerned."""
    return page.evaluate(
        "only => axe.run({include: [['.bd-article']]}, "
        "{runOnly: only, resultTypes: ['violations']}).then(result => result.violations.map("
        "v => `${v.id}: ${v.nodes.map(n => n.html.slice(0, 160)).join(' | ')}`))",
        rules_or_tags,
    )


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The site at an address of this machine: a browser keeps choices and searches there."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    handler = partial(Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_choices_are_remembered_on_the_next_page(browser, served):
    """Theme and open folds."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{served}/book/{CHAPTERS[0]}.html")
    page.locator(".ntp-open-all input").check()
    for _ in range(3):
        if page.evaluate("document.documentElement.dataset.mode") == "dark":
            break
        page.locator("button.theme-switch-button:visible").first.click()
    page.goto(f"{served}/book/{CHAPTERS[1]}.html")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.locator(".ntp-open-all input").is_checked()
    assert page.locator(f"{FOLDS}:not([open])").count() == 0
    context.close()


def test_an_answer_opens_what_its_cells_show(visit):
    """The fold below the prediction, and not those of the next prediction."""
    page = visit("entropy_floor", formulas=False).page
    folds = "[...document.querySelectorAll('details.ntp-answer')]"
    before = page.evaluate(f"{folds}.map(fold => !!fold.closest('.predict'))")
    assert before[:2] == [True, False], "an answer, and the output of a cell"
    page.evaluate(f"{folds}[0].open = true")
    page.wait_for_timeout(100)
    opened = page.evaluate(f"{folds}.map(fold => fold.open)")
    following = before.index(True, 1) if True in before[1:] else len(before)
    assert opened == [k < following for k in range(len(before))]


def test_formulas_in_folds_are_drawn_when_they_open(visit):
    """What is closed takes no time when a page is loaded, and all that is seen is drawn."""
    page = visit("certificates").page
    drawn = page.evaluate(DRAWN)
    closed = page.evaluate(
        "[...document.querySelectorAll('.math')].map(node => !!node.closest("
        "'details:not([open]) > :not(summary), .toggle-hidden > :not(.admonition-title)'))"
    )
    assert drawn == [not is_closed for is_closed in closed]
    assert 0 < sum(drawn) < len(drawn) / 2
    hidden = page.evaluate(
        "document.querySelector('details.ntp-fold .ntp-fold-body .math').closest('section').id"
    )
    summary = page.locator(f"#{hidden} details.ntp-fold:has(.math) > summary").first
    summary.click()
    page.wait_for_function(f"{DRAWN}.filter(Boolean).length > {sum(drawn)}")
    page.keyboard.press("?")
    hint = page.locator(".toggle-hidden:has(.math) .toggle-button").first
    hint.click()
    page.evaluate("drawOpened()")
    seen = "node => node.checkVisibility({visibilityProperty: true})"
    assert page.evaluate(
        f"[...document.querySelectorAll('.math')].filter({seen})"
        ".every(node => node.querySelector('mjx-container'))"
    )


def test_folds_that_open_together_are_measured_once(visit):
    """Seen to fail with one drawing for each fold: 27 measurements of the page."""
    page = visit("certificates").page
    page.evaluate(
        "() => { window.measured = 0; const measure = markWide;"
        "window.markWide = () => { measured += 1; measure(); }; }"
    )
    page.keyboard.press("?")
    page.evaluate("drawOpened()")
    page.wait_for_timeout(300)
    page.evaluate("drawOpened()")
    assert all(page.evaluate(DRAWN)) or page.locator(".toggle-hidden .math").count()
    assert 0 < page.evaluate("measured") <= 5


def test_paper_shows_everything(visit):
    page = visit(CHAPTERS[0]).page
    folded = "document.querySelectorAll('.bd-article details:not([open])').length"
    closed = page.evaluate(folded)
    assert closed > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(folded) == 0
    assert all(page.evaluate(DRAWN))
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(folded) == closed


def test_the_search_finds_the_chapter_first(browser, served):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{served}/search.html?q=subspace+collapse")
    first = page.locator("#search-results li a").first
    first.wait_for(timeout=20_000)
    assert "subspace_collapse" in first.get_attribute("href")
    context.close()
