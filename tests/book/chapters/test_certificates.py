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
            pulled = conditional_entropy(P + theta * (softmax(L) - P), PI)
            dual = max(pulled, conditional_entropy(P, PI))
            holds &= dual <= least + 1e-9 and primal >= least - 1e-9
            if not mutation:
                judged = ntp.certify_ridge(L, LABELS, RIDGE)
                assert judged.gap == pytest.approx(primal - dual, abs=1e-10)
                if theta == 1:
                    other = RIDGE * nuclear_norm(L) - (G * L).sum()
                    assert primal - pulled == pytest.approx(other, abs=1e-10)
    assert bool(holds) == (mutation == "")


@pytest.mark.parametrize("mutation", ["", "floor left out"])
def test_a_relative_gap_is_at_most_one(mutation):
    """Theorem label: thm-certificates-gap

    A point deep on the path, stretched: its own dual point is worse than the floor. Mutation: the
    certificate without P as the second candidate.
    """
    ridge = 1e-5 * TOP
    L = 1.01 * ntp.solve_ridge(LABELS, ridge, tol=1e-9).L
    theta = min(1.0, ridge / operator_norm(residual(L)))
    pulled = conditional_entropy(P + theta * (softmax(L) - P), PI)
    floor = conditional_entropy(P, PI)
    dual = pulled if mutation else max(pulled, floor)
    primal = objective(L, ridge)
    assert ((primal - dual) / (primal - floor) <= 1 + 1e-9) == (mutation == "")
    assert ntp.certify_ridge(L, LABELS, ridge).relative_gap <= 1


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


def random_labels(rng):
    """Small tables, with full supports, single columns and equal rows and columns among them."""
    V, m = rng.integers(2, 6), rng.integers(1, 6)
    N = rng.integers(1, 9, size=(V, m)) * (rng.random((V, m)) < rng.uniform(0.3, 1))
    if rng.random() < 0.3:
        N = N[:, rng.integers(m, size=m)]
    if rng.random() < 0.3:
        N = N[rng.integers(V, size=V)]
    N[rng.integers(V), N.sum(axis=0) == 0] = 1
    return ntp.SoftLabels.from_counts(N)


@pytest.mark.parametrize(("missing", "always"), [(0, True), (1, False)])
def test_width_without_a_spare_dimension(missing, always):
    """Theorem label: thm-certificates-width

    Runs of width min(V - 1, m) end at the certified optimum; the mutation, one dimension less,
    does not. Small random tables, degenerate ones among them.
    """
    rng = np.random.default_rng(7)
    worst = 0.0
    for seed in range(12):
        labels = random_labels(rng)
        d = min(labels.V - 1, labels.m) - missing
        ridge = 0.1 * ntp.ridge_max(labels)
        if d < 1 or ridge < 1e-9:
            continue
        model = ntp.UFM(labels.V, labels.m, d=d, seed=seed, scale=1.0)
        config = ntp.TrainConfig(ridge=ridge, steps=800, tol=1e-6, device="cpu")
        worst = max(worst, ntp.fit(model, labels, config).certificate.relative_gap)
    assert (worst <= 1e-5) is always


@pytest.mark.parametrize(("V", "m"), [(3, 5), (5, 2)])
@pytest.mark.parametrize("spare", [0, -1])
def test_largest_rank_forces_the_residual_into_the_ball(V, m, spare):
    """Theorem label: thm-certificates-width

    (c): where the rank is V - 1, or m, G is ridge times the polar factor of L. The mutation is a
    stationary point of smaller rank.
    """
    labels = ntp.SoftLabels.from_counts(np.random.default_rng(V).integers(1, 30, size=(V, m)))
    ridge, d = 0.02 * ntp.ridge_max(labels), min(V - 1, m) + spare
    model = ntp.UFM(V, m, d=d, seed=0, scale=1.0)
    ntp.fit(model, labels, ntp.TrainConfig(ridge=ridge, steps=2000, tol=1e-9, device="cpu"))
    L = model.logits().detach().numpy()
    G = (labels.P.toarray() - softmax(L)) * labels.pi
    U, s, Vt = np.linalg.svd(L, full_matrices=False)
    assert (s > 1e-3).sum() == d
    assert np.allclose(G, ridge * U[:, :d] @ Vt[:d], atol=1e-3 * ridge) is (spare == 0)


