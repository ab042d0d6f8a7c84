"""The landing page and the tour as readers meet them, on the built site."""

from __future__ import annotations

import pytest
from moving_figures import assert_all_changed, state

PAGES = ("intro", "tour")
FIGURES = {"intro": 1, "tour": 8}
COMBINATIONS = [(width, theme) for width in (390, 1440) for theme in ("light", "dark")]


@pytest.mark.parametrize("name", PAGES)
def test_every_figure_moves_by_keyboard(visit, name):
    shown = visit(name)
    assert shown.page.locator(".ntp-interactive").count() == FIGURES[name]
    for k in range(FIGURES[name]):
        before = state(shown.page, f"figure-{k}")
        sliders = shown.page.locator(f"#figure-{k} .ntp-controls input[type=range]")
        if sliders.count():
            sliders.first.focus()
            shown.page.keyboard.press("ArrowRight")
        else:
            shown.page.locator(f"#figure-{k} textarea").focus()
            shown.page.keyboard.press("Control+A")
            shown.page.keyboard.type("a cat sat . a dog sat .")
        assert_all_changed(before, state(shown.page, f"figure-{k}"))
    assert not shown.problems


@pytest.mark.parametrize("name", PAGES)
def test_every_figure_moves_by_mouse(visit, name):
    shown = visit(name)
    for k in range(FIGURES[name]):
        before = state(shown.page, f"figure-{k}")
        sliders = shown.page.locator(f"#figure-{k} .ntp-controls input[type=range]")
        if sliders.count():
            sliders.first.scroll_into_view_if_needed()
            box = sliders.first.bounding_box()
            shown.page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
        else:
            shown.page.locator(f"#figure-{k} input[value='3']").click()
        assert_all_changed(before, state(shown.page, f"figure-{k}"))
    assert not shown.problems


def test_handles_of_the_tour_can_be_dragged(visit):
    shown = visit("tour")
    dragged = 0
    for k in range(FIGURES["tour"]):
        if not shown.page.locator(f"#figure-{k} g.handle").count():
            continue
        grip = shown.page.locator(f"#figure-{k} g.handle .grip").last
        grip.scroll_into_view_if_needed()
        before = state(shown.page, f"figure-{k}")
        box = grip.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        shown.page.mouse.move(x, y)
        shown.page.mouse.down()
        shown.page.mouse.move(x + 6, y + 18, steps=4)  # down: one handle begins at its upper end
        shown.page.mouse.up()
        assert_all_changed(before, state(shown.page, f"figure-{k}"))
        dragged += 1
    assert dragged == 3
    assert not shown.problems


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "theme"), COMBINATIONS)
def test_pages_fit_and_ask_nobody_for_anything(visit, name, width, theme):
    shown = visit(name, width, theme)
    page = shown.page
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.locator(".ntp-interactive").count() == FIGURES[name]
    assert len(page.locator("meta[name=description]").get_attribute("content")) > 60
    assert not shown.problems
    # The library is loaded once, not with each figure.
    scripts = page.evaluate("[...document.scripts].map(script => script.src)")
    assert len([source for source in scripts if "ntp_interactive.js" in source]) == 1
    assert page.locator(".ntp-library").count() == 0


def test_the_picture_and_its_slider_open_the_book(visit):
    """On a desktop and on a phone, without scrolling, above the code that made it."""
    for width in (1440, 390):
        page = visit("intro", width).page
        slider = page.locator("#figure-0 input[type=range]").bounding_box()
        assert slider["y"] + slider["height"] <= 900
        picture = page.locator("#figure-0 .ntp-drawing").first.bounding_box()
        code = page.locator("details.hide summary").first.bounding_box()
        assert picture["y"] < 900 - 100
        assert picture["y"] < code["y"]


@pytest.mark.parametrize("width", [1440, 390])
def test_formulas_are_drawn_in_the_size_that_mathjax_gives_them(visit, width):
    """Its letters are as high as those of the text: smaller only where the line is too short."""
    page = visit("tour", width).page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")  # formulas in folds, too
    sizes = page.evaluate(
        """[...document.querySelectorAll('.math mjx-container')].map(node => {
          const [given, used] = [node.dataset.size, node.style.fontSize];
          const isInline = node.closest('span.math');
          const line = isInline ? isInline.closest('p, li, dd, td, figcaption, div') : node;
          node.style.fontSize = given;
          const wide = node.querySelector('mjx-math').getBoundingClientRect().width;
          const share = Math.min(1, line.clientWidth / wide);
          const font = parseFloat(getComputedStyle(node).fontSize);
          node.style.fontSize = used;
          return [given, used, share, font, node.getAttribute('tabindex')];
        })"""
    )
    assert len(sizes) == page.locator("span.math, div.math").count() > 0
    for given, used, share, font, tab_stop in sizes:
        assert given.endswith("%")
        if share == 1:
            assert used == given
        else:
            assert width == 390, "no formula of the tour is wider than a line on a desktop"
            shrunk = float(used.removesuffix("px")) / font
            assert shrunk == pytest.approx(max(0.7, 0.98 * share), rel=0.01)
        assert tab_stop is None


def test_boxes_have_their_colours_without_script(opener, visit):
    address = visit("tour").page.url
    page = opener(address, java_script_enabled=False).page
    for selector in ("div.admonition.predict", "body"):
        ground = page.locator(selector).first.evaluate(
            "node => getComputedStyle(node).getPropertyValue('--ntp-amber') + "
            "getComputedStyle(node).getPropertyValue('--pst-color-text-base')"
        )
        assert ground.count("#") == 2


def test_folds_are_named_and_open_for_links(visit):
    page = visit("tour").page
    answers = page.locator("details.ntp-answer")
    assert answers.count() == 5
    names = page.evaluate(
        "[...document.querySelectorAll('summary')]"
        ".map(node => node.getAttribute('aria-label') || node.textContent.trim())"
    )
    assert names and not any("Toggle hidden content" in name for name in names)
    answers.first.locator("summary").focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    summary = answers.first.locator("summary")
    assert summary.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert answers.first.evaluate("node => node.open")
