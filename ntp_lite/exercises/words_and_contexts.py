"""Checkers of the exercises of "Words and contexts as vectors"."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._common import NoAnswerError, compare, say, value_of


def _logits() -> tuple[Any, Any, Any, Any]:
    """Logits (5, 7) of rank 3 with their singular value decomposition."""
    rng = np.random.default_rng(9)
    L = rng.normal(size=(5, 3)) @ rng.normal(size=(3, 7))
    U, s, Vt = np.linalg.svd(L, full_matrices=False)
    return L, U[:, :3], s[:3], Vt[:3]


def _only_wide(answer: Any, L: Any, right: Any, right_of_transpose: Any) -> bool:
    """Is the answer right for L and wrong for L', which has more words than contexts?"""

    def agrees(M: Any, expected: Any) -> bool:
        try:
            got = np.real(np.asarray(value_of(answer, M.copy()))).astype(float)
        except (NoAnswerError, TypeError, ValueError):
            return False
        # Roots of tiny eigenvalues lose half of their digits; a wrong shape is what we look for.
        return got.shape == expected.shape and np.allclose(got, expected, 1e-4, 1e-6)

    return callable(answer) and agrees(L, right) and not agrees(L.T, right_of_transpose)


_TALL = "right for V < m, but not for V > m: keep min(V, m) singular vectors, full_matrices=False."


def word_gram(answer: Any) -> bool:
    """Accepts (L L')^(1/2), shape (V, V): the answer as a function of L."""
    L, U, s, Vt = _logits()
    mistakes = {
        "this is L L' without the square root: all singular values went to the words.": L @ L.T,
        "np.sqrt takes roots of entries; the root of a matrix takes roots of eigenvalues.": np.sqrt(
            np.maximum(L @ L.T, 0)
        ),
        "these are the contexts' inner products, (L' L)^(1/2); words come from L L'.": (Vt.T * s)
        @ Vt,
        "this is U U': the words got no singular values; in a balanced model they get half.": U
        @ U.T,
        "one root too many: U Sigma^(1/2) are the vectors, their inner products hold Sigma.": (
            U * np.sqrt(s)
        )
        @ U.T,
        "these are the vectors U Sigma^(1/2); return their inner products.": U * np.sqrt(s),
        "not a number: rounding makes zero eigenvalues slightly negative; clip them at 0 before "
        "you take roots.": np.full((5, 5), np.nan),
    }
    success = "the words' geometry, and you never saw a word vector."
    right = (U * s) @ U.T
    with np.errstate(invalid="ignore"):
        if _only_wide(answer, L, right, (Vt.T * s) @ Vt):
            return say(False, _TALL)
        return compare(answer, right, success, mistakes, arguments=(L.copy(),))


def cross_cosines(answer: Any) -> bool:
    """Accepts L[z,j] / (|w_z| |h_j|) of balanced factors, shape (V, m), as a function of L."""
    L, U, s, Vt = _logits()
    words, contexts = np.sqrt((U**2) @ s), np.sqrt(s @ Vt**2)
    rows, columns = np.linalg.norm(L, axis=1), np.linalg.norm(L, axis=0)
    mistakes = {
        "these are the logits; divide them by both lengths.": L,
        "these lengths are those of the rows and columns of L, not of the vectors.": L
        / rows[:, None]
        / columns,
        "only the words' lengths were divided out.": L / words[:, None],
        "only the contexts' lengths were divided out.": L / contexts,
        "you divided by squared lengths; take the roots of the diagonals.": L
        / words[:, None] ** 2
        / contexts**2,
    }
    success = "cosines across, from the logits alone."
    expected = L / words[:, None] / contexts
    if _only_wide(answer, L, expected, expected.T):
        return say(False, _TALL)
    return compare(answer, expected, success, mistakes, arguments=(L.copy(),))


def rotation(answer: Any) -> bool:
    """Accepts the orthogonal O with W_a O = W_b and O' H_a = H_b, from (W_a, H_a, W_b, H_b)."""
    _, U, s, Vt = _logits()
    rng = np.random.default_rng(10)
    first, second = (np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2))
    # The expected matrix holds a reflection.
    second = second * [1, 1, -np.sign(np.linalg.det(first.T @ second))]
    root = np.sqrt(s)
    W_a, H_a = U * root @ first, first.T @ (root[:, None] * Vt)
    W_b, H_b = U * root @ second, second.T @ (root[:, None] * Vt)
    try:
        value = value_of(answer, W_a.copy(), H_a.copy(), W_b.copy(), H_b.copy())
    except NoAnswerError as reason:
        return say(False, str(reason))
    found = np.asarray(value, dtype=float) if np.ndim(value) == 2 else np.zeros((0, 0))
    if found.shape == (3, 3) and not np.allclose(found @ found.T, np.eye(3), atol=1e-6):
        return say(False, "O O' is not the identity; an orthogonal matrix keeps all lengths.")
    left, _, right = np.linalg.svd(W_a.T @ W_b)
    reflection = "the matrix may hold a reflection: do not force its determinant to be 1."
    mistakes = {
        "this is the rotation from b to a; transpose it.": second.T @ first,
        "a sign is missing: W_a O should be W_b, not -W_b.": -first.T @ second,
        reflection: left * [1, 1, -1] @ right,
    }
    success = "one rotation carries words and contexts alike."
    return compare(value, first.T @ second, success, mistakes, rtol=1e-5, atol=1e-7)
