"""Checkers of the exercises of "How do we know it is optimal?"."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ._common import NoAnswerError, compare, say, value_of

# More rows than columns, uneven priors, supports of sizes 1 to 3.
COUNTS = np.array([[0, 1, 0], [4, 0, 1], [0, 2, 0], [0, 3, 5], [0, 0, 2]])
P, PI = COUNTS / COUNTS.sum(axis=0), COUNTS.sum(axis=0) / COUNTS.sum()


def _softmax(L: NDArray[np.float64], axis: int = 0) -> NDArray[np.float64]:
    E = np.exp(L - L.max(axis=axis, keepdims=True))
    return E / E.sum(axis=axis, keepdims=True)


def _operator(A: Any) -> float:
    return float(np.linalg.norm(A, 2))


def largest_ridge(answer: Callable[..., Any]) -> bool:
    """Accepts a function of counts N (V, m) that returns |(P - 1/V) diag(pi)|_op."""
    V, m = COUNTS.shape
    G = (P - 1 / V) * PI
    return compare(
        answer,
        _operator(G),
        "from this ridge on, predicting nothing is optimal.",
        {
            "the priors are missing: column j counts with the weight pi_j.": _operator(P - 1 / V),
            "subtract the uniform prediction 1/V; you took 1/m.": _operator((P - 1 / m) * PI),
            "subtract the uniform prediction 1/V first; softmax(0) is not zero.": _operator(P * PI),
            "that is the Frobenius norm; the operator norm is the largest singular value.": float(
                np.linalg.norm(G)
            ),
            "that is the nuclear norm; the operator norm is the largest singular value.": float(
                np.linalg.norm(G, "nuc")
            ),
            "that is the largest entry; the operator norm is the largest singular value.": float(
                np.abs(G).max()
            ),
            "divide the counts by n; the priors sum to one.": _operator(G * COUNTS.sum()),
            "wrong axis: normalise each column of N, not each row.": _operator(
                (COUNTS / COUNTS.sum(axis=1, keepdims=True) - 1 / V) * PI
            ),
        },
        arguments=(COUNTS.copy(),),
    )


def path_alignment(answer: Callable[..., Any]) -> bool:
    """Accepts a function of dense (L, P, pi); stable also for logits of size 1000."""
    L = np.random.default_rng(5).normal(size=P.shape) + 2 * P
    G = (P - _softmax(L)) * PI
    inner, operator = (G * L).sum(), _operator(G)
    nuclear, frobenius = np.linalg.norm(L, "nuc"), np.linalg.norm(L)
    plain = P - _softmax(L)
    rows = (P - _softmax(L, axis=1)) * PI
    try:
        value = value_of(answer, L.copy(), P.copy(), PI.copy())
    except NoAnswerError as reason:
        return say(False, str(reason))
    right = _compare_quietly(value, inner / (operator * nuclear))
    if not right:
        return compare(
            value,
            inner / (operator * nuclear),
            "",
            {
                "that is <G, L>; divide by |G|_op |L|_*.": inner,
                "the sign: G is P minus Q, the downhill direction.": -inner / (operator * nuclear),
                "this is the cosine, with Frobenius norms; take |G|_op and |L|_*.": inner
                / (np.linalg.norm(G) * frobenius),
                "the two norms are exchanged: operator norm of G, nuclear norm of L.": inner
                / (np.linalg.norm(G, "nuc") * _operator(L)),
                "the operator norm of G is right; of L you need the nuclear norm.": inner
                / (operator * frobenius),
                "the priors are missing: G = (P - Q) diag(pi).": (plain * L).sum()
                / (_operator(plain) * nuclear),
                "wrong axis: softmax works down each column (axis=0).": (rows * L).sum()
                / (_operator(rows) * nuclear),
            },
        )
    large = 1000 * np.random.default_rng(6).normal(size=P.shape)
    G = (P - _softmax(large)) * PI
    expected = (G * large).sum() / (_operator(G) * np.linalg.norm(large, "nuc"))
    # An overflow is what this second try looks for: its warning would say nothing new.
    with np.errstate(all="ignore"):
        try:
            stable = _compare_quietly(value_of(answer, large.copy(), P.copy(), PI.copy()), expected)
        except NoAnswerError:
            stable = False
    if not stable:
        return say(
            False,
            "right for ordinary logits, but logits of size 1000 overflow: subtract the largest "
            "logit of each column before np.exp.",
        )
    return say(True, "one on the path, less elsewhere, and stable for large logits.")


def _compare_quietly(value: Any, expected: float) -> bool:
    """Is `value` the number expected? Prints nothing."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return array.shape == () and bool(np.isclose(array, expected, rtol=1e-6, atol=1e-9))


