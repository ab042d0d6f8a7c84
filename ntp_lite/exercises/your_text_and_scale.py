"""Checkers of the exercises of "Your own text, and scale"."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._common import compare


def _total(N: Any) -> float:
    """-sum N ln(N / column sum), the floor times the number of positions."""
    z, j = np.nonzero(N)
    return float(-(N[z, j] * np.log(N[z, j] / N.sum(axis=0)[j])).sum())


def floor_rise(answer: Any) -> bool:
    """Accepts Hc(A + B) - (n_A Hc(A) + n_B Hc(B)) / n: a function of two count matrices."""
    N_A = np.array([[4, 0, 3, 0], [1, 2, 0, 0], [0, 7, 1, 0]])
    N_B = np.array([[1, 0, 0, 6], [5, 1, 0, 2], [0, 1, 0, 9]])  # unequal sizes; one-sided contexts
    N, n_A, n_B = N_A + N_B, N_A.sum(), N_B.sum()
    n = n_A + n_B
    floor, floor_A, floor_B = _total(N) / n, _total(N_A) / n_A, _total(N_B) / n_B
    right = floor - (n_A * floor_A + n_B * floor_B) / n
    p, q = N_A.sum(axis=1) / n_A, N_B.sum(axis=1) / n_B
    unconditional = -(N.sum(axis=1) / n * np.log(N.sum(axis=1) / n)).sum()
    unconditional += (n_A * (p * np.log(p)).sum() + n_B * (q * np.log(q)).sum()) / n
    mistakes = {
        "the two floors were averaged with equal weights; weight them by their positions.": (
            floor - (floor_A + floor_B) / 2
        ),
        "the sign: the floor of the merged text is the larger one.": -right,
        "this is Delta = n times the rise; divide by n.": n * right,
        "base-2 logarithms; the book uses nats.": right / np.log(2),
        "this is the floor of the merged text; subtract the weighted mean of the two.": floor,
        "the floors were added; take their mean, weighted by positions.": floor - floor_A - floor_B,
        "this compares the distributions of tokens without their contexts; go column by column.": (
            unconditional
        ),
        "0 ln 0 became nan; a zero count contributes nothing, so leave it out.": np.nan,
    }
    success = "only the contexts that both texts share contribute."
    return compare(answer, right, success, mistakes, arguments=(N_A.copy(), N_B.copy()))


def merged_lse(answer: Any) -> bool:
    """Accepts the log-sum-exp of each context from tops (R, m) and sums (R, m)."""
    tops = np.array(
        [
            [1000.0, -2.0, 0.5, -900.0, -2000.0],
            [998.5, 3.0, 0.5, -901.0, 900.0],
            [0.0, 2.5, 1.0, -950.0, 1100.0],  # far above the mean of its context, too
        ]
    )
    sums = np.array(
        [[1.5, 2.0, 1.0, 3.0, 1.0], [4.0, 1.2, 2.5, 1.0, 2.0], [7.0, 1.0, 1.1, 2.0, 1.3]]
    )
    top = tops.max(axis=0)
    right = np.logaddexp.reduce(tops + np.log(sums), axis=0)

    def around(reference: Any) -> Any:
        return reference + np.log((sums * np.exp(tops - reference)).sum(axis=0))

    with np.errstate(all="ignore"):
        mean, shared = around(tops.mean(axis=0)), around(tops.max())
        least = around(tops.min(axis=0))
        overflow = np.log((sums * np.exp(tops)).sum(axis=0))
        turned = top + np.log((sums * np.exp(top - tops)).sum(axis=0))
    wrong_axis = tops.max(axis=1) + np.log(
        (sums * np.exp(tops - tops.max(axis=1, keepdims=True))).sum(axis=1)
    )
    mistakes = {
        "the sums were added without rescaling: each refers to its own top.": (
            top + np.log(sums.sum(axis=0))
        ),
        "overflow or underflow: never exponentiate a top itself, only a difference of tops.": (
            overflow
        ),
        "rescaled in the wrong direction: the exponent is own top minus overall top.": turned,
        "the smallest top makes the exponents positive; take the largest.": least,
        "the mean of the tops, or the first, is no safe reference; take the largest.": mean,
        "one top for all contexts: the others underflow; take the largest of each context.": shared,
        "the overall top must be added back after the logarithm.": right - top,
        "wrong axis: devices are rows, contexts are columns.": wrong_axis,
        "this adds the devices' log-sum-exps; add what they are logarithms of.": (
            tops + np.log(sums)
        ).sum(axis=0),
        "base-2 logarithms; the book uses natural ones.": top + (right - top) / np.log(2),
    }
    success = "and nothing was exponentiated that is positive."
    with np.errstate(all="ignore"):
        return compare(answer, right, success, mistakes, arguments=(tops.copy(), sums.copy()))


def _bound(operations: float, traffic: float, rate: float, bandwidth: float) -> float:
    return max(operations / rate, traffic / bandwidth)


def solution_step_seconds(V: int, m: int, d: int, rate: float, bandwidth: float) -> float:
    """The longer of computing and fetching."""
    return _bound(6 * V * m * d, 32 * V * m, rate, bandwidth)


def step_seconds(answer: Any) -> bool:
    """Accepts max(6 V m d / rate, 32 V m / bandwidth), where either may be the larger one."""
    cases = ((300, 5000, 8, 1e11, 2e10), (300, 5000, 512, 1e11, 2e10))

    def all_cases(f: Any) -> list[Any]:
        return [f(*case) for case in cases]

    def model(operations: float = 6, traffic: float = 32) -> list[float]:
        return all_cases(
            lambda V, m, d, r, b: _bound(operations * V * m * d, traffic * V * m, r, b)
        )

    mistakes = {
        "fetching and computing may overlap: the longer of the two times, not their sum.": (
            all_cases(lambda V, m, d, r, b: 6 * V * m * d / r + 32 * V * m / b)
        ),
        "the shorter time is no bound; take the longer one.": all_cases(
            lambda V, m, d, r, b: min(6 * V * m * d / r, 32 * V * m / b)
        ),
        "this counts the forward product only; a step has three.": model(operations=2),
        "this counts two of the three products.": model(operations=4),
        "a multiplication and an addition are two operations.": model(operations=3),
        "32 V m is a number of bytes already.": model(traffic=128),
        "memory is forgotten: at d = 8 it is the bottleneck.": all_cases(
            lambda V, m, d, r, b: 6 * V * m * d / r
        ),
        "arithmetic is forgotten: at d = 512 it is the bottleneck.": all_cases(
            lambda V, m, d, r, b: 32 * V * m / b
        ),
        "this is a rate, operations per second; the question is for seconds.": all_cases(
            lambda V, m, d, r, b: min(r, b * 6 * d / 32)
        ),
    }
    success = "below d = 16 r / (3 beta) such a step waits for memory."

    def answers() -> Any:
        found = all_cases(answer)
        return found[0] if found[0] is ... or found[0] is None else found

    right = all_cases(solution_step_seconds)
    return compare(answers if callable(answer) else answer, right, success, mistakes)
