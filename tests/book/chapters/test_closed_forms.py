"""The statements of "Closed forms", each by an independent truth."""

from __future__ import annotations

from itertools import combinations

import cvxpy as cp
import numpy as np
import pytest
from reference import polar, positive_off_support

import ntp_lite as ntp

FANO_LINES = [(0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5)]
LOW_RANK = np.array(
    [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0]]
)


def from_subsets(V, subsets):
    S = np.zeros((V, len(subsets)))
    for j, subset in enumerate(subsets):
        S[list(subset), j] = 1
    return S


def all_subsets(V, k):
    return from_subsets(V, list(combinations(range(V), k)))


def nested(q):
    return np.repeat([[1.0, 1, 1], [0, 1, 0], [0, 0, 1], [0, 0, 0]], [q, 1, 1], axis=1)


def reference(S):
    """The max-margin problem by CVXPY: value and solution."""
    V, m = S.shape
    L, a = cp.Variable((V, m)), cp.Variable((1, m))
    level = np.ones((V, 1)) @ a
    constraints = [cp.multiply(S, L - level) == 0, cp.multiply(1 - S, L - level + 1) <= 0]
    problem = cp.Problem(cp.Minimize(cp.normNuc(L)), constraints)
    problem.solve(solver=cp.CLARABEL)
    return problem.value, L.value


def random_support(seed, V=5, m=5):
    rng = np.random.default_rng(seed)
    S = (rng.random((V, m)) < 0.45).astype(float)
    S[rng.integers(V, size=m), np.arange(m)] = 1
    return S


@pytest.mark.reference
@pytest.mark.parametrize("S", [all_subsets(4, 1), all_subsets(4, 3), nested(1), nested(6)])
def test_sufficient_part(S):
    """Theorem label: thm-closed-forms-sufficient

    Truth: CVXPY. Where the test holds the proxy has the optimal value, and strictly negative
    entries leave no other solution. Mutation: the test on S instead of the centred support
    passes the failing nested support as well.
    """
    optimum, L = reference(S)
    proxy = ntp.centered_support(S)
    passed = positive_off_support(S) <= 1e-12
    assert passed == np.isclose(np.linalg.norm(proxy, "nuc"), optimum, rtol=1e-6)
    assert passed == ntp.proxy_bounds(S).exact
    if passed:
        assert np.abs(L - proxy).max() < 1e-3
    else:
        assert np.abs(L - proxy).max() > 0.1
        assert positive_off_support(S, centred=False) <= 1e-12  # the mutation sees nothing


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("S", [all_subsets(4, 2), nested(6)])
def test_polar_factor_is_compact(S, compact):
    """Theorem label: thm-closed-forms-sufficient

    The candidate is dual feasible and has the value of the proxy. Mutation: singular vectors of
    value zero are kept, and columns no longer sum to zero.
    """
    proxy = ntp.centered_support(S)
    U, s, Rt = np.linalg.svd(proxy, full_matrices=False)
    kept = s > 1e-9 if compact else s > -1
    G = U[:, kept] @ Rt[kept]
    assert np.isclose((G * proxy).sum(), np.linalg.norm(proxy, "nuc"))
    assert np.isclose(np.linalg.norm(G, 2), 1)
    assert bool(np.allclose(G.sum(axis=0), 0)) is compact


@pytest.mark.reference
@pytest.mark.parametrize("seed", range(12))
def test_necessary_part(seed):
    """Theorem label: thm-closed-forms-necessary

    Truth: CVXPY on random supports with the rank condition. Mutation: without the condition
    (next test) the statement is false.
    """
    S = random_support(seed)
    S = S[:, ~S.all(axis=0)]
    rho, kappa = len(np.unique(S, axis=0)) - 1, len(np.unique(S.T, axis=0))
    proxy = ntp.centered_support(S)
    rank = np.linalg.matrix_rank(proxy, tol=1e-9)
    assert rank <= min(rho, kappa)
    if rank == min(rho, kappa):
        optimal = np.linalg.norm(proxy, "nuc") < reference(S)[0] * (1 + 1e-6)
        assert optimal == (positive_off_support(S) <= 1e-9)


