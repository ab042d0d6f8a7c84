"""Checkers of "Words and contexts as vectors": right answers pass, mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
from reference import verdict
from scipy.linalg import sqrtm

import ntp_lite as ntp
from ntp_lite import exercises


def svd(L):
    return np.linalg.svd(L, full_matrices=False)


def proper(A):
    """The nearest rotation without a reflection."""
    u, _, vt = np.linalg.svd(A)
    return (u * [1, 1, np.linalg.det(u @ vt)]) @ vt


def word_roots(L):
    W, H = ntp.balanced_factors(L)
    return np.linalg.norm(W, axis=1)[:, None], np.linalg.norm(H, axis=0)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda L: (svd(L)[0] * svd(L)[1]) @ svd(L)[0].T, "Right"),
        (lambda L: np.real(sqrtm(L @ L.T)), "Right"),
        (lambda L: ntp.balanced_factors(L)[0] @ ntp.balanced_factors(L)[0].T, "Right"),
        (lambda L: L @ L.T, "without the square root"),
        (lambda L: np.sqrt(np.maximum(L @ L.T, 0)), "roots of entries"),
        (lambda L: (svd(L)[2].T * svd(L)[1]) @ svd(L)[2], "contexts' inner products"),
        (lambda L: svd(L)[0][:, :3] @ svd(L)[0][:, :3].T, "no singular values"),
        (lambda L: (svd(L)[0] * np.sqrt(svd(L)[1])) @ svd(L)[0].T, "one root too many"),
        (lambda L: svd(L)[0][:, :3] * np.sqrt(svd(L)[1][:3]), "return their inner products"),
        (lambda L: (lambda u, s, vt: (u * s) @ u.T)(*np.linalg.svd(L)), "full_matrices=False"),
        (lambda L: np.full((len(L), len(L)), np.nan), "clip them at 0"),
    ],
)
def test_word_gram_checker(answer, message, capsys):
    # Roots of tiny eigenvalues lose half of their digits: no warning matters here.
    with np.errstate(all="ignore"):
        right, text = verdict(exercises.words_and_contexts.word_gram, answer, capsys)
    assert right == (message == "Right") and message in text


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda L: L / word_roots(L)[0] / word_roots(L)[1], "Right"),
        (lambda L: L, "both lengths"),
        (
            lambda L: L / np.sqrt(np.linalg.svd(L)[0] ** 2 @ svd(L)[1])[:, None] / word_roots(L)[1],
            "full_matrices=False",
        ),
        (
            lambda L: L / np.linalg.norm(L, axis=1)[:, None] / np.linalg.norm(L, axis=0),
            "rows and columns of L",
        ),
        (lambda L: L / word_roots(L)[0], "only the words'"),
        (lambda L: L / word_roots(L)[1], "only the contexts'"),
        (lambda L: L / word_roots(L)[0] ** 2 / word_roots(L)[1] ** 2, "squared lengths"),
        (lambda L: (L / word_roots(L)[0] / word_roots(L)[1]).T, "transposed"),
    ],
)
def test_cross_cosines_checker(answer, message, capsys):
    right, text = verdict(exercises.words_and_contexts.cross_cosines, answer, capsys)
    assert right == (message == "Right") and message in text


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda W, H, X, Y: np.linalg.lstsq(W, X, rcond=None)[0], "Right"),
        (lambda W, H, X, Y: H @ np.linalg.pinv(Y), "Right"),
        (lambda W, H, X, Y: np.linalg.lstsq(X, W, rcond=None)[0], "transpose it"),
        (lambda W, H, X, Y: W.T @ X, "not the identity"),
        (lambda W, H, X, Y: np.eye(3), "entries are wrong"),
        (lambda W, H, X, Y: -np.linalg.lstsq(W, X, rcond=None)[0], "a sign is missing"),
        (lambda W, H, X, Y: proper(W.T @ X), "may hold a reflection"),
        (lambda W, H, X, Y: W, "shape"),
    ],
)
def test_rotation_checker(answer, message, capsys):
    right, text = verdict(exercises.words_and_contexts.rotation, answer, capsys)
    assert right == (message == "Right") and message in text
