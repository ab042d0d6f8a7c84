"""Checkers of the exercises of "Transformers"."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from scipy.special import rel_entr

from ._common import compare


def _mixtures(weights: Any, P: Any, groups: Any) -> Any:
    """Column j: the mixture of the group of j, with the given weights."""
    member = (groups[:, None] == groups).astype(float)
    return (P * weights) @ member / (member @ weights)


def merging_price(answer: Any) -> bool:
    """Accepts sum_g pi_g JS_g in nats: a function of pi (m,), P (V, m) and groups (m,)."""
    counts = np.array(
        [[4, 0, 1, 0, 2, 3], [1, 2, 0, 0, 3, 1], [0, 5, 2, 1, 0, 1], [0, 0, 3, 1, 0, 6]]
    )
    groups = np.array([7, 2, 7, 4, 2, 2])
    pi, P = counts.sum(axis=0) / counts.sum(), counts / counts.sum(axis=0)
    mixture = _mixtures(pi, P, groups)
    divergence = rel_entr(P, mixture).sum(axis=0)
    right = pi @ divergence
    names = np.unique(groups)
    share = np.array([pi[groups == g].sum() for g in names])
    floor = -(pi * P * np.log(np.where(P > 0, P, 1))).sum()
    plain = rel_entr(P, _mixtures(np.ones(6), P, groups)).sum(axis=0)
    mistakes = {
        "the mixture must weigh contexts by their priors, not equally.": pi @ plain,
        "weigh each divergence by the prior of its context.": divergence.sum(),
        "this is the plain mean over contexts; weigh them by their priors.": divergence.mean(),
        "base-2 logarithms; the book uses natural ones.": right / np.log(2),
        "the weights within a group add up to one, but the groups were not weighed: pi_g is "
        "missing.": (pi / np.array([share[names == g][0] for g in groups])) @ divergence,
        "this is the floor after merging; subtract the floor before.": right + floor,
        "wrong sign: floor after merging minus floor before.": -right,
        "this is the divergence from the mixture of all contexts; mix within groups only.": pi
        @ rel_entr(P, _mixtures(pi, P, np.zeros(6))).sum(axis=0),
        "this is nan: 0 ln 0 counts as zero; sum over the tokens with P > 0 only.": np.nan,
    }
    success = "no model that confuses these contexts can have a smaller excess loss."
    arguments = (pi.copy(), P.copy(), groups.copy())
    return compare(answer, right, success, mistakes, arguments=arguments)


def solution_least_decay(W: Any, g: Any) -> float:
    """The sum of the lengths of the columns of W diag(g)."""
    return float(np.linalg.norm(W * g, axis=0).sum())


def least_decay(answer: Any) -> bool:
    """Accepts the sum of the column lengths of W diag(g): a function of W (V, d) and g (d,)."""
    rng = np.random.default_rng(14)
    W, g = rng.normal(size=(6, 5)), np.array([1.5, -0.4, 0.0, 2.0, 0.7])
    M = W * g
    right = solution_least_decay(W, g)
    mistakes = {
        "this is the charge as given; W and g may be rescaled, coordinate by coordinate.": 0.5
        * (np.sum(W**2) + np.sum(g**2)),
        "gains may be negative; lengths are not.": (np.linalg.norm(W, axis=0) * g).sum(),
        "one scale for all coordinates; each coordinate has its own.": np.linalg.norm(W)
        * np.linalg.norm(g),
        "this is the Frobenius norm of W diag(g); add up the lengths of its columns.": (
            np.linalg.norm(M)
        ),
        "this is the nuclear norm, which a rotation does not change; gains cannot rotate.": (
            np.linalg.norm(M, "nuc")
        ),
        "wrong axis: a coordinate is a column of W, not a row.": np.linalg.norm(M, axis=1).sum(),
        "lengths, not squared lengths: at the best scale |W_a| |g_a| = |M_a|.": np.sum(M**2),
        "twice too much: half of a sum of two equal squares is one of them.": 2 * right,
        "half of it: at the best scale both squares are equal, and there are two.": right / 2,
        "this is nan: a coordinate with gain zero costs nothing; do not divide by it.": np.nan,
    }
    success = "the contexts do not appear: before the gain all have one length."
    return compare(answer, right, success, mistakes, arguments=(W.copy(), g.copy()))


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
