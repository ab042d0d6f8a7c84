"""The statements of "From two matrices to one", each by an independent truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

import ntp_lite as ntp
from ntp_lite.linalg import balanced_factors
from ntp_lite.models import UFM


def nuclear(A):
    return float(np.linalg.svd(A, compute_uv=False).sum())


def energy(W, H):
    return float((W**2).sum() + (H**2).sum()) / 2


def mixed(W, H, seed):
    """Another split of the same product."""
    d = W.shape[1]
    M = np.eye(d) + 0.4 * np.random.default_rng(seed).normal(size=(d, d))
    return W @ M, np.linalg.solve(M, H)


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 4)), rng.normal(size=(4, 9))


@pytest.fixture(scope="module")
def labels():
    return ntp.random_soft_labels(V=7, m=5, support_size=3, seed=1)


def minimise_over_splits(W, H, cost):
    """Least cost of (W M, M^-1 H) over invertible M, by a general-purpose optimiser."""
    d = W.shape[1]

    def objective(x):
        M = x.reshape(d, d)
        return cost(W @ M, np.linalg.solve(M, H))

    found = minimize(objective, np.eye(d).ravel(), method="BFGS", options={"gtol": 1e-7})
    M = found.x.reshape(d, d)
    return float(found.fun), W @ M, np.linalg.solve(M, H)


@pytest.mark.parametrize("mutation", ["", "frobenius", "operator"])
def test_duality(mutation):
    """Theorem label: lem-nuclear-norm-duality

    Mutations: another norm of B on the right-hand side, which A = U V' then overtakes.
    """
    rng = np.random.default_rng(2)
    B = rng.normal(size=(5, 8))
    norm = {"": nuclear(B), "frobenius": np.linalg.norm(B), "operator": np.linalg.norm(B, 2)}
    U, _, Vt = np.linalg.svd(B, full_matrices=False)
    candidates = [rng.normal(size=B.shape) for _ in range(50)] + [U @ Vt]
    largest = max(abs((A * B).sum()) / np.linalg.norm(A, 2) for A in candidates)
    assert bool(largest <= norm[mutation] * (1 + 1e-12)) is (mutation == "")
    assert np.isclose(largest, nuclear(B), rtol=1e-12)


def test_nuclear_norm_is_convex():
    """Theorem label: cor-nuclear-norm-convex

    Mutation: the rank, which the nuclear norm stands in for, is not convex.
    """
    rng = np.random.default_rng(3)
    for _ in range(100):
        B, C = rng.normal(size=(2, 4, 6))
        assert nuclear(B + C) <= nuclear(B) + nuclear(C) + 1e-12
        assert np.isclose(nuclear(-3 * B), 3 * nuclear(B), rtol=1e-12)
        assert nuclear(0.3 * B + 0.7 * C) <= 0.3 * nuclear(B) + 0.7 * nuclear(C) + 1e-12
    E, F = np.diag([1.0, 0.0]), np.diag([0.0, 1.0])
    assert np.linalg.matrix_rank((E + F) / 2) > (np.linalg.matrix_rank(E) + 1) / 2


def three_squares(W, H):
    U, s, Vt = np.linalg.svd(W @ H, full_matrices=False)
    rank = int((s > 1e-9 * max(s[0], 1)).sum())
    U, R = U[:, :rank], Vt[:rank].T
    parts = W.T @ U - H @ R, W - U @ (U.T @ W), H - (H @ R) @ R.T
    return [float((part**2).sum()) / 2 for part in parts]


@pytest.mark.parametrize("mutation", ["", "first only", "without the last", "not halved"])
def test_surplus_is_three_squares(mutation):
    """Theorem label: thm-nuclear-norm-factors

    Random splits of every width and shape, rank-deficient, wide and zero among them. Mutations:
    squares left out, or not halved.
    """
    rng = np.random.default_rng(6)
    holds = True
    for _ in range(200):
        V, m, d = rng.integers(1, 7, size=3)
        W, H = rng.normal(size=(V, d)), rng.normal(size=(d, m))
        W[:, rng.random(d) < 0.3] = 0
        H[rng.random(d) < 0.3] = 0
        first, second, third = three_squares(W, H)
        total = {
            "": first + second + third,
            "first only": first,
            "without the last": first + second,
            "not halved": 2 * (first + second + third),
        }[mutation]
        holds &= bool(np.isclose(energy(W, H) - nuclear(W @ H), total, atol=1e-9))
    assert holds is (mutation == "")


@pytest.mark.parametrize("mutation", ["", "first order"])
def test_small_surplus_means_nearly_balanced(split, mutation):
    """Exercise label: ex-nuclear-norm-surplus

    Mutation: the surplus in place of its square root.
    """
    holds = True
    for size in (1e-5, 1e-3, 0.1, 1.0):
        W, H = balanced_factors(split[0] @ split[1], d=6)
        M = np.eye(6) + size * np.random.default_rng(1).normal(size=(6, 6))
        W, H = W @ M, np.linalg.solve(M, H)
        surplus = 2 * sum(three_squares(W, H))
        bound = surplus if mutation else np.sqrt(surplus)
        bound *= np.linalg.norm(W, 2) + np.linalg.norm(H, 2)
        holds &= bool(np.linalg.norm(W.T @ W - H @ H.T) <= bound)
    assert holds is (mutation == "")


def test_hand_example():
    """Theorem label: thm-nuclear-norm-factors

    The 2 x 2 table of the chapter: eigenvalues 3 and 1, so the least energy is 4.
    """
    L = np.array([[2.0, 1.0], [1.0, 2.0]])
    W, H = balanced_factors(L)
    assert np.allclose(W @ H, L) and np.isclose(energy(W, H), 4)
    assert np.isclose(energy(L, np.eye(2)), 6)


@pytest.mark.parametrize("mutation", ["", "unbalanced", "square root forgotten", "short"])
def test_least_energy(split, mutation):
    """Theorem label: thm-nuclear-norm-factors

    The least energy is found by an optimiser that knows no singular values. Mutations: factors with
    all of Sigma in W, Sigma in both, or fewer columns than the rank.
    """
    L = split[0] @ split[1]
    U, s, Vt = np.linalg.svd(L, full_matrices=False)
    U, s, Vt = U[:, :4], s[:4], Vt[:4]
    W, H = {
        "": balanced_factors(L, d=4),
        "unbalanced": (U * s, Vt),
        "square root forgotten": (U * s, s[:, None] * Vt),
        "short": balanced_factors(L, d=3),
    }[mutation]
    least, _, _ = minimise_over_splits(*split, energy)
    cheapest = np.isclose(energy(W, H), least, rtol=1e-8)
    holds = np.allclose(W @ H, L, atol=1e-9) and bool(cheapest)
    assert holds is (mutation == "")
    assert np.isclose(least, nuclear(L), rtol=1e-8)
    for seed in range(20):
        assert energy(*mixed(*split, seed)) > nuclear(L)


@pytest.mark.parametrize("d", [4, 6, 20])
def test_energy_does_not_depend_on_width(split, d):
    """Theorem label: thm-nuclear-norm-factors"""
    L = split[0] @ split[1]
    W, H = balanced_factors(L, d)
    assert W.shape == (6, d) and H.shape == (d, 9)
    assert np.allclose(W @ H, L, atol=1e-9) and np.isclose(energy(W, H), nuclear(L), rtol=1e-9)


@pytest.mark.parametrize("mutation", ["", "before the search", "equal norms only"])
def test_cheapest_is_balanced(split, mutation):
    """Theorem label: thm-nuclear-norm-minimisers

    Mutations: the split before the search; one rescaled to |W| = |H|, which is not enough.
    """
    L = split[0] @ split[1]
    _, W, H = minimise_over_splits(*split, energy)
    if mutation:
        scale = np.sqrt(np.linalg.norm(split[1]) / np.linalg.norm(split[0]))
        scale = 1.0 if mutation == "before the search" else scale
        W, H = split[0] * scale, split[1] / scale
    values, vectors = np.linalg.eigh(L @ L.T)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    balanced = np.allclose(W.T @ W, H @ H.T, atol=1e-4)
    geometry = np.allclose(W @ W.T, root, atol=1e-4)
    assert balanced is geometry is (mutation == "")


def test_balanced_means_rotated_svd_factors(split):
    """Theorem label: thm-nuclear-norm-minimisers

    Statement 3 for rows R that are orthonormal; mutation: rows that are not.
    """
    L = split[0] @ split[1]
    W, H = balanced_factors(L, 4)
    R = np.linalg.qr(np.random.default_rng(5).normal(size=(9, 4)))[0].T
    for rows, holds in ((R, True), (R * np.array([1, 2, 1, 1])[:, None], False)):
        W_new, H_new = W @ rows, rows.T @ H
        assert np.allclose(W_new @ H_new, L) is holds
        assert bool(np.isclose(energy(W_new, H_new), nuclear(L))) is holds
        assert np.allclose(W_new.T @ W_new, H_new @ H_new.T)


@pytest.mark.parametrize("unused", [0, 1, 2])
def test_zero_logits_have_one_balanced_split(unused):
    """Theorem label: thm-nuclear-norm-minimisers

    Rank zero: a split of the zero matrix has no imbalance exactly if it has no energy. Mutation:
    words or contexts (never both) that fill dimensions which the other leaves unused.
    """
    rng = np.random.default_rng(7)
    W, H = np.zeros((5, 3)), np.zeros((3, 4))
    W[:, :unused] = rng.normal(size=(5, unused))
    H[2:] = rng.normal(size=(1, 4)) if unused else 0
    assert np.allclose(W @ H, 0) and nuclear(W @ H) == 0
    balanced = np.array_equal(W.T @ W, H @ H.T)
    assert balanced is (energy(W, H) == 0) is (unused == 0)


@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_balance_identity(labels, ratio):
    """Theorem label: prop-nuclear-norm-balance

    Gradients by autograd at an untrained point. Mutation: ridges whose ratio is not 1.
    """
    model = UFM(labels.V, labels.m, d=4, seed=3, scale=2.0)
    W, H, ridge = model.W, model.H, 0.02
    penalty = ridge / 2 * ((W**2).sum() + ratio * (H**2).sum())
    loss = ntp.cross_entropy(W @ H, labels) + penalty
    grad_W, grad_H = torch.autograd.grad(loss, (W, H))
    left = (W.T @ grad_W - grad_H @ H.T).detach().numpy()
    right = ridge * (W.T @ W - H @ H.T).detach().numpy()
    assert np.allclose(left, right, atol=1e-13) is (ratio == 1.0)
    # The exercise's version, which holds for both.
    right = ridge * (W.T @ W - ratio * H @ H.T).detach().numpy()
    assert np.allclose(left, right, atol=1e-13)


@pytest.mark.parametrize("ridge", [0.0, 0.05])
def test_gradient_flow_forgets_at_rate_two_ridge(labels, ridge):
    """Theorem label: prop-nuclear-norm-balance

    Part 3, by Euler steps; the mutations are the rates 0 and ridge in place of 2 ridge.
    """
    rng = np.random.default_rng(4)
    W, H = rng.normal(size=(labels.V, 3)), 0.1 * rng.normal(size=(3, labels.m))
    P, pi, step, steps = labels.P.toarray(), labels.pi, 0.01, 2000
    D_start = W.T @ W - H @ H.T
    for _ in range(steps):
        L = W @ H
        Q = np.exp(L) / np.exp(L).sum(axis=0)
        G = (P - Q) * pi
        W, H = W + step * (G @ H.T - ridge * W), H + step * (W.T @ G - ridge * H)
    D = W.T @ W - H @ H.T
    for factor in (0, 1, 2):
        predicted = np.exp(-factor * ridge * step * steps) * D_start
        error = np.linalg.norm(D - predicted) / np.linalg.norm(predicted)
        assert bool(error < 0.01) is (factor == 2 or ridge == 0)


def trained(labels, d, ridge, seed=0):
    """Logits and excess objective of a converged two-factor run."""
    model = UFM(labels.V, labels.m, d, seed=seed, scale=0.5)
    W, H = model.W, model.H
    optimizer = torch.optim.LBFGS(
        [W, H],
        max_iter=2000,
        tolerance_grad=1e-9,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        loss = ntp.excess_loss(W @ H, labels) + ridge / 2 * ((W**2).sum() + (H**2).sum())
        loss.backward()
        return loss

    optimizer.step(closure)
    value = closure().item()
    return W.detach().numpy(), H.detach().numpy(), value


@pytest.mark.parametrize("mutation", ["", "frobenius", "double ridge", "too narrow"])
def test_two_matrices_are_one(labels, mutation):
    """Theorem label: thm-nuclear-norm-equivalence

    Training W and H against a convex solver that sees logits only. Mutations: another norm, another
    ridge, a width below the rank of the convex solution.
    """
    ridge = 0.02
    convex = ntp.solve_ridge(labels, 2 * ridge if mutation == "double ridge" else ridge, tol=1e-9)
    rank = int((np.linalg.svd(convex.L, compute_uv=False) > 1e-4).sum())
    assert rank >= 2
    W, H, value = trained(labels, rank - 1 if mutation == "too narrow" else 6, ridge)
    expected = convex.certificate.primal
    if mutation == "frobenius":
        expected = ntp.excess_loss(convex.L, labels) + ridge * float(np.linalg.norm(convex.L))
    same_value = bool(abs(value - expected) < 1e-7)
    assert same_value is (mutation == "")
    assert np.allclose(W.T @ W, H @ H.T, atol=1e-5)  # balance whatever the width
    if not mutation:
        assert np.allclose(W @ H, convex.L, atol=1e-3)


@pytest.mark.parametrize("missing", [0, 1])
def test_one_dimension_less_than_tokens_is_enough(missing):
    """Theorem label: thm-nuclear-norm-equivalence

    Part (c) with fewer tokens than contexts: width V - 1 reaches the convex minimum. Mutation: the
    width V - 2.
    """
    ridge = 0.005
    labels = ntp.random_soft_labels(V=4, m=8, support_size=2, seed=2)
    convex = ntp.solve_ridge(labels, ridge, tol=1e-9)
    assert np.linalg.matrix_rank(convex.L, tol=1e-4) == labels.V - 1
    *_, value = trained(labels, labels.V - 1 - missing, ridge)
    reached = bool(abs(value - convex.certificate.primal) < 1e-7)
    assert reached is (missing == 0)


@pytest.mark.reference
def test_two_matrices_are_one_cvxpy(labels):
    """Theorem label: thm-nuclear-norm-equivalence"""
    cvxpy = pytest.importorskip("cvxpy")
    ridge = 0.02
    L = cvxpy.Variable((labels.V, labels.m))
    P, pi = labels.P.toarray(), labels.pi
    terms = [pi[j] * (cvxpy.log_sum_exp(L[:, j]) - P[:, j] @ L[:, j]) for j in range(labels.m)]
    problem = cvxpy.Problem(cvxpy.Minimize(sum(terms) + ridge * cvxpy.normNuc(L)))
    problem.solve(solver="SCS", eps=1e-7)
    *_, value = trained(labels, 6, ridge)
    assert np.isclose(value, problem.value - labels.entropy, atol=1e-5)
