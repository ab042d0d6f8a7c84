"""The statements of "The regularisation path", each by an independent truth."""

from __future__ import annotations

import numpy as np
import pytest
from reference import (
    conditional_entropy,
    cosine,
    cvxpy_max_margin,
    dual_violation,
    margin_violation,
    mixed_counts,
    nuclear_norm,
    operator_norm,
    softmax,
)

import ntp_lite as ntp
from ntp_lite.exercises.regularisation_path import solution_guaranteed_margins

RIDGES = 10.0 ** -np.arange(1, 12)


class Case:
    """Counts, a path, and the max-margin solution by CVXPY, which shares nothing with the path."""

    def __init__(self, N):
        self.N, self.labels = N, ntp.SoftLabels.from_counts(N)
        self.S, self.P, self.pi = N > 0, N / N.sum(axis=0), N.sum(axis=0) / N.sum()
        self.n, self.N_min = N.sum(), N[N > 0].min()
        self.lambda_0 = self.N_min / (2 * self.n)
        self.path = ntp.ridge_path(self.labels, RIDGES, tol=1e-6)
        self.A, self.L_mm = cvxpy_max_margin(self.S.astype(float))
        self.L_in = np.where(self.S, np.log(np.where(self.S, self.P, 1)), 0.0)
        self.L_in -= np.where(self.S, self.L_in.sum(axis=0) / self.S.sum(axis=0), 0)
        self.C_on = 2 * self.n * (1 / N[N > 0]).sum()

    def points(self, below=True):
        """(ridge, t, L, Q) of the certified points, by default those below lambda_0."""
        for point in self.path:
            if point.converged and (point.ridge <= self.lambda_0 or not below):
                yield point.ridge, np.log(1 / point.ridge), point.L, softmax(point.L)


@pytest.fixture(scope="module")
def case():
    case = Case(mixed_counts(6, 8, seed=4, largest_support=4))
    assert len(list(case.points())) >= 6 and case.S.sum(axis=0).max() > 1
    return case


@pytest.mark.parametrize("mutation", ["", "proxy", "permuted support"])
def test_the_path_tends_to_its_limits(case, mutation):
    """Theorem label: thm-regularisation-path-limit

    Excess, in-support part, norm and direction. The slope is the sharp test of the direction: it
    leaves the proxy and the solution of a permuted support behind.
    """
    target = {
        "": case.L_mm,
        "proxy": ntp.centered_support(case.labels),
        "permuted support": ntp.solve_max_margin(np.roll(case.S, 1, axis=1), tol=1e-6).L,
    }[mutation]
    points = list(case.points())
    last = [p for p in case.path if p.converged][-1]
    assert ntp.excess_loss(last.L, case.labels) < 1e-8
    assert (
        np.abs(case.S * (last.L - (case.S * last.L).sum(0) / case.S.sum(0)) - case.L_in).max()
        < 1e-6
    )
    norms = [nuclear_norm(L) for *_, L, _ in points]
    assert (np.diff(norms) > 0.5 * case.A * np.log(10)).all()
    distances = [np.linalg.norm(L / t - target) for _, t, L, _ in points]
    closing = all(np.diff(distances) < 0) and cosine(last.slope, target) > 0.9995
    assert closing == (mutation == "")


@pytest.mark.parametrize("follows", [0, 1])
def test_the_norm_diverges_if_some_support_is_not_full(follows):
    """Theorem label: thm-regularisation-path-limit

    One context of two tokens. Mutation: the second one follows as well, and all logits are zero.
    """
    labels = ntp.SoftLabels.from_counts([[1], [follows]])
    before, after = (ntp.solve_ridge(labels, ridge, tol=1e-9).L for ridge in (1e-3, 1e-6))
    A = ntp.solve_max_margin(labels.S.toarray(), tol=1e-9).certificate.primal
    diverges = nuclear_norm(after) - nuclear_norm(before) > 0.9 * np.log(1e3) / np.sqrt(2)
    assert bool(diverges) is bool(A > 0.1) is (follows == 0)
    if follows:
        assert np.abs(after).max() < 1e-9  # no direction, and no angle to L_mm = 0


