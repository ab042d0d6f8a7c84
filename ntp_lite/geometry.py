"""The geometry of word and context embeddings: factors, cosines, collapse, orthants."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._validate import as_array, as_finite_array, as_matrix, as_number, as_size
from .linalg import svd
from .soft_labels import SoftLabels, as_labels


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
    """W = U Sigma^(1/2), H = Sigma^(1/2) V' from L = U Sigma V' (V, m), numerical rank r.

    Singular values up to `tol` times the largest are dropped. For L = L_mm these are the word and
    context embeddings the theory predicts. Raises ValueError for what is no finite matrix. Paper:
    section 6. Book: words_and_contexts.
    """
    least = as_number(tol, "tol")
    U, values, Vt = svd(as_matrix(L, "L"))
    r = int((values > least * values[0]).sum())
    roots = np.sqrt(values[:r])
    return Factors(U[:, :r] * roots, roots[:, None] * Vt[:r], values[:r])


def cosine_similarity(X: ArrayLike, Y: ArrayLike | None = None) -> NDArray[np.float64]:
    """Cosines between the columns of X (d, p) and of Y (d, q), by default of X itself: (p, q).

    Contexts are columns of H; for words pass W.T. A zero column has cosine 0 with everything; the
    length of a column does not matter, be it 1e-200 or 1e200. Raises ValueError for NaN or
    infinity, or what is no pair of matrices with equally many rows.
    """
    A = _unit_columns(X, "X")
    B = A if Y is None else _unit_columns(Y, "Y")
    if len(A) != len(B):
        raise ValueError(f"X has {len(A)} rows and Y {len(B)}; compare vectors of one dimension.")
    return A.T @ B


def _unit_columns(X: ArrayLike, name: str) -> NDArray[np.float64]:
    """Columns divided by their lengths, zero ones left."""
    A = as_finite_array(X, name)
    if A.ndim != 2:
        raise ValueError(f"{name} has shape {A.shape}; give a matrix, one vector per column.")
    A = A / _positive(np.abs(A).max(axis=0, initial=0.0))  # or squares under- or overflow
    return A / _positive(np.linalg.norm(A, axis=0))


def _positive(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(sizes > 0, sizes, 1.0)


def support_collapse(X: ArrayLike, labels: SoftLabels, seed: int = 0) -> CollapseResult:
    """Have contexts with equal supports collapsed? X (d, m): one column per context.

    Over the contexts whose support class has at least two members, with class means and mean:

        sum_j |x_j - mean of its class|^2 / sum_j |x_j - mean|^2,

    apart for k_j = 1 and k_j >= 2. In real text most contexts are alone in their class: read the
    permuted baseline beside it. `seed` deals out the baseline's classes. NaN or infinity in X gives
    NaN, never "collapsed". Raises ValueError if X has not m columns. Book: subspace_collapse.
    """
    as_labels(labels)
    given = as_array(X, "X")
    if given.ndim != 2 or given.shape[1] != labels.m:
        raise ValueError(f"X must be (d, m) with m = {labels.m} columns, not {given.shape}.")
    scale = np.abs(given).max(initial=0.0)
    columns = given.T / (scale if 0 < scale < np.inf else 1.0)  # or squares under- or overflow
    classes = labels.support_classes
    shared = np.bincount(classes)[classes] > 1
    rng = np.random.default_rng(as_size(seed, "seed", minimum=0))
    values: list[float] = []
    missing: list[str] = []
    movable: list[int] = []
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

    Each singular pair's sign is fixed so that its word entry of largest size is positive; entries
    up to `tol` have sign 0. Raises ValueError for n_concepts outside 1 ... min(V, m), and for L
    that is no finite matrix. Source: Geometry of Semantics in Next-token Prediction. Book:
    concepts.
    """
    count = as_size(n_concepts, "n_concepts", minimum=-(2**62))
    least = as_number(tol, "tol")
    U, values, Vt = svd(as_matrix(L, "L"))
    if not 1 <= count <= len(values):
        raise ValueError(f"n_concepts is {count}; use 1 ... {len(values)}.")
    U, Vt = U[:, :count], Vt[:count]
    flip = np.sign(U[np.abs(U).argmax(axis=0), np.arange(count)])
    words, contexts = _signs(U * flip, least), _signs(Vt * flip[:, None], least)
    return Orthants(words, contexts, values[:count])


def seriation(X: ArrayLike) -> NDArray[np.intp]:
    """An order of the columns of X (d, p) for heat maps: leaves of their average-linkage tree.

    The order of the leaves is optimal, at a cost that grows like the cube of p. Raises ValueError
    for NaN or infinity, or what is no matrix.
    """
    given = as_finite_array(X, "X")
    if given.ndim != 2:
        raise ValueError(f"X has shape {given.shape}; give a matrix, one vector per column.")
    if given.shape[1] < 3:
        return np.arange(given.shape[1])
    # Squared distances would under- or overflow; a power of two changes no digit.
    _, exponent = np.frexp(np.abs(given).max(initial=0.0))
    columns = np.ldexp(given.T, -exponent)
    from scipy.cluster import hierarchy  # takes 0.3 s to import, for this function alone

    return hierarchy.leaves_list(hierarchy.linkage(columns, "average", optimal_ordering=True))


def _signs(A: NDArray[np.float64], tol: float) -> NDArray[np.int8]:
    return np.where(np.abs(A) > tol, np.sign(A), 0).astype(np.int8)


def _within_over_total(rows: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """Squared distances to the class means over those to the mean of all; NaN without rows."""
    if len(rows) == 0:
        return float("nan")
    _, index, size = np.unique(classes, return_inverse=True, return_counts=True)
    sums = np.zeros((len(size), rows.shape[1]))
    np.add.at(sums, index, rows)
    within = np.square(rows - (sums / size[:, None])[index]).sum()
    total = np.square(rows - rows.mean(axis=0)).sum()
    return float(within / total) if total != 0 else 0.0  # NaN stays NaN
