"""Checkers of the exercises of "The regularisation path"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import entr

from ..margin import solve_max_margin
from ._common import NoAnswerError, compare, say, value_of

# A zero count, a count on each side of gamma n, and two contexts of unequal weight.
COUNTS = np.array([[6, 0, 1], [0, 3, 9], [1, 0, 2], [3, 5, 0], [0, 1, 4]])
GAMMA = 2.5 / COUNTS.sum()


def estimate_price(answer: Callable[..., Any]) -> bool:
    """Accepts (|L_2|_* - |L_1|_*) / ln(ridge_1 / ridge_2), a function of two points."""
    rng = np.random.default_rng(8)
    L_1 = rng.normal(size=(6, 9))
    L_2 = 1.8 * L_1 + 0.2 * rng.normal(size=(6, 9))
    ridge_1, ridge_2 = 1e-4, 3e-6
    step = np.log(ridge_1 / ridge_2)

    def growth(kind: Any) -> float:
        return float(np.linalg.norm(L_2, kind) - np.linalg.norm(L_1, kind))

    right = growth("nuc") / step
    return compare(
        answer,
        right,
        "a difference quotient in t = ln(1/ridge); the constant has dropped out.",
        {
            "one point alone still holds the constant B - A; use the difference of two.": float(
                np.linalg.norm(L_2, "nuc") / np.log(1 / ridge_2)
            ),
            "the sign: t grows when the ridge falls, ln(ridge_1 / ridge_2).": -right,
            "use the natural logarithm, not base 10.": right * np.log(10),
            "that is the Frobenius norm (the default of np.linalg.norm); A is a nuclear norm.": (
                growth("fro") / step
            ),
            "that is the operator norm; A is a nuclear norm, the sum of singular values.": (
                growth(2) / step
            ),
            "this is the nuclear norm of the slope, an upper bound; take the growth of the norm.": (
                float(np.linalg.norm(L_2 - L_1, "nuc")) / step
            ),
            "divide by the step in t = ln(1/ridge).": growth("nuc"),
            "the slope is in t = ln(1/ridge), not in the ridge itself.": growth("nuc")
            / (ridge_1 - ridge_2),
        },
        arguments=(L_1.copy(), ridge_1, L_2.copy(), ridge_2),
    )


def solution_guaranteed_margins(N: Any, gamma: float) -> Any:
    """The bound on the margins of any model, nan off the support, -inf where it is vacuous."""
    joint = N / N.sum()
    bound = np.full(N.shape, np.nan)
    bound[N > 0] = -np.inf
    covered = joint > gamma
    bound[covered] = np.log((joint[covered] - gamma) / gamma)
    return bound


def guaranteed_margins(answer: Callable[..., Any]) -> bool:
    """Accepts the bound ln((N/n - gamma) / gamma): nan off the support, -inf where it is vacuous.

    A function of counts N (V, m) and gamma. Explained mistakes: P without the priors, gamma
    forgotten in the numerator, base 10, zeros in the place of nan or -inf.
    """
    N, gamma = COUNTS, GAMMA
    seen = N > 0
    with np.errstate(all="ignore"):
        try:
            value = value_of(answer, N.copy(), gamma)
        except NoAnswerError as reason:
            return say(False, str(reason))

    def table(joint: Any, bound: Any) -> Any:
        with np.errstate(all="ignore"):
            covered = np.where(joint > gamma, bound(joint), -np.inf)
        return np.where(seen, covered, np.nan)

    joint, P = N / N.sum(), N / N.sum(axis=0)
    right = solution_guaranteed_margins(N, gamma)
    rows = N / N.sum(axis=1, keepdims=True)
    return compare(
        value,
        right,
        "and it holds for any model with this residual.",
        {
            "the priors are missing: use pi_j P_zj = N_zj / n, not P_zj.": table(
                P, lambda x: np.log((x - gamma) / gamma)
            ),
            "wrong axis: that divides by row sums; pi_j P_zj is a count divided by n.": table(
                rows, lambda x: np.log((x - gamma) / gamma)
            ),
            "on the support Q may be smaller than P by gamma / pi_j; subtract it.": table(
                joint, lambda x: np.log(x / gamma)
            ),
            "use the natural logarithm.": right / np.log(10),
            "divide by gamma inside the logarithm: Q off the support is at most gamma / pi_j.": (
                table(joint, lambda x: np.log(x - gamma))
            ),
            "off the support the answer should be nan.": np.where(seen, right, -np.inf),
            "off the support the answer should be nan, not 0.": np.where(seen, right, 0.0),
            "where the bound says nothing the answer should be -inf, not nan.": np.where(
                np.isfinite(right), right, np.nan
            ),
            "where the bound says nothing the answer should be -inf, not 0.": np.where(
                np.isneginf(right), 0.0, right
            ),
        },
    )


def solution_value_from_below(N: Any, G_mm: Any, ridge: float) -> float:
    """sum_j pi_j H(R_j) for R = P - ridge G_mm diag(1/pi): at most min CE + ridge |L|_*."""
    priors = N.sum(axis=0) / N.sum()
    R = N / N.sum(axis=0) - ridge * G_mm / priors
    return float(priors @ entr(np.maximum(R, 0)).sum(axis=0))


def value_from_below(answer: Callable[..., Any]) -> bool:
    """Accepts the entropy of the dual point: a function of counts N, G_mm and the ridge.

    Explained mistakes: the wrong sign, no priors in R or in the sum, G_mm not scaled by the ridge,
    the floor alone, base 2.
    """
    N, ridge = COUNTS, 0.2 / COUNTS.sum()
    G_mm = solve_max_margin(N > 0, tol=1e-8).dual
    priors, P = N.sum(axis=0) / N.sum(), N / N.sum(axis=0)

    def value(R: Any, weights: Any = priors) -> float:
        return float(weights @ entr(np.maximum(R, 0)).sum(axis=0))

    right = solution_value_from_below(N, G_mm, ridge)
    return compare(
        answer,
        right,
        "no ridge problem was solved, and yet no logits can do better.",
        {
            "the sign: off the support G_mm is negative, and R must not be.": value(
                P + ridge * G_mm / priors
            ),
            "this is the entropy floor; move P by ridge times the prices.": value(P),
            "divide column j of G_mm by pi_j, since (P - R) diag(pi) should be ridge G_mm.": value(
                P - ridge * G_mm
            ),
            "weight the entropies by the priors, not equally.": value(
                P - ridge * G_mm / priors, np.full(len(priors), 1 / len(priors))
            ),
            "weight the entropies by the priors.": value(
                P - ridge * G_mm / priors, np.ones(len(priors))
            ),
            "use the natural logarithm.": right / np.log(2),
        },
        arguments=(N.copy(), G_mm.copy(), ridge),
    )
