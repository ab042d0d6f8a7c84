from __future__ import annotations

from math import comb, sqrt
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import (
    all_subsets,
    cosine,
    cvxpy_max_margin,
    cvxpy_max_margin_dual,
    dual_violation,
    margin_violation,
    mixed_counts,
    nuclear_norm,
    supports,
)

import ntp_lite as ntp
from ntp_lite import margin
from ntp_lite._admm import StoppingRule

# A support on which the proxy is not optimal, wider than tall, with k from 1 to 5.
UNEVEN = (mixed_counts(12, 17, seed=3, largest_support=5) > 0).astype(float)


def is_certified_solution(L, dual, S, tol=1e-6):
    """Feasible to 1e-12 on both sides, and the two values meet: judged without the package."""
    primal, value = nuclear_norm(L), float((dual * S).sum())
    feasible = margin_violation(L, S) <= 1e-12 and dual_violation(dual, S) <= 1e-12
    return feasible and -1e-12 <= primal - value <= tol * primal + 1e-12


# ---------------------------------------------------------------- closed forms


@pytest.mark.parametrize("V, k", [(3, 1), (6, 1), (5, 2), (6, 3), (7, 2), (5, 4), (8, 3)])
def test_all_subsets_have_the_centred_support_as_solution(V, k):
    """Every k-subset once: L_mm = S_centered, with norm (V - 1) sqrt(C(V-2, k-1))."""
    S = all_subsets(V, k)
    result = ntp.solve_max_margin(S, tol=1e-8)

    def holds(L):
        return np.abs(L - (S - k / V)).max() <= 1e-4 and is_certified_solution(L, result.dual, S)

    assert result.converged and holds(result.L)
    expected = (V - 1) * sqrt(comb(V - 2, k - 1))
    assert result.certificate.primal == pytest.approx(expected, rel=1e-9)
    assert result.certificate.dual == pytest.approx(expected, rel=1e-9)
    assert holds(ntp.centered_support(S))
    assert not holds(np.roll(S, 1, axis=0) - k / V)  # mutation: tokens permuted
    assert not holds(S)  # mutation: not centred


@pytest.mark.parametrize("V, k", [(5, 2), (6, 3), (6, 1)])
def test_word_vectors_of_all_subsets_form_a_simplex(V, k):
    """All k-subsets: words are a simplex ETF, contexts have the closed-form cosines."""
    S = all_subsets(V, k)
    factors = ntp.word_context_factors(ntp.solve_max_margin(S, tol=1e-8).L)
    words = ntp.cosine_similarity(factors.W.T)
    contexts = ntp.cosine_similarity(factors.H)

    def is_simplex(cosines):
        off = cosines[~np.eye(len(cosines), dtype=bool)]
        return np.abs(off + 1 / (len(cosines) - 1)).max() <= 1e-4

    assert is_simplex(words)
    np.testing.assert_allclose(np.linalg.norm(factors.W, axis=1), np.linalg.norm(factors.W[0]))
    expected = (S.T @ S - k**2 / V) / (k - k**2 / V)
    np.testing.assert_allclose(contexts, expected, atol=1e-4)
    if k > 1:  # mutations: contexts are no simplex then, nor are the words of another support
        assert not is_simplex(contexts)
        other = ntp.solve_max_margin(UNEVEN, tol=1e-8).L
        assert not is_simplex(ntp.cosine_similarity(ntp.word_context_factors(other).W.T))


def test_one_token_per_context_balanced_is_neural_collapse():
    """k = 1, every token after equally many contexts: collapsed classes on a simplex ETF."""
    V, copies = 5, 4
    S = np.tile(np.eye(V), copies)
    result = ntp.solve_max_margin(S, tol=1e-8)
    assert result.certificate.primal == pytest.approx((V - 1) * sqrt(copies), rel=1e-9)
    np.testing.assert_allclose(result.L, S - 1 / V, atol=1e-4)
    H = ntp.word_context_factors(result.L).H
    cosines = ntp.cosine_similarity(H)
    same = S.T @ S
    np.testing.assert_allclose(cosines, np.where(same, 1, -1 / (V - 1)), atol=1e-4)