@pytest.mark.parametrize("mutation", ["", "columns that do not sum to zero", "without L_in"])
def test_pairing_of_margins(case, mutation):
    """Theorem label: lem-regularisation-path-residual

    The identity for <Y, X> by mean margins. Mutations: Y not centred; no part on the support.
    """
    rng = np.random.default_rng(5)
    X, Y = rng.normal(size=(2, *case.S.shape))
    if mutation != "columns that do not sum to zero":
        Y -= Y.mean(axis=0)
    mean = (case.S * X).sum(axis=0) / case.S.sum(axis=0)
    on_support = (Y * case.S * (X - mean)).sum() if mutation != "without L_in" else 0.0
    off_support = (-Y * ~case.S * (mean - X)).sum()
    assert np.isclose((Y * X).sum(), on_support + off_support) == (mutation == "")


@pytest.mark.parametrize("mutation", ["", "without priors", "tenth of the ridge"])
def test_entries(case, mutation):
    """Theorem label: lem-regularisation-path-entries

    Law 1, also above lambda_0.
    """
    weights = np.ones(len(case.pi)) if mutation == "without priors" else case.pi
    factor = 0.1 if mutation == "tenth of the ridge" else 1.0
    holds = all(
        (np.abs(case.P - Q) * weights).max() <= factor * ridge * (1 + 1e-4)
        for ridge, _, _, Q in case.points(below=False)
    )
    assert holds == (mutation == "")


@pytest.mark.parametrize("mutation", ["", "quadratic", "other frequencies"])
def test_frequencies_are_learned_linearly(case, mutation):
    """Theorem label: thm-regularisation-path-laws

    Law 2. Mutations: the square of the ridge in the bound; the frequencies of other contexts.
    """
    L_in = np.roll(case.L_in, 1, axis=1) if mutation == "other frequencies" else case.L_in
    holds = True
    for ridge, _, L, _ in case.points():
        inside = case.S * (L - (case.S * L).sum(axis=0) / case.S.sum(axis=0))
        power = 2 if mutation == "quadratic" else 1
        bound = 3 * (case.n * ridge / case.N_min) ** power
        holds &= np.abs(inside - L_in).max() <= bound * (1 + 1e-3)
    assert bool(holds) == (mutation == "")


@pytest.mark.parametrize("mutation", ["", "faster", "permuted support"])
def test_margins_grow(case, mutation):
    """Theorem label: lem-regularisation-path-entries

    Law 3. Mutations: a bound that grows twice as fast; the supports of other contexts.
    """
    S = np.roll(case.S, 1, axis=1) if mutation == "permuted support" else case.S
    holds = True
    for ridge, t, L, _ in case.points():
        for column, support, counts in zip(L.T, S.T, case.N.T, strict=True):
            if support.all():
                continue
            for z in np.flatnonzero(support):
                bound = (2 if mutation == "faster" else 1) * t
                bound += np.log(max(counts[z] / case.n, 1 / case.n) - ridge)
                holds &= column[z] - column[~support].max() >= bound - 1e-3
    assert bool(holds) == (mutation == "")


@pytest.mark.parametrize("mutation", ["", "doubled", "opposite sign", "another point"])
def test_residual_is_a_dual_point(case, mutation):
    """Theorem label: lem-regularisation-path-residual

    G / ridge is feasible, its value at most A. Mutations: other multiples; logits off the path.
    """
    holds = True
    for point in case.path:
        L, ridge = point.L, point.ridge
        if not 1e-8 < ridge < ntp.ridge_max(case.labels) or not point.converged:
            continue
        if mutation == "another point":
            L = 0.9 * L
        scale = {"doubled": 2, "opposite sign": -1}.get(mutation, 1) / ridge
        G = scale * (case.P - softmax(L)) * case.pi
        leak = (np.where(case.S, 0, softmax(L)) * case.pi).sum()
        assert (G * case.S).sum() == pytest.approx(scale * leak, abs=1e-6)
        holds &= dual_violation(G, case.S) <= 1e-4 and (G * case.S).sum() <= case.A * (1 + 1e-4)
    assert bool(holds) == (mutation == "")


