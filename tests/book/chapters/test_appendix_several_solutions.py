"""The statements of the appendix "Several solutions", each by an independent truth."""

from __future__ import annotations

from itertools import product

import cvxpy as cp
import numpy as np
import pytest

import ntp_lite as ntp


@pytest.mark.parametrize(("first", "several"), [([1, 1, 0, 0, 0], True), ([1, 0, 0, 0, 0], False)])
def test_solutions_on_a_circle(first, several):
    """CVXPY finds the ends of the segment: least and largest margin among near-optimal logits."""
    S = np.array([np.roll(first, j) for j in range(5)]).T
    L = cp.Variable((5, 5))
    constraints = []
    for j in range(5):
        on = np.flatnonzero(S[:, j])
        constraints += [L[z, j] == L[on[0], j] for z in on[1:]]
        constraints += [L[on[0], j] - L[v, j] >= 1 for v in np.flatnonzero(S[:, j] == 0)]
    best = cp.Problem(cp.Minimize(cp.normNuc(L)), constraints).solve(solver="CLARABEL")
    near = [*constraints, cp.normNuc(L) <= best * (1 + 1e-7)]
    margin = L[0, 0] - L[3, 0]  # over the token opposite
    ends = [cp.Problem(end, near).solve(solver="CLARABEL")
            for end in (cp.Minimize(margin), cp.Maximize(margin))]  # fmt: skip
    golden = (1 + np.sqrt(5)) / 2
    assert np.allclose(ends, [1, golden if several else 1], atol=5e-3)
    if several:
        assert np.isclose(best, 2 * np.sqrt(5), rtol=1e-6)


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
