from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import (
    all_subsets,
    conditional_entropy,
    counts,
    cvxpy_max_margin,
    cvxpy_project_margin,
    cvxpy_ridge,
    cvxpy_ridge_dual,
    dual_violation,
    margin_violation,
    mixed_counts,
    mp_certificate,
    nuclear_norm,
    operator_norm,
    softmax,
    supports,
)

import ntp_lite as ntp
from ntp_lite import certificate

SMALL = mixed_counts(5, 7, seed=0, largest_support=4)


def bounds_the_optimum(certificate, lower, upper, slack=1e-9):
    """Is dual <= optimum <= primal, where the optimum is known to lie in [lower, upper]?"""
    room = slack * max(1.0, abs(upper))
    return certificate.dual <= upper + room and certificate.primal >= lower - room


# ---------------------------------------------------------------- the ridge problem


@pytest.mark.parametrize("ridge", [1e-1, 1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-11, 1e-12, None])
@pytest.mark.parametrize("which", ["optimal", "perturbed", "random"])
def test_certificate_agrees_with_extended_precision(ridge, which):
    """The cancellation-free formulas give what 60 digits of the plain definitions give."""
    labels = ntp.SoftLabels.from_counts(SMALL)
    rng = np.random.default_rng(1)
    if which == "random":
        L = rng.normal(size=SMALL.shape)
    else:
        L = ntp.solve_ridge(labels, ridge or 1e-5, tol=1e-7).L
        if which == "perturbed":
            L = L * (1 + 1e-3 * rng.normal(size=L.shape))
    mine = ntp.certify_ridge(L, labels, ridge)
    exact = mp_certificate(L, SMALL, ridge)
    assert mine.primal == pytest.approx(float(exact["primal"]), rel=1e-9)
    assert mine.alignment == pytest.approx(float(exact["alignment"]), rel=1e-4)
    # P - Q on the support is known to a rounding of Q in the longest floats there are: about 20
    # such terms (one per support entry) limit what the judge can resolve.
    blur = 20 * np.finfo(np.longdouble).eps
    size = float(exact["primal"])
    # The floor is a bound, too: the better of the two counts.
    dual, gap = max(float(exact["dual"]), 0.0), min(float(exact["gap"]), size)
    assert abs(mine.gap - gap) <= 1e-9 * size + blur
    assert abs(mine.dual - dual) <= 1e-9 * size + blur
    largest = float(exact["operator_norm"])
    assert abs(mine.operator_norm - largest) <= 1e-12 * largest + blur
    if ridge is None or ridge >= 1e-11:  # what the solvers promise is resolved
        assert abs(mine.gap - gap) <= 1e-5 * size
    assert mine.relative_gap == pytest.approx(mine.gap / mine.primal)


def test_the_plain_formula_would_not_do_at_ridge_1e_minus_12():
    """Mutation: CE - Hc subtracted in float64 loses digits that the certificate keeps."""
    labels = ntp.SoftLabels.from_counts(SMALL)
    L = ntp.solve_ridge(labels, 1e-12, tol=1e-7).L
    exact = float(mp_certificate(L, SMALL, 1e-12)["primal"])

    def has_nine_digits(primal):
        return abs(primal - exact) <= 1e-9 * exact

    naive = ntp.cross_entropy(L, labels) - labels.entropy + 1e-12 * nuclear_norm(L)
    assert has_nine_digits(ntp.certify_ridge(L, labels, 1e-12).primal)
    assert not has_nine_digits(naive)


@settings(max_examples=60)
@given(counts(), st.integers(0, 10**6), st.floats(-2, 1.5), st.floats(0.001, 1.5))
def test_any_logits_give_valid_bounds(N, seed, exponent, fraction):
    """Weak duality: whatever L is, dual <= optimum <= primal."""
    labels = ntp.SoftLabels.from_counts(N)
    ridge = max(fraction * ntp.ridge_max(labels), 1e-3)
    best = ntp.solve_ridge(labels, ridge, tol=1e-8).certificate
    L = 10.0**exponent * np.random.default_rng(seed).normal(size=N.shape)
    certificate = ntp.certify_ridge(L, labels, ridge)
    assert bounds_the_optimum(certificate, best.dual, best.primal)
    assert certificate.gap >= 0
    assert certificate.gap == pytest.approx(certificate.primal - certificate.dual, abs=1e-12)
    assert certificate.primal >= -1e-15
    assert certificate.alignment <= 1 + 1e-12


