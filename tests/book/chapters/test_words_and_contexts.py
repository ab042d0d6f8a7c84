"""The statements of "Words and contexts as vectors", each by an independent truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

import ntp_lite as ntp


def balanced_by_descent(L, seed, d=4, steps=4000):
    """Balanced factors of L without a singular value decomposition.

    Starts at an unbalanced split and follows the energy down over all invertible changes of
    basis M = exp(-t (W'W - HH')): it stops where W'W = HH'.
    """
    rng = np.random.default_rng(seed)
    W = L @ rng.normal(size=(L.shape[1], d))
    H = np.linalg.lstsq(W, L, rcond=None)[0]
    for _ in range(steps):
        D = W.T @ W - H @ H.T
        step = np.eye(d) - 0.05 / max(1.0, np.linalg.norm(D, 2)) * D
        W, H = W @ step, np.linalg.solve(step, H)
    return W, H


def low_rank(seed, V=6, m=9, rank=4):
    rng = np.random.default_rng(seed)
    L = rng.normal(size=(V, rank)) @ rng.normal(size=(rank, m))
    return L / np.linalg.norm(L, 2)


@pytest.mark.parametrize("mutation", ["none", "unbalanced", "no root", "wrong axis"])
def test_gram_matrices_are_functions_of_the_logits(mutation):
    """Theorem label: thm-words-contexts-gram

    Truth: factors balanced by descent on the energy, roots by scipy's Schur method. Mutations:
    unbalanced factors, LL' without the root, contexts in place of words.
    """
    L = low_rank(0, V=6, m=6)
    W, H = balanced_by_descent(L, seed=1)
    assert np.allclose(W @ H, L, atol=1e-8)
    if mutation == "unbalanced":
        W, H = W * [1, 1, 1, 3], H / np.array([[1], [1], [1], [3]])
    words = L @ L.T if mutation == "no root" else np.real(sqrtm(L @ L.T))
    contexts = np.real(sqrtm(L.T @ L))
    if mutation == "wrong axis":
        words, contexts = contexts, words
    holds = np.allclose(W @ W.T, words, atol=1e-4) and np.allclose(H.T @ H, contexts, atol=1e-4)
    assert holds == (mutation == "none")


@pytest.mark.parametrize("mutation", ["none", "unbalanced", "other logits"])
def test_balanced_factors_are_unique_up_to_a_rotation(mutation):
    """Theorem label: thm-words-contexts-gram

    Two descents from different starts; the best orthogonal map from one to the other. Mutations:
    the second pair unbalanced, or of permuted logits.
    """
    L = low_rank(2)
    W_a, H_a = balanced_by_descent(L, seed=3)
    W_b, H_b = balanced_by_descent(L, seed=4)
    assert np.abs(W_a - W_b).max() > 0.1
    if mutation == "unbalanced":
        W_b, H_b = 2 * W_b, H_b / 2
    if mutation == "other logits":
        H_b = H_b[:, ::-1]
    Z_a, Z_b = np.hstack([W_a.T, H_a]), np.hstack([W_b.T, H_b])
    U, _, Vt = np.linalg.svd(Z_b @ Z_a.T)
    assert np.allclose(U @ Vt @ Z_a, Z_b, atol=1e-3) == (mutation == "none")


def roots(L):
    """(LL')^(1/2) and (L'L)^(1/2) from eigenvectors; the package takes singular values."""
    pairs = (np.linalg.eigh(Y) for Y in (L @ L.T, L.T @ L))
    return [(vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T for values, vectors in pairs]


@pytest.mark.parametrize("seed", range(20))
def test_near_logits_have_near_geometry(seed):
    """Theorem label: thm-words-contexts-near

    Logits of any size and rank, near and far. Mutation: M with its contexts permuted on the left
    only, which is far when M is near L.
    """
    rng = np.random.default_rng(seed)
    L = 10.0 ** rng.integers(-2, 3) * low_rank(seed, V=5, m=7, rank=1 + seed % 5)
    M = L + np.linalg.norm(L) * 10.0 ** -rng.integers(0, 5) * rng.normal(size=L.shape)

    def apart(M):
        return sum(np.sum((X - Y) ** 2) for X, Y in zip(roots(L), roots(M), strict=True))

    slack = 1e-7 * np.linalg.norm(L) * np.linalg.norm(L - M)  # roots lose half of their digits
    assert apart(M) <= 2 * np.sum((L - M) ** 2) + slack
    near = L + 1e-3 * (M - L)
    assert not apart(near[:, ::-1]) <= 2 * np.sum((L - near) ** 2) + slack


@pytest.mark.parametrize("seed", range(5))
def test_inner_product_of_two_tables(seed):
    """Theorem label: thm-words-contexts-near

    Step 2 of the proof. Mutation: without one of the two roots it fails for two rank-one logits.
    """
    rng = np.random.default_rng(seed)
    L, M = rng.normal(size=(2, 4, 6))
    inner = sum(np.sum(X * Y) for X, Y in zip(roots(L), roots(M), strict=True))
    assert inner >= 2 * abs(np.sum(L * M))
    L, M = np.outer([1, 0], [1, 0]), np.outer([1, 0], [np.cos(1), np.sin(1)])
    assert not 2 * np.sum(roots(L)[1] * roots(M)[1]) >= 2 * np.sum(L * M)


@pytest.mark.parametrize("angle", [0.5, 0.1, 0.02])
def test_the_constant_two_is_best_possible(angle):
    """Theorem label: thm-words-contexts-near

    The left side over |L - M|^2 is 1 + cos(angle), in closed form and by scipy.
    """
    c, s = np.cos(angle), np.sin(angle)
    L, M = np.array([[1.0, 0.0], [0, 0]]), np.array([[c, s], [0, 0]])
    left = sum(np.sum((X - Y) ** 2) for X, Y in zip(roots(L), roots(M), strict=True))
    assert np.isclose(left / np.sum((L - M) ** 2), 1 + c, rtol=1e-3)


def test_the_path_approaches_the_predicted_geometry():
    """Theorem label: thm-words-contexts-near

    Along a certified path the cosines of words approach those of L_mm. Mutation: those of the
    proxy, which stay away, and of permuted contexts.
    """
    S = np.array([[1, 0, 0, 1], [1, 0, 1, 1], [0, 0, 1, 0], [0, 1, 0, 0]])
    labels = ntp.SoftLabels.from_counts(S * np.array([[3], [1], [2], [5]]))

    def cosines(L):
        return ntp.cosine_similarity(ntp.word_context_factors(L).W.T)

    path = ntp.ridge_path(labels, [1e-3, 1e-6, 1e-9], tol=1e-6)
    assert all(point.converged for point in path)
    targets = {
        "L_mm": ntp.solve_max_margin(labels, tol=1e-9).L,
        "proxy": ntp.centered_support(labels),
        "permuted": ntp.solve_max_margin(labels, tol=1e-9).L[[3, 0, 1, 2]],
    }
    errors = {
        name: [np.abs(cosines(p.L) - cosines(T)).max() for p in path] for name, T in targets.items()
    }
    assert errors["L_mm"][0] > errors["L_mm"][1] > errors["L_mm"][2]
    assert errors["L_mm"][2] < 0.5 * errors["proxy"][2]
    assert errors["permuted"][2] > 5 * errors["L_mm"][2]


def test_cosine_of_a_zero_column_is_zero():
    X = np.array([[1.0, 0, 1], [0, 0, 1]])
    assert np.allclose(ntp.cosine_similarity(X)[1], 0)
