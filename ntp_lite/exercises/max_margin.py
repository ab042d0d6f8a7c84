"""Checkers of the exercises of "The max-margin component"."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..constraints import project_dual
from ..margin import solve_max_margin
from ._common import NoAnswerError, compare, say, value_of

# The bird of the chapter with a twin word: the proxy is not the solution.
TWIN_WORDS = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 1], [0, 1, 0], [0, 1, 0]])


def solution_lower_bound(G: Any, S: Any) -> float:
    """The bound that the best multiple of a dual feasible G proves."""
    return float((G * S).sum() / np.linalg.norm(G, 2))


def lower_bound(answer: Any) -> bool:
    """Accepts <G, S> / |G|_op: the answer as a function of (G, S)."""
    S = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 1], [0, 1, 0]])
    # Small entries: the operator norm is below one, so the best multiple is larger than G. One
    # entry on the support is negative, so <G, S> is not the sum of the positive entries.
    start = np.random.default_rng(7).normal(size=S.shape) + 2 * S
    start[1, 0] = -1
    G = 0.1 * project_dual(start, S)
    value = float((G * S).sum())
    operator = float(np.linalg.norm(G, 2))
    condition = "the condition is on the largest singular value."
    unscaled = "this is <G, S> without scaling; scale also when the operator norm is below one."
    mistakes = {
        unscaled: value,  # also what dividing by max(1, |G|_op) gives
        f"you divided by the Frobenius norm; {condition}": value / np.linalg.norm(G),
        f"you divided by the nuclear norm; {condition}": value / np.linalg.norm(G, "nuc"),
        f"you divided by the largest entry; {condition}": value / np.abs(G).max(),
        "you multiplied by the operator norm; divide by it.": value * operator,
        "entries of G on the support may be negative; add all of them up, with their signs.": (
            np.maximum(G, 0).sum() / operator
        ),
        "this is the operator norm of G; what does the scaled G prove?": operator,
    }
    success = "the largest singular value of the scaled G is one, and the bound is the best."
    right = solution_lower_bound(G, S)
    return compare(answer, right, success, mistakes, arguments=(G.copy(), S.copy()))


def solution_expanded_norm(M: Any, r: Any, c: Any) -> float:
    """The nuclear norm of the matrix that holds r_p copies of row p and c_q of column q of M."""
    return float(np.linalg.norm(np.sqrt(r)[:, None] * M * np.sqrt(c), "nuc"))


def expanded_norm(answer: Any) -> bool:
    """Accepts |diag(sqrt r) M diag(sqrt c)|_*: the answer as a function of (M, r, c)."""
    M = np.random.default_rng(8).normal(size=(3, 4))
    r, c = np.array([1, 4, 2]), np.array([3, 1, 5, 2])

    def nuclear(A: Any) -> float:
        return float(np.linalg.norm(A, "nuc"))

    root_r, root_c = np.sqrt(r)[:, None], np.sqrt(c)
    weighted = root_r * M * root_c
    mistakes = {
        "this is the norm of M itself; copies count, with weights.": nuclear(M),
        "the weights are square roots: r copies of a row have sqrt(r) times its length.": nuclear(
            r[:, None] * M * c
        ),
        "the columns are weighted, the rows are not.": nuclear(M * root_c),
        "the rows are weighted, the columns are not.": nuclear(root_r * M),
        "this is the Frobenius norm; the nuclear norm is the sum of the singular values.": float(
            np.linalg.norm(weighted)
        ),
        "this is the operator norm; the nuclear norm is the sum of the singular values.": float(
            np.linalg.norm(weighted, 2)
        ),
    }
    success = "equal to the norm of the expanded matrix, which need not be built."
    arguments = (M.copy(), r.copy(), c.copy())
    right = solution_expanded_norm(M, r, c)
    return compare(answer, right, success, mistakes, arguments=arguments)


def prices(answer: Any) -> bool:
    """Accepts any dual feasible G with <G, S> >= 0.999 A: the answer as a function of S.

    Explained mistakes: a column sum that is not zero, a positive entry off the support, an operator
    norm above one, a bound that is too weak.
    """
    S = TWIN_WORDS
    try:
        value = value_of(answer, S.copy())
        G = np.asarray(value, dtype=np.float64)
    except NoAnswerError as reason:
        return say(False, str(reason))
    except (TypeError, ValueError):
        return say(False, f"expected numbers, your answer is {type(value).__name__}.")
    wrong = _not_dual_feasible(G, S)
    if wrong:
        return say(False, wrong)
    price = solve_max_margin(S, tol=1e-8).certificate.primal
    bound = float((G * S).sum())
    if bound < 0.999 * price:
        return say(
            False,
            f"your prices are allowed, but they prove only {bound:.4f}, which is "
            f"{100 * bound / price:.1f}% of A.",
        )
    return say(True, f"dual feasible, and it proves {bound:.4f} of A = {price:.4f}.")


def _not_dual_feasible(G: Any, S: Any, slack: float = 1e-5) -> str:
    """Which condition of a dual feasible matrix G breaks, by more than a solver's slack."""
    if G.shape != S.shape:
        return f"the shape is {G.shape}, expected {S.shape}; columns are contexts."
    if not np.isfinite(G).all():
        return "an entry of your answer is nan or infinite."
    sums = np.abs(G.sum(axis=0))
    if sums.max() > slack:
        return f"column {int(sums.argmax())} sums to {G.sum(axis=0)[sums.argmax()]:.3g}, not 0."
    if G[S == 0].max() > slack:
        return "an entry off the support is positive; no price may be negative."
    largest = np.linalg.norm(G, 2)
    if largest > 1 + slack:
        return f"the largest singular value is {largest:.4f}; it must not exceed 1."
    return ""
