"""The statements of "How do we know it is optimal?", each by an independent truth."""

from __future__ import annotations

import numpy as np
import pytest
from reference import (
    conditional_entropy,
    cvxpy_ridge,
    cvxpy_ridge_dual,
    mixed_counts,
    nuclear_norm,
    operator_norm,
    softmax,
)
from scipy.optimize import minimize

import ntp_lite as ntp

LABELS = ntp.SoftLabels.from_counts(mixed_counts(6, 5, seed=2, largest_support=4))
P, PI = LABELS.P.toarray(), LABELS.pi
V, M = P.shape
TOP = operator_norm((P - 1 / V) * PI)
RIDGE = 0.15 * TOP


def residual(L):
    return (P - softmax(L)) * PI


def objective(L, ridge):
    shift = L.max(axis=0)
    lse = np.log(np.exp(L - shift).sum(axis=0)) + shift
    return float(PI @ (lse - (P * L).sum(axis=0))) + ridge * nuclear_norm(L)


def factor_loss(W, H, ridge):
    energy = ((W**2).sum() + (H**2).sum()) / 2
    G = residual(W @ H)
    value = objective(W @ H, 0.0) + ridge * energy
    return value, ridge * W - G @ H.T, ridge * H - W.T @ G


def stationary(d, ridge=RIDGE, seed=0):
    """A stationary point of the factored problem, by an optimiser that knows no certificate."""

    def unpack(x):
        return x[: V * d].reshape(V, d), x[V * d :].reshape(d, M)

    def both(x):
        value, grad_W, grad_H = factor_loss(*unpack(x), ridge)
        return value, np.concatenate([grad_W.ravel(), grad_H.ravel()])

    start = np.random.default_rng(seed).normal(size=(V + M) * d)
    return unpack(minimize(both, start, jac=True, method="BFGS", options={"gtol": 1e-9}).x)


@pytest.fixture(scope="module")
def optimum():
    return ntp.solve_ridge(LABELS, RIDGE, tol=1e-11).L


@pytest.mark.parametrize("mutation", ["", "softmax of the rows", "entropy in bits"])
def test_loss_is_a_maximum_over_predictions(mutation):
    """Theorem label: lem-certificates-gibbs

    lse - H(q) - <q, l> is the divergence KL(q || softmax(l)). Mutations: another q0, another unit.
    """
    rng = np.random.default_rng(0)
    gaps, divergences = [], []
    for _ in range(100):
        ell, q = rng.normal(size=(2, 7))
        q = softmax(q[:, None])[:, 0]
        s = softmax(ell[:, None])[:, 0]
        if mutation == "softmax of the rows":
            s = softmax(-ell[:, None])[:, 0]
        unit = np.log(2) if mutation == "entropy in bits" else 1.0
        gaps.append(np.log(np.exp(ell).sum()) + (q * np.log(q)).sum() / unit - q @ ell)
        divergences.append((q * np.log(q / s)).sum())
    assert np.allclose(gaps, divergences, atol=1e-12) == (mutation == "")


@pytest.mark.parametrize("norm", ["operator", "frobenius times 0.5", "entry", "without priors"])
def test_weak_duality(norm, optimum):
    """Theorem label: thm-certificates-weak-duality

    H(Q) <= J(L) for all L and all Q in the ball. Mutations: balls that are too large.
    """

    def size(R):
        G = (P - R) * PI
        return {
            "operator": operator_norm(G),
            "frobenius times 0.5": 0.5 * np.linalg.norm(G),
            "entry": np.abs(G).max(),
            "without priors": operator_norm(P - R) * PI.min(),
        }[norm]

    rng = np.random.default_rng(1)
    logits = [rng.normal(size=(V, M)) * scale for scale in (0.1, 1, 4) for _ in range(10)]
    logits += [optimum, optimum + 0.05 * logits[0]]
    highest = -np.inf
    for L in logits:
        R = softmax(L)
        theta = min(1.0, RIDGE / size(R))
        highest = max(highest, conditional_entropy(P + theta * (R - P), PI))
    lowest = min(objective(L, RIDGE) for L in logits)
    assert (highest <= lowest + 1e-9) == (norm == "operator")