def test_bounds_without_the_scaling_are_not_valid():
    """Mutation: theta = 1 where |G|_op > ridge puts the "dual" value above the optimum."""
    labels = ntp.random_soft_labels(6, 9, 2, seed=0)
    ridge = 0.2 * ntp.ridge_max(labels)
    best = ntp.solve_ridge(labels, ridge, tol=1e-8).certificate
    L = 0.1 * np.random.default_rng(0).normal(size=(6, 9))
    honest = ntp.certify_ridge(L, labels, ridge)
    assert honest.operator_norm > ridge
    assert bounds_the_optimum(honest, best.dual, best.primal)
    unscaled = ntp.certify_ridge(L, labels, honest.operator_norm)  # theta = 1
    mutant = ntp.Certificate(honest.primal, unscaled.dual, 0.0, 0.0)
    assert not bounds_the_optimum(mutant, best.dual, best.primal)


@pytest.mark.reference
@settings(max_examples=15)
@given(counts(max_V=6, max_m=7), st.floats(0.01, 0.9))
def test_strong_duality_against_cvxpy(N, fraction):
    """Primal and dual programs, solved by CVXPY separately, meet inside the certificate."""
    labels = ntp.SoftLabels.from_counts(N)
    ridge = max(fraction * ntp.ridge_max(labels), 1e-2)
    P, pi = labels.P.toarray(), labels.pi
    certificate = ntp.solve_ridge(labels, ridge, tol=1e-7).certificate
    primal = cvxpy_ridge(P, pi, ridge) - labels.entropy
    dual = cvxpy_ridge_dual(P, pi, ridge) - labels.entropy
    assert primal == pytest.approx(certificate.primal, abs=1e-6)
    assert dual == pytest.approx(certificate.dual, abs=1e-6)


def test_softmax_of_the_solution_has_maximum_entropy_in_the_spectral_ball():
    """Ridge regression here is entropy maximisation: softmax(L_ridge) attains the dual."""
    labels = ntp.random_soft_labels(6, 8, 2, seed=3)
    ridge = 0.1 * ntp.ridge_max(labels)
    result = ntp.solve_ridge(labels, ridge, tol=1e-10)
    P, pi = labels.P.toarray(), labels.pi
    optimum = labels.entropy + result.certificate.dual

    def is_dual_optimal(Q):
        feasible = operator_norm((P - Q) * pi) <= ridge * (1 + 1e-6)
        return feasible and abs(conditional_entropy(Q, pi) - optimum) <= 1e-7

    assert is_dual_optimal(softmax(result.L))
    assert not is_dual_optimal(softmax(1.1 * result.L))  # inside the ball, less entropy
    assert not is_dual_optimal(softmax(0.9 * result.L))  # more entropy, outside


def test_zero_is_optimal_exactly_from_ridge_max_on():
    """L = 0 is optimal iff ridge >= |(P - 1/V) diag(pi)|_op."""
    labels = ntp.random_soft_labels(7, 5, 2, seed=2)
    top, zero = ntp.ridge_max(labels), np.zeros((7, 5))
    assert top == pytest.approx(operator_norm((labels.P.toarray() - 1 / 7) * labels.pi))

    def zero_is_optimal(ridge):
        return ntp.certify_ridge(zero, labels, ridge).relative_gap <= 1e-12

    for factor in (1.0 + 1e-9, 1.5, 100.0):
        assert zero_is_optimal(factor * top)
    for factor in (0.999, 0.5, 0.01):
        assert not zero_is_optimal(factor * top)
    # Mutation: |P diag(pi)|_op, without the uniform distribution, is another number.
    assert zero_is_optimal(1.001 * top) and not zero_is_optimal(0.999 * top)
    assert operator_norm(labels.P.toarray() * labels.pi) != pytest.approx(top, rel=1e-3)