def test_excess_is_leak_plus_second_order(case):
    """Theorem label: lem-regularisation-path-residual

    leak <= excess <= leak + C ridge^2; with ridge^3 in the place of ridge^2 it fails.
    """
    fails = False
    for ridge, _, L, Q in case.points():
        leak = (np.where(case.S, 0, Q) * case.pi).sum()
        excess = ntp.excess_loss(L, case.labels)
        assert leak * (1 - 1e-12) <= excess <= leak * (1 + 1e-12) + case.C_on * ridge**2
        fails |= excess > leak + case.C_on * ridge**3
    assert fails


def dual_solution(case):
    return ntp.solve_max_margin(case.labels, tol=1e-9).dual


def bounds_of_the_value(case, G):
    off = ~case.S
    k = case.S.sum(axis=0)
    C_up = nuclear_norm(case.L_in) + case.pi @ ((len(case.P) - k) / k)
    g = np.where(off, -G, 0.0)
    C_down = (g * np.log(np.where(g > 0, g, 1) / case.pi))[g > 0].sum()
    C_down += (np.abs(G) * (1 + np.log(1 / np.where(case.S, case.P, 1))))[case.S].sum()
    return C_down, C_up


@pytest.mark.parametrize("mutation", ["", "price * 1.5", "price * 0.5"])
def test_value(case, mutation):
    """Theorem label: lem-regularisation-path-value

    Both bounds, for the value that the path reports. Mutations: another number than A.
    """
    A = case.A * float(mutation[8:] or 1)
    C_down, C_up = bounds_of_the_value(case, dual_solution(case))
    h = [p.certificate.primal / p.ridge - A * np.log(1 / p.ridge) for p in case.path[2:]]
    used = [
        x for x, p in zip(h, case.path[2:], strict=True) if p.converged and p.ridge <= case.lambda_0
    ]
    holds = max(used) <= C_up and min(used) >= -C_down
    assert holds == (mutation == "")


@pytest.mark.parametrize("mutation", ["", "random dual", "above lambda_0"])
def test_dual_point_of_the_lower_bound(case, mutation):
    """Theorem label: lem-regularisation-path-value

    P - ridge G_mm / pi is feasible with entropy at least Hc + ridge (t A - C_down). Mutations: a
    matrix that is no dual point, and a ridge that is too large.
    """
    G = dual_solution(case)
    ridge = 0.9 * case.lambda_0
    if mutation == "random dual":
        G = np.random.default_rng(0).normal(size=G.shape)
        G /= operator_norm(G)
    elif mutation == "above lambda_0":
        ridge = 1e3 * case.lambda_0
    R = case.P - ridge * G / case.pi
    feasible = R.min() >= 0 and np.allclose(R.sum(axis=0), 1)
    assert feasible == (mutation == "")
    if feasible:
        C_down, _ = bounds_of_the_value(case, G)
        bound = ridge * (np.log(1 / ridge) * case.A - C_down)
        assert conditional_entropy(R, case.pi) - case.labels.entropy >= bound - 1e-9


def test_trial_point_of_the_upper_bound(case):
    """Theorem label: lem-regularisation-path-value

    L_in + t L_mm has excess at most ridge sum pi (V - k) / k; with half of the margins it has not.
    """
    k = case.S.sum(axis=0)
    L_mm = ntp.solve_max_margin(case.labels, tol=1e-9).L
    assert margin_violation(L_mm, case.S) < 1e-9
    for ridge in (1e-2, 1e-4, 1e-8):
        bound = ridge * (case.pi @ ((len(case.P) - k) / k))
        L = case.L_in + np.log(1 / ridge) * L_mm
        assert ntp.excess_loss(L, case.labels) <= bound
        short = case.L_in + np.log(1 / ridge) * L_mm / 2
        assert ntp.excess_loss(short, case.labels) > bound


@pytest.mark.parametrize("mutation", ["", "frobenius"])
def test_derivative_of_the_value(case, mutation):
    """Theorem label: lem-regularisation-path-derivative

    Central differences of v against the norm. Mutation: another norm.
    """
    ridge = 1e-3
    ends = [
        ntp.solve_ridge(case.labels, ridge * x, tol=1e-9).certificate.primal for x in (1.05, 0.95)
    ]
    L = ntp.solve_ridge(case.labels, ridge, tol=1e-9).L
    norm = np.linalg.norm(L) if mutation else nuclear_norm(L)
    derivative = (ends[0] - ends[1]) / (0.1 * ridge)
    assert np.isclose(derivative, norm, rtol=3e-3) == (mutation == "")