@pytest.mark.reference
def test_necessary_part_needs_the_rank():
    """Theorem label: thm-closed-forms-necessary

    Six tokens, four contexts, rank three of four: the test fails and the proxy is optimal.
    """
    proxy = ntp.centered_support(LOW_RANK)
    assert np.linalg.matrix_rank(proxy, tol=1e-9) == 3
    assert positive_off_support(LOW_RANK.astype(float)) > 0.005
    assert np.isclose(np.linalg.norm(proxy, "nuc"), reference(LOW_RANK)[0], rtol=1e-7)


BALANCED = {
    "pairs of 4": all_subsets(4, 2),
    "triples of 5": all_subsets(5, 3),
    "one token, three contexts each": np.repeat(np.eye(4), 3, axis=1),
    "Fano plane": from_subsets(7, FANO_LINES),
    "pairs, triples and a full context of 4": np.hstack(
        [all_subsets(4, 2), all_subsets(4, 3), np.ones((4, 1))]
    ),
}


@pytest.mark.reference
@pytest.mark.parametrize("name", BALANCED)
def test_balanced_supports(name):
    """Theorem label: thm-closed-forms-balanced

    Truth: CVXPY, and counting. Mutation: one context dropped.
    """
    S = BALANCED[name]
    V = len(S)
    gram = S @ S.T
    c = gram[0, 0] - gram[0, 1]
    optimum, L = reference(S)
    assert np.isclose(optimum, (V - 1) * np.sqrt(c), rtol=1e-6)
    assert np.abs(L - ntp.centered_support(S)).max() < 1e-3
    mutated = np.linalg.svd(ntp.centered_support(S[:, 1:]), compute_uv=False)[: V - 1]
    assert np.ptp(mutated) > 0.05


@pytest.mark.parametrize("mutation", ["none", "S itself", "transposed"])
@pytest.mark.parametrize("S", [all_subsets(6, 3), all_subsets(5, 2)])
def test_angles(S, mutation):
    """Theorem label: thm-closed-forms-geometry

    Formulas against the singular value decomposition of the solver's L_mm. Mutations: no
    centring; words and contexts exchanged.
    """
    V, k = len(S), S[:, 0].sum()
    L = {"none": ntp.solve_max_margin(S, tol=1e-9).L, "S itself": S}.get(mutation)
    L = ntp.centered_support(S).T if L is None else L
    W, H, s = ntp.word_context_factors(L)
    words, contexts = ntp.cosine_similarity(W.T), ntp.cosine_similarity(H)

    def equal(A, B):
        return A.shape == B.shape and np.allclose(A, B, atol=1e-4)

    simplex = equal(words, (V * np.eye(V) - 1) / (V - 1))
    overlap = equal(contexts, (S.T @ S - k**2 / V) / (k - k**2 / V))
    sums = W.shape[0] == V and equal(H, W.T @ S / s[0])
    if mutation == "none":
        assert simplex and overlap and sums
    else:
        assert not (simplex and overlap)


@pytest.mark.reference
@pytest.mark.parametrize("counts", [(1, 1, 1), (40, 1, 1, 9), (5, 0, 2, 1)])
def test_hard_labels(counts):
    """Theorem label: thm-closed-forms-hard

    Truth: CVXPY. Mutation: one context gets a second token, chosen so that the proxy fails.
    """
    S = np.repeat(np.eye(len(counts)), counts, axis=1)
    distinct = np.eye(len(counts))[:, np.array(counts) > 0]
    weights = np.sqrt([count for count in counts if count])
    L, a = cp.Variable(distinct.shape), cp.Variable((1, distinct.shape[1]))
    level = np.ones((len(counts), 1)) @ a
    problem = cp.Problem(
        cp.Minimize(cp.normNuc(L @ np.diag(weights))),
        [cp.multiply(distinct, L - level) == 0, cp.multiply(1 - distinct, L - level + 1) <= 0],
    )
    problem.solve(solver=cp.CLARABEL)
    proxy = ntp.centered_support(S)
    assert np.isclose(problem.value, np.linalg.norm(proxy, "nuc"), rtol=1e-6)
    assert positive_off_support(S) < -1e-6
    assert positive_off_support(nested(1)) > 0.1  # two contexts with two tokens: no theorem