@pytest.mark.parametrize("V", range(1, 14))
def test_uniform_labels_give_zero_over_zero(V):
    """All k_j = V with equal frequencies: L = 0 reaches the floor, the relative gap is 0."""
    labels = ntp.SoftLabels.from_counts(np.ones((V, 4)))
    for ridge in (1e-6, 0.1, 10.0, None):
        certificate = ntp.certify_ridge(np.zeros((V, 4)), labels, ridge)
        assert certificate.relative_gap == 0
        assert certificate.gap == pytest.approx(0, abs=1e-15)
    assert ntp.solve_ridge(labels, 1e-3).converged


def test_alignment_is_one_on_the_path_and_nowhere_else():
    """<G, L> = |G|_op |L|_* exactly for the logits of the regularisation path."""
    labels = ntp.random_soft_labels(8, 12, 3, seed=0)
    result = ntp.solve_ridge(labels, 1e-4, tol=1e-9)

    def on_path(L):
        return ntp.certify_ridge(L, labels).alignment >= 1 - 1e-6

    judged = ntp.certify_ridge(result.L, labels)
    assert on_path(result.L)
    assert judged.ridge == judged.operator_norm == pytest.approx(1e-4, rel=1e-5)
    # Mutations: scaled, a permuted context, the max-margin solution, a random matrix.
    assert not on_path(1.1 * result.L)
    assert not on_path(result.L[:, np.random.default_rng(0).permutation(12)])
    assert not on_path(10 * ntp.solve_max_margin(labels).L)
    assert not on_path(np.random.default_rng(0).normal(size=(8, 12)))


@settings(max_examples=50)
@given(counts(), st.integers(0, 10**6), st.floats(-2, 1.5))
def test_without_a_ridge_the_kindest_one_is_taken(N, seed, exponent):
    """ridge=None: gap = |G|_op |L|_* - <G, L>, or primal - Hc where the floor is nearer."""
    labels = ntp.SoftLabels.from_counts(N)
    L = 10.0**exponent * np.random.default_rng(seed).normal(size=N.shape)
    G = (labels.P.toarray() - softmax(L)) * labels.pi
    certificate = ntp.certify_ridge(L, labels)
    bound = operator_norm(G) * nuclear_norm(L)
    expected = min(bound - (G * L).sum(), ntp.excess_loss(L, labels) + bound)
    assert certificate.gap == pytest.approx(expected, abs=1e-12 * (1 + bound))
    assert certificate.ridge == pytest.approx(operator_norm(G), abs=1e-14)
    again = ntp.certify_ridge(L, labels, certificate.ridge) if certificate.ridge > 0 else None
    if again is not None:
        assert again.primal == pytest.approx(certificate.primal, rel=1e-12)
        assert again.dual == pytest.approx(certificate.dual, rel=1e-9, abs=1e-14)


def test_certificate_is_invariant_under_permutations():
    labels = ntp.random_soft_labels(6, 10, 3, seed=1)
    rng = np.random.default_rng(0)
    rows, columns, L = rng.permutation(6), rng.permutation(10), rng.normal(size=(6, 10))
    permuted = ntp.SoftLabels.from_counts(labels.N.toarray()[rows][:, columns])
    one = ntp.certify_ridge(L, labels, 0.01)
    two = ntp.certify_ridge(L[rows][:, columns], permuted, 0.01)
    wrong = ntp.certify_ridge(L, permuted, 0.01)
    for name in ("primal", "dual", "gap", "operator_norm", "alignment"):
        assert getattr(two, name) == pytest.approx(getattr(one, name), rel=1e-11)
        assert getattr(wrong, name) != pytest.approx(getattr(one, name), rel=1e-3)


def test_scaling_all_counts_leaves_the_certificate():
    N, L = mixed_counts(6, 9, seed=4), np.random.default_rng(0).normal(size=(6, 9))
    one = ntp.certify_ridge(L, ntp.SoftLabels.from_counts(N), 1e-3)
    two = ntp.certify_ridge(L, ntp.SoftLabels.from_counts(7 * N), 1e-3)
    assert two.primal == pytest.approx(one.primal, rel=1e-13)
    assert two.dual == pytest.approx(one.dual, rel=1e-12)


