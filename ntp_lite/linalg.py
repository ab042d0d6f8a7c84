"""Singular values, norms and factors of matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._validate import check_sizes


def singular_values(A: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ascending, from the smaller Gram matrix: fast, right to 1e-8 of the largest or better."""
    scale = np.abs(A).max() or 1.0  # entries near 1e-170 would square to zero
    A = A / scale
    gram = A @ A.T if A.shape[0] <= A.shape[1] else A.T @ A
    return scale * np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0))


def spectral_norm(A: NDArray[np.float64]) -> float:
    """|A|_op, the largest singular value."""
    return float(singular_values(A)[-1])


def threshold_singular_values(A: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """U (Sigma - level)_+ V' from the eigenvectors of the smaller Gram matrix."""
    wide = A.shape[0] <= A.shape[1]
    values, vectors = np.linalg.eigh(A @ A.T if wide else A.T @ A)
    values = np.sqrt(np.maximum(values, 0))
    vectors = vectors[:, values > level]
    projector = (vectors * (1 - level / values[values > level])) @ vectors.T
    return projector @ A if wide else A @ projector


def balanced_factors(
    L: ArrayLike, d: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """W = U Sigma^(1/2) (V, d) and H = Sigma^(1/2) V' (d, m) from the SVD of L.

    For d >= rank(L): W H = L, W'W = HH' and |W|^2 + |H|^2 = 2 |L|_*, the least possible. A
    smaller d gives the factors of the best rank-d approximation, a larger one pads with zeros;
    None means min(V, m). Raises ValueError for d < 1. Chapter 04.
    """
    check_sizes(d=d)
    U, values, Vt = np.linalg.svd(np.asarray(L, dtype=np.float64), full_matrices=False)
    roots = np.sqrt(values)[:d]
    W, H = U[:, :d] * roots, roots[:, None] * Vt[:d]
    missing = 0 if d is None else d - len(roots)
    return np.pad(W, ((0, 0), (0, missing))), np.pad(H, ((0, missing), (0, 0)))