@pytest.mark.parametrize("mutation", ["", "no scaling", "nuclear for operator"])
def test_certificate_bounds_any_logits(mutation, optimum):
    """Theorem label: thm-certificates-gap

    From the formulas of the theorem alone. Mutations: theta = 1 always; a wrong norm of L.
    """
    least = objective(optimum, RIDGE)
    rng = np.random.default_rng(2)
    holds = True
    for scale in (0.01, 0.3, 1, 5):
        for L in (scale * rng.normal(size=(V, M)), scale * optimum):
            G = residual(L)
            theta = 1.0 if mutation == "no scaling" else min(1.0, RIDGE / operator_norm(G))
            primal = objective(L, RIDGE)
            if mutation == "nuclear for operator":
                primal = objective(L, 0.0) + RIDGE * operator_norm(L)
            dual = conditional_entropy(P + theta * (softmax(L) - P), PI)
            holds &= dual <= least + 1e-9 and primal >= least - 1e-9
            if not mutation:
                judged = ntp.certify_ridge(L, LABELS, RIDGE)
                assert judged.gap == pytest.approx(primal - dual, abs=1e-10)
                if theta == 1:
                    other = RIDGE * nuclear_norm(L) - (G * L).sum()
                    assert judged.gap == pytest.approx(other, abs=1e-10)
    assert bool(holds) == (mutation == "")


def test_gap_with_operator_norm_inside_the_ball(optimum):
    """Theorem label: thm-certificates-gap

    At theta = 1 the short form of the gap is right, with the opposite sign of G it is not.
    """
    L = 1.1 * optimum
    G = residual(L)
    assert operator_norm(G) < RIDGE
    gap = ntp.certify_ridge(L, LABELS, RIDGE).gap
    assert gap == pytest.approx(RIDGE * nuclear_norm(L) - (G * L).sum(), abs=1e-12)
    assert gap != pytest.approx(RIDGE * nuclear_norm(L) + (G * L).sum(), abs=1e-3)


@pytest.mark.parametrize("mutation", ["", "scaled", "shifted column", "other ridge"])
def test_conditions_of_optimality(mutation, optimum):
    """Theorem label: thm-certificates-strong-duality

    Conditions, zero gap, rim and centred columns at an independent optimum; not at mutations of it.
    """
    L, ridge = optimum.copy(), RIDGE
    if mutation == "scaled":
        L = 1.05 * L
    elif mutation == "shifted column":
        L[:, 0] += 0.5
    elif mutation == "other ridge":
        ridge = 1.2 * RIDGE
    G = residual(L)
    conditions = operator_norm(G) <= ridge * (1 + 1e-5) and np.isclose(
        (G * L).sum(), ridge * nuclear_norm(L), rtol=1e-5
    )
    U, s, Vt = np.linalg.svd(L, full_matrices=False)
    used = s > 1e-4
    rim = np.allclose(G @ Vt[used].T, ridge * U[:, used], atol=1e-4 * ridge)
    assert conditions == rim == (mutation == "")
    assert (np.abs(L.sum(axis=0)).max() < 1e-8) == (mutation != "shifted column")
    assert (ntp.certify_ridge(L, LABELS, ridge).relative_gap < 1e-8) == (mutation == "")


@pytest.mark.reference
def test_primal_and_dual_programs_meet(optimum):
    """Theorem label: thm-certificates-strong-duality

    Both programs by CVXPY. Mutation: the dual at half the ridge.
    """
    primal, dual = cvxpy_ridge(P, PI, RIDGE), cvxpy_ridge_dual(P, PI, RIDGE)
    assert primal == pytest.approx(dual, abs=1e-5)
    assert primal == pytest.approx(objective(optimum, RIDGE), abs=1e-6)
    assert cvxpy_ridge_dual(P, PI, RIDGE / 2) < primal - 1e-2


def test_the_optimum_is_unique(optimum):
    """Theorem label: thm-certificates-strong-duality

    Other starts and widths end in the same logits, though not in the same factors.
    """
    first = None
    for d, seed in ((6, 0), (6, 1), (8, 2)):
        W, H = stationary(d, seed=seed)
        assert np.allclose(W @ H, optimum, atol=1e-4)
        if first is not None and W.shape == first.shape:
            assert not np.allclose(W, first, atol=0.1)
        first = W


