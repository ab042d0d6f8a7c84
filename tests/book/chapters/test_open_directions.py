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


def equations(S, G, slack=1e-4):
    """The linear map N -> differences within T_j, by definition, one unit matrix at a time."""
    U, s, Vt = np.linalg.svd(G, full_matrices=False)
    r = int((s > 1 - slack).sum())
    images = []
    for a, b in product(range(r), repeat=2):
        if a <= b:
            N = np.zeros((r, r))
            N[a, b] = N[b, a] = 1
            delta, image = U[:, :r] @ N @ Vt[:r], []
            for j in range(S.shape[1]):
                T = (S[:, j] == 1) | (G[:, j] < -slack)
                image.append(np.where(T, delta[:, j] - delta[T, j].mean(), 0))
            images.append(np.concatenate(image))
    return np.array(images).T, U[:, :r], Vt[:r].T


def spread_of_solutions(S, required, A, direction):
    """Largest minus smallest <direction, L> over near-optimal L, by CVXPY."""
    ends = []
    for sign in (1, -1):
        L = cp.Variable(S.shape)
        level = np.ones((len(S), 1)) @ cp.Variable((1, S.shape[1]))
        constraints = [
            cp.multiply(S, L - level) == 0,
            cp.multiply(required, L - level + 1) <= 0,
            cp.normNuc(L) <= A * (1 + 1e-6),
        ]
        objective = cp.Maximize(sign * cp.sum(cp.multiply(direction, L)))
        ends.append(sign * cp.Problem(objective, constraints).solve(solver=cp.CLARABEL))
    return ends[0] - ends[1]


@pytest.mark.reference
@pytest.mark.parametrize("seed", range(4))
def test_uniqueness(seed):
    """Theorem label: thm-open-directions-unique

    Where the test says unique, CVXPY finds no second solution. Claim 1 on the solution.
    """
    rng = np.random.default_rng(seed)
    S = (rng.random((5, 6)) < 0.4).astype(int)
    S[rng.integers(0, 5, 6), np.arange(6)] = 1
    solved = ntp.solve_max_margin(S, tol=1e-10)
    map_of_N, U, R = equations(S, solved.dual)
    assert np.linalg.svd(map_of_N, compute_uv=False)[-1] > 0.05
    A = solved.certificate.primal
    spread = spread_of_solutions(S, 1 - S, A, rng.normal(size=S.shape))
    assert spread < 0.02
    K = U.T @ solved.L @ R
    assert np.allclose(U @ K @ R.T, solved.L, atol=1e-3) and np.allclose(K, K.T, atol=1e-3)
    assert np.linalg.eigvalsh((K + K.T) / 2).min() > -1e-3
    for j in range(S.shape[1]):
        tight = solved.dual[:, j] < -1e-3
        tight &= S[:, j] == 0
        level = solved.L[S[:, j] == 1, j][0]
        assert np.allclose(level - solved.L[tight, j], 1, atol=1e-3)


@pytest.mark.reference
def test_uniqueness_fails_without_some_margins():
    """Theorem label: thm-open-directions-unique

    Mutation: margins dropped. The test refuses, and CVXPY finds the segment.
    """
    e, f = np.array([1, -1, 0, 0]) / np.sqrt(2), np.array([0, 0, 1, -1]) / np.sqrt(2)
    S = np.array([[1, 0], [0, 0], [0, 1], [0, 0]])
    required = np.array([[0, 0], [1, 0], [0, 0], [0, 1]])
    map_of_N, _, _ = equations(S, np.column_stack([e, f]))
    assert np.linalg.matrix_rank(map_of_N) < map_of_N.shape[1]
    direction = np.column_stack([f, e])
    assert spread_of_solutions(S, required, np.sqrt(2), direction) > 2
    solved = ntp.solve_max_margin(S, tol=1e-9)
    assert spread_of_solutions(S, 1 - S, solved.certificate.primal, direction) < 0.02


