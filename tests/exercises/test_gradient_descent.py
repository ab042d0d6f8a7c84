"""Checkers of "What gradient descent does": right answers pass, mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
from reference import verdict

import ntp_lite as ntp
from ntp_lite import exercises


def drift(W, H, G, step, words=1, contexts=1, power=2):
    up, right = G @ H.T, W.T @ G
    return step**power * (words * up.T @ up - contexts * right @ right.T)


def drift_by_steps(W, H, G, step, sequential=False, first=False, after=False):
    W_1 = W + step * G @ H.T
    H_1 = H + step * (W_1 if sequential else W).T @ G
    D = W_1.T @ W_1 - H_1 @ H_1.T - (0 if after else W.T @ W - H @ H.T)
    return D + (step * (H @ G.T @ W + W.T @ G @ H.T) if first else 0)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (drift, "Right"),
        (drift_by_steps, "Right"),
        (lambda *a: -drift(*a), "the sign"),
        (lambda *a: drift(*a, power=1), "enters squared: both"),
        (lambda *a: drift(*a, power=0), "step is missing"),
        (lambda *a: drift(*a, contexts=-1), "minus, not plus"),
        (lambda *a: drift_by_steps(*a, first=True), "first order cancel"),
        (lambda *a: drift_by_steps(*a, sequential=True), "uses the old W"),
        (lambda *a: drift_by_steps(*a, after=True), "subtract D before"),
    ],
)
def test_drift_checker(answer, message, capsys):
    right, text = verdict(exercises.gradient_descent.drift, answer, capsys)
    assert right == (message == "Right") and message in text


def kappa(L, S, A, centre=True, below="rest", margin="mean", over="min", order="nuc"):
    on = S == 1
    mean = np.where(on, L, 0).sum(axis=0) / on.sum(axis=0)
    R = np.where(on, mean, L) if below == "rest" else L
    R = R - R.mean(axis=0) if centre else R
    inside = mean if margin != "smallest" else np.where(on, L, np.inf).min(axis=0)
    top = np.where(on, -np.inf, L).max(axis=0)
    some = ~on.all(axis=0)
    if margin == "off mean":
        top[some] = np.where(on, 0, L).sum(axis=0)[some] / (~on).sum(axis=0)[some]
    margins = (inside - top)[some]
    return getattr(margins, over)() * A / np.linalg.norm(R, order)


def kappa_by_package(L, S, A):
    labels = ntp.SoftLabels.from_counts(S)
    R = ntp.split_logits(L - L.mean(axis=0), labels).orthogonal
    columns = [R[S[:, j] == 1, j][0] - R[S[:, j] == 0, j].max() for j in range(4) if 0 in S[:, j]]
    columns += [R[S[:, 4] == 1, 4][0] - R[S[:, 4] == 0, 4].max()]
    return A * min(columns) / np.linalg.svd(R, compute_uv=False).sum()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (kappa, "Right"),
        (kappa_by_package, "Right"),
        (lambda *a: kappa(*a, centre=False), "centre the columns"),
        (lambda *a: kappa(*a, below="L"), "norm of R, not of L"),
        (lambda *a: kappa(*a, margin="smallest"), "not the smallest"),
        (lambda *a: kappa(*a, over="mean"), "not their mean"),
        (lambda *a: kappa(*a, order="fro"), "Frobenius"),
        (lambda L, S, A: kappa(L, S, 1), "A is missing"),
        (lambda *a: 1 / kappa(*a), "upside down"),
        (lambda *a: kappa(*a, margin="off mean"), "largest logit off the support"),
        (lambda *a: max(0.0, kappa(*a)), "keep the sign"),
        (lambda *a: abs(kappa(*a)), "keep the sign"),
    ],
)
def test_efficiency_checker(answer, message, capsys):
    right, text = verdict(exercises.gradient_descent.efficiency, answer, capsys)
    assert right == (message == "Right") and message in text


def least(excess, N, A, rarest=None, n=None, two=2):
    n = n or N.sum()
    smallest = N[N > 0].min() if rarest is None else rarest
    if excess > 0.19 * smallest / n:
        return np.nan
    return A * np.log(smallest / (two * n * excess))


def least_in_words(excess, N, A):
    joint = np.sort((N / N.sum())[N > 0])[0]
    margin = -np.log(excess) - np.log(2 / joint)
    return A * margin if excess <= 0.19 * joint else float("nan")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (least, "Right"),
        (least_in_words, "Right"),
        (lambda e, N, A: A * np.log(2 / (2 * N.sum() * e)), "return nan there"),
        (lambda e, N, A: A * max(np.log(1 / (N.sum() * e)), 0) or np.nan, "return nan there"),
        (lambda e, N, A: least(e, N, A) if e < 0.01 else None, "return nan there"),
        (lambda e, N, A: least(e, N, A, rarest=1), "smallest positive count"),
        (lambda e, N, A: least(e, N, A, n=N.shape[1]), "sum of all counts"),
        (lambda e, N, A: least(e, N, A, two=1), "factor 2"),
        (lambda e, N, A: least(e, N, 1), "A is missing"),
        (lambda e, N, A: least(e, N, A) / np.log(10), "natural logarithms"),
        (lambda e, N, A: -least(e, N, A), "the sign"),
        (lambda e, N, A: -A * np.log(e) if e < 0.01 else np.nan, "constant ln(2n / N_min)"),
    ],
)
def test_least_norm_checker(answer, message, capsys):
    right, text = verdict(exercises.gradient_descent.least_norm, answer, capsys)
    assert right == (message == "Right") and message in text


def by_svd(G):
    U, _, Vt = np.linalg.svd(G, full_matrices=False)
    return U @ Vt


def by_products(G, steps=30, scale=np.linalg.norm, half=2):
    X = G / scale(G)
    for _ in range(steps):
        X = (3 * X - X @ X.T @ X) / half
    return X


def by_eigenvalues(G):
    """G (G'G)^(-1/2)."""
    values, R = np.linalg.eigh(G.T @ G)
    return G @ (R / np.sqrt(values)) @ R.T


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (by_svd, "Right"),
        (by_products, "Right"),
        (by_eigenvalues, "Right"),
        (lambda G: by_products(G, scale=lambda G: 1), "first divide G"),
        (lambda G: by_products(G, steps=5), "five steps are too few"),
        (lambda G: by_products(G, steps=0), "only scaled"),
        (lambda G: G / np.linalg.norm(G, 2), "largest singular value"),
        (lambda G: 2 * by_svd(G), "divide by two"),
        (np.sign, "entrywise sign"),
        (lambda G: by_svd(G).T, "transposed"),
    ],
)
def test_polar_factor_checker(answer, message, capsys):
    right, text = verdict(exercises.gradient_descent.polar_factor, answer, capsys)
    assert right == (message == "Right") and message in text
