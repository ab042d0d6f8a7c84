"""Checkers of the exercises of "The max-margin component"."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..constraints import project_dual
from ._common import compare


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