@pytest.mark.parametrize("mutation", ["", "price * 1.5", "price * 0.5"])
def test_norm(case, mutation):
    """Theorem label: lem-regularisation-path-norm"""
    A = case.A * float(mutation[8:] or 1)
    C_down, C_up = bounds_of_the_value(case, dual_solution(case))
    holds = all(
        t * A - C_down - A - case.C_on * ridge <= nuclear_norm(L) <= t * A + C_up
        for ridge, t, L, _ in case.points()
    )
    assert holds == (mutation == "")


def test_limit_points_are_feasible(case):
    """Theorem label: lem-regularisation-path-norm

    The violation of the margins by L / t closes like 1/t; for the permuted support it does not.
    """
    violations, wrong = [], []
    for _, t, L, _ in case.points():
        violations.append(t * margin_violation(L / t, case.S))
        wrong.append(t * margin_violation(L / t, np.roll(case.S, 1, axis=1)))
    bound = np.log(2 * case.n / case.N_min) + 2 * np.ptp(case.L_in, axis=0).max()
    assert max(violations) <= bound < max(wrong)


@pytest.mark.parametrize("mutation", ["", "price * 1.5", "price * 0.5"])
def test_excess_loss(case, mutation):
    """Theorem label: lem-regularisation-path-excess

    Excess over ridge tends to A, from below once the frequencies are learned, and equals h' + A.
    """
    A = case.A * float(mutation[8:] or 1)
    ratios, h, ts = [], [], []
    for ridge, t, L, _ in case.points():
        ratios.append(ntp.excess_loss(L, case.labels) / ridge)
        value = ntp.excess_loss(L, case.labels) + ridge * nuclear_norm(L)
        h.append(value / ridge - t * A)
        ts.append(t)
    shortfall = A - np.array(ratios)
    rate = -(shortfall[1:] + shortfall[:-1]) / 2
    integrated = np.allclose(np.diff(h)[2:], (rate * np.diff(ts))[2:], rtol=0.1, atol=0.02)
    tends = abs(shortfall[-1]) < 0.02 * case.A and (shortfall[2:] > -1e-3 * case.A).all()
    assert integrated  # true for any number in the place of A: it cancels
    assert bool(tends) == (mutation == "")


@pytest.mark.parametrize("mutation", ["", "half of gamma"])
def test_margins_of_any_model(case, mutation):
    """Theorem label: cor-regularisation-path-any

    Random logits, and logits near the path: margins, entries, in-support part. Mutation: half the
    largest entry of the residual.
    """
    rng = np.random.default_rng(3)
    holds, seen = True, 0
    for point in case.path[2:7]:
        for noise in (0.0, 0.3, 1.0):
            L = point.L + noise * rng.normal(size=point.L.shape)
            G = (case.P - softmax(L)) * case.pi
            gamma = np.abs(G).max() * (0.5 if mutation else 1)
            bound = solution_guaranteed_margins(case.N, gamma)
            margin = L - np.where(case.S, -np.inf, L).max(axis=0)
            covered = np.isfinite(bound)
            holds &= (margin >= bound - 1e-9)[covered].all()
            if mutation:
                continue
            weaker = solution_guaranteed_margins(case.N, operator_norm(G))
            assert (bound >= weaker)[case.S].all()  # the largest entry says more
            if gamma <= case.lambda_0:  # the bound on frequencies is not sharp
                inside = case.S * (L - (case.S * L).sum(0) / case.S.sum(0))
                assert np.abs(inside - case.L_in).max() <= 3 * case.n * gamma / case.N_min
                seen += 1
    assert mutation or seen > 0
    # One context, all of it one token, two tokens: the bound is sharp.
    L = np.array([[5.0], [0.0]])
    gamma = softmax(L)[1, 0] * (0.5 if mutation else 1)
    sharp = solution_guaranteed_margins(np.array([[1], [0]]), gamma)[0, 0]
    holds &= sharp <= 5.0 + 1e-9
    assert mutation or np.isclose(sharp, 5.0)
    assert bool(holds) == (mutation == "")


