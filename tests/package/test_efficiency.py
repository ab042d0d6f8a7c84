"""Norm efficiency: against two independent searches for the least norm, and its degenerate cases.

Mutations that these tests were seen to catch are named beside them.
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import conditional_entropy, counts, mixed_counts, nuclear_norm, softmax
from scipy import optimize

import ntp_lite as ntp

SMALL = ntp.SoftLabels.from_counts(mixed_counts(12, 20, seed=0, largest_support=5))
RNG = np.random.default_rng(0)


def excess_of(L, N):
    """CE(L) - Hc from the definitions."""
    P, pi = N / N.sum(axis=0), N.sum(axis=0) / N.sum()
    log_Q = np.log(softmax(L))
    return float(-(pi * (P * log_Q).sum(axis=0)).sum()) - conditional_entropy(P, pi)


def least_norm_by_cvxpy(N, excess):
    """min |L|_* subject to CE(L) <= Hc + excess, by SCS."""
    P, pi = N / N.sum(axis=0), N.sum(axis=0) / N.sum()
    L = cp.Variable(N.shape)
    loss = pi @ (cp.log_sum_exp(L, axis=0) - cp.sum(cp.multiply(P, L), axis=0))
    room = conditional_entropy(P, pi) + excess
    problem = cp.Problem(cp.Minimize(cp.normNuc(L)), [loss <= room])
    return problem.solve(solver="SCS", eps_abs=1e-8, eps_rel=1e-8, max_iters=50_000)


def minimiser(N, ridge, seed):
    """Logits W H of min CE(WH) + (ridge/2)(|W|^2 + |H|^2), by L-BFGS on the definitions."""
    P, pi = N / N.sum(axis=0), N.sum(axis=0) / N.sum()
    V, m = N.shape
    d = min(V, m)

    def factors(x):
        return x[: V * d].reshape(V, d), x[V * d :].reshape(d, m)

    def objective(x):
        W, H = factors(x)
        G = (softmax(W @ H) - P) * pi
        gradient = np.concatenate([(G @ H.T).ravel(), (W.T @ G).ravel()])
        return excess_of(W @ H, N) + ridge * (x @ x) / 2, gradient + ridge * x

    start = np.random.default_rng(seed).normal(size=(V + m) * d)
    options = {"maxiter": 3000, "ftol": 1e-15, "gtol": 1e-10 * ridge}
    W, H = factors(
        optimize.minimize(objective, start, jac=True, options=options, method="L-BFGS-B").x
    )
    return W @ H


def a_small_norm(N, excess, ridge, seed):
    """|L'|_* of some logits with at most this excess: never below the least norm, and near it.

    The mean of two penalised minimisers, weighted so that the excess is what is allowed.
    """
    worse, better = np.zeros(N.shape), minimiser(N, ridge, seed)
    while excess_of(better, N) > excess:
        worse = better
        ridge = 0.9 * ridge
        better = minimiser(N, ridge, seed)
    if not worse.any():
        larger = minimiser(N, 1.1 * ridge, seed)
        worse = larger if excess_of(larger, N) > excess else worse

    def surplus(share):
        return excess_of(share * worse + (1 - share) * better, N) - excess

    share = optimize.brentq(surplus, 0, 1, xtol=1e-10) if surplus(0) < 0 else 0.0
    share = max(0.0, share - 1e-8)
    assert surplus(share) <= 1e-13
    return nuclear_norm(share * worse + (1 - share) * better)


def random_instance(seed, V=4, m=5):
    """Counts with supports of 1 to V tokens, and logits with some loss between floor and ln V."""
    rng = np.random.default_rng(seed)
    N = mixed_counts(rng.integers(2, V + 1), rng.integers(1, m + 1), seed, largest_support=V)
    labels = ntp.SoftLabels.from_counts(N)
    good = ntp.in_support_logits(labels).toarray() + rng.uniform(1, 6) * ntp.centered_support(N > 0)
    return N, labels, good + rng.uniform(0, 1.5) * rng.normal(size=N.shape)


# ---------------------------------------------------------------- independent truths


@pytest.mark.slow
@pytest.mark.reference
def test_against_cvxpy():
    """20 instances. Mutations seen to fail: chord from a point of larger excess only; D - 2c."""
    compared = 0
    for seed in range(30):
        N, labels, L = random_instance(seed)
        found = ntp.norm_efficiency(L, labels, tol=1e-3)
        if found.upper == 0 or compared == 20:
            continue
        compared += 1
        lower, upper = found.least_norm
        truth = least_norm_by_cvxpy(N, found.excess_loss)
        assert found.converged
        assert lower <= truth * (1 + 1e-4) + 1e-5
        assert upper >= truth * (1 - 1e-4) - 1e-5
    assert compared == 20


@pytest.mark.slow
def test_lower_is_never_above_a_feasible_norm():
    """200 instances. Mutation seen to fail: the floor forgotten (excess := CE)."""
    tight, positive = 0, 0
    for seed in range(200):
        N, labels, L = random_instance(1000 + seed)
        found = ntp.norm_efficiency(L, labels)
        lower, upper = found.least_norm
        centred = L - L.mean(axis=0)
        assert 0 <= found.lower <= found.upper <= 1
        assert found.nuclear_norm == pytest.approx(nuclear_norm(centred))
        assert found.excess_loss == pytest.approx(excess_of(L, N), rel=1e-6, abs=1e-12)
        if found.upper == 0:
            assert found.excess_loss >= excess_of(np.zeros(N.shape), N)
            continue
        positive += 1
        reached = a_small_norm(N, found.excess_loss, found.ridge, seed)
        assert lower <= reached * (1 + 1e-5)
        tight += upper >= reached * (1 - 1e-5) and reached <= 1.02 * lower
    assert positive > 100
    assert tight > 0.9 * positive  # so the comparison has teeth


# ---------------------------------------------------------------- on the path


@pytest.mark.parametrize("ridge", [1e-2, 1e-3, 1e-5, 1e-7])
def test_path_points_are_efficient(ridge):
    """Mutation seen to fail: columns not centred (the shifted copy has efficiency 0.03)."""
    path = ntp.ridge_path(SMALL, [ridge], tol=1e-7)
    for L in (path[0].L, path[0].L + np.arange(SMALL.m)):
        found = ntp.norm_efficiency(L, SMALL)
        assert found.solves == 0  # its own gradient is the certificate
        assert found.lower > 1 - 1e-6
        assert found.ridge == pytest.approx(ridge, rel=1e-3)


@pytest.mark.parametrize(("ridge", "lost"), [(1e-3, 1e-4), (1e-4, 3e-4), (1e-6, 5e-3)])
def test_rounding_and_scaling_cost_little(ridge, lost):
    """float16, float32 and a factor 1.001: the alignment drops by far more than the efficiency."""
    L = ntp.solve_ridge(SMALL, ridge, tol=1e-7).L
    half = torch.tensor(L).half()
    path = ()
    for copy in (half, torch.tensor(L).float(), L.astype(np.float16), 1.001 * L):
        found = ntp.norm_efficiency(copy, SMALL, path, tol=1e-5)
        path = found.path
        assert found.converged
        assert found.lower > 1 - lost
    for copy in (half.double().numpy(), 1.001 * L):
        assert 1 - ntp.certify_ridge(copy, SMALL).alignment > 10 * lost
    worse = ntp.norm_efficiency(1.1 * L, SMALL, path, tol=1e-3)
    assert worse.upper < 0.98


@pytest.mark.parametrize(
    ("ridge", "is_near_one"),
    [(1e-2, True), (1e-3, True), (1e-4, True), (1e-5, False), (1e-6, False)],
)
def test_what_rounding_costs_is_the_truth_and_no_slack(ridge, is_near_one):
    """A rise r of the excess costs a point of the path at most r / (ridge |L|_*), by its tangent.

    At small ridges the *upper* bound lies below 1 - 1e-4, too: no method gives 1 there. Mutation
    seen to fail: the rise counted for nothing.
    """
    L = ntp.solve_ridge(SMALL, ridge, tol=1e-9).L
    L = L - L.mean(axis=0)
    norm = nuclear_norm(L)
    for copy in (L.astype(np.float16).astype(float), 1.001 * L):
        found = ntp.norm_efficiency(copy, SMALL, tol=1e-6)
        rise = found.excess_loss - ntp.excess_loss(L, SMALL)
        at_least = (1 - rise / (ridge * norm)) * norm / found.nuclear_norm
        assert found.lower > at_least - 1e-6
        assert found.upper - found.lower < 1e-5
        assert (found.lower > 1 - 1e-4) if is_near_one else (found.upper < 1 - 1e-4)


def test_alignment_is_a_lower_bound():
    """Efficiency >= alignment for any logits."""
    for seed in range(20):
        _, labels, L = random_instance(seed)
        centred = L - L.mean(axis=0)
        found = ntp.norm_efficiency(L, labels, max_solves=0)
        assert found.solves == 0
        assert found.lower >= ntp.certify_ridge(centred, labels).alignment - 1e-9 or not found.upper


def test_a_path_is_reused():
    """The second call needs no solve, the bounds do not get worse; foreign points do no harm."""
    N, labels, L = random_instance(3)
    first = ntp.norm_efficiency(L, labels)
    again = ntp.norm_efficiency(L, labels, path=first.path)
    assert first.solves > 0
    assert again.solves == 0
    assert again.lower >= first.lower - 1e-12
    assert again.upper <= first.upper + 1e-12
    other = ntp.SoftLabels.from_counts(np.roll(N, 1, axis=0))
    foreign = ntp.ridge_path(other, [1e-2, 1e-3], tol=1e-3)
    found = ntp.norm_efficiency(L, labels, path=foreign)
    assert found.converged
    assert found.lower <= first.upper
    assert found.upper >= first.lower
    with pytest.raises(ValueError, match="path point has shape"):
        ntp.norm_efficiency(np.zeros((3, 2)), ntp.SoftLabels.from_counts(np.eye(3)[:, :2]), foreign)


@pytest.mark.parametrize("fall", [0.1, 1e-2, 1e-4, 1e-8])
@pytest.mark.parametrize("tol", [1e-2, 1e-3])
def test_bounds_close_just_below_the_loss_of_zero_logits(fall, tol):
    """Where a point of the path that is as loose as elsewhere would be L = 0 itself.

    Near L = 0 the least norm is the fall of the loss over ridge_max. Mutation seen to fail:
    accuracy not scaled (30 solves, bounds 3% apart).
    """
    G = (SMALL.P.toarray() - 1 / SMALL.V) * SMALL.pi
    direction = G + 0.05 * np.linalg.norm(G) * RNG.normal(size=G.shape) / np.sqrt(G.size)
    zero = float(ntp.excess_loss(np.zeros(SMALL.shape), SMALL))

    def surplus(length):
        return float(ntp.excess_loss(length * direction, SMALL)) - (1 - fall) * zero

    length = optimize.brentq(surplus, 0, 2 * fall * zero / np.square(G).sum(), xtol=1e-16)
    found = ntp.norm_efficiency(length * direction, SMALL, tol=tol)
    assert found.converged
    assert found.solves <= 6
    least = (zero - found.excess_loss) / ntp.ridge_max(SMALL)
    assert found.least_norm[1] >= least * (1 - 1e-6)  # the curve is convex
    if fall <= 1e-4:
        assert found.least_norm[0] == pytest.approx(least, rel=1e-3)


def test_bounds_hold_whatever_the_number_of_solves():
    """Unconverged bounds contain the converged ones, and narrow."""
    L = ntp.in_support_logits(SMALL).toarray() + 6 * ntp.centered_support(SMALL)
    final = ntp.norm_efficiency(L, SMALL, tol=1e-4)
    assert final.converged
    for solves in (0, 1, 2, 4):
        found = ntp.norm_efficiency(L, SMALL, tol=1e-4, max_solves=solves)
        assert found.solves <= solves
        assert found.lower <= final.upper + 1e-12
        assert found.upper >= final.lower - 1e-12
        assert len(found.path) == found.solves


# ---------------------------------------------------------------- models


def test_trained_models_within_one_per_cent():
    """A UFM and a decoder, without a ridge: both waste norm, and the bounds meet."""
    ids, vocab = ntp.load_corpus("lily")
    labels = ntp.SoftLabels.from_tokens(ids, 2, len(vocab))
    sizes = {"V": labels.V, "context_length": 2, "d": 16, "layers": 1, "heads": 2}
    models = (
        ntp.UFM(labels.V, labels.m, d=16, seed=0),
        ntp.Transformer(ntp.TransformerConfig(**sizes)),
    )
    path = ()
    for model in models:
        kept = {}

        def keep(L, W, H, kept=kept):
            kept["L"] = L.copy()
            return 0.0

        config = ntp.TrainConfig(ridge=0, optimizer="adamw", lr=1e-2, steps=150, tol=None)
        ntp.fit(model, labels, config, {"keep": keep})
        found = ntp.norm_efficiency(kept["L"], labels, path)
        path = found.path
        assert found.converged
        assert 0.3 < found.lower <= found.upper < 0.98
        assert found.upper - found.lower <= 0.01 * found.upper


# ---------------------------------------------------------------- degenerate and deep


def test_zero_logits_and_losses_above_theirs():
    zero = ntp.norm_efficiency(np.zeros(SMALL.N.shape), SMALL)
    assert (zero.lower, zero.upper, zero.solves) == (1, 1, 0)
    constant = ntp.norm_efficiency(np.tile(np.arange(20.0), (12, 1)), SMALL)
    assert (constant.lower, constant.upper, constant.nuclear_norm) == (1, 1, 0)
    bad = ntp.norm_efficiency(-ntp.centered_support(SMALL), SMALL)
    assert (bad.lower, bad.upper, bad.converged) == (0, 0, True)


def test_full_supports_have_a_finite_least_norm():
    """All k_j = V: L_in has excess 0, needs its norm, and twice L_in does not."""
    N = np.random.default_rng(0).integers(1, 9, (4, 6))
    labels = ntp.SoftLabels.from_counts(N)
    L_in = ntp.in_support_logits(labels).toarray()
    exact = ntp.norm_efficiency(L_in, labels)
    assert exact.converged
    assert exact.lower > 0.99
    assert exact.upper == pytest.approx(1, abs=1e-12)
    doubled = ntp.norm_efficiency(2 * L_in, labels)
    assert doubled.converged
    assert doubled.upper < 0.6
    uniform = ntp.SoftLabels.from_counts(np.ones((4, 6)))
    assert ntp.norm_efficiency(np.zeros((4, 6)), uniform).lower == 1
    assert ntp.norm_efficiency(np.eye(4, 6), uniform).upper == 0


@pytest.mark.parametrize("steps", [20, 40, 55])
def test_deeper_than_the_path(steps):
    """Excess e^-20 to e^-55: still bounded within 1%. Mutation seen to fail: no continuation."""
    L_mm = ntp.solve_max_margin(SMALL).L
    L = ntp.in_support_logits(SMALL).toarray() + steps * L_mm
    found = ntp.norm_efficiency(L, SMALL)
    assert found.excess_loss < 40 * np.exp(-steps)
    assert found.converged
    assert 0.8 < found.lower < 1


def test_one_hot_labels_far_beyond_float64():
    """k = 1: nothing is rounded on the support, and the least norm has a closed form.

    By symmetry the path consists of multiples of the simplex, with excess ln(1 + 4 e^-s) and norm
    4 s at s (I - 11'/5). Mutation seen to fail: no tangent below the smallest ridge.
    """
    labels = ntp.SoftLabels.from_counts(np.eye(5))
    simplex = np.eye(5) - 1 / 5
    uneven = [np.diag([600.0, 30, 600, 600, 600]) @ simplex, np.diag([9.0, 6, 6, 6, 6]) @ simplex]
    for L in (3 * simplex, 30 * simplex, 300 * simplex, 600 * simplex, *uneven):
        found = ntp.norm_efficiency(L, labels)
        least = -4 * np.log(np.expm1(found.excess_loss) / 4)
        lower, upper = found.least_norm
        assert found.converged
        assert lower <= least * (1 + 1e-9)
        assert upper >= least * (1 - 1e-9)
    nothing = ntp.norm_efficiency(2000 * simplex, labels)
    assert nothing.excess_loss == 0  # e^-2000 underflows
    assert nothing.upper == 1
    assert 0.3 < nothing.lower < 0.4  # what an excess of 1e-300 needs: 691 of 2000


@settings(max_examples=25)
@given(counts(), st.integers(0, 2**32 - 1), st.floats(0.1, 30))
def test_order_of_the_bounds(N, seed, scale):
    """0 <= lower <= upper <= 1 on every degenerate kind of counts."""
    labels = ntp.SoftLabels.from_counts(N)
    L = scale * np.random.default_rng(seed).normal(size=N.shape)
    found = ntp.norm_efficiency(L + 2 * scale * ntp.centered_support(labels), labels, max_solves=12)
    assert 0 <= found.lower <= found.upper <= 1
    assert found.nuclear_norm >= 0


def test_bad_input():
    L = np.zeros(SMALL.N.shape)
    for arguments, message in (
        ({"tol": 0}, "tol is 0"),
        ({"max_solves": -1}, "max_solves is -1"),
    ):
        with pytest.raises(ValueError, match=message):
            ntp.norm_efficiency(L, SMALL, **arguments)
    with pytest.raises(ValueError, match="shape"):
        ntp.norm_efficiency(L.T, SMALL)
    with pytest.raises(ValueError, match="NaN"):
        ntp.norm_efficiency(np.full_like(L, np.nan), SMALL)
