"""The statements of "Concepts in singular vectors", each by an independent truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import ntp_lite as ntp


def counts(seed, V=6, m=8):
    rng = np.random.default_rng(seed)
    N = rng.integers(1, 9, size=(V, m)) * (rng.random((V, m)) < 0.5)
    N[rng.integers(V, size=m), np.arange(m)] += 1
    return N


@pytest.mark.parametrize("mutation", ["none", "support", "no centring"])
def test_first_residual(mutation):
    """Theorem label: prop-concepts-start

    Truth: automatic differentiation of the loss at L = 0. Mutations: the support in place of the
    counts, no centring.
    """
    N = counts(0)
    labels = ntp.SoftLabels.from_counts(N)
    L = torch.zeros(N.shape, dtype=torch.float64, requires_grad=True)
    ntp.cross_entropy(L, labels).backward()
    claimed = {
        "none": N - N.mean(axis=0),
        "support": ntp.centered_support(labels) * N.sum() / (N > 0).sum(),
        "no centring": N,
    }[mutation]
    assert np.allclose(-L.grad.numpy(), claimed / N.sum()) == (mutation == "none")


@pytest.mark.parametrize("equal", [True, False])
def test_counts_and_supports_agree_only_for_equal_counts(equal):
    """Theorem label: prop-concepts-start

    The second half, through the best multiple.
    """
    N = 3 * (counts(1) > 0) if equal else counts(1)
    A, B = N - N.mean(axis=0), ntp.centered_support(N > 0)
    best = (A * B).sum() / (B * B).sum()
    assert np.allclose(A, best * B) == equal


def flow(N, size, T, seed=0, d=5):
    """Gradient flow by an ODE solver, and its random start."""
    rng = np.random.default_rng(seed)
    V, m = N.shape
    pi, P = N.sum(axis=0) / N.sum(), N / N.sum(axis=0)
    start = rng.normal(size=V * d + d * m)

    def split(x):
        return x[: V * d].reshape(V, d), x[V * d :].reshape(d, m)

    def velocity(_, x):
        W, H = split(x)
        Q = np.exp(W @ H)
        G = (P - Q / Q.sum(axis=0)) * pi
        return np.concatenate([(G @ H.T).ravel(), (W.T @ G).ravel()])

    solved = solve_ivp(velocity, (0, T), size * start, rtol=1e-10, atol=1e-14)
    W, H = split(solved.y[:, -1])
    return W @ H, *split(start)


@pytest.mark.parametrize("mutation", ["none", "support", "half the rate", "other signs"])
def test_growth(mutation):
    """Theorem label: thm-concepts-linear

    Truth: an ODE solver on the true flow, for two sizes: the error falls with the square of the
    size. Mutations: the concepts of the support, half the rate, sum and difference exchanged.
    """
    N, T = counts(2), 12.0
    C = N - N.mean(axis=0)
    A = ntp.centered_support(N > 0) * np.linalg.norm(C, 2) if mutation == "support" else C
    A = A / np.linalg.norm(A, 2) * np.linalg.norm(C, 2) / N.sum()
    U, s, Rt = np.linalg.svd(A, full_matrices=False)
    U, s, Rt = U[:, :3], s[:3], Rt[:3]
    errors = []
    for size in (1e-2, 1e-3):
        L, W, H = flow(N, size, T)
        alpha, beta = W.T @ U, H @ Rt.T
        p, q = np.square(alpha + beta).sum(axis=0), np.square(alpha - beta).sum(axis=0)
        if mutation == "other signs":
            p, q = q, p
        rate = s * (1.0 if mutation == "half the rate" else 2.0)
        predicted = (np.exp(rate * T) * p - np.exp(-rate * T) * q) / 4
        errors.append(np.abs(np.sum(U * (L @ Rt.T), axis=0) / size**2 / predicted - 1).max())
    if mutation == "none":
        assert errors[1] < 1e-4 and 50 < errors[0] / errors[1] < 200
    else:
        assert errors[1] > 0.05


@pytest.mark.parametrize("mutation", ["none", "factor two", "linear"])
def test_squared_loss(mutation):
    """Theorem label: prop-concepts-square

    Truth: an ODE solver on W and H. Mutations: rate sigma in place of 2 sigma, no saturation.
    """
    A = ntp.centered_support(counts(3) > 0)
    U, s, Rt = np.linalg.svd(A, full_matrices=False)
    U, s, Rt = U[:, s > 1e-9], s[s > 1e-9], Rt[s > 1e-9]
    r, V, m, T, x_0 = len(s), *A.shape, 1.3, 0.02

    def split(x):
        return x[: V * r].reshape(V, r), x[V * r :].reshape(r, m)

    def velocity(_, x):
        W, H = split(x)
        error = A - W @ H
        return np.concatenate([(error @ H.T).ravel(), (W.T @ error).ravel()])

    root = np.sqrt(x_0)
    start = np.concatenate([(root * U).ravel(), (root * Rt).ravel()])
    W, H = split(solve_ivp(velocity, (0, T), start, rtol=1e-10, atol=1e-12).y[:, -1])
    rate = s if mutation == "factor two" else 2 * s
    curve = s / (1 + (s / x_0 - 1) * np.exp(-rate * T))
    curve = x_0 * np.exp(rate * T) if mutation == "linear" else curve
    assert np.allclose(W @ H, (U * curve) @ Rt, atol=1e-6) == (mutation == "none")
    half = np.log(s / x_0 - 1) / (2 * s)
    assert np.all(np.diff(half) > 0)  # the stronger, the earlier


@pytest.mark.parametrize("seed", range(3))
def test_first_concept_on_the_path(seed):
    """Theorem label: prop-concepts-path

    Truth: the certified solver near ridge_max. Mutations: the support's concept; far from
    ridge_max.
    """
    N = counts(seed)
    labels = ntp.SoftLabels.from_counts(N)
    C = N - N.mean(axis=0)
    U, s, Rt = np.linalg.svd(C)
    assert np.isclose(ntp.ridge_max(labels), s[0] / N.sum())
    assert s[1] < 0.95 * s[0]

    def distance(fraction, u, r):
        L = ntp.solve_ridge(labels, fraction * ntp.ridge_max(labels), tol=1e-8).L
        return np.linalg.norm(L / np.linalg.norm(L, "nuc") - np.outer(u, r), "nuc")

    assert distance(0.999, U[:, 0], Rt[0]) < 0.01
    assert distance(0.3, U[:, 0], Rt[0]) > 0.1
    u, _, r = np.linalg.svd(ntp.centered_support(labels))
    sign = np.sign(U[:, 0] @ u[:, 0])
    assert distance(0.999, sign * u[:, 0], sign * r[0]) > 0.1
