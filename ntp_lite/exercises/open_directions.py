"""Checkers of the exercises of "Open directions"."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._common import compare


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


def solution_stopping_ridge(N: Any, ridges: Any, logits: Any) -> float:
    """Where the mass on never-seen pairs is the share of pairs that occur once."""
    pi = N.sum(axis=0) / N.sum()
    mass = np.array([_unseen_mass(N, L, pi) for L in logits])
    return _crossing(mass, (N == 1).sum() / N.sum(), ridges)


def _unseen_mass(N: Any, L: Any, pi: Any) -> float:
    """Mass that the softmax of L gives to pairs with N = 0; contexts weigh pi."""
    Q = np.exp(L - L.max(axis=0))
    return float((pi * Q / Q.sum(axis=0))[N == 0].sum())


def _crossing(mass: Any, target: float, ridges: Any) -> float:
    """The ridge where the falling mass reaches the target, linear in ln(ridge)."""
    return float(np.exp(np.interp(-target, -mass, np.log(ridges))))


def stopping_ridge(answer: Any) -> bool:
    """Accepts the ridge of `solution_stopping_ridge`: a function of N, ridges and logits."""
    N = np.array([[1, 0, 4, 0, 2], [1, 2, 1, 0, 0], [0, 5, 0, 3, 0], [9, 0, 0, 1, 1]])
    ridges = np.array([1e-1, 3e-2, 1e-2, 1e-3, 1e-4])
    centred = (N > 0) - (N > 0).mean(axis=0)
    tilt = 0.3 * np.sin(np.arange(N.size)).reshape(N.shape)
    logits = np.array([np.log(1 / ridge) * 0.3 * centred + tilt for ridge in ridges])
    n, pi, even = N.sum(), N.sum(axis=0) / N.sum(), np.full(5, 1 / 5)
    mass, plain = (
        np.array([_unseen_mass(N, L, weights) for L in logits]) for weights in (pi, even)
    )
    once = (N == 1).sum()
    nearest = ridges[np.abs(mass - once / n).argmin()]
    heights = np.interp(-once / n, -mass, ridges)
    mistakes = {
        "contexts must be weighed by their priors, not equally.": _crossing(
            plain, once / n, ridges
        ),
        "divide the pairs that occur once by the positions, not by the pairs.": _crossing(
            mass, once / (N > 0).sum(), ridges
        ),
        "interpolate in ln(ridge), not in the ridge.": heights,
        "this is the nearest of the given ridges; interpolate between two of them.": nearest,
        "np.interp wants rising points, and the mass falls with the ridge: negate both.": float(
            np.exp(np.interp(once / n, mass, np.log(ridges)))
        ),
        "this is ln(ridge); take the exponential.": np.log(_crossing(mass, once / n, ridges)),
    }
    right = solution_stopping_ridge(N, ridges, logits)
    success = "no held-out text was needed."
    arguments = (N.copy(), ridges.copy(), logits.copy())
    return compare(answer, right, success, mistakes, arguments=arguments)
