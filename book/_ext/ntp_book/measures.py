"""Count on the built pages what decides whether a chapter is read: words, pictures, code.

    python -m ntp_book.measures                 a table of all chapters, and the goals

Ends with 1 where a goal is missed. The story is what stands open, without exercises and without
what to read next.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bs4 import BeautifulSoup, PageElement, Tag

from .numbering import read_chapters

ROOT = Path(__file__).resolve().parents[3]
SITE = ROOT / "_build" / "html"

AFTER_THE_STORY = re.compile("Exercises|What to read next")
DRAWN = ("ntp-interactive", "headerlink")  # no text that is read in its order

MOST_STORY_WORDS = 2000
LEAST_FIGURES = 120  # in the whole book
LEAST_MOVING = 25


@dataclass
class Page:
    """What was counted on a page."""

    name: str
    minutes: str  # announced for the story
    story: int  # words
    words: int
    figures: int
    moving: int
    lines: int  # of visible code
    asserts: int  # in visible code
    open_answers: int  # predictions whose answer is not folded


def is_open(node: PageElement) -> bool:
    """Say whether something is seen without a click: it is in no fold, solution or hint."""
    return node.find_parent("details") is None and node.find_parent(class_="dropdown") is None


def is_after_the_story(node: PageElement) -> bool:
    """Say whether something stands among the exercises, or in what to read next."""
    for section in node.find_parents("section"):
        heading = section.find(["h2", "h3"], recursive=False)
        if heading is not None and AFTER_THE_STORY.search(heading.get_text()):
            return True
    return False


def count_words(article: Tag) -> tuple[int, int]:
    """Return the words of the story and of all text.

    A formula is one word; code, and what a figure says of itself, none. A caption is read with its
    figure and does not count as story.
    """
    for formula in article.select(".math"):
        formula.string = "formula"
    story = 0
    words = 0
    for text in article.find_all(string=True):
        if text.find_parent(["pre", "script", "style"]) or text.find_parent(class_=DRAWN):
            continue
        found = len(text.split())
        words += found
        if text.find_parent("figcaption") is not None:
            continue  # read with its figure
        if found and is_open(text) and not is_after_the_story(text):
            story += found
    return story, words


def visible_code(article: Tag) -> list[str]:
    """Return the lines of code that are seen without a click."""
    lines = []
    for code in article.select(".cell_input pre"):
        if is_open(code):
            lines += [line for line in code.get_text().splitlines() if line.strip()]
    return lines


def has_open_answer(box: Tag) -> bool:
    """Say whether a Predict box stands beside its answer: none is folded, in it or in a cell."""
    following = box.find_next("details", class_="ntp-answer")
    return box.find("details") is None and following is None


def measure(path: Path) -> Page:
    """Count on one page."""
    page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    article = page.select_one("article") or page
    announced = re.search(r"(\d+) minutes for the story", article.get_text())
    lines = visible_code(article)
    moving = article.find_all(class_="ntp-interactive")
    figures = article.find_all("figure")
    open_answers = [box for box in article.select(".predict") if has_open_answer(box)]
    story, words = count_words(article)
    return Page(
        name=path.stem,
        minutes=announced.group(1) if announced else "",
        story=story,
        words=words,
        figures=len(figures) + sum(1 for node in moving if not node.find_parent("figure")),
        moving=len(moving),
        lines=len(lines),
        asserts=sum(1 for line in lines if line.lstrip().startswith("assert ")),
        open_answers=len(open_answers),
    )


def missed_goals(pages: list[Page]) -> list[str]:
    """Return a sentence for each goal that these chapters miss."""
    missed = []
    if sum(page.figures for page in pages) < LEAST_FIGURES:
        missed.append(f"there are fewer than {LEAST_FIGURES} figures")
    if sum(page.moving for page in pages) < LEAST_MOVING:
        missed.append(f"fewer than {LEAST_MOVING} figures move")
    for page in pages:
        if page.story > MOST_STORY_WORDS:
            missed.append(f"{page.name}: the story has more than {MOST_STORY_WORDS} words")
        if not page.moving and page.minutes:  # an appendix tells no story
            missed.append(f"{page.name}: no figure moves")
        if page.asserts:
            missed.append(f"{page.name}: an assert stands in the open")
        if page.open_answers:
            missed.append(f"{page.name}: the answer to a prediction stands in the open")
    return missed


def table(pages: Iterable[Page]) -> str:
    """Write the counts as text."""
    head = ("chapter", "min", "story", "words", "figures", "moving", "code", "asserts", "answers")
    row = "{:24s}" + " {:>7}" * (len(head) - 1)
    lines = [row.format(*head)]
    lines += [row.format(*vars(page).values()) for page in pages]
    return "\n".join(lines)


def main() -> int:
    """Print the counts of the built site."""
    paths = [SITE / f"{name}.html" for name in ("book/tour", *read_chapters(ROOT))]
    absent = [path.name for path in paths if not path.is_file()]
    if absent:
        print(f"There is no page {absent[0]} in {SITE}; run make book first.", file=sys.stderr)
        return 2
    pages = [measure(path) for path in paths]
    print(table(pages))
    missed = missed_goals(pages)
    print("\n".join(["", *missed]) if missed else "\nAll goals are met.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
