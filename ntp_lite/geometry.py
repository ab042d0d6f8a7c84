"""The geometry of word and context embeddings: factors, cosines, collapse, orthants (part IV)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.cluster import hierarchy

from .linalg import balanced_factors
from .soft_labels import SoftLabels


class Factors(NamedTuple):
    """W (V, r) and H (r, m), balanced, with W @ H = L; singular values (r,), decreasing."""

    W: NDArray[np.float64]
    H: NDArray[np.float64]
    singular_values: NDArray[np.float64]


class CollapseResult(NamedTuple):
    """Within-class over total variability, 0 = collapsed; NaN where no class has two members.

    For classes of contexts with one next token (k = 1, neural collapse) and with several (k >= 2).
    `permuted_*`: the same after the classes were dealt out at random, sizes kept; `movable_*`: how
    many contexts such a shuffle can give another class. Where there are few, the baseline says
    little (`collapse_test` gives the smallest p value that any X could have).
    """

    one_token: float
    several_tokens: float
    permuted_one_token: float
    permuted_several_tokens: float
    message: str
    movable_one_token: int = 0
    movable_several_tokens: int = 0


class Orthants(NamedTuple):
    """Signs of words (V, r) and contexts (r, m) on the leading r concepts; -1, 0 or 1."""

    words: NDArray[np.int8]
    contexts: NDArray[np.int8]
    singular_values: NDArray[np.float64]


def word_context_factors(L: ArrayLike, tol: float = 1e-6) -> Factors:
    """W = U Sigma^(1/2), H = Sigma^(1/2) V' from L = U Sigma V', numerical rank r.

    Singular values up to `tol` times the largest are dropped. For L = L_mm these are the word and
    context embeddings the theory predicts. Paper: section 6. Book: chapter 09.
    """
    W, H = balanced_factors(L)
    s = np.square(H).sum(axis=1)
    r = int((s > tol * s.max(initial=0.0)).sum())
    return Factors(W[:, :r], H[:r], s[:r])


def cosine_similarity(X: ArrayLike, Y: ArrayLike | None = None) -> NDArray[np.float64]:
    """Cosines between the columns of X (d, p) and of Y (d, q), by default of X itself: (p, q).

    Contexts are columns of H; for words pass W.T. A zero column has cosine 0 with everything.
    """
    A, B = (np.asarray(M, dtype=np.float64) for M in (X, X if Y is None else Y))
    norms = (np.linalg.norm(M, axis=0) for M in (A, B))
    a, b = (np.where(norm > 0, norm, 1.0) for norm in norms)
    return (A / a).T @ (B / b)


def support_collapse(X: ArrayLike, labels: SoftLabels, seed: int = 0) -> CollapseResult:
    """Have contexts with equal supports collapsed? X (d, m): one column per context.

    Over the contexts whose support class has at least two members, with class means and mean:

        sum_j |x_j - mean of its class|^2 / sum_j |x_j - mean|^2,

    apart for k_j = 1 and k_j >= 2. In real text most contexts are alone in their class: read the
    permuted baseline beside it. Raises ValueError if X has not m columns. Book: chapter 10.
    """
    columns = np.asarray(X, dtype=np.float64).T
    if columns.ndim != 2 or len(columns) != labels.m:
        raise ValueError(f"X must be (d, m) with m = {labels.m} columns, not {np.shape(X)}.")
    classes = labels.support_classes
    shared = np.bincount(classes)[classes] > 1
    rng = np.random.default_rng(seed)
    values, missing, movable = [], [], []
    for name, several in (("k = 1", False), ("k >= 2", True)):
        chosen = shared & ((labels.support_sizes > 1) == several)
        if not chosen.any():
            missing.append(name)
        several_classes = len(np.unique(classes[chosen])) > 1
        movable.append(int(chosen.sum()) if several_classes else 0)
        for groups in (classes[chosen], rng.permutation(classes[chosen])):
            values.append(_within_over_total(columns[chosen], groups))
    message = f"no class with two members for {' and '.join(missing)}" if missing else ""
    return CollapseResult(values[0], values[2], values[1], values[3], message, *movable)


def orthants(L: ArrayLike, n_concepts: int, tol: float = 1e-8) -> Orthants:
    """Sign patterns on the leading concepts (singular vectors) of logits or of S_centered.

    Each singular pair's sign is fixed so that its word entry of largest size is positive.
    Source: Geometry of Semantics in Next-token Prediction. Book: chapter 12.
    """
    U, s, Vt = np.linalg.svd(np.asarray(L, dtype=np.float64), full_matrices=False)
    if not 1 <= n_concepts <= len(s):
        raise ValueError(f"n_concepts is {n_concepts}; use 1 ... {len(s)}.")
    U, Vt = U[:, :n_concepts], Vt[:n_concepts]
    flip = np.sign(U[np.abs(U).argmax(axis=0), np.arange(n_concepts)])
    signs = [np.where(np.abs(A) > tol, np.sign(A), 0) for A in (U * flip, Vt * flip[:, None])]
    return Orthants(signs[0].astype(np.int8), signs[1].astype(np.int8), s[:n_concepts])


def seriation(X: ArrayLike) -> NDArray[np.intp]:
    """An order of the columns of X for heat maps: leaves of their average-linkage tree."""
    columns = np.asarray(X, dtype=np.float64).T
    if len(columns) < 3:
        return np.arange(len(columns))
    return hierarchy.leaves_list(hierarchy.linkage(columns, "average", optimal_ordering=True))


def _within_over_total(rows: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    if len(rows) == 0:
        return float("nan")
    _, index, size = np.unique(classes, return_inverse=True, return_counts=True)
    sums = np.zeros((len(size), rows.shape[1]))
    np.add.at(sums, index, rows)
    within = np.square(rows - (sums / size[:, None])[index]).sum()
    total = np.square(rows - rows.mean(axis=0)).sum()
    return float(within / total) if total != 0 else 0.0  # NaN stays NaN
