"""Checkers of the exercises of "The entropy floor"."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._common import NoAnswerError, compare, say, value_of

COUNTS = np.array([[0, 1, 0], [4, 0, 1], [0, 2, 0], [0, 3, 5], [0, 0, 2]])


def solution_entropy_floor(N: Any) -> Any:
    """The prior-weighted mean of the entropies of the columns, in nats."""
    P, pi = N / N.sum(axis=0), N.sum(axis=0) / N.sum()
    return pi @ _entropies(P, 0)


def _entropies(A: Any, axis: int) -> Any:
    return -(A * np.log(np.where(A > 0, A, 1.0))).sum(axis=axis)


def entropy_floor(answer: Any) -> bool:
    """Accepts a function of dense N (V, m) that returns the conditional entropy in nats."""
    N = COUNTS
    P = N / N.sum(axis=0)
    right = solution_entropy_floor(N)
    backward = N / N.sum(axis=1, keepdims=True)
    return compare(
        answer,
        right,
        "the floor, in nats.",
        {
            "0 ln 0 became nan; it counts as 0.": np.nan,
            "that is in bits; use the natural logarithm.": right / np.log(2),
            "you averaged over contexts with equal weights; weigh them by pi.": (
                _entropies(P, 0).mean()
            ),
            "you summed over contexts without weights; weigh them by pi.": _entropies(P, 0).sum(),
            "wrong axis: divide each column by its sum, not each row.": (
                N.sum(axis=1) / N.sum() @ _entropies(backward, 1)
            ),
            "that is the entropy of the joint table N / n; use the columns P_j.": (
                _entropies(N / N.sum(), 0).sum()
            ),
            "the sign: entropies are not negative.": -right,
        },
        arguments=(N,),
    )


def solution_smallest_spread(V: int, pi: Any, k: Any, excess: float) -> float:
    """The spread at which the corollary's lower bound on the excess loss equals `excess`."""
    return _spread(pi, V / k - 1, excess)


def _spread(weights: Any, rho: Any, excess: float) -> float:
    """R >= 0 with sum of weights ln(1 + rho exp(-R)) = excess, by halving; 0 if there is none."""

    def least_excess(R: float) -> float:
        return float(np.sum(weights * np.log1p(rho * np.exp(-R))))

    if least_excess(0.0) <= excess:
        return 0.0
    low, high = 0.0, 1.0
    while least_excess(high) > excess:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        if least_excess(middle) > excess:
            low = middle
        else:
            high = middle
    return high


def smallest_spread(answer: Any) -> bool:
    """Accepts a function of (V, pi, k, excess) that inverts the corollary's bound for R."""
    V, k, excess = 5, np.array([1, 3, 3]), 0.01
    pi = COUNTS.sum(axis=0) / COUNTS.sum()
    rho = V / k - 1
    right = solution_smallest_spread(V, pi, k, excess)
    mistakes = {
        "that inverts the second line of the bound, which is weaker.": (
            np.log(pi @ np.log(V / k) / excess)
        ),
        "close, but ln(1 + u) is not u: solve the equation itself.": np.log(pi @ rho / excess),
        "the 1 is missing: V / k_j - 1 tokens off the support for each one on it.": (
            _spread(pi, V / k, excess)
        ),
        "you divided by V; compare with the k_j tokens on the support.": (
            _spread(pi, 1 - k / V, excess)
        ),
        "divide V - k_j by k_j: the mass off the support is compared with the mass on it.": (
            _spread(pi, V - k, excess)
        ),
        "use the natural logarithm.": right / np.log(10),
        "use the natural logarithm, not base 2.": right / np.log(2),
        "weigh the contexts by the priors instead of taking the plain mean.": (
            _spread(np.full(len(k), 1 / len(k)), rho, excess)
        ),
        "weigh the contexts by the priors instead of adding them up.": _spread(1.0, rho, excess),
        "that is exp(-R); take its logarithm and change the sign.": np.exp(-right),
        "the sign: a small excess needs a large spread.": -right,
    }
    arguments = (V, pi, k, excess)
    try:
        is_right = _close(value_of(answer, *arguments), right)
        if is_right and not _close(1 + value_of(answer, V, pi, k, 5.0), 1):
            return say(False, "an excess of 5 needs no spread at all here: return 0.")
    except NoAnswerError as reason:
        return say(False, str(reason))
    message = "each factor of ten in a small excess costs ln 10 = 2.30 of spread."
    return compare(answer, right, message, mistakes, arguments)