def efficiency_bounds(L, labels, path, mutation=""):
    """Parts 1 and 2 of the theorem, from certified points of the path."""
    L = L if mutation == "not centred" else L - L.mean(axis=0)
    excess = ntp.excess_loss(L, labels)
    tangents = [
        (p.certificate.primal if mutation == "primal for dual" else p.certificate.dual, p.ridge)
        for p in path
    ]
    lower = max([0.0, *((dual - excess) / ridge for dual, ridge in tangents)])
    points = [*(p.L for p in path), L, np.zeros(L.shape)]
    upper = min(nuclear_norm(X) for X in points if ntp.excess_loss(X, labels) <= excess)
    return lower / nuclear_norm(L), upper / nuclear_norm(L)


@pytest.mark.parametrize("mutation", ["", "primal for dual", "not centred"])
def test_norm_efficiency_of_one_hot_labels(mutation):
    """Theorem label: thm-certificates-efficiency

    Truth in closed form: V one-hot contexts, equally frequent, cost (V - 1) s for the excess loss
    ln(1 + (V - 1) exp(-s)). A coarse path with loose points, whose primal values are no bounds.
    """
    labels = ntp.SoftLabels.from_counts(np.eye(4, dtype=int))
    ridges = ntp.ridge_max(labels) * np.geomspace(0.9, 1e-4, 40)
    path = [ntp.solve_ridge(labels, ridge, tol=0.2) for ridge in ridges]
    rng = np.random.default_rng(3)
    holds = True
    for s in (0.5, 2.0, 5.0):
        for noise in (0.0, 0.3):
            L = s * np.eye(4) + noise * rng.normal(size=(4, 4)) + 3 * rng.normal(size=(1, 4))
            excess = ntp.excess_loss(L, labels)
            least = 3 * np.log(3 / np.expm1(excess))
            truth = least / nuclear_norm(L - L.mean(axis=0))
            lower, upper = efficiency_bounds(L, labels, path, mutation)
            holds &= bool(lower <= truth + 1e-9 and truth <= upper + 1e-9)
            holds &= bool(upper <= 1 + 1e-12 and lower > 0.5)
            package = ntp.norm_efficiency(L, labels, tol=1e-4)
            assert package.lower - 1e-9 <= truth <= package.upper + 1e-9
    assert holds == (mutation == "")


@pytest.mark.parametrize("seed", range(6))
def test_norm_efficiency_is_one_on_the_path_only(seed):
    """Theorem label: thm-certificates-efficiency

    Random tables: one on the path, less where the alignment is less (a multiple of logits of rank
    one can be on the path), never less than the alignment, and hardly changed by half precision or
    a factor of 1.001.
    """
    labels = random_labels(np.random.default_rng(seed))
    L = ntp.solve_ridge(labels, 0.05 * ntp.ridge_max(labels), tol=1e-10).L
    assert ntp.norm_efficiency(L, labels, tol=1e-4).lower > 1 - 1e-4
    rng = np.random.default_rng(seed)
    for other in (1.001 * L, L.astype(np.float16).astype(float)):
        assert ntp.norm_efficiency(other, labels, tol=1e-4).lower > 0.99
    for other in (1.3 * L, L + 0.3 * np.abs(L).max() * rng.normal(size=L.shape)):
        efficiency = ntp.norm_efficiency(other, labels, tol=1e-4)
        alignment = ntp.certify_ridge(other - other.mean(axis=0), labels).alignment
        assert alignment <= efficiency.upper + 1e-9
        assert (efficiency.upper > 0.999) == (alignment > 0.999)


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
