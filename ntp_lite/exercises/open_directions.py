"""Checkers of the exercises of "Open directions"."""

from __future__ import annotations

from collections import Counter
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