def safe_excess(answer: Any) -> bool:
    """Accepts a function of dense (L, P, pi); relative error below 1e-6 also near 1e-16."""
    P, pi = COUNTS / COUNTS.sum(axis=0), COUNTS.sum(axis=0) / COUNTS.sum()
    on, V = P > 0, len(P)
    log_P = np.log(np.where(on, P, 1.0))
    L = np.random.default_rng(3).standard_normal(P.shape)
    log_Q = L - np.log(np.exp(L).sum(axis=0))
    per_context = (P * (log_P - log_Q)).sum(axis=0)
    loss = -pi @ (P * log_Q).sum(axis=0)
    restricted = log_Q - np.log((on * np.exp(log_Q)).sum(axis=0))
    axis_slip = L - np.log(np.exp(L).sum(axis=1, keepdims=True))
    try:
        value = value_of(answer, L, P, pi)
    except NoAnswerError as reason:
        return say(False, str(reason))
    ordinary = np.asarray(pi @ per_context)
    if not np.allclose(np.shape(value), ()) or not _close(value, ordinary):
        return compare(
            value,
            ordinary,
            "",
            {
                "an entry became nan; keep zeros of P out of the logarithm.": np.nan,
                "that is the loss itself; the floor is still in it.": loss,
                "you averaged over contexts with equal weights; weigh them by pi.": (
                    per_context.mean()
                ),
                "that is in bits; use the natural logarithm.": ordinary / np.log(2),
                "the mass of Q off the support is missing, the second sum.": (
                    pi @ (per_context - np.where(on, 0.0, np.exp(log_Q)).sum(axis=0))
                ),
                "the shares on the support are missing, the first sum.": (
                    pi @ np.where(on, 0.0, np.exp(log_Q)).sum(axis=0)
                ),
                "only the shares on the support are compared; Q leaks off it, too.": (
                    pi @ (P * (log_P - restricted)).sum(axis=0)
                ),
                "wrong axis: softmax works down each column (axis=0).": (
                    pi @ (P * (log_P - axis_slip)).sum(axis=0)
                ),
            },
        )
    # Two tiny cases. On the support, L = ln P + d with a tiny d: KL is half the variance of d.
    t, d = 38.0, 2e-8 * L
    off = V - on.sum(axis=0)
    variance = (P * (d - (P * d).sum(axis=0)) ** 2).sum(axis=0)
    cases = {
        "off": (np.where(on, log_P, -t), pi @ np.log1p(off * np.exp(-t))),
        "on": (np.where(on, log_P + d, -90.0), pi @ variance / 2),
    }
    got = {}
    for place, (tiny, true) in cases.items():
        got[place] = float(value_of(answer, tiny, P, pi))
        if not abs(got[place] / true - 1) <= 1e-6:
            return say(
                False,
                f"right for ordinary logits, but with an excess of {true:.6e} {place} the support "
                f"you get {got[place]:.6e}: digits cancel. Add non-negative terms, and use "
                "np.expm1(x) in place of np.exp(x) - 1.",
            )
    return say(
        True,
        f"and the digits survive, {got['off']:.5e} off the support, {got['on']:.5e} on it.",
    )


def _close(value: Any, target: Any) -> bool:
    try:
        return bool(np.allclose(np.asarray(value, dtype=float), target, rtol=1e-6, atol=0.0))
    except (TypeError, ValueError):
        return False