def escape(answer: Callable[..., Any]) -> bool:
    """Accepts a function of (W, H, G) that returns factors one dimension wider, with a smaller
    objective; any direction and step that lowers it will do."""
    ridge = 0.02
    W, H = _stationary(ridge)
    before, G = _objective(W, H, ridge)
    try:
        value = value_of(answer, W.copy(), H.copy(), G.copy())
    except NoAnswerError as reason:
        return say(False, str(reason))
    try:
        new_W, new_H = (np.asarray(x, dtype=np.float64) for x in value)
    except (TypeError, ValueError):
        return say(False, "return the two new factors, `return W_new, H_new`.")
    shapes = (W.shape[0], W.shape[1] + 1), (H.shape[0] + 1, H.shape[1])
    if (new_W.shape, new_H.shape) != shapes:
        return say(
            False,
            f"the shapes are {new_W.shape} and {new_H.shape}, expected {shapes[0]} and "
            f"{shapes[1]}: one more column of W, one more row of H.",
        )
    after, _ = _objective(new_W, new_H, ridge)
    if after < before - 1e-9:
        # A wrong direction may fall by luck; hardly so in every order of the contexts.
        if all(_falls(answer, W, H, G, order, ridge) for order in permutations(range(H.shape[1]))):
            return say(True, f"the objective fell by {before - after:.2e}: not a local minimum.")
        return say(
            False,
            "right here, but with the contexts in another order the objective rises: take the "
            "leading pair (np.linalg.svd returns V', so its first row).",
        )
    if np.allclose(new_W @ new_H, W @ H, atol=1e-12):
        return say(False, "the logits have not changed; both factors need the new dimension.")
    change = ((new_W @ new_H - W @ H) * G).sum()
    if change < 0:
        return say(False, "the loss goes up: u and v must come from the same singular pair of G, "
                          "with the same sign.")  # fmt: skip
    return say(
        False,
        f"the objective rose by {after - before:.2e}: take the leading pair (np.linalg.svd returns "
        "V', so its first row), and a smaller step.",
    )


def _falls(
    answer: Callable[..., Any],
    W: NDArray[np.float64],
    H: NDArray[np.float64],
    G: NDArray[np.float64],
    order: tuple[int, ...],
    ridge: float,
) -> bool:
    """Does the answer lower the objective when the contexts come in this order?"""
    columns = list(order)
    before, _ = _objective(W, H, ridge)
    try:
        value = value_of(answer, W.copy(), H[:, columns], G[:, columns])
        new_W, new_H = (np.asarray(x, dtype=np.float64) for x in value)
        after, _ = _objective(new_W, new_H[:, np.argsort(columns)], ridge)
    except (NoAnswerError, TypeError, ValueError, IndexError):
        return False
    return after < before - 1e-9


def _objective(
    W: NDArray[np.float64], H: NDArray[np.float64], ridge: float
) -> tuple[float, NDArray[np.float64]]:
    L = W @ H
    lse = np.log(np.exp(L - L.max(axis=0)).sum(axis=0)) + L.max(axis=0)
    value = PI @ (lse - (P * L).sum(axis=0)) + ridge / 2 * ((W**2).sum() + (H**2).sum())
    return float(value), (P - _softmax(L)) * PI


def _stationary(ridge: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The best factors of width one: stationary, and not optimal over all widths."""
    V, m = P.shape

    def objective(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        W, H = x[:V, None], x[None, V:]
        value, G = _objective(W, H, ridge)
        return value, np.concatenate([(ridge * W - G @ H.T).ravel(), (ridge * H - W.T @ G).ravel()])

    start = np.random.default_rng(0).normal(size=V + m)
    x = minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-9}).x
    return x[:V, None], x[None, V:]
