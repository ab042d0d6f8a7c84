"""The statements of "Subspace collapse", each by an independent truth."""

from __future__ import annotations

from itertools import permutations

import cvxpy as cp
import numpy as np
import pytest

import ntp_lite as ntp

# Twin contexts (0, 1) and (2, 3), twin words (3, 4), a near twin (4 of 0).
S = np.array(
    [
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 1],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 1, 1, 0, 0],
    ]
)
COUNTS = S * np.array(
    [
        [6, 1, 0, 0, 2, 0],
        [1, 2, 0, 0, 0, 0],
        [0, 0, 0, 0, 3, 2],
        [0, 0, 1, 4, 0, 0],
        [0, 0, 2, 1, 0, 0],
    ]
)
TWINS = ((0, 1), (2, 3))
LABELS = ntp.SoftLabels.from_counts(COUNTS)
RIDGES = [1e-3, 1e-5, 1e-7, 1e-9]


@pytest.fixture(scope="module")
def path():
    points = ntp.ridge_path(LABELS, RIDGES, tol=1e-6)
    assert all(point.converged for point in points)
    return points


def equal_columns(A, tol=1e-3):
    return np.abs(A[:, :, None] - A[:, None, :]).max(axis=0) < tol


def apart(X, i, j):
    return np.linalg.norm(X[:, i] - X[:, j])


@pytest.mark.parametrize("seed", range(20))
def test_what_an_extra_column_costs(seed):
    """Theorem label: lem-subspace-collapse-column

    Mutation: twice the bound is false for a nearly parallel column.
    """
    rng = np.random.default_rng(seed)
    B = rng.normal(size=(5, 4)) * rng.exponential(size=4)
    for c in (rng.normal(size=(5, 1)), 1e-3 * B[:, :1], 100 * rng.normal(size=(5, 1))):
        full = np.hstack([B, c])
        cost = np.linalg.norm(full, "nuc") - np.linalg.norm(B, "nuc")
        assert cost >= np.sum(c**2) / (2 * np.linalg.norm(full, 2)) * (1 - 1e-6)
    B = np.ones((3, 1))
    full = np.hstack([B, 0.01 * B])
    cost = np.linalg.norm(full, "nuc") - np.linalg.norm(B, "nuc")
    assert not cost >= np.sum(full[:, 1] ** 2) / np.linalg.norm(full, 2)


@pytest.mark.reference
@pytest.mark.parametrize("mutation", ["none", "proxy's twin", "permuted", "wrong axis", "path"])
def test_equal_vectors_exactly_for_equal_supports(mutation, path):
    """Theorem label: thm-subspace-collapse-limit

    Truth: CVXPY, which does not merge twins. Mutations: a feasible matrix that is not optimal,
    permuted S, rows in place of columns, a point of the path.
    """
    L = cp.Variable(S.shape)
    level = np.ones((len(S), 1)) @ cp.Variable((1, S.shape[1]))
    margins = [cp.multiply(S, L - level) == 0, cp.multiply(1 - S, L - level + 1) <= 0]
    cp.Problem(cp.Minimize(cp.normNuc(L)), margins).solve(solver=cp.CLARABEL)
    logits, support = L.value, S
    if mutation == "proxy's twin":
        logits = ntp.project_margin(np.random.default_rng(0).normal(size=S.shape), S)
    if mutation == "permuted":
        support = S[:, [0, 2, 1, 3, 4, 5]]
    if mutation == "wrong axis":
        logits, support = logits[:, :5].T, S[:, :5]
    if mutation == "path":
        logits = path[-1].L
    columns = (equal_columns(logits) == equal_columns(support)).all()
    rows = (equal_columns(logits.T) == equal_columns(support.T)).all()
    assert (columns and rows) == (mutation == "none")
    if mutation == "none":
        W, H = ntp.balanced_factors(logits)
        assert (equal_columns(H, 3e-2) == equal_columns(S)).all()
        assert (equal_columns(W.T, 3e-2) == equal_columns(S.T)).all()
        cosines = ntp.cosine_similarity(logits)
        assert ((cosines > 1 - 1e-6) == equal_columns(S)).all()


def test_frequencies_keep_twins_apart(path):
    """Theorem label: prop-subspace-collapse-floor

    Pythagoras for any logits, the floor on the path. Mutations: contexts that are not twins, and
    the floor of permuted counts.
    """
    L = np.random.default_rng(1).normal(size=S.shape)
    split = ntp.split_logits(L, LABELS)
    parts = split.in_support.toarray(), split.orthogonal

    def pythagoras(i, j):
        return np.isclose(apart(L, i, j) ** 2, sum(apart(X, i, j) ** 2 for X in parts), rtol=1e-9)

    assert all(pythagoras(*pair) for pair in TWINS) and not pythagoras(0, 4)
    for i, j in TWINS:
        T = S[:, i] == 1
        difference = np.log(COUNTS[T, i]) - np.log(COUNTS[T, j])
        floor = np.linalg.norm(difference - difference.mean())
        assert np.isclose(floor, apart(ntp.in_support_logits(LABELS).toarray(), i, j))
        for point in path[1:]:
            slack = 6 * np.sqrt(T.sum()) * LABELS.n * point.ridge
            assert apart(point.L, i, j) >= floor - slack - 1e-6
            assert not apart(point.L, i, j) >= 3 * floor


