"""Numbers for the story, letters for what is folded: Theorem 6.3, and Theorem 6.A in a fold.

Sphinx numbers figures, tables, equations and boxes as they stand on the page. Who leaves the folds
shut would see Figure 3 after Figure 1. So here, once Sphinx has numbered everything, each of these
series is counted again, and twice: what is seen gets 1, 2, 3, ... and what is folded A, B, C, ...
Both run on through the chapter, whether the folds are open or shut, and on paper. What answers a
prediction belongs to the story, although a click shows it.

Labels, addresses and references do not change: all that writes a number asks for it by its label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from string import ascii_uppercase
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from .folds import fold, make_folds

# Of one page: kind of thing -> id -> (chapter, number).
PageNumbers = Mapping[str, Mapping[str, tuple[Any, ...]]]


def letters(count: int) -> str:
    """Return the letters that stand for a number: A, ..., Z, AA, AB, ..."""
    text = ""
    while count > 0:
        count, last = divmod(count - 1, len(ascii_uppercase))
        text = ascii_uppercase[last] + text
    return text


def folded_ids(doctree: nodes.document) -> set[str]:
    """Make the folds of a page; return the ids in those that do not answer a prediction."""
    make_folds(doctree)
    return {
        name
        for folded in doctree.findall(fold)
        if folded["kind"] != "answer"
        for node in folded.findall(nodes.Element)
        for name in node["ids"]
    }


def count_again(
    page: PageNumbers, folded: set[str], counts: Counter[tuple[Any, ...]]
) -> dict[str, dict[str, tuple[Any, ...]]]:
    """Return a page's numbers, counted apart; `counts` says how far each series has come."""
    result: dict[str, dict[str, tuple[Any, ...]]] = {}
    for kind, numbers in page.items():
        result[kind] = {}
        for name, (*chapter, _) in numbers.items():
            is_folded = name in folded
            series = (kind, *chapter, is_folded)
            counts[series] += 1
            last = letters(counts[series]) if is_folded else counts[series]
            result[kind][name] = (*chapter, last)
    return result


def give_back(app: Sphinx, env: BuildEnvironment) -> Iterable[str]:
    """Show Sphinx its own numbers of the last build: it writes those pages again that differ."""
    env.toc_fignumbers = getattr(env, "ntp_plain_numbers", env.toc_fignumbers)
    return []


def count_apart(app: Sphinx, env: BuildEnvironment) -> Iterable[str]:
    """Replace the numbers that Sphinx gave, page by page in reading order."""
    env.ntp_plain_numbers = env.toc_fignumbers  # type: ignore[attr-defined]
    before: Mapping[str, PageNumbers] = getattr(env, "ntp_numbers", {})
    counts: Counter[tuple[Any, ...]] = Counter()
    numbers = {
        page: count_again(plain, folded_ids(env.get_doctree(page)), counts)
        for page, plain in env.toc_fignumbers.items()
    }
    env.toc_fignumbers = env.ntp_numbers = numbers  # type: ignore[attr-defined]
    return [page for page in numbers if numbers[page] != before.get(page)]


def setup(app: Sphinx) -> None:
    """Register with Sphinx, whose own numbers come at priority 500."""
    app.connect("env-get-updated", give_back, priority=400)
    app.connect("env-get-updated", count_apart, priority=600)
