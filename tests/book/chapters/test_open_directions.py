"""The statements of "Open directions", each by an independent truth."""

from __future__ import annotations

from itertools import product

import cvxpy as cp
import numpy as np
import pytest

import ntp_lite as ntp


def shared_features(q, own):
    a, b = np.divmod(np.arange(q * q), q)
    X = np.vstack([np.eye(q)[:, a], np.eye(q)[:, b], own * np.eye(q * q)])
    same = (a[:, None] == a).astype(float) + (b[:, None] == b)
    m = q * q
    E_1 = same / q - 2 / m
    return X, same, E_1, np.eye(m) - 1 / m - E_1


@pytest.mark.reference
@pytest.mark.parametrize(("q", "own"), [(3, 0.6), (3, 0.9), (3, 1.1), (3, 1.6), (2, 0.6), (2, 1.2)])
def test_when_structure_lasts(q, own):
    """Theorem label: thm-open-directions-shared

    Truth: CVXPY over all M. Mutations: the other case's logits and price.
    """
    X, same, E_1, _ = shared_features(q, own)
    m = q * q
    M = cp.Variable((m, len(X)))
    L = M @ X
    level = np.ones((m, 1)) @ cp.reshape(cp.diag(L), (1, m), order="F")
    off = 1 - np.eye(m)
    problem = cp.Problem(cp.Minimize(cp.normNuc(M)), [cp.multiply(off, L - level + 1) <= 0])
    value = problem.solve(solver=cp.CLARABEL)
    price = {
        "stays": q * 2 * (q - 1) / np.sqrt(q + own**2),
        "goes": 2 * (q - 1) / np.sqrt(q + own**2) + (q - 1) ** 2 / own,
    }
    logits = {"stays": q * E_1, "goes": np.eye(m) - 1 / m}
    right, wrong = ("stays", "goes") if 3 * own**2 < q else ("goes", "stays")
    assert np.isclose(value, price[right], rtol=1e-5)
    assert not np.isclose(value, price[wrong], rtol=1e-3)
    assert np.allclose(q * E_1, same - 2 / q)
    for name in logits:  # the stated logits cost the stated price, and are feasible
        factor = logits[name] @ np.linalg.solve(X.T @ X, X.T)
        assert np.allclose(factor @ X, logits[name])
        assert np.isclose(np.linalg.norm(factor, "nuc"), price[name], rtol=1e-9)
        margins = np.diag(logits[name]) - logits[name]
        assert margins[off == 1].min() >= 1 - 1e-9

    def averaged(L):
        """Mean over all renamings: one number for each value of `same`."""
        return sum((same == s) * L[same == s].mean() for s in (0, 1, 2) if (same == s).any())

    found = averaged(M.value @ X)
    found = found - found.mean()
    assert np.allclose(found, logits[right], atol=2e-3)
    assert not np.allclose(found, logits[wrong], atol=0.1)


@pytest.mark.parametrize("own", [0.5, 3.0])
def test_structure_comes_first(own):
    """Theorem label: thm-open-directions-shared

    The start: smallest ridge at which zero is optimal, and the steepest directions.
    """
    q, m = 4, 16
    X, _, E_1, E_2 = shared_features(q, own)
    G_0 = (np.eye(m) - 1 / m) / m
    U, s, _ = np.linalg.svd(G_0 @ X.T)
    assert np.isclose(s[0], np.sqrt(q + own**2) / m)
    top = U[:, : 2 * (q - 1)]
    assert np.allclose(top @ top.T, E_1) and not np.allclose(top @ top.T, E_2)
    assert np.isclose(s[2 * (q - 1)], own / m)


def test_unseen_pairs():
    """Theorem label: prop-open-directions-unseen

    Part 1 by removing each position; part 2 on the path. Mutations: shares of pairs; a bound
    that forgets the prior.
    """
    rng = np.random.default_rng(0)
    N = rng.integers(0, 4, size=(6, 8)) * (rng.random((6, 8)) < 0.6)
    N[0] += N.sum(axis=0) == 0
    positions = [(z, j) for z, j in product(range(6), range(8)) for _ in range(N[z, j])]
    new_pair = new_context = 0
    for i, (z, j) in enumerate(positions):
        others = positions[:i] + positions[i + 1 :]
        new_pair += (z, j) not in others
        new_context += all(context != j for _, context in others)
    n = len(positions)
    assert new_pair / n == (N == 1).sum() / n != (N == 1).sum() / (N > 0).sum()
    assert new_context / n == (N.sum(axis=0) == 1).sum() / n

    labels = ntp.SoftLabels.from_counts(N)
    held_out = rng.integers(0, 3, size=N.shape)
    unseen = held_out * (N == 0)
    u, least = unseen.sum() / held_out.sum(), labels.pi[unseen.any(axis=0)].min()
    losses = []
    for point in ntp.ridge_path(labels, [1e-3, 1e-5, 1e-7], tol=1e-6):
        log_Q = point.L - np.log(np.exp(point.L).sum(axis=0))
        loss, time = -(held_out * log_Q).sum() / held_out.sum(), np.log(1 / point.ridge)
        assert loss >= u * (time + np.log(least))
        price = -log_Q - np.log(labels.pi)
        assert price[N == 0].min() >= time - 1e-4
        assert not (-log_Q)[N == 0].min() >= time - 1e-4  # the prior forgotten
        assert not price[N > 0].min() >= time - 1e-4  # on the support there is no such bound
        losses.append(loss)
    slope = (losses[-1] - losses[-2]) / np.log(1e2)
    assert np.isclose(slope, u, rtol=0.1) and not np.isclose(slope, 1, rtol=0.1)