def test_collapse_along_the_path(path):
    """Theorem label: thm-subspace-collapse-path

    The three rates with generous fixed constants, and angles that close. Mutation: near twins.
    """
    t = np.log(1 / np.array(RIDGES))
    H = [ntp.word_context_factors(point.L).H for point in path]

    def collapses(i, j):
        columns = [apart(p.L, i, j) / np.linalg.norm(p.L[:, i]) for p in path]
        vectors = [apart(h, i, j) / np.linalg.norm(h[:, i]) for h in H]
        closing = (np.diff(columns) < 0).all() and (np.diff(vectors) < 0).all()
        return bool(closing and columns[-1] * t[-1] < 1.2 * columns[1] * t[1])

    assert all(collapses(*pair) for pair in TWINS)
    assert not collapses(0, 4)
    A = ntp.solve_max_margin(LABELS, tol=1e-6).certificate.primal
    L_in = np.linalg.norm(ntp.in_support_logits(LABELS).toarray(), "nuc")
    for point, time in zip(path, t, strict=True):
        nuclear = np.linalg.norm(point.L, "nuc")
        assert nuclear <= time * A + len(S) + L_in + 1e-3  # step 1 of the proof
        assert not nuclear <= 0.3 * time * A


def test_margins_know_how_often_a_context_occurs(path):
    """Theorem label: prop-subspace-collapse-counts

    The identity for any logits; its first term on the path. Mutation: frequencies for counts.
    """
    L = np.random.default_rng(2).normal(size=S.shape)
    (i, j), z, v = TWINS[0], 0, 3

    def terms(L):
        Q = np.exp(L) / np.exp(L).sum(axis=0)
        G = (LABELS.P.toarray() - Q) * LABELS.pi
        first = np.log(LABELS.pi[i] * Q[z, i] / (LABELS.pi[j] * Q[z, j]))
        return first, np.log(G[v, i] / G[v, j])

    first, second = terms(L)
    assert np.isclose((L[z, i] - L[v, i]) - (L[z, j] - L[v, j]), first - second)
    first, _ = terms(path[-1].L)
    assert np.isclose(first, np.log(6 / 1), atol=1e-5)
    P = LABELS.P.toarray()
    assert not np.isclose(first, np.log(P[z, i] / P[z, j]), atol=1e-2)


def test_baseline_over_all_permutations():
    """Theorem label: prop-subspace-collapse-baseline

    All 720 ways to deal six vectors. Mutation: M / (M - 1) and (M - C) / M.
    """
    X = np.random.default_rng(3).normal(size=(2, 6))
    classes = np.array([0, 0, 0, 1, 1, 2])
    total = np.sum((X - X.mean(axis=1, keepdims=True)) ** 2)

    def within(order):
        dealt = X[:, list(order)]
        groups = (dealt[:, classes == c] for c in range(3))
        return sum(np.sum((g - g.mean(axis=1, keepdims=True)) ** 2) for g in groups)

    mean = np.mean([within(order) / total for order in permutations(range(6))])
    assert np.isclose(mean, (6 - 3) / (6 - 1), rtol=1e-9)
    assert not np.isclose(mean, 3 / 6, rtol=1e-2) and not np.isclose(mean, 6 / 5, rtol=1e-2)


def test_package_statistic_against_pairs_of_vectors():
    """support_collapse by another formula: sum over pairs, no means."""
    X = np.random.default_rng(4).normal(size=(3, 6))
    several = [0, 1, 2, 3]

    def spread(members):
        columns = X[:, members]
        pairs = ((columns[:, :, None] - columns[:, None, :]) ** 2).sum() / 2
        return pairs / len(members)

    expected = (spread([0, 1]) + spread([2, 3])) / spread(several)
    result = ntp.support_collapse(X, LABELS)
    assert np.isclose(result.several_tokens, expected) and np.isnan(result.one_token)
    assert "k = 1" in result.message
    assert ntp.support_collapse(S, LABELS).several_tokens == 0  # collapsed
    assert not np.isclose(ntp.support_collapse(X[:, ::-1], LABELS).several_tokens, expected)


def test_copies_are_equal_at_every_ridge():
    """Twins with equal frequencies and priors; mutation: other frequencies."""
    N = np.array([[2, 2, 1], [1, 1, 0], [0, 0, 3]])
    other = N.copy()
    other[0, 1] = 6
    for counts, equal in ((N, True), (other, False)):
        L = ntp.solve_ridge(ntp.SoftLabels.from_counts(counts), 1e-2, tol=1e-8).L
        assert (apart(L, 0, 1) < 1e-3) == equal
