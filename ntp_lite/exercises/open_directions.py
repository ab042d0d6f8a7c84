"""Checkers of the exercises of "Open directions"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from ._common import compare

STORIES = [[3, 1], [3, 1], [2], [3, 1, 4, 1, 5], [2, 7, 7], [3, 1], [2]]


def prefix_floor(answer: Any) -> bool:
    """Accepts the entropy of the distinct stories over the mean length, end token included.

    The answer is a function of a list of lists of integers.
    """
    c = np.array(list(Counter(map(tuple, STORIES)).values()))
    D = c.sum()
    entropy = np.sum(c / D * np.log(D / c))
    words = np.mean([len(story) for story in STORIES])
    distinct = np.mean([len(story) + 1 for story in set(map(tuple, STORIES))])
    mistakes = {
        "repeated stories were counted as different ones; ln(D) is only an upper bound.": np.log(D)
        / (words + 1),
        "this is ln of the number of distinct stories; they are not equally frequent.": np.log(
            len(c)
        )
        / (words + 1),
        "the end token was forgotten in the length.": entropy / words,
        "the mean length must be over all stories, repetitions included.": entropy / distinct,
        "this is the entropy of a story; divide by the mean length.": entropy,
        "repeated stories were dropped; each telling counts.": np.log(len(c)) / distinct,
        "base-2 logarithms; the book uses natural ones.": entropy / (words + 1) / np.log(2),
    }
    success = "the floor is the price of guessing which story is told."
    stories = [list(story) for story in STORIES]
    return compare(answer, entropy / (words + 1), success, mistakes, arguments=(stories,))


def unseen_shares(answer: Any) -> bool:
    """Accepts (pairs seen once, contexts seen once) / n, from counts N (V, m)."""
    N = np.array([[1, 0, 4, 0, 0, 2, 1, 0], [1, 1, 1, 0, 3, 0, 1, 1], [5, 0, 0, 1, 0, 1, 0, 1]])
    n, pairs, contexts = N.sum(), (N == 1).sum(), (N.sum(axis=0) == 1).sum()
    mistakes = {
        "divide by the number of positions, not of pairs and contexts.": (
            pairs / (N > 0).sum(),
            contexts / N.shape[1],
        ),
        "divide the pairs by the number of positions, not of pairs.": (
            pairs / (N > 0).sum(),
            contexts / n,
        ),
        "divide the contexts by the number of positions, not of contexts.": (
            pairs / n,
            contexts / N.shape[1],
        ),
        "these are the numbers of pairs and contexts; divide by n.": (pairs, contexts),
        "wrong axis: contexts are columns, add up over the tokens.": (
            pairs / n,
            (N.sum(axis=1) == 1).sum() / n,
        ),
        "a context with one next token (k = 1) is not a context seen once.": (
            pairs / n,
            ((N > 0).sum(axis=0) == 1).sum() / n,
        ),
        "a context whose pairs all occur once need not be seen once: add up its column.": (
            pairs / n,
            (N.max(axis=0) == 1).sum() / n,
        ),
        "the other way round: first pairs, then contexts.": (contexts / n, pairs / n),
        "these are the shares of what was seen before: one minus them.": (
            1 - pairs / n,
            1 - contexts / n,
        ),
    }
    success = "whatever the language, one page tells what the next will bring."
    return compare(answer, (pairs / n, contexts / n), success, mistakes, arguments=(N.copy(),))


def _price(q: int, own: float, alpha: float, beta: float) -> float:
    """Nuclear norm of M for the logits alpha E_1 + beta E_2."""
    return float(2 * (q - 1) / np.sqrt(q + own**2) * alpha + (q - 1) ** 2 / own * beta)


_POINTS = [(4, 1.0), (4, 2.0), (9, 1.6), (9, 1.8), (2, 0.7), (2, 3.0)]  # (q, own)


def _border(q: int) -> float:
    """The strength at which structure gives way to identity."""
    return float(np.sqrt(q / 3))


def _rows(
    structure: Callable[[int], tuple[float, float]] = lambda q: (float(q), 0.0),
    identity: Callable[[int], tuple[float, float]] = lambda q: (1.0, 1.0),
    border: Callable[[int], float] = _border,
    price: Callable[[int, float, float, float], float] = _price,
) -> list[tuple[float, float, float]]:
    """(alpha, beta, price) at each point: right by default, or with one mistake."""
    rows = []
    for q, own in _POINTS:
        alpha, beta = identity(q) if own > border(q) else structure(q)
        rows.append((alpha, beta, price(q, own, alpha, beta)))
    return rows


def limit_direction(answer: Any) -> bool:
    """Accepts (alpha, beta, price) as a function of q and the strength `own`, at several points."""
    opposite = _rows(structure=lambda q: (1.0, 1.0), identity=lambda q: (float(q), 0.0))
    mistakes = {
        "the cases are exchanged: structure stays when identity is dear, 3 omega^2 < q.": opposite,
        "where structure stays, alpha is q, not 1: the margins must reach 1.": _rows(
            structure=lambda q: (1.0, 0.0)
        ),
        "where structure stays, it is beta that vanishes: E_1 holds the attributes.": _rows(
            structure=lambda q: (0.0, float(q))
        ),
        "the border is 3 omega^2 = q, not 3 omega = q.": _rows(border=lambda q: q / 3),
        "the border is 3 omega^2 = q, not omega^2 = q.": _rows(border=lambda q: float(np.sqrt(q))),
        "the price holds singular values of M, not of L: divide by the features' roots.": _rows(
            price=lambda q, own, a, b: 2 * (q - 1) * a + (q - 1) ** 2 * b
        ),
        "in the price, take the root of q + omega^2.": _rows(
            price=lambda q, own, a, b: 2 * (q - 1) / (q + own**2) * a + (q - 1) ** 2 / own * b,
        ),
        "the rank of E_1 is 2 (q - 1): two attributes.": _rows(
            price=lambda q, own, a, b: (q - 1) / np.sqrt(q + own**2) * a + (q - 1) ** 2 / own * b,
        ),
    }

    def collected(*_: Any) -> Any:
        rows = []
        for q, own in _POINTS:
            row = answer(q, own)
            if row is ... or row is None:
                return row
            rows.append(row)
        return rows

    success = "and the price is continuous: at the border both directions cost the same."
    return compare(
        collected if callable(answer) else answer, _rows(), success, mistakes, arguments=(0,)
    )
