"""The statements of "Structure before collapse", each by an independent truth."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest


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