CIRCLE = np.array([np.roll([1, 1, 0, 0, 0], j) for j in range(5)]).T


@pytest.mark.parametrize("counts", ["equal", "mutation: other counts"])
def test_choice_on_the_circle(counts):
    """Theorem label: prop-open-directions-circle

    Rank two, in the direction of cosines written down by hand, at every ridge below the largest.
    """
    draws = np.random.default_rng(0).integers(1, 10, (5, 5))
    labels = ntp.SoftLabels.from_counts(CIRCLE * (3 if counts == "equal" else draws))
    z, j = np.indices((5, 5))
    expected = np.cos(2 * np.pi * (z - j - 0.5) / 5)
    expected /= np.linalg.norm(expected)
    for ridge in ntp.ridge_max(labels) * np.array([0.99, 0.5, 1e-2, 1e-5]):
        L = ntp.solve_ridge(labels, ridge, tol=1e-8).L
        holds = np.allclose(L / np.linalg.norm(L), expected, atol=1e-4)
        assert holds == (counts == "equal"), ridge
    assert np.abs(ntp.solve_ridge(labels, 1.01 * ntp.ridge_max(labels)).L).max() == 0


def opposite_margins(here, following, ridges):
    """Margins of the slopes at the token opposite, mean over contexts."""
    N = np.diag(here) + np.roll(np.diag(following), 1, axis=0)
    path = ntp.ridge_path(ntp.SoftLabels.from_counts(N), ridges, tol=1e-5)
    assert all(point.converged for point in path)
    k = np.arange(5)
    return np.array([(p.slope[k, k] - p.slope[(k + 3) % 5, k]).mean() for p in path[1:]])


@pytest.mark.parametrize("shares", [(1, 2), (5, 1), (10, 11), "mutation: equal"])
def test_unequal_shares_lead_to_the_proxy(shares):
    """Theorem label: prop-open-directions-circle

    Part 2: the margin opposite, 1 for the proxy and the golden ratio at rank two, falls to 1 like
    2 / t. Mutation: equal shares.
    """
    here, following = (3, 3) if isinstance(shares, str) else shares
    ridges = 10.0 ** -np.arange(5, 12)
    margins = opposite_margins([here] * 5, [following] * 5, ridges)
    falls = (np.diff(margins) < 0).all() and margins[-1] < 1.3
    assert falls == (not isinstance(shares, str))
    if not falls:  # rank two; the objective is nearly flat along the segment, hence the slack
        assert margins[-1] > 1.4


@pytest.mark.parametrize("mutation", ["", "without the leak opposite"])
def test_fourier_inequality_on_the_circle(mutation):
    """Theorem label: prop-open-directions-circle

    (Im gamma_2)^2 <= (Im gamma_1)^2 + 5 J_o, the heart of part 2, at three ridges. Mutation: the
    last term dropped.
    """
    a, b, holds = 1, 3, True
    N = a * np.eye(5, dtype=int) + b * np.roll(np.eye(5, dtype=int), 1, axis=0)
    labels = ntp.SoftLabels.from_counts(N)
    delta = np.array([-0.5, 0.5, 1.5, 2.5, -1.5])
    for ridge in (1e-2, 1e-3, 1e-5):
        L = ntp.solve_ridge(labels, ridge, tol=1e-8).L
        Q = np.exp(L) / np.exp(L).sum(axis=0)
        column = ((N / (a + b) - Q) / 5 / ridge)[:, 0]
        one, two = (np.exp(-2j * np.pi * k * delta / 5) @ column for k in (1, 2))
        assert abs(abs(one) - 1) < 1e-3 and abs(two) < 1 + 1e-3
        leak = -column[3]
        assert np.isclose(two.real, one.real - 2.5 * leak)
        extra = 0 if mutation else 5 * leak
        holds &= two.imag**2 <= one.imag**2 + extra + 1e-4
    assert bool(holds) == (mutation == "")


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
