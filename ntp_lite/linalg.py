"""Singular values, norms and factors of matrices.

Two ways to singular values stand side by side. The Gram matrix of the smaller side is fast, and its
cost grows with the larger side only linearly (50,000 x 200 takes a second); it is right to about
1e-8 of the largest singular value. LAPACK's decomposition is right to all digits, and slower.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from numpy.linalg import LinAlgError
from numpy.typing import ArrayLike, NDArray

from ._validate import as_matrix, as_size

Matrix = NDArray[np.float64]


class Svd(NamedTuple):
    """A = U diag(values) Vt with values decreasing; U (V, k), Vt (k, m), k = min(V, m)."""

    U: Matrix
    values: Matrix
    Vt: Matrix


# ---------------------------------------------------------------- public


def balanced_factors(L: ArrayLike, d: int | None = None) -> tuple[Matrix, Matrix]:
    """W = U Sigma^(1/2) (V, d) and H = Sigma^(1/2) V' (d, m) from the SVD of L (V, m).

    For d >= rank(L): W H = L, W'W = HH' and |W|^2 + |H|^2 = 2 |L|_*, the least possible. A
    smaller d gives the factors of the best rank-d approximation, a larger one pads with zeros;
    None means min(V, m). Raises ValueError for d < 1, and for L that is no finite matrix. Book:
    nuclear_norm.
    """
    width = None if d is None else as_size(d, "d")
    U, values, Vt = svd(as_matrix(L, "L"))
    roots = np.sqrt(values)[:width]
    W = U[:, :width] * roots
    H = roots[:, None] * Vt[:width]
    missing = 0 if width is None else width - len(roots)
    return np.pad(W, ((0, 0), (0, missing))), np.pad(H, ((0, missing), (0, 0)))


def effective_rank(A: ArrayLike) -> float:
    """exp of the entropy of the singular values, normalised to sum to one: from 1 to min(V, m).

    It is r for a matrix with r equal singular values, whatever its scale, and falls smoothly where
    some are smaller; the zero matrix has 0. Raises ValueError for what is no finite matrix. Source:
    Roy and Vetterli (2007). Book: few_dimensions.
    """
    values = svd_values(as_matrix(A, "A"))
    if values[0] == 0:
        return 0.0
    shares = values / values[0]  # first, so that the sum cannot overflow
    shares = shares[shares > 0]
    shares /= shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


# ---------------------------------------------------------------- by LAPACK, all digits


def svd(A: Matrix) -> Svd:
    """The thin singular value decomposition, by the first method that succeeds.

    LAPACK's divide and conquer fails on a rare matrix ("SVD did not converge"); its older QR
    iteration does not on the same one, and the Gram matrix is the last resort: there, vectors of
    singular values that vanish are zero.
    """
    try:
        return Svd(*np.linalg.svd(A, full_matrices=False))
    except LinAlgError:
        pass
    try:
        return Svd(*scipy.linalg.svd(A, full_matrices=False, lapack_driver="gesvd"))
    except LinAlgError:
        return _svd_from_gram(A)


def svd_values(A: Matrix) -> Matrix:
    """All singular values, decreasing, to all digits; as robust as `svd`."""
    try:
        return np.asarray(np.linalg.svd(A, compute_uv=False), dtype=np.float64)
    except LinAlgError:
        return svd(A).values


def nuclear_norm(A: Matrix) -> float:
    """|A|_*, the sum of all singular values, to all digits."""
    return float(svd_values(A).sum())


# ---------------------------------------------------------------- by the smaller Gram matrix


def singular_values(A: Matrix) -> Matrix:
    """Ascending, from the smaller Gram matrix: fast, right to 1e-8 of the largest or better."""
    scale = np.abs(A).max() or 1.0  # entries near 1e-170 would square to zero
    scaled = A / scale
    return scale * np.sqrt(np.maximum(_eigenvalues(_gram(scaled)), 0))


def spectral_norm(A: Matrix) -> float:
    """|A|_op, the largest singular value."""
    return float(singular_values(A)[-1])


def threshold_singular_values(A: Matrix, level: float) -> Matrix:
    """U (Sigma - level)_+ V' from the eigenvectors of the smaller Gram matrix."""
    vectors, shrunk = kept_directions(*symmetric_eigen(_gram(A)), level)
    projector = shrunk @ vectors.T
    return projector @ A if A.shape[0] <= A.shape[1] else A @ projector


def kept_directions(squares: Any, vectors: Any, level: float) -> tuple[Any, Any]:
    """Singular vectors with sigma > level, and the same times (1 - level / sigma).

    From the eigenvalues `squares` (n,) = sigma^2 and eigenvectors (n, n) of a Gram matrix, numpy
    arrays or torch tensors alike. With results (Q, R), singular-value thresholding is R Q' A.
    """
    values = squares.clip(min=0) ** 0.5  # rounding makes zeros slightly negative
    kept = values > level
    vectors = vectors[:, kept]
    return vectors, vectors * (1 - level / values[kept])


def symmetric_eigen(gram: Matrix) -> tuple[Matrix, Matrix]:
    """Ascending eigenvalues and eigenvectors, by the first method that succeeds."""
    try:
        values, vectors = np.linalg.eigh(gram)
    except LinAlgError:
        if not np.isfinite(gram).all():
            raise
        values, vectors = scipy.linalg.eigh(gram, driver="ev")
    return values, vectors


def _eigenvalues(gram: Matrix) -> Matrix:
    """Ascending, by the first method that succeeds."""
    try:
        return np.asarray(np.linalg.eigvalsh(gram), dtype=np.float64)
    except LinAlgError:
        return symmetric_eigen(gram)[0]


def _gram(A: Matrix) -> Matrix:
    return A @ A.T if A.shape[0] <= A.shape[1] else A.T @ A


def _svd_from_gram(A: Matrix) -> Svd:
    wide = A.shape[0] <= A.shape[1]
    scale = np.abs(A).max() or 1.0
    B = A / scale if wide else A.T / scale
    squares, vectors = symmetric_eigen(B @ B.T)
    values = np.sqrt(np.maximum(squares[::-1], 0))
    left = vectors[:, ::-1]
    safe = np.where(values > 0, values, 1.0)
    right = (left.T @ B) / safe[:, None]
    return Svd(left, scale * values, right) if wide else Svd(right.T, scale * values, left.T)