@pytest.mark.parametrize("R", [1, 7, 100])
def test_rare_words(R):
    """Theorem label: prop-closed-forms-minority

    Formula against singular vectors. Mutations: words for contexts, common for rare.
    """
    V_1, V_2 = 4, 3
    V, mu = V_1 + V_2, (R * V_2 + V_1) / (V_1 + V_2)
    S = np.repeat(np.eye(V), [R] * V_1 + [1] * V_2, axis=1)
    factors = ntp.word_context_factors(ntp.centered_support(S))
    words = ntp.cosine_similarity(factors.W.T)
    contexts = ntp.cosine_similarity(factors.H)

    def formula(x):
        return (x - 1) / (x + V_2 - 1)

    assert np.isclose(words[-1, -2], formula(np.sqrt(mu) * V_1 / V))
    assert np.isclose(contexts[-1, -2], formula(V_1 / V / np.sqrt(mu)))
    if R > 1:
        assert not np.isclose(contexts[-1, -2], formula(np.sqrt(mu) * V_1 / V), atol=0.01)
        assert not np.isclose(words[0, 1], formula(np.sqrt(mu) * V_1 / V), atol=0.01)


@pytest.mark.reference
@pytest.mark.parametrize("q", [1, 2, 3, 4, 5, 9])
def test_copies(q):
    """Theorem label: prop-closed-forms-copies

    Truth: CVXPY. Mutation: the threshold at q = 3 or q = 5 would be seen.
    """
    S = nested(q)
    s = np.sqrt(3 * q / 4 + 1 + np.sqrt(q))
    G = polar(ntp.centered_support(S))
    assert np.isclose(G[3, 0], (1 - np.sqrt(q) / 2) / (2 * np.sqrt(q) * s))
    optimal = np.linalg.norm(ntp.centered_support(S), "nuc") < reference(S)[0] * (1 + 1e-5)
    assert optimal == (q >= 4)
    svm = ntp.solve_max_margin(S, tol=1e-12)
    assert ntp.strict_complementarity(svm, S).holds == (q != 4)


@pytest.mark.parametrize("sizes", [(5, 5, 12), (1, 2, 30), (3, 4, 9), (2, 7, 20)])
def test_rare_contexts_merge_at_one_over_n(sizes):
    """Theorem label: prop-closed-forms-merge

    Ridges on both sides of the threshold. Mutations: a threshold of 1 / R, and merging of common
    contexts at the same ridge.
    """
    V_1, V_2, R = sizes
    n = R * V_1 + V_2
    S = np.repeat(np.eye(V_1 + V_2, dtype=int), [R] * V_1 + [1] * V_2, axis=1)
    labels = ntp.SoftLabels.from_counts(S)

    def apart(ridge, i, j):
        L = ntp.solve_ridge(labels, ridge, tol=1e-9).L
        return np.linalg.norm(L[:, i] - L[:, j])

    merged, separate = 1.05 / n, 0.95 / n
    assert apart(merged, -1, -2) < 1e-4 < 1e-2 < apart(separate, -1, -2)
    assert apart(0.5 / R, -1, -2) < 1e-4 or V_1 == 1  # below 1 / R, above 1 / n
    if V_1 > 1:
        assert apart(merged, 0, R) > 0.1


@pytest.mark.parametrize("mutation", ["", "unequal priors", "a second context"])
def test_two_tokens_with_one_context_each_merge_at_their_prior(mutation):
    """Theorem label: prop-closed-forms-merge

    The other contexts are soft and of any counts. Mutations: unequal priors, and a third context
    in which one of the two tokens follows.
    """
    N = np.array([[3, 0, 0, 0, 0], [0, 3, 0, 0, 0], [0, 0, 5, 1, 2], [0, 0, 1, 0, 4]])
    if mutation == "unequal priors":
        N[0, 0] = 4
    elif mutation == "a second context":
        N[0, 2] = 2
    labels = ntp.SoftLabels.from_counts(N)
    prior = labels.pi[1]

    def apart(ridge):
        L = ntp.solve_ridge(labels, ridge, tol=1e-10).L
        return np.linalg.norm(L[:, 0] - L[:, 1])

    merged = apart(1.02 * prior) < 1e-4 < 1e-2 < apart(0.95 * prior)
    assert bool(merged) is (mutation == "")
