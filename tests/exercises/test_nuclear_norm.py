"""Checkers of "From two matrices to one": right answers pass, mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ntp_lite.exercises import nuclear_norm
from ntp_lite.exercises.nuclear_norm import solution_least_penalty as least
from ntp_lite.linalg import balanced_factors


def solution_rebalance(W, H):
    U, s, Vt = np.linalg.svd(W @ H, full_matrices=False)
    d = W.shape[1]
    return U[:, :d] * np.sqrt(s[:d]), np.sqrt(s[:d])[:, None] * Vt[:d]


def rotated(W, H):
    W, H = solution_rebalance(W, H)
    R = np.linalg.qr(np.random.default_rng(0).normal(size=(W.shape[1],) * 2))[0]
    return W @ R, R.T @ H


def svd_of(W, H):
    return np.linalg.svd(W @ H, full_matrices=False)


def imbalance(grad_W, grad_H, W, H, ridge):
    return (W.T @ grad_W - grad_H @ H.T) / ridge


SOLUTIONS = [
    (nuclear_norm.rebalance, solution_rebalance),
    (nuclear_norm.rebalance, rotated),
    (
        nuclear_norm.rebalance,
        lambda W, H: tuple(torch.as_tensor(x) for x in solution_rebalance(W, H)),
    ),
    (nuclear_norm.least_penalty, least),
    (
        nuclear_norm.least_penalty,
        lambda L, a, b: np.linalg.svd(L)[1].sum() * np.sqrt(a) * np.sqrt(b),
    ),
    (nuclear_norm.imbalance_from_gradients, imbalance),
]

MISTAKES = [
    (nuclear_norm.rebalance, lambda W, H: (W, H), "not balanced"),
    (
        nuclear_norm.rebalance,
        lambda W, H: (svd_of(W, H)[0][:, :3] * svd_of(W, H)[1][:3], svd_of(W, H)[2][:3]),
        "square root of Sigma",
    ),
    (nuclear_norm.rebalance, lambda W, H: balanced_factors(W @ H), "instead of 3"),
    (nuclear_norm.rebalance, lambda W, H: (W, np.abs(H)), "product has changed"),
    (nuclear_norm.rebalance, lambda W, H: (W, H.T), "cannot be multiplied"),
    (nuclear_norm.rebalance, lambda W, H: W, "two new factors"),
    (
        nuclear_norm.rebalance,
        lambda W, H: [x.astype("f4") for x in solution_rebalance(W, H)],
        "float64",
    ),
    (
        nuclear_norm.least_penalty,
        lambda L, a, b: (a + b) / 2 * np.linalg.norm(L, "nuc"),
        "arithmetic",
    ),
    (nuclear_norm.least_penalty, lambda L, a, b: a * b * np.linalg.norm(L, "nuc"), "root of a b"),
    (nuclear_norm.least_penalty, lambda L, a, b: 2 * least(L, a, b), "halves"),
    (nuclear_norm.least_penalty, lambda L, a, b: np.sqrt(a * b) * np.linalg.norm(L), "Frobenius"),
    (nuclear_norm.least_penalty, lambda L, a, b: np.sqrt(a * b) * np.linalg.norm(L, 2), "largest"),
    (nuclear_norm.imbalance_from_gradients, lambda *x: x[4] * imbalance(*x), "divide by the ridge"),
    (
        nuclear_norm.imbalance_from_gradients,
        lambda gW, gH, W, H, r: W.T @ W - H @ H.T,
        "factors alone",
    ),
    (nuclear_norm.imbalance_from_gradients, lambda *x: -imbalance(*x), "sign is reversed"),
    (
        nuclear_norm.imbalance_from_gradients,
        lambda gW, gH, W, H, r: (W.T @ gW + gH @ H.T) / r,
        "subtract",
    ),
    (
        nuclear_norm.imbalance_from_gradients,
        lambda gW, gH, W, H, r: gW @ W.T / r,
        "transpose the other",
    ),
]


@pytest.mark.parametrize(("checker", "answer"), SOLUTIONS)
def test_solution_passes(checker, answer, capsys):
    assert checker(answer)
    assert capsys.readouterr().out.startswith("Right: ")


@pytest.mark.parametrize(("checker", "answer", "hint"), MISTAKES)
def test_mistake_is_explained(checker, answer, hint, capsys):
    assert not checker(answer)
    assert hint in capsys.readouterr().out