def test_the_smallest_language():
    """Exercise label: ex-regularisation-path-tiny"""
    labels = ntp.SoftLabels.from_counts([[1], [0]])
    for ridge in (1e-2, 1e-5):
        q = ridge / np.sqrt(2)
        L = ntp.solve_ridge(labels, ridge, tol=1e-10).L[:, 0]
        assert np.allclose(L, np.array([0.5, -0.5]) * np.log((1 - q) / q), atol=1e-4)
        assert not np.allclose(L, np.array([0.5, -0.5]) * np.log(1 / ridge), atol=1e-2)


# Token 1 of context 0 has margin one in L_mm (the proxy) and dual zero.
NOT_STRICT = np.array([[0, 0, 0, 2], [0, 0, 1, 0], [0, 5, 4, 5], [3, 4, 0, 4]])
# Supports whose only dual solution is negative at every entry off them.
STRICT = np.array([[3, 0, 7, 0], [1, 5, 0, 0], [2, 0, 0, 4], [0, 1, 2, 9]])


def polar_factor(L):
    U, s, Vt = np.linalg.svd(L, full_matrices=False)
    r = int((s > 1e-6 * s[0]).sum())
    return U[:, :r] @ Vt[:r]


def offsets(N, ridges):
    """Mean margin of the path minus t at every entry off the support; (ridges, V, m)."""
    S = N > 0
    points = ntp.ridge_path(ntp.SoftLabels.from_counts(N), ridges, tol=1e-4)
    assert all(point.converged for point in points)
    mean = [(S * p.L).sum(axis=0) / S.sum(axis=0) - p.L for p in points]
    return np.array(mean) - np.log(1 / ridges)[:, None, None]


@pytest.mark.parametrize("mutation", ["", "dual of another support", "margin law twice as fast"])
def test_weighted_margins_are_bounded(case, mutation):
    """Theorem label: thm-regularisation-path-bounded

    Part 1, summed over entries with the dual as weights. Mutations: a matrix that is no dual
    solution; 2 t in the place of t.
    """
    S = np.roll(case.S, 1, axis=1) if mutation == "dual of another support" else case.S
    G = ntp.solve_max_margin(S, tol=1e-9).dual
    off = ~case.S
    c_0 = np.log(2 * case.n / case.N_min)
    _, C_up = bounds_of_the_value(case, dual_solution(case))
    holds = True
    for _, t, L, _ in case.points():
        mean = (case.S * L).sum(axis=0) / case.S.sum(axis=0)
        C = C_up + c_0 * case.A - (G * case.S * (L - mean)).sum()
        speed = 2 if mutation == "margin law twice as fast" else 1
        terms = (-G * (mean - L - speed * t + c_0))[off]
        holds &= terms.min() >= -1e-3 and terms.sum() <= C * (1 + 1e-4)
    assert bool(holds) == (mutation == "")


@pytest.mark.parametrize("mutation", ["", "without priors", "permuted counts"])
def test_margins_settle_where_the_dual_is_negative(mutation):
    """Theorem label: thm-regularisation-path-direction

    Margin - t tends to ln(N/n) - ln|G|, with G the polar factor of the proxy (the only dual
    solution). Mutations: N / n_j in the place of N / n; the counts of other contexts.
    """
    N = STRICT
    G = polar_factor(ntp.centered_support(N > 0))
    off = N == 0
    assert G[off].max() < -0.05 and operator_norm(G) == pytest.approx(1)
    counts = np.roll(N, 1, axis=0) if mutation == "permuted counts" else N
    total = N.sum(axis=0) if mutation == "without priors" else N.sum()
    # The theorem is for each z; its mean over the support enters the offsets.
    logs = np.where(N > 0, np.log(np.maximum(counts, 1) / total), 0).sum(axis=0)
    limit = logs / (N > 0).sum(axis=0) - np.log(np.where(off, -G, 1))
    ridges = 10.0 ** -np.arange(3, 12, 2)
    errors = [np.abs(x - limit)[off].max() for x in offsets(N, ridges)]
    # The error falls like 1/t: t times it settles, and the last is small.
    holds = errors[-1] < 0.12 and all(np.diff(errors) < 0)
    assert holds == (mutation == "")


