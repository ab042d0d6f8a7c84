"""Checkers of "Transformers": right answers pass, mistakes are named."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from reference import verdict

from ntp_lite import exercises


def entropy(p):
    return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=0)


def js_terms(pi, P, groups, weights=None):
    """The divergence of each context from the mixture of its group."""
    weights = pi if weights is None else weights
    terms = []
    for j, g in enumerate(groups):
        members = groups == g
        mixture = P[:, members] @ weights[members] / weights[members].sum()
        z = P[:, j] > 0
        terms.append(np.sum(P[z, j] * np.log(P[z, j] / mixture[z])))
    return np.array(terms)


def by_entropies(pi, P, groups):
    total = 0.0
    for g in np.unique(groups):
        members = groups == g
        share = pi[members].sum()
        total += share * entropy(P[:, members] @ pi[members] / share)
    return total - pi @ entropy(P)


def group_share(pi, groups):
    return np.array([pi[groups == g].sum() for g in groups])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (by_entropies, "Right"),
        (lambda pi, P, g: pi @ js_terms(pi, P, g), "Right"),
        (lambda pi, P, g: pi @ js_terms(pi, P, g, np.ones(6)), "not equally"),
        (lambda pi, P, g: js_terms(pi, P, g).sum(), "prior of its context"),
        (lambda pi, P, g: js_terms(pi, P, g).mean(), "plain mean"),
        (lambda pi, P, g: by_entropies(pi, P, g) / np.log(2), "base-2"),
        (lambda pi, P, g: (pi / group_share(pi, g)) @ js_terms(pi, P, g), "pi_g is missing"),
        (lambda pi, P, g: by_entropies(pi, P, g) + pi @ entropy(P), "subtract the floor"),
        (lambda pi, P, g: -by_entropies(pi, P, g), "wrong sign"),
        (lambda pi, P, g: by_entropies(pi, P, 0 * g), "within groups only"),
        (lambda pi, P, g: -(0 * pi) @ (P * np.nan).sum(axis=0), "0 ln 0"),
        (lambda pi, P, g: 0.5, "Not yet"),
    ],
)
def test_merging_price_checker(answer, message, capsys):
    right, text = verdict(exercises.transformers.merging_price, answer, capsys)
    assert right == (message == "Right") and message in text


def charge_at_best_gain(M):
    """The charge itself at the best gains: nan if a column of M is zero."""
    gains = np.sqrt(np.linalg.norm(M, axis=0))
    with np.errstate(invalid="ignore"):
        return (np.sum((M / gains) ** 2) + gains @ gains) / 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (exercises.transformers.solution_least_decay, "Right"),
        (lambda W, g: np.sqrt(np.diag((W * g).T @ (W * g))).sum(), "Right"),
        (lambda W, g: (np.sum(W**2) + g @ g) / 2, "as given"),
        (lambda W, g: np.linalg.norm(W, axis=0) @ g, "lengths are not"),
        (lambda W, g: np.linalg.norm(W) * np.linalg.norm(g), "one scale"),
        (lambda W, g: np.linalg.norm(W * g), "Frobenius"),
        (lambda W, g: np.linalg.norm(W * g, "nuc"), "nuclear"),
        (lambda W, g: np.linalg.norm(W * g, axis=1).sum(), "wrong axis"),
        (lambda W, g: np.sum((W * g) ** 2), "not squared"),
        (lambda W, g: 2 * np.linalg.norm(W * g, axis=0).sum(), "twice too much"),
        (lambda W, g: np.linalg.norm(W * g, axis=0).sum() / 2, "half of it"),
        (lambda W, g: charge_at_best_gain(W * g), "gain zero"),
    ],
)
def test_least_decay_checker(answer, message, capsys):
    right, text = verdict(exercises.transformers.least_decay, answer, capsys)
    assert right == (message == "Right") and message in text


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
    right, text = verdict(exercises.transformers.prefix_floor, answer, capsys)
    assert right == (message == "Right") and message in text
