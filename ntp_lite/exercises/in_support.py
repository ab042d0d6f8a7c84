"""Checkers of the exercises of "The in-support component"."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._common import compare

SUPPORT = np.array(
    [[1, 0, 0, 1, 1], [1, 1, 0, 0, 1], [1, 0, 1, 1, 1], [0, 1, 0, 0, 1]], dtype=np.float64
)


def solution_project(L: Any, S: Any) -> Any:
    """Zero off the support, centred on it."""
    return S * (L - (S * L).sum(axis=0) / S.sum(axis=0))


def project(answer: Any) -> bool:
    """Accepts the orthogonal projection on F: the answer as a function of (L, S), both (V, m)."""
    S = SUPPORT
    L = np.random.default_rng(6).normal(size=S.shape) + 1.0
    k = S.sum(axis=0)
    means = (S * L).sum(axis=0) / k
    rows = (S * L).sum(axis=1) / S.sum(axis=1)
    mistakes = {
        "you centred over all V tokens; the mean runs over the support alone.": S
        * (L - L.mean(axis=0)),
        "the sum over the support is divided by V; divide it by k_j.": S
        * (L - (S * L).sum(axis=0) / len(S)),
        "entries off the support must be zero; multiply by S once more.": L - means,
        "entries off the support must be zero, here they are minus the mean.": S * L - means,
        "this is the wrong axis: columns are contexts, so sum over axis 0.": S
        * (L - rows[:, None]),
        "you erased what is off the support; now centre what is on it.": S * L,
        "this is the other part, L - P_F(L); return P_F(L) itself.": L - S * (L - means),
    }
    success = "zero off the support, centred on it: the nearest element of F."
    right = solution_project(L, S)
    return compare(answer, right, success, mistakes, arguments=(L.copy(), S.copy()))


def solution_in_support(N: Any) -> Any:
    """The logarithms of the counts, centred on each support; a context's total cancels."""
    return solution_project(np.log(np.where(N > 0, N, 1.0)), N > 0)


def in_support(answer: Any) -> bool:
    """Accepts L_in, in nats: the answer as a function of the counts N (V, m)."""
    N = np.array([[4, 0, 0, 1, 1], [1, 7, 0, 0, 2], [2, 0, 5, 3, 1], [0, 2, 0, 0, 4]])
    S = SUPPORT
    P = N / N.sum(axis=0)
    log_P = np.log(np.where(N > 0, P, 1.0))
    k = S.sum(axis=0)
    L_in = solution_in_support(N)
    share = P.sum(axis=1, keepdims=True)
    log_N = np.log(np.where(N > 0, N, 1))
    mistakes = {
        "these are bits; use the natural logarithm.": L_in / np.log(2),
        "this is base 10; use the natural logarithm.": L_in / np.log(10),
        "this is log P on the support; subtract its mean over the support.": log_P,
        "this is log N on the support; subtract its mean over the support.": log_N,
        "you divided by V in the mean; the support has k_j tokens.": S
        * (log_P - log_P.mean(axis=0)),
        "entries off the support must be zero; multiply by S at the end.": log_P
        - log_P.sum(axis=0) / k,
        "the mean of log N is divided by V; the support has k_j tokens.": S
        * (log_N - log_N.mean(axis=0)),
        "entries off the support must be zero, here they are minus the mean.": log_N
        - log_N.sum(axis=0) / k,
        "the mean is weighted by P here; in F the plain sum over the support is zero.": S
        * (log_P - (P * log_P).sum(axis=0)),
        "you normalised rows; P is N divided by its column sums.": solution_project(
            np.log(np.where(N > 0, N / N.sum(axis=1, keepdims=True), 1.0)), S
        ),
        "you divided by a token's total share; P_zj alone enters.": solution_project(
            np.where(N > 0, log_P - np.log(share), 0.0), S
        ),
    }
    success = "finite, sparse, and softmax within each support gives P back."
    return compare(answer, L_in, success, mistakes, arguments=(N.copy(),))