@pytest.mark.parametrize("mutation", ["", "without priors", "without centring"])
def test_ridge_max(mutation):
    """Theorem label: thm-certificates-ridge-max

    The threshold, found by asking the solver for zero logits. Mutations: wrong formulas.
    """
    candidate = {
        "": TOP,
        "without priors": operator_norm(P - 1 / V),
        "without centring": operator_norm(P * PI),
    }[mutation]

    def is_zero(ridge):
        return np.abs(ntp.solve_ridge(LABELS, ridge, tol=1e-9).L).max() < 1e-6

    threshold = is_zero(1.01 * candidate) and not is_zero(0.99 * candidate)
    assert threshold == (mutation == "")
    if not mutation:
        assert ntp.ridge_max(LABELS) == pytest.approx(candidate, rel=1e-12)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_curvature_at_the_origin(factor):
    """Theorem label: thm-certificates-ridge-max

    Second differences along the leading pair: 2 (ridge -+ ridge_max). No saddle above ridge_max.
    """
    ridge, d, step = factor * TOP, 3, 1e-3
    U, _, Vt = np.linalg.svd((P - 1 / V) * PI)
    A, B = np.zeros((V, d)), np.zeros((d, M))
    A[:, 0], B[0] = U[:, 0], Vt[0]
    at_zero, grad_W, grad_H = factor_loss(0 * A, 0 * B, ridge)
    assert not grad_W.any() and not grad_H.any()
    for sign in (1, -1):
        ahead = factor_loss(step * A, sign * step * B, ridge)[0]
        curvature = 2 * (ahead - at_zero) / step**2
        assert curvature == pytest.approx(2 * (ridge - sign * TOP), rel=1e-3)
        assert (curvature < 0) == (sign == 1 and factor < 1)


@pytest.mark.parametrize("d", [1, 2, 6])
def test_stationary_points_and_width(d, optimum):
    """Theorem label: thm-certificates-width

    |G|_op <= ridge decides; where it fails, the new dimension of the proof lowers the objective by
    the predicted amount, and with the wrong sign it does not.
    """
    W, H = stationary(d)
    value, G = factor_loss(W, H, RIDGE)[0], residual(W @ H)
    inside = operator_norm(G) <= RIDGE * (1 + 1e-5)
    assert inside == (value <= objective(optimum, RIDGE) + 1e-7)
    assert inside == (d >= np.linalg.matrix_rank(optimum, tol=1e-4))
    if not inside:
        U, s, Vt = np.linalg.svd(G)
        step = 1e-2
        for sign in (1, -1):
            new_W = np.hstack([W, step * U[:, :1]])
            new_H = np.vstack([H, sign * step * Vt[:1]])
            change = factor_loss(new_W, new_H, RIDGE)[0] - value
            assert change == pytest.approx(step**2 * (RIDGE - sign * s[0]), rel=1e-2)
            assert (change < 0) == (sign == 1)


@pytest.mark.parametrize("mutation", ["", "scaled", "contexts exchanged", "centred support"])
def test_alignment_is_one_on_the_path_only(mutation, optimum):
    """Theorem label: thm-certificates-alignment

    Mutations leave the path.
    """
    L = {
        "": optimum,
        "scaled": 1.1 * optimum,
        "contexts exchanged": np.roll(optimum, 1, axis=1),
        "centred support": 10 * ntp.centered_support(LABELS),
    }[mutation]
    G = residual(L)
    alignment = (G * L).sum() / (operator_norm(G) * nuclear_norm(L))
    assert alignment <= 1 + 1e-9
    assert (alignment > 1 - 1e-6) == (mutation == "")
    judged = ntp.certify_ridge(L, LABELS)
    assert judged.alignment == pytest.approx(alignment, abs=1e-9)
    assert judged.ridge == pytest.approx(operator_norm(G), rel=1e-9)


def test_gap_bounds_the_divergence_of_predictions(optimum):
    """Exercise label: ex-certificates-kl

    sum pi KL(Q* || Q) <= J(L) - min J; with the arguments of KL exchanged it can fail.
    """
    rng = np.random.default_rng(4)
    star = softmax(optimum)
    failures = 0
    for scale in (0.01, 0.1, 1.0):
        for _ in range(20):
            L = optimum + scale * rng.normal(size=(V, M))
            Q = softmax(L)
            above = objective(L, RIDGE) - objective(optimum, RIDGE)
            assert PI @ (star * np.log(star / Q)).sum(axis=0) <= above + 1e-9
            assert above <= ntp.certify_ridge(L, LABELS, RIDGE).gap + 1e-9
    for factor in (0.0, 0.5):  # towards the uniform prediction
        Q = softmax(factor * optimum)
        above = objective(factor * optimum, RIDGE) - objective(optimum, RIDGE)
        failures += PI @ (Q * np.log(Q / star)).sum(axis=0) > above
    assert failures