def test_a_stationary_point_is_global_at_any_width_iff_its_gradient_fits_the_ball():
    """Stationary factors with |G|_op <= ridge are optimal over all widths; others stay open."""
    labels = ntp.random_soft_labels(7, 9, 2, seed=6)
    ridge = 0.05 * ntp.ridge_max(labels)
    best = ntp.solve_ridge(labels, ridge, tol=1e-11)

    def stationarity(W, H):
        G = (labels.P.toarray() - softmax(W @ H)) * labels.pi
        return max(np.abs(G @ H.T - ridge * W).max(), np.abs(W.T @ G - ridge * H).max())

    U, s, Vt = np.linalg.svd(best.L)
    rank = int((s > 1e-6 * s[0]).sum())
    W, H = U[:, :rank] * np.sqrt(s[:rank]), np.sqrt(s[:rank])[:, None] * Vt[:rank]
    assert stationarity(W, H) <= 1e-5 * ridge
    assert ntp.certify_ridge(W @ H, labels, ridge).relative_gap <= 1e-6

    # Width 1, trained to stationarity: the gradient leaves the ball, the certificate stays open.
    w = torch.tensor(W[:, :1].copy(), requires_grad=True)
    h = torch.tensor(H[:1].copy(), requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [w, h],
        max_iter=2000,
        tolerance_grad=1e-12,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def loss():
        optimiser.zero_grad()
        value = ntp.cross_entropy(w @ h, labels) + ridge / 2 * ((w**2).sum() + (h**2).sum())
        value.backward()
        return value

    optimiser.step(loss)
    w, h = w.detach().numpy(), h.detach().numpy()
    narrow = ntp.certify_ridge(w @ h, labels, ridge)
    assert stationarity(w, h) <= 1e-6 * ridge
    assert narrow.operator_norm > 1.1 * ridge
    assert narrow.relative_gap > 1e-2
    assert narrow.primal > best.certificate.primal * (1 + 1e-3)


def test_inputs_of_every_kind_are_judged_in_float64():
    labels = ntp.random_soft_labels(5, 8, 2)
    L = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    expected = ntp.certify_ridge(L.astype(np.float64), labels, 0.01)
    for same in (L, torch.tensor(L, requires_grad=True), L.tolist(), np.asfortranarray(L)):
        judged = ntp.certify_ridge(same, labels, 0.01)
        for name in ("primal", "dual", "gap", "operator_norm", "alignment"):
            assert getattr(judged, name) == pytest.approx(getattr(expected, name), rel=1e-13)
    assert "relative gap" in str(expected)


# ---------------------------------------------------------------- exact projections


@settings(max_examples=150)
@given(supports(), st.integers(0, 10**6), st.floats(-3, 3), st.sampled_from([0.0, 0.5, 1.0]))
def test_project_margin_is_the_nearest_feasible_matrix(S, seed, exponent, margin):
    """Feasible, and <L - P, Y - P> <= 0 for every feasible Y: that is the nearest point."""
    rng = np.random.default_rng(seed)
    L = 10.0**exponent * rng.normal(size=S.shape)
    projected = ntp.project_margin(L, S, margin)
    scale = max(1.0, np.abs(L).max())
    assert margin_violation(projected, S, margin) <= 1e-14 * scale

    def is_nearest(point):
        for _ in range(20):
            level = scale * rng.normal(size=S.shape[1])
            below = np.where(rng.random(S.shape) < 0.5, 0, scale * rng.exponential(size=S.shape))
            feasible = np.where(S > 0, level, level - margin - below)
            tight = np.where(S > 0, point, np.where(rng.random(S.shape) < 0.5, point, point - 1))
            for other in (feasible, tight, point + rng.normal(size=S.shape[1])):
                if ((L - point) * (other - point)).sum() > 1e-10 * scale**2 * S.size:
                    return False
        return True

    assert is_nearest(projected)
    again = ntp.project_margin(projected, S, margin)
    np.testing.assert_allclose(again, projected, atol=1e-14 * scale)
    if not S.all():  # mutation: a feasible point further away
        assert not is_nearest(projected - np.where(S > 0, 0.0, scale))


@pytest.mark.reference
@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_project_margin_agrees_with_cvxpy(margin):
    S = (mixed_counts(7, 11, seed=2) > 0).astype(float)
    S[:, 0], S[:, 1] = 1, np.eye(7)[2]
    L = 2 * np.random.default_rng(0).normal(size=S.shape)
    expected = cvxpy_project_margin(L, S, margin)
    np.testing.assert_allclose(ntp.project_margin(L, S, margin), expected, atol=1e-5)


@settings(max_examples=100)
@given(supports(), st.integers(0, 10**6))
def test_project_dual_is_the_nearest_point_of_the_cone(S, seed):
    """G = (cone part) - (polar part), orthogonal to each other: Moreau's decomposition."""
    rng = np.random.default_rng(seed)
    G = rng.normal(size=S.shape)
    cone = ntp.project_dual(G, S)
    assert np.abs(cone.sum(axis=0)).max() <= 1e-13
    assert np.where(S > 0, 0, cone).max() <= 1e-14
    rest = G - cone
    assert abs((rest * cone).sum()) <= 1e-12 * S.size
    for _ in range(20):  # the rest has no positive product with any point of the cone
        below = np.where(S > 0, 0.0, -rng.exponential(size=S.shape))
        spread = S * rng.dirichlet(np.ones(len(S)), size=S.shape[1]).T
        other = below - spread / spread.sum(axis=0) * below.sum(axis=0)
        assert (rest * other).sum() <= 1e-12 * S.size


def test_projections_leave_their_input_and_take_sparse_supports():
    labels = ntp.random_soft_labels(5, 8, 2)
    G = np.random.default_rng(0).normal(size=(5, 8))
    before = G.copy()
    for project in (ntp.project_margin, ntp.project_dual):
        dense, thin = project(G, labels.S.toarray()), project(G, labels.S)
        np.testing.assert_array_equal(dense, thin)
    np.testing.assert_array_equal(G, before)


# ---------------------------------------------------------------- the max-margin problem


@settings(max_examples=60)
@given(supports(max_V=15, max_m=15), st.integers(0, 10**6), st.floats(-3, 3), st.floats(-3, 3))
def test_any_pair_gives_valid_margin_bounds(S, seed, a, b):
    """Weak duality: random, infeasible and perturbed (L, dual) bound |L_mm|_* from both sides."""
    best = ntp.solve_max_margin(S, tol=1e-8)
    assert best.converged
    rng = np.random.default_rng(seed)
    noise_L, noise_G = rng.normal(size=(2, *S.shape))
    low, high = best.certificate.dual, best.certificate.primal
    for L, G in (
        (10**a * noise_L, 10**b * noise_G),
        (best.L + 10**a * noise_L, best.dual + 10**b * noise_G),
        (10**a * best.L, 10**b * best.dual),
        (-best.L, -best.dual),
    ):
        certificate = ntp.certify_margin(L, G, S)
        assert bounds_the_optimum(certificate, low, high)
        assert certificate.gap >= 0 and certificate.relative_gap >= 0


def test_margin_bounds_without_repair_are_not_valid():
    """Mutation: values of an infeasible pair, taken as they are, lie on the wrong side."""
    labels = ntp.random_soft_labels(7, 12, 3, seed=0)
    S = labels.S.toarray()
    best = ntp.solve_max_margin(S, tol=1e-9)
    low, high = best.certificate.dual, best.certificate.primal
    L, G = 0.9 * best.L, 1.1 * best.dual
    assert bounds_the_optimum(ntp.certify_margin(L, G, S), low, high)
    mutant = ntp.Certificate(nuclear_norm(L), float((G * S).sum()), 0.0, 0.0)
    assert not bounds_the_optimum(mutant, low, high)
    only_primal = ntp.Certificate(nuclear_norm(L), 0.0, 0.0, 0.0)
    assert not bounds_the_optimum(only_primal, low, high)


def test_the_violation_is_zero_for_feasible_pairs_and_a_distance_otherwise():
    labels = ntp.random_soft_labels(6, 11, 2, seed=0)
    S = labels.S.toarray()
    best = ntp.solve_max_margin(S, tol=1e-8)
    assert margin_violation(best.L, S) <= 1e-12 and dual_violation(best.dual, S) <= 1e-12
    assert ntp.certify_margin(best.L, best.dual, S).violation <= 1e-12
    moved = best.L.copy()
    moved[:, 0] -= 0.25 * S[:, 0]  # one column now misses its margin
    distance = ntp.certify_margin(moved, best.dual, S).violation
    expected = np.linalg.norm(ntp.project_margin(moved, S) - moved)
    assert distance == pytest.approx(expected, rel=1e-10)
    assert expected > 0.1


@pytest.mark.reference
def test_an_answer_of_cvxpy_is_repaired_and_its_distance_reported():
    """A solution that violates the constraints slightly still gets two valid bounds."""
    S = (mixed_counts(20, 18, seed=5) > 0).astype(float)
    value, L = cvxpy_max_margin(S)
    L = L + 1e-5 * np.random.default_rng(0).normal(size=S.shape)  # as at eps_rel 1e-5
    best = ntp.solve_max_margin(S, tol=1e-9)
    certificate = ntp.certify_margin(L, best.dual, S)
    assert certificate.primal == pytest.approx(value, rel=1e-4)
    assert certificate.relative_gap < 1e-4
    assert 1e-6 < certificate.violation < 1e-3
    assert bounds_the_optimum(certificate, best.certificate.dual, best.certificate.primal)


@pytest.mark.parametrize("V, k", [(4, 1), (5, 2), (6, 3), (5, 4)])
def test_closed_form_pair_is_certified_exactly(V, k):
    """All k-subsets: S_centered and U V' of its SVD close the gap to rounding."""
    S = all_subsets(V, k)
    proxy = S - S.mean(axis=0)
    U, s, Vt = np.linalg.svd(proxy, full_matrices=False)
    kept = s > 1e-9
    certificate = ntp.certify_margin(proxy, U[:, kept] @ Vt[kept], S)
    assert certificate.relative_gap <= 1e-12 and certificate.violation <= 1e-12
    mutant = ntp.certify_margin(proxy, (U[:, kept] @ Vt[kept])[::-1], S)  # tokens permuted
    assert mutant.relative_gap > 1e-2


@pytest.mark.parametrize("S", [np.ones((3, 5)), np.ones((1, 4)), np.ones((1, 1))])
def test_no_margins_at_all_certify_zero(S):
    L, G = np.random.default_rng(0).normal(size=(2, *S.shape))
    certificate = ntp.certify_margin(L, G, S)
    assert (certificate.primal, certificate.dual, certificate.gap) == (0, 0, 0)
    assert certificate.relative_gap == 0


def test_shifting_columns_of_L_changes_nothing():
    labels = ntp.random_soft_labels(6, 9, 2, seed=2)
    best = ntp.solve_max_margin(labels, tol=1e-7)
    shifted = ntp.certify_margin(best.L + np.arange(9), best.dual, labels.S)
    assert shifted.primal == pytest.approx(best.certificate.primal, rel=1e-12)


# ---------------------------------------------------------------- the floor, and centring


def test_the_floor_is_a_bound_so_the_relative_gap_never_exceeds_one():
    """Q = P is dual feasible: 1.01 L_ridge at ridge 1e-6 had a relative gap of 1.02 without it."""
    labels = ntp.random_soft_labels(30, 80, 3, seed=0)
    best = ntp.solve_ridge(labels, 1e-6, tol=1e-7)
    judged = ntp.certify_ridge(1.01 * best.L, labels, 1e-6)
    exact = mp_certificate(1.01 * best.L[:, :6], labels.select(range(6)).N.toarray(), 1e-6)
    assert judged.dual == 0 and judged.relative_gap == 1 and judged.gap == judged.primal
    assert float(exact["dual"]) < 0  # the other bound alone is worse than the floor


def test_centring_the_columns_is_worth_what_the_certificate_says():
    labels = ntp.random_soft_labels(8, 12, 3, seed=0)
    best = ntp.solve_ridge(labels, 1e-3, tol=1e-9)
    centred = best.L - best.L.mean(axis=0)
    shifted = centred + 5.0  # softmax cannot see it
    for ridge in (1e-3, None):
        plain = ntp.certify_ridge(shifted, labels, ridge)
        same = ntp.certify_ridge(shifted, labels, ridge, center=True)
        expected = ntp.certify_ridge(centred, labels, ridge)
        assert plain.centering_gain == pytest.approx(plain.primal - expected.primal, rel=1e-9)
        assert plain.centering_gain > 0.1 * plain.primal and plain.alignment < 0.9
        assert same.primal == pytest.approx(expected.primal, rel=1e-12)
        assert same.alignment == pytest.approx(1, abs=1e-6)
        assert 0 <= same.centering_gain <= 1e-12 and 0 <= expected.centering_gain <= 1e-12
    assert (shifted.mean(axis=0) > 4).all()  # left as it was


def test_equal_contexts_are_judged_once_with_their_number():
    """Against the whole matrices; contexts of equal support that differ elsewhere all count."""
    rng = np.random.default_rng(0)
    S = mixed_counts(8, 5, seed=2) > 0
    columns = rng.permutation(np.repeat(np.arange(5), [1, 2, 3, 1, 4]))
    L, dual = rng.normal(size=(2, 8, 5))
    whole = L[:, columns], dual[:, columns], S[:, columns]
    merged = certificate._merge_equal_contexts(*whole)
    assert merged[0].shape == (8, 5) and sorted(merged[3]) == [1, 1, 2, 3, 4]
    found = ntp.certify_margin(*whole)
    feasible = ntp.project_margin(whole[0], whole[2])
    cone = ntp.project_dual(whole[1], whole[2])
    centred = feasible - feasible.mean(axis=0)
    moved = np.linalg.norm(feasible - whole[0]) + np.linalg.norm(cone - whole[1])
    assert found.primal == pytest.approx(np.linalg.norm(centred, "nuc"), rel=1e-12)
    norm = np.linalg.norm(cone, 2)
    assert found.dual == pytest.approx(cone[whole[2]].sum() / max(1, norm), rel=1e-10)
    assert found.violation == pytest.approx(moved, rel=1e-12)
    other = whole[1].copy()
    other[0, list(columns).index(4)] += 1e-3  # one of four equal contexts
    assert certificate._merge_equal_contexts(whole[0], other, whole[2])[0].shape == (8, 11)


def test_equal_rows_count_as_often_as_they_occur():
    """Tokens that follow no context are judged once; the bounds are those of the whole matrices."""
    rng = np.random.default_rng(0)
    S = np.zeros((30, 9), dtype=int)
    S[np.arange(9) % 6, np.arange(9)] = 1  # rows 6 to 29 are zero, and no other one is
    S[:6] |= rng.random((6, 9)) < 0.2
    L, G = (rng.standard_normal((30, 9)) for _ in range(2))
    L[6:], G[6:] = L[6], G[6]
    feasible, cone = ntp.project_margin(L, S), ntp.project_dual(G, S)
    moved = np.linalg.norm(feasible - L) + np.linalg.norm(cone - G)
    feasible -= feasible.mean(axis=0)
    norm = np.linalg.norm(cone, 2)
    judged = ntp.certify_margin(L, G, S)
    assert judged.primal == pytest.approx(np.linalg.norm(feasible, "nuc"), rel=1e-12)
    assert judged.dual == pytest.approx((cone * S).sum() / norm, rel=1e-12)
    assert judged.operator_norm == pytest.approx(norm, rel=1e-12)
    assert judged.violation == pytest.approx(moved, rel=1e-12)
    L[-1, 0] += 1.0  # rows of equal supports that differ are judged one by one
    assert ntp.certify_margin(L, G, S).primal != pytest.approx(judged.primal, rel=1e-12)
