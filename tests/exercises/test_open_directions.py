"""Checkers of "Open directions": right answers pass, mistakes are named."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from reference import verdict

from ntp_lite import exercises


def story_entropy(stories):
    c = np.array(list(Counter(map(tuple, stories)).values()))
    return -np.sum(c / c.sum() * np.log(c / c.sum()))


def from_contexts(stories):
    """The slow way: all prefixes, then the definition of the floor."""
    stories = [[*s, -1] for s in stories]
    pairs = Counter((tuple(s[:i]), s[i]) for s in stories for i in range(len(s)))
    contexts = Counter()
    for (context, _), count in pairs.items():
        contexts[context] += count
    terms = [-count * np.log(count / contexts[c]) for (c, _), count in pairs.items()]
    return sum(terms) / sum(contexts.values())


def length(stories, end=1):
    return np.mean([len(s) + end for s in stories])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (from_contexts, "Right"),
        (lambda s: story_entropy(s) / length(s), "Right"),
        (lambda s: np.log(len(s)) / length(s), "counted as different"),
        (lambda s: np.log(len(set(map(tuple, s)))) / length(s), "not equally frequent"),
        (lambda s: story_entropy(s) / length(s, 0), "end token was forgotten"),
        (lambda s: story_entropy(s) / length(set(map(tuple, s))), "over all stories"),
        (story_entropy, "divide by the mean length"),
        (lambda s: from_contexts([list(x) for x in set(map(tuple, s))]), "each telling counts"),
        (lambda s: story_entropy(s) / length(s) / np.log(2), "base-2"),
    ],
)
def test_prefix_floor_checker(answer, message, capsys):
    right, text = verdict(exercises.open_directions.prefix_floor, answer, capsys)
    assert right == (message == "Right") and message in text


def singles(N):
    return (N == 1).sum(), (N.sum(axis=0) == 1).sum()


def leave_one_out(N):
    pairs = np.minimum(N, 1)[N == 1].sum()
    return [pairs / N.sum(), np.count_nonzero(N.sum(axis=0) == 1) / N.sum()]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda N: np.array(singles(N)) / N.sum(), "Right"),
        (leave_one_out, "Right"),
        (lambda N: (singles(N)[0] / (N > 0).sum(), singles(N)[1] / N.shape[1]), "by the number of"),
        (lambda N: (singles(N)[0] / (N > 0).sum(), singles(N)[1] / N.sum()), "not of pairs"),
        (lambda N: (singles(N)[0] / N.sum(), singles(N)[1] / N.shape[1]), "not of contexts"),
        (singles, "divide by n"),
        (lambda N: ((N == 1).sum() / N.sum(), (N.sum(axis=1) == 1).sum() / N.sum()), "wrong axis"),
        (
            lambda N: ((N == 1).sum() / N.sum(), ((N > 0).sum(axis=0) == 1).sum() / N.sum()),
            "not a context seen once",
        ),
        (
            lambda N: ((N == 1).sum() / N.sum(), (N.max(axis=0) == 1).sum() / N.sum()),
            "add up its column",
        ),
        (lambda N: np.array(singles(N))[::-1] / N.sum(), "other way round"),
        (lambda N: 1 - np.array(singles(N)) / N.sum(), "one minus them"),
    ],
)
def test_unseen_shares_checker(answer, message, capsys):
    right, text = verdict(exercises.open_directions.unseen_shares, answer, capsys)
    assert right == (message == "Right") and message in text