@settings(max_examples=30)
@given(st.integers(1, 12), st.data())
def test_one_context(V, data):
    """m = 1: the solution is the centred indicator, with norm sqrt(k (V - k) / V)."""
    k = data.draw(st.integers(1, V))
    S = (np.random.default_rng(k).permutation(V) < k).astype(float)[:, None]
    result = ntp.solve_max_margin(S, tol=1e-9)
    assert result.converged
    assert result.certificate.primal == pytest.approx(sqrt(k * (V - k) / V), rel=1e-8, abs=1e-12)
    np.testing.assert_allclose(result.L, S - k / V, atol=1e-6)


@settings(max_examples=30)
@given(st.lists(st.sampled_from([(1, 0), (0, 1), (1, 1)]), min_size=1, max_size=12))
def test_two_tokens(columns):
    """V = 2: rank one, with norm sqrt(number of contexts followed by one token / 2)."""
    S = np.array(columns, dtype=float).T
    single = int((S.sum(axis=0) == 1).sum())
    result = ntp.solve_max_margin(S, tol=1e-9)
    assert result.certificate.primal == pytest.approx(sqrt(single / 2), rel=1e-8, abs=1e-12)
    np.testing.assert_allclose(result.L, S - S.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("S", [np.ones((4, 3)), np.ones((1, 5)), np.ones((1, 1)), np.ones((3, 1))])
def test_nothing_to_separate_gives_zero(S):
    result = ntp.solve_max_margin(S)
    assert result.converged
    assert (result.L == 0).all() and (result.dual == 0).all()
    assert result.certificate.relative_gap == 0


def test_full_columns_are_zero_and_do_not_matter():
    """k_j = V: a zero column, and the other columns are as without it."""
    padded = np.column_stack([UNEVEN[:, :5], np.ones(12), UNEVEN[:, 5:], np.ones(12)])
    with_full, without = (ntp.solve_max_margin(S, tol=1e-9) for S in (padded, UNEVEN))
    assert np.abs(with_full.L[:, [5, 18]]).max() <= 1e-12
    assert with_full.certificate.primal == pytest.approx(without.certificate.primal, rel=1e-8)


# ---------------------------------------------------------------- any support, and CVXPY


@settings(max_examples=150)
@given(supports())
def test_solver_is_certified_on_every_kind_of_support(S):
    """Strong duality: primal and dual feasible to 1e-12, values equal to 1e-6, any support."""
    result = ntp.solve_max_margin(S)
    assert result.converged, result
    assert is_certified_solution(result.L, result.dual, S)
    assert result.certificate.relative_gap <= 1e-6
    assert np.abs(result.L.sum(axis=0)).max() <= 1e-12
    assert result.certificate.violation <= 1e-11
    if not S.all():  # mutations: another support, a sign, a scale
        assert not is_certified_solution(-result.L, result.dual, S)
        assert not is_certified_solution(result.L, -result.dual, S)
        assert not is_certified_solution(0.99 * result.L, result.dual, S)
        assert not is_certified_solution(1.01 * result.L, result.dual, S)


@pytest.mark.reference
@settings(max_examples=25)
@given(supports(max_V=12, max_m=12))
def test_solver_agrees_with_cvxpy_on_small_supports(S):
    """The optimum of an unreduced interior-point model lies within the certified gap."""
    result = ntp.solve_max_margin(S, tol=1e-7)
    value, _ = cvxpy_max_margin(S)
    room = 1e-5 * (1 + value)
    assert result.certificate.dual - room <= value <= result.certificate.primal + room
    assert cvxpy_max_margin_dual(S) == pytest.approx(value, abs=room)


@pytest.mark.reference
@settings(max_examples=12)
@given(supports(max_V=40, max_m=40))
def test_solver_agrees_with_cvxpy_up_to_forty(S):
    result = ntp.solve_max_margin(S, tol=1e-7)
    value, L = cvxpy_max_margin(S)
    room = 1e-5 * (1 + value)
    assert result.certificate.dual - room <= value <= result.certificate.primal + room
    judged = ntp.certify_margin(L, result.dual, S)
    assert judged.primal == pytest.approx(result.certificate.primal, abs=room)


# ---------------------------------------------------------------- merging and collapse


def test_repeated_rows_and_columns_merge_without_changing_the_optimum():
    """|L|_* = |diag(sqrt r) L_reduced diag(sqrt c)|_*: the unreduced optimum is reached."""
    rng = np.random.default_rng(0)
    distinct = UNEVEN[:6, :7][:, UNEVEN[:6, :7].any(axis=0)]
    rows, columns = rng.integers(len(distinct), size=11), rng.integers(distinct.shape[1], size=14)
    S = distinct[rows][:, columns]
    S = S[:, S.any(axis=0) & ~S.all(axis=0)]
    assert len(np.unique(S, axis=0)) < len(S) and len(np.unique(S.T, axis=0)) < S.shape[1]
    unreduced, _ = cvxpy_max_margin(S)

    def equals_the_unreduced_optimum(value):
        return abs(value - unreduced) <= 1e-5 * unreduced

    assert equals_the_unreduced_optimum(ntp.solve_max_margin(S, tol=1e-8).certificate.primal)
    # Mutation: multiplicities forgotten.
    forgotten = np.unique(np.unique(S, axis=0), axis=1)
    value = ntp.solve_max_margin(forgotten, tol=1e-8).certificate.primal
    assert not equals_the_unreduced_optimum(value)


def test_equal_supports_have_equal_columns_and_equal_rows():
    """Subspace collapse: in the solution equal columns of S have equal columns of L, rows too."""
    S = UNEVEN[[0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9]][:, [0, 0, 1, 2, 3, 3, 3, 4, 5]]
    S = S[:, S.any(axis=0)]

    def collapsed(L, tol):
        for A, B in ((S, L), (S.T, L.T)):
            for i in range(A.shape[1]):
                for j in range(i):
                    if (A[:, i] == A[:, j]).all() and np.abs(B[:, i] - B[:, j]).max() > tol:
                        return False
        return True

    assert collapsed(ntp.solve_max_margin(S, tol=1e-8).L, 1e-12)
    # A solver that knows nothing about merging finds equal columns all the same.
    assert collapsed(cvxpy_max_margin(S)[1], 1e-3)
    assert not collapsed(np.random.default_rng(0).normal(size=S.shape), 1e-3)
    assert not collapsed(ntp.project_margin(UNEVEN[:, : S.shape[1]] * 3, S), 1e-3)


@settings(max_examples=40)
@given(st.integers(2, 8), st.integers(2, 8), st.integers(0, 10**6))
def test_dropping_the_difference_of_two_equal_columns_lowers_the_norm(V, m, seed):
    """tr sqrt(X + c c') > tr sqrt(X): why collapse needs no uniqueness of L_mm."""
    L = np.random.default_rng(seed).normal(size=(V, m))
    averaged = L.copy()
    averaged[:, :2] = L[:, :2].mean(axis=1, keepdims=True)
    assert nuclear_norm(averaged) < nuclear_norm(L) - 1e-12
    # Mutation: keeping the larger of the two columns twice does not lower it in general.
    larger = L.copy()
    larger[:, :2] = 10 * L[:, :1]
    assert not nuclear_norm(larger) < nuclear_norm(np.column_stack([10 * L[:, 0], L[:, 1:]]))


# ---------------------------------------------------------------- invariances


def test_permuting_tokens_and_contexts_permutes_the_solution():
    """Token and context names do not matter."""
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(12), rng.permutation(17)
    one = ntp.solve_max_margin(UNEVEN, tol=1e-8)
    two = ntp.solve_max_margin(UNEVEN[rows][:, columns], tol=1e-8)

    def is_the_solution(L):
        return np.abs(L - one.L[rows][:, columns]).max() <= 1e-3

    assert two.certificate.primal == pytest.approx(one.certificate.primal, rel=2e-8)
    assert is_the_solution(two.L)
    assert not is_the_solution(one.L)
    assert not is_the_solution(ntp.centered_support(UNEVEN)[rows][:, columns])  # the proxy


def test_only_the_support_matters():
    """L_mm depends on S alone: other frequencies, same solution."""
    N = mixed_counts(9, 14, seed=8)
    results = [
        ntp.solve_max_margin(ntp.SoftLabels.from_counts(counts), tol=1e-8)
        for counts in (N, 100 * N, N**3, (N > 0).astype(int))
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(other.L, results[0].L)


@pytest.mark.parametrize("form", ["labels", "bool", "int", "sparse", "list"])
def test_every_way_to_pass_the_support(form):
    labels = ntp.random_soft_labels(6, 9, 2, seed=0)
    S = labels.S.toarray()
    forms = {
        "labels": labels,
        "bool": S.astype(bool),
        "int": S.astype(int),
        "sparse": labels.S,
        "list": S.tolist(),
    }
    expected = ntp.solve_max_margin(S)
    np.testing.assert_array_equal(ntp.solve_max_margin(forms[form]).L, expected.L)
    np.testing.assert_array_equal(ntp.centered_support(forms[form]), S - S.mean(axis=0))
    assert ntp.proxy_bounds(forms[form]) == ntp.proxy_bounds(S)
    judged = ntp.certify_margin(expected.L, expected.dual, labels.S)
    assert judged == expected.certificate


def test_the_support_is_left_as_it_was_and_runs_repeat():
    S = UNEVEN.copy()
    first = ntp.solve_max_margin(S)
    np.random.seed(7)  # noqa: NPY002 - the global generator must not matter
    second = ntp.solve_max_margin(S)
    np.testing.assert_array_equal(S, UNEVEN)
    np.testing.assert_array_equal(first.L, second.L)
    np.testing.assert_array_equal(first.dual, second.dual)


# ---------------------------------------------------------------- the run itself


def test_history_holds_bounds_that_close():
    seen = []
    result = ntp.solve_max_margin(UNEVEN, tol=1e-7, callback=seen.append)
    history = result.history
    assert len({len(values) for values in history.values()}) == 1
    assert len(seen) == len(history["primal"]) >= 2
    assert [progress.n_iter for progress in seen] == history["n_iter"]
    assert [progress.primal for progress in seen] == history["primal"]
    optimum = result.certificate.primal
    assert (np.array(history["primal"]) >= result.certificate.dual * (1 - 1e-12)).all()
    assert (np.array(history["dual"]) <= optimum * (1 + 1e-12)).all()
    assert (np.diff(history["primal"]) <= 0).all() and (np.diff(history["dual"]) >= 0).all()
    assert (np.diff(history["seconds"]) >= 0).all()
    assert seen[-1].relative_gap <= 1e-7 < seen[0].relative_gap
    assert result.n_iter == history["n_iter"][-1]
    assert result.converged and result.status is ntp.Status.CONVERGED
    assert "tol 1e-07" in result.message
    assert result.seconds >= history["seconds"][-1]


def test_nothing_is_printed_by_default(capfd):
    ntp.solve_max_margin(UNEVEN)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("tol", [1e-9, 1e-10, 1e-11])
@pytest.mark.parametrize("S", [UNEVEN, all_subsets(6, 3)], ids=["uneven", "subsets"])
def test_a_tight_tolerance_is_reached_and_never_missed_in_silence(S, tol):
    """The solver's own bounds are as accurate as the judge's: it stops when it should."""
    result = ntp.solve_max_margin(S, tol=tol, max_iter=1000)
    assert result.converged
    assert result.history["primal"][-1] >= result.certificate.primal * (1 - 1e-12)


@pytest.mark.parametrize("max_iter", [1, 7, 10])
def test_too_few_iterations_are_reported_and_still_certified(max_iter):
    result = ntp.solve_max_margin(UNEVEN, tol=1e-9, max_iter=max_iter)
    assert not result.converged and result.status is ntp.Status.ITERATION_LIMIT
    assert f"max_iter = {max_iter}" in result.message
    assert result.n_iter == max_iter
    assert margin_violation(result.L, UNEVEN) <= 1e-12
    assert dual_violation(result.dual, UNEVEN) <= 1e-12
    best = ntp.solve_max_margin(UNEVEN, tol=1e-9).certificate
    assert result.certificate.dual <= best.primal and result.certificate.primal >= best.dual


@pytest.mark.parametrize("stop_at", [1, 3])
def test_ctrl_c_returns_the_best_certified_point(stop_at):
    """An interrupted run keeps its best bounds and says that it did not converge."""
    seen = []

    def press_ctrl_c(progress):
        seen.append(progress)
        if len(seen) == stop_at:
            raise KeyboardInterrupt

    try:
        result = ntp.solve_max_margin(UNEVEN, tol=1e-14, callback=press_ctrl_c)
    except KeyboardInterrupt:  # would end the whole test run
        pytest.fail("Ctrl-C lost the best point")
    assert len(seen) == stop_at
    assert not result.converged and result.status is ntp.Status.INTERRUPTED
    assert "interrupted" in result.message
    assert result.n_iter == seen[-1].n_iter
    assert result.certificate.primal <= min(p.primal for p in seen) * (1 + 1e-9)
    assert result.certificate.dual >= max(p.dual for p in seen) * (1 - 1e-9)
    assert is_certified_solution(result.L, result.dual, UNEVEN, tol=2 * seen[-1].relative_gap)


def test_an_error_in_the_callback_is_not_swallowed():
    def fail(progress):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        ntp.solve_max_margin(UNEVEN, tol=1e-12, callback=fail)


def test_large_problems_begin_in_float32_and_are_certified_in_float64(monkeypatch):
    """A float32 start changes nothing in the promise: float64 arrays, feasible to 1e-12."""
    precisions = set()
    step = margin.MarginADMM.step

    def record(iteration, measure):
        precisions.add(iteration.Z.dtype)
        return step(iteration, measure)

    monkeypatch.setattr(margin.MarginADMM, "step", record)
    labels = ntp.random_soft_labels(300, 720, 3, seed=1)
    result = ntp.solve_max_margin(labels, tol=1e-5)
    S = labels.S.toarray()
    assert torch.float32 in precisions
    tight = ntp.solve_max_margin(ntp.random_soft_labels(300, 720, 3, seed=1), tol=1e-8)
    assert precisions == {torch.float32, torch.float64} and tight.converged  # handed over
    assert result.L.dtype == result.dual.dtype == np.float64
    assert result.converged
    assert margin_violation(result.L, S) <= 1e-12
    assert is_certified_solution(result.L, result.dual, S, tol=1e-5)


def test_results_are_numpy_float64_on_every_device(device):
    here = ntp.solve_max_margin(UNEVEN, tol=1e-8)
    there = ntp.solve_max_margin(UNEVEN, tol=1e-8, device=device)
    for result in (here, there):
        assert isinstance(result.L, np.ndarray) and result.L.dtype == np.float64
        assert isinstance(result.dual, np.ndarray) and result.dual.dtype == np.float64
        assert is_certified_solution(result.L, result.dual, UNEVEN, tol=1e-8)
    assert there.certificate.primal == pytest.approx(here.certificate.primal, rel=1e-8)


def test_the_result_prints_without_its_arrays():
    text = repr(ntp.solve_max_margin(UNEVEN))
    assert "relative_gap" in text and "CONVERGED" in text
    assert "array" not in text and len(text) < 600


# ---------------------------------------------------------------- the proxy


@given(supports())
def test_the_proxy_is_feasible_with_margins_of_exactly_one(S):
    """S_centered satisfies every constraint, each with equality."""
    proxy = ntp.centered_support(S)
    assert margin_violation(proxy, S) <= 1e-14
    for column, support in zip(proxy.T, S.T > 0, strict=True):
        if not support.all():
            np.testing.assert_allclose(column[support].min() - column[~support], 1, rtol=1e-13)
    assert np.abs(proxy.sum(axis=0)).max() <= 1e-12


@pytest.mark.parametrize("V, k", [(4, 1), (5, 2), (7, 3)])
def test_the_exactness_test_recognises_all_subsets(V, k):
    """U V' of S_centered is <= 0 off the support: the proxy is optimal."""
    bounds = ntp.proxy_bounds(all_subsets(V, k))
    assert bounds.exact
    assert abs(bounds.lower) <= 1e-9 and abs(bounds.upper) <= 1e-9


def true_excess(S):
    best = ntp.solve_max_margin(S, tol=1e-8)
    assert best.converged
    return nuclear_norm(ntp.centered_support(S)) / best.certificate.primal - 1


@settings(max_examples=60)
@given(supports(max_V=15, max_m=15))
def test_proxy_bounds_bracket_the_true_excess(S):
    """lower <= |S_centered|_* / |L_mm|_* - 1 <= upper, with and without the solver's result."""
    if S.all():
        assert ntp.proxy_bounds(S) == (0, 0, True)
        return
    excess = true_excess(S)
    alone = ntp.proxy_bounds(S)
    helped = ntp.proxy_bounds(S, ntp.solve_max_margin(S, tol=1e-7))
    for bounds in (alone, helped):
        assert bounds.lower - 2e-8 <= excess <= bounds.upper + 2e-8
        assert bounds.lower >= -1e-12
    assert helped.upper - helped.lower <= 3e-7
    assert alone.exact == helped.exact
    assert not alone.exact or abs(excess) <= 2e-8


def test_a_support_where_the_proxy_fails_is_recognised():
    """The proxy is not L_mm in general: here its norm is larger by a visible amount."""
    excess = true_excess(UNEVEN)
    assert excess > 1e-3
    bounds = ntp.proxy_bounds(UNEVEN, ntp.solve_max_margin(UNEVEN, tol=1e-8))
    assert not bounds.exact
    assert bounds.lower == pytest.approx(excess, abs=1e-7)
    assert bounds.upper == pytest.approx(excess, abs=1e-7)
    best = ntp.solve_max_margin(UNEVEN, tol=1e-8)
    assert cosine(best.L, ntp.centered_support(UNEVEN)) < 0.999
    # Mutation: the proxy in place of L_mm is feasible, yet no certificate closes on it.
    proxy = ntp.centered_support(UNEVEN)
    assert is_certified_solution(best.L, best.dual, UNEVEN)
    assert not is_certified_solution(proxy, best.dual, UNEVEN)


def test_device_auto_finds_one():
    S = ntp.random_soft_labels(7, 11, 3, seed=2).S
    chosen, default = ntp.solve_max_margin(S, device="auto"), ntp.solve_max_margin(S)
    assert chosen.converged
    np.testing.assert_allclose(chosen.certificate.primal, default.certificate.primal, rtol=1e-5)


def test_the_result_of_another_support_is_refused():
    other = ntp.solve_max_margin(np.roll(UNEVEN, 1, axis=1))
    with pytest.raises(ValueError, match="another support"):
        ntp.proxy_bounds(UNEVEN, other)
    with pytest.raises(ValueError, match=r"shape \(4, 6\), not \(12, 17\)"):
        ntp.proxy_bounds(UNEVEN, ntp.solve_max_margin(ntp.random_soft_labels(4, 6, 2)))


def test_a_tol_that_only_the_solver_reached_is_not_called_converged(monkeypatch):
    """The judge decides: a solver that believes its gap closed too early has stalled."""
    monkeypatch.setattr(margin.MarginADMM, "bounds", lambda admm: (1.0, 1.0, 0.0))
    result = ntp.solve_max_margin(UNEVEN, tol=1e-12)
    assert result.status is ntp.Status.STALLED and not result.converged
    assert "tol is finer than float64 resolves here" in result.message


def test_gaps_are_never_negative_and_converged_is_a_bool():
    for seed in range(20):
        S = ntp.random_soft_labels(6, 9, 2, seed=seed).S
        result = ntp.solve_max_margin(S, tol=torch.tensor(1e-6))
        assert result.converged is True
        assert result.certificate.gap >= 0 and ntp.proxy_bounds(S).upper >= 0


def test_the_improved_dual_matrix_is_better_and_stays_in_its_cone():
    """Before scaling into the ball: columns sum to zero over all tokens, nothing positive off S."""
    admm = margin.MarginADMM(UNEVEN > 0, torch.device("cpu"))
    for _ in range(25):
        admm.step()
    G = -admm.rho * admm.U

    def value(G):
        weights = np.outer(admm.row_roots, admm.column_roots)
        full = admm.expand(G.numpy() / weights)
        off_support = np.where(UNEVEN > 0, 0, full)
        assert np.abs(full.sum(axis=0)).max() < 1e-9 and off_support.max() < 1e-9
        return (full * UNEVEN).sum() / max(1, np.linalg.norm(full, 2))

    before = value(G)
    admm._improve(G)
    optimum = ntp.solve_max_margin(UNEVEN, tol=1e-8).certificate.primal
    assert before < value(G) <= optimum * (1 + 1e-9)
    assert optimum - value(G) < 0.5 * (optimum - before)


def test_checks_come_when_the_gap_is_due():
    rule = StoppingRule(tol=1e-6, max_iter=100, check_every=10)
    seen = [SimpleNamespace(n_iter=n, relative_gap=g) for n, g in ((10, 1e-2), (20, 1e-4))]
    assert rule.steps_to(seen[:1]) == rule.steps_to([]) == 10  # no rate yet
    assert rule.steps_to(seen) == 10  # a factor 10 in 5 iterations, 100 to go
    closer = [*seen, SimpleNamespace(n_iter=25, relative_gap=1e-5)]
    assert rule.steps_to(closer) == 5
    assert rule.steps_to([*closer, SimpleNamespace(n_iter=30, relative_gap=1.1e-6)]) == 2
    assert rule.steps_to([*closer, SimpleNamespace(n_iter=30, relative_gap=2e-5)]) == 10  # it rose
