"""Checkers of the exercises of "Concepts in singular vectors"."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._common import compare


def share_of_concepts(answer: Any) -> bool:
    """Accepts the sum of r squared singular values over all of them, for (S, r)."""
    rng = np.random.default_rng(12)
    S = (rng.random((6, 9)) < 0.4).astype(float)
    S[rng.integers(6, size=9), np.arange(9)] = 1
    r = 2

    def share(A: Any, power: int, first: int = r) -> float:
        s = np.linalg.svd(A, compute_uv=False)
        return float(np.sum(s[:first] ** power) / np.sum(s**power))

    centred = S - S.mean(axis=0)
    squared = float(np.sum(np.linalg.svd(centred, compute_uv=False)[:r] ** 2))
    mistakes = {
        "square the singular values: the Frobenius norm is asked for.": share(centred, 1),
        "centre the columns of S first.": share(S, 2),
        "you centred the rows; subtract from each context its mean over the tokens.": share(
            S - S.mean(axis=1, keepdims=True), 2
        ),
        "this is the r-th concept alone; add up the first r.": share(centred, 2)
        - share(centred, 2, 1),
        "divide by the whole squared norm.": squared,
        "this is one more concept than asked for.": share(centred, 2, r + 1),
    }
    success = "the squares of the singular values add up to the squared norm."
    return compare(answer, share(centred, 2), success, mistakes, arguments=(S.copy(), r))


def nine_tenths(answer: Any) -> bool:
    """Accepts (ln 9 + ln(sigma / x_0 - 1)) / (2 sigma), as a function of (sigma, x_0)."""
    sigma, x_0 = 2.5, 1e-3
    start = np.log(sigma / x_0 - 1)
    mistakes = {
        "this is the time to one half; at nine tenths x / (sigma - x) is 9.": start / (2 * sigma),
        "the rate is 2 sigma: both factors grow.": (np.log(9) + start) / sigma,
        "use natural logarithms.": (np.log10(9) + np.log10(sigma / x_0 - 1)) / (2 * sigma),
        "x = 0.9 sigma means odds of 9, not of 0.9.": (np.log(0.9) + start) / (2 * sigma),
        "x = 0.9 sigma means odds of 9, not of 10.": (np.log(10) + start) / (2 * sigma),
        "this is exponential growth without saturation.": np.log(0.9 * sigma / x_0) / (2 * sigma),
    }
    success = "linear growth of the log-odds, from the start to ln 9."
    expected = (np.log(9) + start) / (2 * sigma)
    return compare(answer, expected, success, mistakes, arguments=(sigma, x_0))


def span_agreement(answer: Any) -> bool:
    """Accepts the smallest singular value of B'A, as a function of (A, B)."""
    rng = np.random.default_rng(5)
    A = np.linalg.qr(rng.normal(size=(7, 3)))[0]
    B = np.linalg.qr(A + 0.3 * rng.normal(size=(7, 3)))[0] @ np.diag([1.0, -1.0, 1.0])
    s = np.linalg.svd(B.T @ A, compute_uv=False)
    mistakes = {
        "this is the best-agreeing direction; the worst is asked for.": s[0],
        "this compares column by column and depends on the basis; use the spans.": np.abs(
            np.sum(A * B, axis=0)
        ).min(),
        "this is a mean over directions; the worst is asked for.": s.mean(),
        "this is the mean of the squared cosines; the worst cosine is asked for.": (s**2).mean(),
        "take the root: this is the squared cosine.": s[-1] ** 2,
        "this is the determinant, the product of all cosines.": np.prod(s),
        "this is the determinant, up to a sign the product of all cosines.": -np.prod(s),
    }
    success = "independent of the bases, and as strict as the worst direction."
    return compare(answer, s[-1], success, mistakes, arguments=(A.copy(), B.copy()))