@pytest.mark.parametrize("table", ["strict", "not strict"])
def test_bounded_if_and_only_if_strict(table):
    """Theorem label: thm-regularisation-path-bounded

    Parts 2 and 3: the offsets settle, or one of them grows by at least a tenth of ln t's growth.
    Mutation: the table at which complementarity is not strict.
    """
    N = STRICT if table == "strict" else NOT_STRICT
    S = N > 0
    solved = ntp.solve_max_margin(S, tol=1e-12)
    assert np.allclose(solved.L, ntp.centered_support(S), atol=1e-6)  # the proxy
    assert np.linalg.matrix_rank(solved.L, tol=1e-6) == min(len(N) - 1, N.shape[1])
    exact = polar_factor(ntp.centered_support(S))
    assert np.allclose(solved.dual, exact, atol=1e-5)
    strict = ntp.strict_complementarity(solved, S)
    assert strict.holds == (exact[~S].max() < -1e-9) == (table == "strict")
    ridges = np.array([1e-5, 1e-11])
    growth = np.diff(offsets(N, ridges), axis=0)[0]
    log_growth = np.diff(np.log(np.log(1 / ridges)))[0]
    if table == "strict":
        assert np.abs(growth[~S]).max() < 0.1 * log_growth
    else:
        token, context = strict.entries[0]
        assert growth[token, context] > 0.5 * log_growth
        growth[token, context] = 0
        assert np.abs(growth[~S]).max() < 0.1 * log_growth


@pytest.mark.parametrize("mutation", ["", "largest singular value"])
def test_polar_factors_are_monotone(mutation):
    """Theorem label: thm-regularisation-path-bounded

    Part 3, the bound from below: <Y, X - X_0> is at least half the least singular value of X_0
    times |Y|^2, with Y the difference of the polar factors. Mutation: the largest one.
    """
    rng, holds = np.random.default_rng(8), True
    for shape in [(5, 4)] * 100 + [(3, 4)] * 100:
        X, X_0 = rng.normal(size=(2, *shape))
        Y = polar_factor(X) - polar_factor(X_0)
        values = np.linalg.svd(X_0, compute_uv=False)
        bound = (values.max() if mutation else values.min()) / 2 * (Y**2).sum()
        holds &= bool((Y * (X - X_0)).sum() >= bound)
    assert holds is (mutation == "")


@pytest.mark.parametrize("seed", range(4))
def test_rest_settles_at_full_rank(seed):
    """Theorem label: thm-regularisation-path-bounded

    Part 3 with margins above one: random supports. Mutation: the proxy in the place of L_mm.
    """
    rng = np.random.default_rng(seed)
    S, solved = None, None
    while solved is None:
        S = rng.random((5, 5)) < 0.5
        S[rng.integers(5, size=5), np.arange(5)] = True
        result = ntp.solve_max_margin(S, tol=1e-11)
        full = np.linalg.matrix_rank(result.L, tol=1e-4) == 4
        spare = np.abs(result.L - ntp.centered_support(S)).max() > 0.05
        strong = ntp.strict_complementarity(result, S).strength > 0.08
        solved = result if full and spare and strong else None
    ridges = 10.0 ** -np.array([5, 8, 11])
    path = ntp.ridge_path(ntp.SoftLabels.from_counts(S * rng.integers(1, 9, S.shape)), ridges)
    for target, settles in ((solved.L, True), (ntp.centered_support(S), False)):
        rest = [np.abs(p.L - np.log(1 / p.ridge) * target).max() for p in path]
        assert (np.ptp(rest) < 0.15) == settles


@pytest.mark.parametrize("mutation", ["", "the ray through the last point"])
def test_slope_and_position_have_one_limit(case, mutation):
    """Theorem label: thm-regularisation-path-direction

    Slopes are nearer to the limit than positions, and both come closer at every step. Mutation:
    another direction, that of the last logits.
    """
    points = [p for p in case.path if p.converged and p.ridge <= case.lambda_0]
    limit = points[-1].L / np.log(1 / points[-1].ridge) if mutation else case.L_mm
    positions = [np.linalg.norm(p.L / np.log(1 / p.ridge) - limit) for p in points[1:-1]]
    slopes = [np.linalg.norm(p.slope - limit) for p in points[1:-1]]
    holds = all(np.diff(positions) < 0) and all(np.diff(slopes) < 0)
    holds &= all(s < x / 2 for s, x in zip(slopes, positions, strict=True))
    assert bool(holds) == (mutation == "")
