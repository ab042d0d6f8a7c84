"""Checkers of the exercises of "Open directions"."""

from __future__ import annotations

from collections.abc import Callable
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
