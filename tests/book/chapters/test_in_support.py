"""The statements of "The in-support component", each by an independent truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

import ntp_lite as ntp


def small(seed=0, V=5, m=4):
    """Soft labels with supports of different sizes, among them one token and all tokens."""
    rng = np.random.default_rng(seed)
    N = rng.integers(1, 9, size=(V, m)) * (rng.random((V, m)) < 0.6)
    N[:, 0], N[:, 1] = rng.integers(1, 9, size=V), 0
    N[2, 1] = 3
    N[0, N.sum(axis=0) == 0] = 1
    return ntp.SoftLabels.from_counts(N)


def basis_of_F(S):
    """By hand: e_z - e_first within each support, flattened, in columns."""
    basis = []
    for j in range(S.shape[1]):
        on = np.flatnonzero(S[:, j])
        for z in on[1:]:
            A = np.zeros(S.shape)
            A[z, j], A[on[0], j] = 1, -1
            basis.append(A.ravel())
    return np.array(basis).T


def softmax(L):
    E = np.exp(L - L.max(axis=0))
    return E / E.sum(axis=0)


def shares(L, S):
    Q = softmax(L) * S
    return Q / Q.sum(axis=0)


@pytest.mark.parametrize("seed", range(4))
def test_dimension_and_complement(seed):
    """Theorem label: prop-in-support-complement

    Truth: the rank of the constraints, and the null space by SVD. Mutation: matrices with other
    supports are not orthogonal to F.
    """
    labels = small(seed)
    S = labels.S.toarray()
    V, m = S.shape
    constraints = []
    for j in range(m):
        for z in range(V):
            A = np.zeros((V, m))
            A[:, j] = S[:, j]
            if not S[z, j]:
                A[:, j] = np.arange(V) == z
            constraints.append(A.ravel())
    dimension = V * m - np.linalg.matrix_rank(np.array(constraints))
    assert dimension == (labels.support_sizes - 1).sum() == basis_of_F(S).shape[1]
    rng = np.random.default_rng(seed)
    level = np.where(S > 0, rng.normal(size=(1, m)), rng.normal(size=(V, m)))
    assert np.abs(basis_of_F(S).T @ level.ravel()).max() < 1e-12
    rolled = np.roll(level, 1, axis=0)
    assert np.abs(basis_of_F(S).T @ rolled.ravel()).max() > 0.1


@pytest.mark.parametrize("mutation", ["none", "mean over V", "wrong axis", "not erased"])
def test_projection_is_the_orthogonal_one(mutation):
    """Theorem label: thm-in-support-projection

    Truth: least squares on a basis of F. Mutations: centring over all tokens, along the wrong
    axis, and without erasing what is off the support.
    """
    labels = small(1)
    S = labels.S.toarray()
    L = np.random.default_rng(2).normal(size=S.shape)
    basis = basis_of_F(S)
    nearest = (basis @ np.linalg.lstsq(basis, L.ravel(), rcond=None)[0]).reshape(S.shape)
    means = (S * L).sum(axis=0) / S.sum(axis=0)
    candidate = {
        "none": ntp.split_logits(L, labels).in_support.toarray(),
        "mean over V": S * (L - L.mean(axis=0)),
        "wrong axis": S * (L - ((S * L).sum(axis=1) / S.sum(axis=1))[:, None]),
        "not erased": L - means,
    }[mutation]
    assert np.allclose(candidate, nearest, atol=1e-10) == (mutation == "none")


def test_in_support_component_is_the_only_fit():
    """Theorem label: thm-in-support-unique

    Truth: a numerical minimiser of the restricted cross-entropy over coordinates of F, from two
    starts. Mutations: another distribution, and L_in plus an element of F.
    """
    labels = small(3)
    S, P = labels.S.toarray(), labels.P.toarray()
    basis = basis_of_F(S)

    def objective(x):
        Q = shares((basis @ x).reshape(S.shape), S)
        log_Q = np.log(np.where(S > 0, Q, 1.0))
        return -(P * log_Q).sum(), basis.T @ (Q - P).ravel()

    for seed in (0, 1):
        start = np.random.default_rng(seed).normal(size=basis.shape[1])
        found = optimize.minimize(objective, start, jac=True, method="BFGS", tol=1e-10)
        A = (basis @ found.x).reshape(S.shape)
        assert np.abs(A - ntp.in_support_logits(labels).toarray()).max() < 1e-5
    L_in = ntp.in_support_logits(labels).toarray()
    assert np.allclose(shares(L_in, S), P, atol=1e-14)
    assert not np.allclose(shares(ntp.in_support_logits(small(4)).toarray(), S), P, atol=1e-2)
    assert not np.allclose(shares(L_in + 0.1 * basis[:, 0].reshape(S.shape), S), P, atol=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_two_halves_of_the_loss(seed):
    """Theorem label: thm-in-support-halves

    The sum of the halves against the loss; the first half ignores the complement. Mutation: a
    change within F does change it.
    """
    labels = small(seed)
    S, P = labels.S.toarray(), labels.P.toarray()
    rng = np.random.default_rng(seed)

    def halves(L):
        Q = softmax(L)
        ratio = np.where(S > 0, P, 1) / np.where(S > 0, shares(L, S), 1)
        which = labels.pi @ -np.log((Q * S).sum(axis=0))
        return labels.pi @ (P * np.log(ratio)).sum(axis=0), which

    L = rng.normal(size=S.shape)
    split = ntp.split_logits(L, labels)
    assert np.isclose(sum(halves(L)), ntp.excess_loss(L, labels), rtol=1e-10)
    level = np.where(S > 0, rng.normal(size=(1, labels.m)), rng.normal(size=S.shape))
    assert np.isclose(halves(L)[0], halves(split.in_support.toarray() + level)[0], rtol=1e-9)
    assert not np.isclose(halves(L)[0], halves(split.orthogonal)[0], rtol=1e-2)
    fitted = split.orthogonal + ntp.in_support_logits(labels).toarray()
    assert abs(halves(fitted)[0]) < 1e-12 < 1e-3 < halves(L)[0]


def test_orthogonal_to_the_max_margin_component():
    """Theorem label: prop-in-support-orthogonal

    Mutations: the max-margin component of permuted supports, and the logits of a ridge solution.
    """
    labels = ntp.random_soft_labels(V=8, m=12, support_size=3, seed=5)
    L_in = ntp.in_support_logits(labels).toarray()
    L_mm = ntp.solve_max_margin(labels, tol=1e-7).L

    def orthogonal(B):
        size = np.linalg.norm(L_in) * np.linalg.norm(B)
        pythagoras = np.linalg.norm(L_in + B) ** 2
        return (
            abs((L_in * B).sum()) < 1e-10 * size
            and np.isclose(pythagoras, np.linalg.norm(L_in) ** 2 + np.linalg.norm(B) ** 2)
            and np.abs(ntp.split_logits(B, labels).in_support.toarray()).max() < 1e-10
        )

    assert orthogonal(L_mm)
    assert not orthogonal(L_mm[:, np.roll(np.arange(12), 1)])
    assert not orthogonal(ntp.solve_ridge(labels, 1e-4).L)


def test_scrambled_counts_move_only_the_in_support_part():
    """Theorem label: prop-in-support-orthogonal

    Ridge solutions for two count matrices with one support. Mutation: permuted supports move the
    other part as well.
    """
    labels = ntp.random_soft_labels(V=8, m=12, support_size=3, seed=5)
    counts = labels.N.copy()
    counts.data = np.random.default_rng(0).integers(1, 9, size=counts.nnz)
    scrambled = ntp.SoftLabels.from_counts(counts)
    permuted = ntp.SoftLabels.from_counts(labels.N[:, np.roll(np.arange(12), 1)])
    parts = [ntp.split_logits(ntp.solve_ridge(x, 1e-7).L, x) for x in (labels, scrambled, permuted)]

    def cosine(A, B):
        return (A * B).sum() / (np.linalg.norm(A) * np.linalg.norm(B))

    inside = [part.in_support.toarray() for part in parts]
    assert cosine(inside[0], inside[1]) < 0.9
    assert cosine(parts[0].orthogonal, parts[1].orthogonal) > 0.99
    assert cosine(parts[0].orthogonal, parts[2].orthogonal) < 0.8
