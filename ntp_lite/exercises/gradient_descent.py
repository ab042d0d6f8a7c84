"""Checkers of the exercises of "What gradient descent does"."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._common import NoAnswerError, compare, say, value_of


def drift(answer: Any) -> bool:
    """Accepts step^2 (H G'G H' - W' G G' W), a function of (W, H, G, step)."""
    rng = np.random.default_rng(13)
    W, H, G = rng.normal(size=(6, 3)), rng.normal(size=(3, 4)), rng.normal(size=(6, 4))
    step = 0.3
    up, right = G @ H.T, W.T @ G
    words, contexts = up.T @ up, right @ right.T
    first = up.T @ W + W.T @ up
    expected = step**2 * (words - contexts)
    mistakes = {
        "the sign: D is words minus contexts, and the words' move counts with plus.": -expected,
        "the step enters squared: both moves are multiplied by it.": step * (words - contexts),
        "the step is missing; it enters squared.": words - contexts,
        "the contexts' move adds to HH', which D subtracts: minus, not plus.": step**2
        * (words + contexts),
        "the terms of first order cancel; only those with step^2 remain.": expected + step * first,
        "W and H move at the same time: the contexts' move uses the old W.": (
            _sequential(W, H, G, step)
        ),
        "this is D after the step; subtract D before it.": expected + W.T @ W - H @ H.T,
    }
    success = "second order in the step: flow, with infinitely small steps, conserves D."
    arguments = (W.copy(), H.copy(), G.copy(), step)
    return compare(answer, expected, success, mistakes, arguments=arguments)


def _sequential(W: Any, H: Any, G: Any, step: float) -> Any:
    """The change of D if H moved after W had moved."""
    moved = W + step * G @ H.T
    H_moved = H + step * moved.T @ G
    return moved.T @ moved - H_moved @ H_moved.T - (W.T @ W - H @ H.T)


def efficiency(answer: Any) -> bool:
    """Accepts mu A / |R|_* with centred R, a function of (L, S, A)."""
    S = np.array([[1, 1, 0, 1, 1], [1, 0, 1, 1, 0], [0, 1, 0, 1, 0], [0, 0, 0, 1, 1]])
    rng = np.random.default_rng(3)
    L = 5.0 * S + rng.normal(size=S.shape) + np.array([0.0, 3.0, -2.0, 1.0, 4.0])
    A, on = 2.5, S == 1
    mean = np.where(on, L, 0).sum(axis=0) / on.sum(axis=0)
    R = np.where(on, mean, L)
    centred = R - R.mean(axis=0)
    top = np.where(on, -np.inf, L).max(axis=0)
    some = on.sum(axis=0) < len(S)

    def nuclear(X: Any) -> float:
        return float(np.linalg.norm(X, "nuc"))

    mu = (mean - top)[some].min()
    smallest = (np.where(on, L, np.inf).min(axis=0) - top)[some].min()
    expected = mu * A / nuclear(centred)
    mistakes = {
        "centre the columns of R: a constant in a column must not matter.": mu * A / nuclear(R),
        "below stands the norm of R, not of L: replace in-support logits by their mean.": mu
        * A
        / nuclear(L - L.mean(axis=0)),
        "use the mean of the in-support logits for the margin, not the smallest.": smallest
        * A
        / nuclear(centred),
        "the smallest margin over the contexts is asked for, not their mean.": (mean - top)[
            some
        ].mean()
        * A
        / nuclear(centred),
        "the nuclear norm, not the Frobenius norm.": mu * A / float(np.linalg.norm(centred)),
        "A is missing.": mu / nuclear(centred),
        "upside down: margin times A above, norm below.": 1 / expected,
        "compare with the largest logit off the support, not with their mean.": _mean_margin(
            L, on, mean
        )
        * A
        / nuclear(centred),
    }
    success = "at most 1, and 1 exactly if the rest solves the NTP-SVM up to scale."
    low = L - 9 * S  # now logits off the support stand above the mean on it
    negative = ((mean - 9 - top)[some].min()) * A / nuclear(centred - 9 * (S - S.mean(axis=0)))
    try:
        right, below = (float(value_of(answer, X.copy(), S.copy(), A)) for X in (L, low))
    except (NoAnswerError, TypeError, ValueError):
        right = below = np.nan  # compare explains it below
    if np.isclose(right, expected) and not np.isclose(below, negative):
        return say(False, "a negative margin makes the efficiency negative: keep the sign.")
    return compare(answer, expected, success, mistakes, arguments=(L.copy(), S.copy(), A))


def _mean_margin(L: Any, on: Any, mean: Any) -> float:
    some = on.sum(axis=0) < len(on)
    off = np.where(on, 0, L).sum(axis=0)[some] / (~on).sum(axis=0)[some]
    return float((mean[some] - off).min())


def least_norm(answer: Any) -> bool:
    """Accepts A (ln(1/excess) - ln(2n / N_min)), nan above 0.19 N_min / n, for (excess, N, A)."""
    N, A, excess = np.array([[5, 0, 2], [0, 4, 3], [6, 0, 0]]), 3.5, 1e-4
    n, rarest = N.sum(), 2
    expected = A * np.log(rarest / (2 * n * excess))
    mistakes = {
        "N_min is the smallest positive count, not one.": A * np.log(1 / (2 * n * excess)),
        "n is the number of positions, the sum of all counts.": A
        * np.log(rarest / (2 * N.shape[1] * excess)),
        "the factor 2 is missing: on the support only half of P is certain.": A
        * np.log(rarest / (n * excess)),
        "A is missing: this is the least margin.": expected / A,
        "natural logarithms, please.": expected / np.log(10),
        "the sign: a smaller excess loss costs more.": -expected,
        "the constant ln(2n / N_min) is missing.": A * np.log(1 / excess),
    }
    success = "and a decade of loss costs another A ln 10."
    values = []
    for trial in (excess, 0.03, 0.1):  # 0.19 N_min / n is 0.019 here
        try:
            values.append(float(value_of(answer, trial, N.copy(), A)))
        except (NoAnswerError, TypeError, ValueError):
            values.append(np.inf)  # compare explains it below, unless None stands for nan
    if np.isclose(values[0], expected) and not np.isnan(values[1:]).all():
        return say(False, "above 0.19 N_min / n the theorem says nothing: return nan there.")
    return compare(answer, expected, success, mistakes, arguments=(excess, N.copy(), A))


def polar_factor(answer: Any) -> bool:
    """Accepts UR', a function of a matrix G = U Sigma R' of full column rank."""
    rng = np.random.default_rng(7)
    U, _ = np.linalg.qr(rng.normal(size=(7, 4)))
    R, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    G = (U * [5.0, 1.0, 0.3, 0.005]) @ R.T
    expected = U @ R.T
    scaled = G / np.linalg.norm(G)
    few = scaled
    for _ in range(5):
        few = (3 * few - few @ few.T @ few) / 2
    mistakes = {
        "this is G, only scaled; all its singular values should become one.": scaled,
        "this is G over its largest singular value; all of them should become one.": G / 5.0,
        "the entrywise sign is what Adam's first step is; its singular values are not one.": (
            np.sign(G)
        ),
        "the left singular vectors alone; multiply them by R'.": U,
        "five steps are too few for small singular values: they grow by 3/2 in each.": few,
        "divide by two after 3X - XX'X.": 2 * expected,
    }
    success = "every singular value is one: no direction is favoured."
    wrong_scale = _diverges(answer, G)
    if wrong_scale:
        return say(False, wrong_scale)
    return compare(answer, expected, success, mistakes, arguments=(G.copy(),), rtol=0, atol=1e-5)


def _diverges(answer: Any, G: Any) -> str:
    """A sentence if the answer overflows, as it does for singular values above the root of 3."""
    try:
        with np.errstate(all="ignore"):
            value = np.asarray(value_of(answer, G.copy()), dtype=float)
    except (NoAnswerError, TypeError, ValueError):
        return ""  # compare explains it
    if value.shape == G.shape and not np.isfinite(value).all():
        return "the iteration overflows: first divide G by its Frobenius norm."
    return ""
