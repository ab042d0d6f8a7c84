"""What is seen and heard of an interactive figure, which stands in an element of a given id."""

from __future__ import annotations

from typing import Any

DRAWN = "names => [...document.querySelectorAll(names)].map(node => node.innerHTML).join()"
SELECTOR = "#{name} .ntp-drawing svg, #{name} .ntp-counts"


def picture(page: Any, name: str) -> str:
    """All that is drawn in a figure, once it has come to rest."""
    drawn, waits = None, 0
    while waits < 40:
        page.wait_for_timeout(200)  # the sentence waits for a pause, too
        now = page.evaluate(DRAWN, SELECTOR.format(name=name))
        if now == drawn:
            return now
        drawn, waits = now, waits + 1
    raise AssertionError(f"{name} does not come to rest")


def says(page: Any, name: str) -> str:
    return page.locator(f"#{name} [role=status]").inner_text()


def state(page: Any, name: str) -> tuple[str, str]:
    return picture(page, name), says(page, name)


def glance(page: Any, name: str) -> tuple[str, str]:
    """What is seen and heard at once, for pages without motion."""
    drawn = page.evaluate(DRAWN, SELECTOR.format(name=name))
    return drawn, says(page, name)


def glance_when_changed(page: Any, name: str, before: tuple[str, str]) -> tuple[str, str]:
    """What is seen and heard as soon as both differ from before, or after two seconds."""
    for _ in range(40):
        now = glance(page, name)
        if now[0] != before[0] and now[1] != before[1]:
            break
        page.wait_for_timeout(50)
    return now


def assert_all_changed(before: tuple[str, str], after: tuple[str, str]) -> None:
    assert before[0] != after[0], "the picture did not change"
    assert before[1] != after[1], "the sentence did not change"
