"""The statements of "Subspace collapse", each by an independent truth."""

from __future__ import annotations

from itertools import permutations

import cvxpy as cp
import numpy as np
import pytest
from scipy.special import softmax

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


def twins(L, labels, i, j, rows=False):
    """Squared distance of the vectors, inner product and bound of the theorem; of words by rows.

    Everything from the logits: |h_i - h_j|^2 by the root of L'L, without factors.
    """
    Q = softmax(L, axis=0)
    J, G = Q * labels.pi, (labels.P.toarray() - Q) * labels.pi
    S = labels.S.toarray()
    if rows:
        L, J, G, S = L.T, J.T, G.T, S.T
    values, vectors = np.linalg.eigh(L.T @ L)
    x = vectors[i] - vectors[j]
    squared = x**2 @ np.sqrt(np.maximum(values, 0))
    common = S[:, i] * S[:, j] == 1
    ratio = np.linalg.norm(np.log(J[common, i] / J[common, j]))
    return squared, (G[:, i] - G[:, j]) @ (L[:, i] - L[:, j]), np.sqrt(2) * ratio


@pytest.mark.parametrize("mutation", ["none", "not twins", "off the path", "half the bound"])
def test_distance_of_twins_on_the_path(mutation):
    """Theorem label: thm-subspace-collapse-path

    Random supports with a pair of twins, skewed and reordered counts, contexts and words.
    Mutations: contexts that are no twins break the bound, logits off the path the identity, and
    half the bound is false.
    """
    rng = np.random.default_rng(0)
    bounded, identical = [], []
    for _ in range(12):
        V, m = rng.integers(3, 6), rng.integers(3, 7)
        S = (rng.random((V, m)) < 0.5).astype(int)
        S[rng.integers(V, size=m), np.arange(m)] = 1
        if mutation == "not twins":
            S[:2, :2] = [[1, 1], [1, 0]]
            S[2:, 0] = 0
        else:
            S[:, 1] = S[:, 0]
        counts = S * np.rint(rng.lognormal(1, 1.5, S.shape) + 1).astype(int)
        for rows in (False, True):
            labels = ntp.SoftLabels.from_counts(counts)
            if rows:
                table = np.vstack([counts.T, counts.sum(axis=1) == 0])
                labels = ntp.SoftLabels.from_counts(table)
            for ridge in (1e-2, 1e-5):
                L = ntp.solve_ridge(labels, ridge, tol=1e-10).L
                if mutation == "off the path":
                    L = 1.5 * L
                squared, inner, bound = twins(L, labels, 0, 1, rows)
                if mutation == "half the bound":
                    bound = bound / 2
                identical.append(np.isclose(squared, inner / ridge, rtol=1e-3, atol=1e-3))
                bounded.append(squared <= bound * (1 + 1e-6) + 1e-4)
    assert all(identical) == (mutation != "off the path")
    if mutation != "off the path":
        assert all(bounded) == (mutation == "none")


def test_rates_of_twins(path):
    """Theorem label: thm-subspace-collapse-path

    One minus the cosine, times t, stays bounded; the bound tends to the counts. Mutation: near
    twins.
    """
    t = np.log(1 / np.array(RIDGES))

    def closes(i, j):
        cosines = [ntp.cosine_similarity(ntp.word_context_factors(p.L).H)[i, j] for p in path]
        left = (1 - np.array(cosines)) * t
        return bool((np.diff(left) < 0).all())

    assert all(closes(*pair) for pair in TWINS) and not closes(0, 4)
    (i, j), T = TWINS[0], S[:, TWINS[0][0]] == 1
    from_counts = np.sqrt(2) * np.linalg.norm(np.log(COUNTS[T, i] / COUNTS[T, j]))
    assert np.isclose(twins(path[-1].L, LABELS, i, j)[2], from_counts, rtol=1e-5)


@pytest.mark.parametrize("mutation", ["none", "rank", "half the bound"])
def test_twins_meet_where_the_rank_is_full(mutation):
    """Theorem label: prop-subspace-collapse-meet

    Random counts on supports with twin contexts. Mutations: texts with twin words, where the
    rank is V - 2 and the bound with its least positive singular value fails; half the bound.
    """
    rng = np.random.default_rng(2)
    support = np.array([[1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]])
    if mutation == "rank":
        support[1] = support[0]
    values, logits, meeting = [], [], []
    for _ in range(10):
        labels = ntp.SoftLabels.from_counts(support * rng.integers(1, 20, support.shape))
        for ridge in (1e-3, 1e-9):
            L = ntp.solve_ridge(labels, ridge, tol=1e-7).L
            s = np.linalg.svd(L, compute_uv=False)
            s = s[s > 0.05 * s[0]]
            squared, _, bound = twins(L, labels, 0, 1)
            c = bound / np.sqrt(2) / (2 if mutation == "half the bound" else 1)
            values.append(squared <= c**2 / s[-1] * (1 + 1e-3) + 1e-5)  # equal counts happen
            logits.append(apart(L, 0, 1) <= s[0] / s[-1] * c * (1 + 1e-3) + 1e-2)
            meeting.append(squared)
    assert all(values) == (mutation == "none")
    if mutation == "none":
        assert all(logits)
        early, late = np.array(meeting).reshape(-1, 2).T
        assert (late < 0.5 * early + 1e-5).all()
    if mutation == "rank":
        early, late = np.array(meeting).reshape(-1, 2).T
        assert (late > 0.9 * early - 1e-5).all()  # these twins do not meet


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
    """Twins with equal counts; mutation: other frequencies."""
    N = np.array([[2, 2, 1], [1, 1, 0], [0, 0, 3]])
    other = N.copy()
    other[0, 1] = 6
    for counts, equal in ((N, True), (other, False)):
        L = ntp.solve_ridge(ntp.SoftLabels.from_counts(counts), 1e-2, tol=1e-8).L
        assert (apart(L, 0, 1) < 1e-3) == equal
