"""The statements of "The max-margin component", each by an independent truth."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

import ntp_lite as ntp

# Twins in rows and in columns, a full column, and a proxy that is not the solution.
TWINS = np.array(
    [
        [1, 1, 0, 0, 0, 1],
        [1, 1, 0, 0, 1, 1],
        [0, 0, 0, 0, 1, 1],
        [0, 0, 1, 1, 0, 1],
        [0, 0, 1, 1, 0, 1],
    ]
)


def reference(S, row_weight=None, column_weight=None):
    """The (weighted) max-margin problem by CVXPY: no merging, no projection, no certificate."""
    V, m = S.shape
    row_weight = np.ones(V) if row_weight is None else row_weight
    column_weight = np.ones(m) if column_weight is None else column_weight
    L = cp.Variable((V, m))
    a = cp.Variable((1, m))
    level = np.ones((V, 1)) @ a
    constraints = [
        cp.multiply(S, L - level) == 0,
        cp.multiply(1 - S, L - level + 1) <= 0,
    ]
    objective = cp.normNuc(np.diag(row_weight) @ L @ np.diag(column_weight))
    problem = cp.Problem(cp.Minimize(objective), constraints)
    problem.solve(solver=cp.CLARABEL)
    return problem.value, L.value


def random_support(seed, V=5, m=6):
    rng = np.random.default_rng(seed)
    S = (rng.random((V, m)) < 0.4).astype(int)
    S[rng.integers(V, size=m), np.arange(m)] = 1
    return S


def feasible(L, S, slack=1e-9):
    """By hand: constant on each support, at least one lower off it."""
    for column, support in zip(L.T, S.T.astype(bool), strict=True):
        on, off = column[support], column[~support]
        if np.ptp(on) > slack or (off.size and on.min() - off.max() < 1 - slack):
            return False
    return True


def separates(D, S):
    return all(
        np.ptp(d[s]) == 0 and (s.all() or d[s].min() > d[~s].max())
        for d, s in zip(D.T, S.T.astype(bool), strict=True)
    )


@pytest.mark.parametrize(
    "mutation", ["none", "scaled", "tilted", "one context missing", "permuted"]
)
def test_directions_that_reach_the_floor(mutation):
    """Theorem label: prop-max-margin-separate

    Truth: the loss itself, far out. Mutations: unequal on a support, no margin in one context,
    columns of S permuted.
    """
    labels = ntp.SoftLabels.from_counts(np.array([[2, 1, 0, 1], [2, 3, 0, 0], [0, 0, 2, 0]]))
    S = labels.S.toarray()
    D = {
        "none": S.copy(),
        "scaled": S * [1.0, 2.0, 0.5, 3.0] - 1,
        "tilted": S + np.array([[0, 0, 0, 0], [0.1, 0, 0, 0], [0, 0, 0, 0]]),
        "one context missing": S * [1, 1, 0, 1],
        "permuted": S[:, [2, 0, 1, 3]],
    }[mutation]
    log_P = np.log(np.where(S > 0, labels.P.toarray(), 1.0))
    far = ntp.excess_loss(log_P + 60.0 * D, labels)
    assert (far < 1e-9) == separates(D, S) == (mutation in ("none", "scaled"))


def test_excess_along_a_direction_depends_on_margins_alone():
    """Theorem label: prop-max-margin-separate

    Formula for the excess loss against the loss. Mutation: margins doubled.
    """
    labels = ntp.random_soft_labels(V=6, m=9, support_size=3, seed=2)
    S = labels.S.toarray()
    D = ntp.project_margin(np.random.default_rng(1).normal(size=S.shape), S)
    log_P = np.log(np.where(S > 0, labels.P.toarray(), 1.0))

    def formula(t):
        level = (D * S).sum(axis=0) / S.sum(axis=0)
        off = np.where(S > 0, 0.0, np.exp(-t * (level - D)))
        return float(labels.pi @ np.log1p(off.sum(axis=0)))

    for t in (0.5, 2.0, 8.0):
        loss = ntp.excess_loss(log_P + t * D, labels)
        assert np.isclose(loss, formula(t), rtol=1e-9)
        assert not np.isclose(loss, formula(2 * t), rtol=1e-2)


@pytest.mark.parametrize("mutation", ["none", "column sums", "sign", "norm"])
def test_weak_duality(mutation):
    """Theorem label: thm-max-margin-weak-duality

    Random dual matrices against random feasible logits. Mutations: each of the three conditions
    on G dropped; then some feasible L (the optimum) costs less than the claimed bound.
    """
    S = TWINS[:4, [0, 2, 4]]
    optimum, L = reference(S)
    U, _, Vt = np.linalg.svd(S.astype(float), full_matrices=False)
    not_centred = np.where(S > 0, U @ Vt, np.minimum(U @ Vt, 0))
    Uc, _, Vct = np.linalg.svd(ntp.centered_support(S), full_matrices=False)
    good = ntp.solve_max_margin(S, tol=1e-9).dual
    G = {
        "none": good,
        "column sums": not_centred / np.linalg.norm(not_centred, 2),
        "sign": Uc @ Vct,
        "norm": 1.1 * good,
    }[mutation]
    holds = (G * S).sum() <= optimum + 1e-6
    assert holds == (mutation == "none")
    if mutation == "none":
        rng = np.random.default_rng(3)
        for _ in range(100):
            L = ntp.project_margin(rng.normal(size=S.shape), S)
            G = ntp.project_dual(rng.normal(size=S.shape), S)
            G /= np.linalg.norm(G, 2)
            assert feasible(L, S)
            assert np.abs(G.sum(axis=0)).max() < 1e-12 and G[S == 0].max() < 1e-12
            assert (G * S).sum() <= (G * L).sum() + 1e-10
            assert (G * L).sum() <= np.linalg.norm(L, "nuc") + 1e-10


@pytest.mark.reference
@pytest.mark.parametrize("seed", range(4))
def test_strong_duality(seed):
    """Theorem label: thm-max-margin-strong-duality

    The dual value of a feasible G (checked by hand) equals CVXPY's primal optimum. Mutation: the
    dual of another support does not reach it.
    """
    S = random_support(seed)
    optimum, _ = reference(S)
    G = ntp.solve_max_margin(S, tol=1e-8).dual
    assert np.linalg.norm(G, 2) <= 1 + 1e-9
    assert np.abs(G.sum(axis=0)).max() < 1e-9 and G[S == 0].max() < 1e-9
    assert np.isclose((G * S).sum(), optimum, rtol=1e-5)
    other = ntp.project_dual(np.roll(G, 1, axis=1), S)
    assert (other * S).sum() / max(1, np.linalg.norm(other, 2)) < 0.95 * optimum


@pytest.mark.parametrize("seed", range(5))
def test_an_extra_column_costs(seed):
    """Theorem label: lem-max-margin-extra-column

    Also with a column in the range of the others. Mutation: the zero column costs nothing.
    """
    rng = np.random.default_rng(seed)
    B = rng.normal(size=(5, 3)) @ rng.normal(size=(3, 4))
    before = np.linalg.norm(B, "nuc")
    for c in (rng.normal(size=5), B @ rng.normal(size=4), 1e-2 * B[:, 0]):
        assert np.linalg.norm(np.column_stack([B, c]), "nuc") > before + 1e-6
    for row in (rng.normal(size=4), B[2]):
        assert np.linalg.norm(np.vstack([B, row]), "nuc") > before + 1e-6
    assert not np.linalg.norm(np.column_stack([B, np.zeros(5)]), "nuc") > before + 1e-6


def twins_agree(L, S):
    """Do columns of L agree wherever columns of S do?"""
    pairs = [(i, j) for i in range(S.shape[1]) for j in range(i) if (S[:, i] == S[:, j]).all()]
    assert pairs
    return max(np.abs(L[:, i] - L[:, j]).max() for i, j in pairs) < 1e-4


@pytest.mark.reference
def test_collapse_in_a_solver_that_does_not_merge():
    """Theorem label: thm-max-margin-collapse

    Truth: CVXPY, which knows nothing of twins. Mutations: permuted S, wrong axis, logits on the
    regularisation path at finite ridge instead of a solution.
    """
    _, L = reference(TWINS)
    assert twins_agree(L, TWINS) and twins_agree(L.T, TWINS.T)
    assert not twins_agree(L, TWINS[:, [0, 2, 1, 3, 4, 5]])
    square = TWINS[:, :5]
    assert not twins_agree(L[:, :5].T, square)  # wrong axis
    counts = TWINS * np.array([[1, 5, 1, 2, 3, 1]]) + TWINS * np.arange(5)[:, None]
    L_ridge = ntp.solve_ridge(ntp.SoftLabels.from_counts(counts), 1e-3).L
    assert not twins_agree(L_ridge, TWINS)


@pytest.mark.parametrize("seed", range(10))
def test_averaging_twins_is_feasible_and_strictly_cheaper(seed):
    """Theorem label: thm-max-margin-collapse

    The construction of the proof. Mutation: averaging contexts that are not twins is infeasible.
    """
    rng = np.random.default_rng(seed)
    below = -rng.exponential(size=TWINS.shape)
    L = rng.normal(size=(1, 6)) + np.where(TWINS == 1, 1.0, below)
    columns, rows, wrong = L.copy(), L.copy(), L.copy()
    columns[:, [2, 3]] = L[:, [2, 3]].mean(axis=1, keepdims=True)
    rows[[3, 4]] = L[[3, 4]].mean(axis=0)
    wrong[:, [0, 2]] = L[:, [0, 2]].mean(axis=1, keepdims=True)
    for averaged in (columns, rows):
        assert feasible(averaged, TWINS)
        assert np.linalg.norm(averaged, "nuc") < np.linalg.norm(L, "nuc") - 1e-6
    assert not feasible(wrong, TWINS)


@pytest.mark.reference
@pytest.mark.parametrize("seed", range(3))
def test_columns_of_solutions_are_centred(seed):
    """Theorem label: prop-max-margin-centred

    Truth: CVXPY without any centring. Mutations: S itself, and rows instead of columns.
    """
    S = random_support(seed)
    S[:, -1] = 1
    _, L = reference(S)
    assert np.abs(L.sum(axis=0)).max() < 1e-4 and np.abs(L[:, -1]).max() < 1e-4
    assert feasible(S, S) and np.abs(S.sum(axis=0)).max() > 0.5
    assert np.abs(L.sum(axis=1)).max() > 1e-2


@pytest.mark.reference
@pytest.mark.parametrize("weights", ["roots", "none", "counts"])
def test_merging(weights):
    """Theorem label: thm-max-margin-merging

    CVXPY on the full problem against CVXPY on the merged one. Mutations: no weights, and
    multiplicities without the square root.
    """
    optimum, _ = reference(TWINS)
    r, c = np.array([1, 1, 1, 2]), np.array([2, 2, 1])
    power = {"roots": 0.5, "none": 0.0, "counts": 1.0}[weights]
    merged, M = reference(TWINS[:4, [0, 2, 4]], r**power, c**power)
    assert np.isclose(merged, optimum, rtol=1e-5) == (weights == "roots")
    if weights == "roots":
        expanded = np.repeat(np.repeat(M, r, axis=0), c, axis=1)
        assert feasible(expanded, TWINS[:, :5], slack=1e-5)
        assert np.isclose(np.linalg.norm(expanded, "nuc"), optimum, rtol=1e-5)
        package = ntp.solve_max_margin(TWINS, tol=1e-8)
        assert np.isclose(package.certificate.primal, optimum, rtol=1e-5)


def test_where_the_proxy_fails():
    """The closed-form example of the chapter; mutation: the proxy is refused by its certificate."""
    S = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 1], [0, 1, 0]])
    L = np.array([[3, -1, -3], [3, -3, 3], [-3, -1, 3], [-3, 5, -3]]) / 6
    G = np.outer([1, 0, -1, 0], [1, 0, -1]) / 2
    G = G + np.array([[-1, -2, -1], [3, 0, 3], [-1, -2, -1], [-1, 4, -1]]) / np.sqrt(24)
    assert feasible(L, S) and np.isclose(np.linalg.norm(L, "nuc"), 1 + np.sqrt(8 / 3))
    assert ntp.certify_margin(L, G, S).relative_gap < 1e-12
    assert ntp.certify_margin(ntp.centered_support(S), G, S).relative_gap > 5e-3


@pytest.mark.parametrize("seed", range(6))
def test_rank_is_bounded_by_distinct_supports_and_rows(seed):
    """Theorem label: thm-max-margin-collapse

    Rank at most the distinct supports (without full ones) and the distinct rows less one, reached
    by the chapter's toys. Mutation: a feasible matrix that breaks the collapse exceeds the bound.
    """
    rng = np.random.default_rng(seed)
    toys = [TWINS, TWINS[:4, [0, 2, 4]], np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]])]
    S = toys[seed] if seed < 3 else np.repeat(random_support(seed, V=6, m=3), 2, axis=1)
    proper = S[:, S.sum(axis=0) < len(S)]
    bound = min(len(np.unique(S, axis=0)) - 1, len(np.unique(proper.T, axis=0)))
    L = ntp.solve_max_margin(S, tol=1e-10).L
    rank = np.linalg.matrix_rank(L, tol=1e-5)
    assert rank <= bound
    if seed < 3:
        assert rank == bound
    broken = ntp.project_margin(L + 0.3 * rng.normal(size=L.shape), S)
    broken -= broken.mean(axis=0)
    if bound < min(len(S) - 1, proper.shape[1]):  # there are twins to break apart
        assert np.linalg.matrix_rank(broken, tol=1e-5) > bound
