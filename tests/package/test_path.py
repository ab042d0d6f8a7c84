from __future__ import annotations

import time
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference import (
    cosine,
    counts,
    cvxpy_ridge,
    mixed_counts,
    nuclear_norm,
    operator_norm,
    softmax,
)

import ntp_lite as ntp
from ntp_lite import path as path_module
from ntp_lite.certificate import Repeats, ridge_bounds

LN10 = np.log(10)
RIDGES = 10.0 ** -np.arange(1, 12)  # 1e-1 (above ridge_max, where L = 0) to 1e-11


def make_labels(kind):
    if kind == "flat":  # every support entry counted once
        return ntp.SoftLabels.from_counts(ntp.random_soft_labels(30, 80, 3, seed=0).S)
    if kind == "skewed":  # equal support sizes, priors and frequencies skewed
        return ntp.random_soft_labels(30, 80, 4, seed=2)
    return ntp.SoftLabels.from_counts(mixed_counts(30, 80, seed=0))  # supports of 1 to 7 tokens


@cache
def solved_path(kind):
    """One certified path with everything the laws speak about."""
    labels = make_labels(kind)
    best = ntp.solve_max_margin(labels, tol=1e-8)
    results = ntp.ridge_path(labels, RIDGES, tol=1e-6)
    return SimpleNamespace(
        labels=labels,
        L_mm=best.L,
        G_mm=best.dual,
        A=best.certificate.primal,
        L_in=ntp.in_support_logits(labels).toarray(),
        results=results,
        late=[r for r in results if r.ridge <= 0.1 / labels.n],
    )


@pytest.fixture(scope="module", params=["flat", "skewed", "mixed"])
def path(request):
    return solved_path(request.param)


# ---------------------------------------------------------------- the laws of 1-theory, section 6


def test_every_point_down_to_1e_minus_11_is_certified(path):
    for result in path.results:
        judged = ntp.certify_ridge(result.L, path.labels, result.ridge)
        assert judged == result.certificate  # from the returned array alone
    assert all(result.converged for result in path.results[:-1])
    # At 1e-11 the rounding of the logits themselves is worth about 1e-6 of primal - Hc.
    assert all(result.certificate.relative_gap <= 1e-5 for result in path.results)
    assert len(path.late) >= 7


def test_law_i_probabilities_are_within_ridge_over_pi(path):
    """(i) |P[z,j] - Q[z,j]| <= ridge / pi_j for every token and context, at every ridge."""
    P, pi = path.labels.P.toarray(), path.labels.pi

    def holds(Q, ridge, priors=pi):
        return (np.abs(P - Q) <= ridge / priors * (1 + 1e-4)).all()

    for result in path.results:
        assert result.certificate.operator_norm <= result.ridge * (1 + 1e-4)
        Q = softmax(result.L)
        assert holds(Q, result.ridge)
        # The reason: no entry of G exceeds |G|_op.
        assert np.abs((P - Q) * pi).max() <= result.certificate.operator_norm * (1 + 1e-9)
    for result in path.late:
        assert not holds(softmax(result.L.T).T, result.ridge)  # mutation: wrong axis
        assert not holds(softmax(result.L), result.ridge / 100)  # mutation: another ridge
        shuffled = result.L[:, np.roll(np.arange(path.labels.m), 1)]
        assert not holds(softmax(shuffled), result.ridge)  # mutation: contexts permuted


def test_law_i_needs_the_prior():
    """Mutation: uniform weights 1/m in place of pi_j break (i) on skewed priors."""
    path = solved_path("mixed")
    P, m = path.labels.P.toarray(), path.labels.m
    for result in path.late:
        assert not (np.abs(P - softmax(result.L)) <= result.ridge * m).all()


def projection_errors(path, results, target=None):
    target = path.L_in if target is None else target
    split = [ntp.split_logits(r.L, path.labels).in_support.toarray() for r in results]
    return np.array([np.abs(part - target).max() for part in split])


def test_law_ii_frequencies_are_learned_linearly_in_ridge(path):
    """(ii) |P_F(L_ridge) - L_in|_inf <= 3 n ridge / min N once ridge <= min N / (2 n)."""
    n, smallest = path.labels.n, path.labels.N.data.min()
    inside = [r for r in path.results if r.ridge <= smallest / (2 * n)]
    bounds = np.array([3 * n * r.ridge / smallest for r in inside])

    def holds(errors):
        return (errors <= bounds).all()

    assert len(inside) >= 7
    assert holds(projection_errors(path, inside))
    raw = np.array([np.abs(r.L - path.L_in).max() for r in inside])
    assert not holds(raw)  # mutation: L itself instead of its projection
    rolled = np.roll(path.L_in, 1, axis=1)  # mutation: another context's frequencies
    if np.abs(path.L_in).max() > 1e-9:
        assert not holds(projection_errors(path, inside, rolled))
        assert not holds(projection_errors(path, inside, 0 * path.L_in))  # no frequencies at all


def test_law_ii_falls_by_ten_per_decade(path):
    """|P_F(L) - L_in| falls by 10 +- 0.5 per decade once ridge <= 0.1 / n."""

    def holds(errors):
        return (np.abs(errors[:-1] / errors[1:] - 10) <= 0.5).all()

    assert holds(projection_errors(path, path.late))
    assert not holds(np.array([np.abs(r.L - path.L_in).max() for r in path.late]))
    wrong = path.L_in + 1e-4 * np.sign(path.L_in + 0.5)  # mutation: a wrong limit
    assert not holds(projection_errors(path, path.late, wrong))


def margins_respect_iii(L, g, labels):
    """(iii) for logits with |G|_op = g, at every pair of a follower z and a non-follower v.

    `(holds, fraction of vacuous entries)`.
    """
    P, S, pi = labels.P.toarray(), labels.S.toarray() > 0, labels.pi
    argument = (P - g / pi) * pi / g
    vacuous = argument <= 0
    bound = np.where(vacuous, -np.inf, np.log(np.where(vacuous, 1, argument)))
    highest_off = np.where(S, -np.inf, L).max(axis=0)
    margins = np.where(S, L - highest_off, np.inf)
    room = 1e-9 * np.maximum(1, np.abs(bound))
    return (margins >= np.where(S, bound, -np.inf) - room)[S].all(), vacuous[S].mean()


def test_law_iii_every_margin_grows_like_ln_1_over_ridge(path):
    """(iii) L[z,j] - L[v,j] >= ln((P[z,j] - ridge/pi_j) pi_j / ridge)."""
    for result in path.late:
        g = max(result.ridge, result.certificate.operator_norm)
        holds, vacuous = margins_respect_iii(result.L, g, path.labels)
        assert holds and vacuous == 0
        # Mutations: half the logits; margins of the next larger ridge; permuted contexts.
        assert not margins_respect_iii(0.5 * result.L, g, path.labels)[0]
        assert not margins_respect_iii(result.L, g / 1e3, path.labels)[0]
        rolled = np.roll(result.L, 1, axis=1)
        assert not margins_respect_iii(rolled, g, path.labels)[0]


def test_laws_i_and_iii_hold_for_any_logits_with_their_own_norm():
    """(i), (iii) with the measured |G|_op in place of ridge hold for any model."""
    labels = make_labels("mixed")
    L_mm, L_in = ntp.solve_max_margin(labels).L, ntp.in_support_logits(labels).toarray()
    rng = np.random.default_rng(0)
    fractions = []
    for L in (8 * L_mm + L_in, 12 * ntp.centered_support(labels), rng.normal(size=L_mm.shape)):
        g = ntp.certify_ridge(L, labels).operator_norm
        assert (np.abs(labels.P.toarray() - softmax(L)) <= g / labels.pi * (1 + 1e-9)).all()
        holds, vacuous = margins_respect_iii(L, g, labels)
        assert holds
        fractions.append(vacuous)
    assert fractions[0] == 0 and fractions[-1] > 0.9  # for random logits it says nothing


def test_law_iv_the_value_is_floor_plus_ridge_t_A(path):
    """(iv) v(ridge) = Hc + ridge ln(1/ridge) |L_mm|_* + O(ridge): h(t) stays bounded, converges."""

    def settles(norm):
        h = [r.certificate.primal / r.ridge - np.log(1 / r.ridge) * norm for r in path.late]
        drift = np.abs(np.diff(h)) / (norm * LN10)  # per decade
        return drift[-1] <= 0.005 and (np.diff(drift) <= 1e-4).all()

    assert settles(path.A)
    hard = np.zeros(path.L_mm.shape)  # mutation: hard labels, the commonest token alone
    hard[path.labels.P.toarray().argmax(axis=0), np.arange(path.labels.m)] = 1
    assert not settles(ntp.solve_max_margin(hard).certificate.primal)
    assert not settles(np.linalg.norm(path.L_mm))  # mutation: Frobenius norm
    assert not settles(1.01 * path.A) and not settles(0.99 * path.A)


def test_law_iv_both_bounds_of_its_proof(path):
    """(iv) L_in + t L_mm from above, P - ridge G_mm diag(1/pi) from below: both within O(ridge)."""
    labels, pi, P = path.labels, path.labels.pi, path.labels.P.toarray()
    on = P > 0
    g = np.where(on, 0, -path.G_mm)
    A = path.G_mm[on].sum()  # <G_mm, S>
    constant = A + (g * np.log(pi / np.where(g > 0, g, 1))).sum()
    constant += (path.G_mm[on] * np.log(P[on])).sum()
    for result in path.late:
        ridge, t = result.ridge, np.log(1 / result.ridge)
        trial = path.L_in + t * path.L_mm
        upper = ntp.excess_loss(trial, labels) + ridge * nuclear_norm(trial)
        assert upper >= result.certificate.dual
        # Off-support mass is e^-t at most V times over, and |L_in + t L_mm|_* <= |L_in|_* + t A.
        assert (upper / ridge - t * path.A) <= labels.V + nuclear_norm(path.L_in)

        change = -ridge * path.G_mm / pi
        Q = P + change
        assert Q.min() >= 0 and np.abs(Q.sum(axis=0) - 1).max() <= 1e-12
        # Its entropy minus Hc, without cancellation: off the support P = 0 and Q = change.
        off = change[~on]
        lower = -(np.broadcast_to(pi, P.shape)[~on] * off * np.log(np.where(off > 0, off, 1))).sum()
        relative = change[on] / P[on]
        terms = relative * np.log(P[on]) + (1 + relative) * np.log1p(relative)
        lower -= (np.broadcast_to(pi, P.shape)[on] * P[on] * terms).sum()
        assert lower <= result.certificate.primal * (1 + 1e-9)
        # lower = ridge (t A + constant) up to ridge^2 n |G|_F^2 / 2.
        assert abs(lower / ridge - t * A - constant) <= ridge * labels.n * labels.V + 1e-6
    assert operator_norm(path.G_mm) <= 1 + 1e-12
    # -sum of G_mm off the support = <G_mm, S> = A is what makes the leading terms meet.
    S = labels.S.toarray()
    assert -path.G_mm[S == 0].sum() == pytest.approx(path.A, rel=1e-6)


def test_law_v_the_value_is_concave_with_the_norm_as_derivative(path):
    """(v) v is concave in ridge and v'(ridge) = |L_ridge|_*."""
    labels = path.labels
    for centre in (1e-3, 1e-5):
        ridges = centre * np.array([0.9, 1.0, 1.1])
        low, mid, high = ntp.ridge_path(labels, ridges, tol=1e-7)
        v = [r.certificate.primal for r in (low, mid, high)]
        norms = [nuclear_norm(r.L) for r in (low, mid, high)]

        def is_derivative(norm, v=v, ridges=ridges):
            return abs((v[2] - v[0]) / (ridges[2] - ridges[0]) / norm - 1) <= 2e-3

        assert v[1] >= (v[0] + v[2]) / 2
        # Concavity: each chord's slope lies between the norms at its ends.
        assert norms[1] * (1 - 1e-5) <= (v[1] - v[0]) / (0.1 * centre) <= norms[0] * (1 + 1e-5)
        assert norms[2] * (1 - 1e-5) <= (v[2] - v[1]) / (0.1 * centre) <= norms[1] * (1 + 1e-5)
        assert norms[0] > norms[1] > norms[2]
        assert is_derivative(norms[1])
        assert not is_derivative(np.linalg.norm(mid.L))  # mutation: Frobenius norm
        assert not is_derivative(v[1] / centre)  # mutation: v / ridge


def test_law_v_the_norm_grows_by_A_ln_10_per_decade(path):
    """(v) |L_ridge|_* grows by A ln 10 per decade, within 2%, once ridge <= 0.1 / n."""
    norms = np.array([nuclear_norm(r.L) for r in path.late])

    def holds(growth):
        return (np.abs(np.diff(growth) / (path.A * LN10) - 1) <= 0.02).all()

    assert holds(norms)
    assert not holds([np.linalg.norm(r.L) for r in path.late])  # mutation: Frobenius norm
    assert not holds(norms / LN10)  # mutation: per e-fold
    assert not holds([operator_norm(r.L) for r in path.late])  # mutation: operator norm


def test_law_vi_excess_over_ridge_approaches_A(path):
    """(vi) excess / (ridge A) -> 1: monotonically over the last three decades, 2% at 1e-10."""
    by_ridge = {f"{r.ridge:.0e}": r for r in path.results}

    def holds(results, value=ntp.excess_loss):
        ratios = [value(r.L, path.labels) / (r.ridge * path.A) for r in results]
        distance = np.abs(np.array(ratios) - 1)
        return distance[-1] <= 0.02 and (np.diff(distance) < 0).all()

    last = [by_ridge[name] for name in ("1e-07", "1e-08", "1e-09", "1e-10")]
    assert holds(last)
    assert not holds(last[::-1])  # mutation: the path walked backwards
    # Mutations: the whole objective; another matrix with the right margins (no minimiser).
    assert not holds(last, lambda L, y: ntp.excess_loss(L, y) + 1e-9 * nuclear_norm(L))
    trials = [
        SimpleNamespace(L=path.L_in + np.log(1 / r.ridge) * path.L_mm, ridge=r.ridge) for r in last
    ]
    assert not holds(trials)


def test_the_direction_turns_to_the_max_margin_solution_not_to_the_proxy(path):
    """L_ridge grows along L_mm: slopes are there first, positions follow like 1/t."""
    proxy = ntp.centered_support(path.labels)
    slopes = [r.slope for r in path.results if r.slope is not None][-4:]

    def is_the_direction(L):
        closeness = [cosine(slope, L) for slope in slopes]
        return closeness[-1] >= 0.9995 and (np.diff(closeness) > 0).all()

    assert is_the_direction(path.L_mm)
    assert not is_the_direction(proxy)  # mutation: the proxy in place of L_mm
    assert not is_the_direction(np.roll(path.L_mm, 1, axis=1))  # mutation: permuted S
    positions = [cosine(r.L, path.L_mm) for r in path.late]
    assert (np.diff(positions) > 0).all() and positions[-1] < 0.9995


def test_contexts_with_equal_supports_approach_each_other_in_direction():
    """Subspace collapse along the path: off F, equal supports get equal directions."""
    rng = np.random.default_rng(0)
    S = (mixed_counts(10, 8, seed=1, largest_support=3) > 0)[:, rng.integers(8, size=24)]
    labels = ntp.SoftLabels.from_counts(S * rng.geometric(0.3, size=S.shape))
    spread = []
    for result in ntp.ridge_path(labels, [1e-2, 1e-4, 1e-6, 1e-8]):
        orthogonal = ntp.split_logits(result.L, labels).orthogonal
        spread.append(ntp.support_collapse(orthogonal, labels).several_tokens)
    assert (np.diff(spread) < 0).all() and spread[-1] < 0.02 < spread[0]


# ---------------------------------------------------------------- optimality on any labels


@settings(max_examples=60)
@given(counts(max_V=12, max_m=12), st.floats(-4, 0))
@example(np.array([[2]]), -1.0)
@example(np.array([[1, 2, 3]]), -1.0)
@example(np.array([[1], [0], [4]]), -2.0)
@example(np.array([[5, 5], [5, 5]]), -2.0)
@example(np.array([[5, 1], [1, 5]]), -2.0)
def test_solver_converges_on_every_kind_of_labels(N, exponent):
    """Certified to 1e-6 for any counts: k_j = 1, k_j = V, unseen tokens, one context, V = 1."""
    labels = ntp.SoftLabels.from_counts(N)
    ridge = max(10.0**exponent * ntp.ridge_max(labels), 1e-6)
    result = ntp.solve_ridge(labels, ridge, tol=1e-6)
    assert result.converged, result
    assert result.certificate.relative_gap <= 1e-6
    assert result.L.shape == N.shape and np.isfinite(result.L).all()
    assert np.abs(result.L.sum(axis=0)).max() <= 1e-4  # at the optimum columns are centred


@pytest.mark.reference
@settings(max_examples=20)
@given(counts(max_V=8, max_m=8), st.floats(-2, -0.1))
def test_solver_agrees_with_cvxpy(N, exponent):
    """The optimum of an interior-point model lies within the certified gap."""
    labels = ntp.SoftLabels.from_counts(N)
    ridge = max(10.0**exponent * ntp.ridge_max(labels), 1e-3)
    certificate = ntp.solve_ridge(labels, ridge, tol=1e-7).certificate
    value = cvxpy_ridge(labels.P.toarray(), labels.pi, ridge) - labels.entropy
    assert certificate.dual - 1e-6 <= value <= certificate.primal + 1e-6


def test_the_solution_is_unique_and_centred():
    """L_ridge is unique with centred columns: two starts, one answer."""
    labels = ntp.random_soft_labels(9, 13, 3, seed=0)
    cold = ntp.solve_ridge(labels, 1e-3, tol=1e-10)
    warm = ntp.solve_ridge(labels, 1e-3, tol=1e-10, warm_start=ntp.solve_ridge(labels, 3e-3))
    assert np.abs(cold.L - warm.L).max() <= 1e-3
    assert np.abs(cold.L.sum(axis=0)).max() <= 1e-4


def test_unseen_tokens_share_one_row():
    labels = ntp.SoftLabels.from_counts([[2, 0, 1], [1, 3, 0], [0, 0, 0], [0, 0, 0]])
    L = ntp.solve_ridge(labels, 1e-3, tol=1e-9).L
    np.testing.assert_allclose(L[2], L[3], atol=1e-6)


def test_permutations_and_scaled_counts_give_the_same_path():
    N, rng = mixed_counts(7, 10, seed=6), np.random.default_rng(0)
    rows, columns = rng.permutation(7), rng.permutation(10)
    labels = ntp.SoftLabels.from_counts(N)
    one = ntp.solve_ridge(labels, 1e-3, tol=1e-10)
    moved = ntp.solve_ridge(ntp.SoftLabels.from_counts(N[rows][:, columns]), 1e-3, tol=1e-10)
    scaled = ntp.solve_ridge(ntp.SoftLabels.from_counts(9 * N), 1e-3, tol=1e-10)
    assert np.abs(moved.L - one.L[rows][:, columns]).max() <= 1e-3
    assert np.abs(moved.L - one.L).max() > 0.1
    assert np.abs(scaled.L - one.L).max() <= 1e-3


# ---------------------------------------------------------------- ridge_max and the saddle


def test_ridge_max_is_where_the_solution_leaves_zero():
    """L_ridge = 0 iff ridge >= ridge_max."""
    labels = ntp.random_soft_labels(8, 5, 3, seed=1)
    top = ntp.ridge_max(labels)
    expected = operator_norm((labels.P.toarray() - 1 / 8) * labels.pi)
    assert top == pytest.approx(expected, rel=1e-12)
    for factor in (1.0 + 1e-9, 2.0, 1e3):
        result = ntp.solve_ridge(labels, factor * top)
        assert (result.L == 0).all() and result.converged
        assert result.certificate.relative_gap <= 1e-12
    below = ntp.solve_ridge(labels, 0.99 * top, tol=1e-7)
    assert np.abs(below.L).max() > 1e-4
    assert below.certificate.primal < ntp.excess_loss(np.zeros((8, 5)), labels)
    # Mutation: an operator norm without pi is another number.
    assert operator_norm(labels.P.toarray() - 1 / 8) != pytest.approx(top, rel=1e-2)


@pytest.mark.parametrize("factor", [0.3, 0.9, 1.1, 3.0])
def test_the_origin_is_a_saddle_exactly_below_ridge_max(factor):
    """The factorised loss has Hessian eigenvalues ridge +- singular values at W = H = 0."""
    labels = ntp.random_soft_labels(4, 5, 2, seed=3)
    ridge, d = factor * ntp.ridge_max(labels), 2
    step = 1e-3

    def loss(x):
        W, H = x[: 4 * d].reshape(4, d), x[4 * d :].reshape(d, 5)
        return ntp.cross_entropy(W @ H, labels) + ridge / 2 * (x**2).sum()

    size = 9 * d
    units = step * np.eye(size)
    origin = np.zeros(size)

    def second_difference(a, b):
        return (loss(a + b) - loss(a - b) - loss(b - a) + loss(-a - b)) / (4 * step**2)

    hessian = np.array([[second_difference(a, b) for a in units] for b in units])
    gradient = [(loss(a) - loss(-a)) / (2 * step) for a in units]
    assert np.abs(gradient).max() <= 1e-9 and loss(origin) == pytest.approx(np.log(4))
    smallest = np.linalg.eigvalsh(hessian)[0]
    assert smallest == pytest.approx(ridge - ntp.ridge_max(labels), abs=1e-5)
    assert (smallest < 0) == (factor < 1)


# ---------------------------------------------------------------- the run itself


def test_the_order_of_ridges_is_kept():
    labels = ntp.random_soft_labels(6, 9, 2, seed=0)
    ridges, seen = [1e-3, 1e-1, 1e-5, 1e-2, 1e-3], []
    results = ntp.ridge_path(labels, ridges, callback=seen.append)
    assert [result.ridge for result in results] == ridges
    assert [result.ridge for result in seen] == sorted(set(ridges), reverse=True)
    assert results[0] is results[4]
    assert all(any(result is other for other in seen) for result in results)
    for array_like in (np.array(ridges), tuple(ridges)):
        again = ntp.ridge_path(labels, array_like)
        assert [result.ridge for result in again] == ridges
    assert ntp.ridge_path(labels, []) == []


def test_slopes_are_difference_quotients():
    labels = ntp.random_soft_labels(6, 9, 2, seed=0)
    first, second, third = ntp.ridge_path(labels, [1e-2, 1e-3, 1e-4])
    np.testing.assert_allclose(second.slope, (second.L - first.L) / LN10)
    np.testing.assert_allclose(third.slope, (third.L - second.L) / LN10)


@pytest.mark.parametrize("ridge", [0.1, 1e-2, 1e-4])
def test_the_first_point_of_a_path_has_no_slope(ridge):
    """`slope` joins two returned points, so the first one has none, as documented."""
    labels = ntp.random_soft_labels(6, 9, 2, seed=0)
    assert ntp.ridge_path(labels, [ridge])[0].slope is None


def test_seconds_cover_the_whole_solve():
    labels = ntp.random_soft_labels(30, 60, 3, seed=0)
    start = time.perf_counter()
    result = ntp.solve_ridge(labels, 1e-9)
    elapsed = time.perf_counter() - start
    assert 0.5 * elapsed <= result.seconds <= elapsed


def test_a_warm_start_saves_iterations_and_is_left_as_it_was():
    labels = ntp.random_soft_labels(20, 40, 4, seed=0)
    before = ntp.solve_ridge(labels, 1e-5)
    kept = before.L.copy()
    warm = ntp.solve_ridge(labels, 1e-6, warm_start=before)
    np.testing.assert_array_equal(before.L, kept)
    assert warm.converged and 0 < warm.n_iter < 200


@pytest.mark.parametrize("ridge", [1e-16, 1e-18])
def test_where_arithmetic_ends_it_says_so(ridge):
    """No silent wrong answer: not converged, with a message, and an honest certificate."""
    labels = make_labels("mixed")
    result = ntp.solve_ridge(labels, ridge)
    assert not result.converged
    assert result.status is ntp.Status.STALLED
    assert "finer than float64 resolves at ridge 1e-1" in result.message
    assert result.certificate.relative_gap > 1e-5
    assert np.isfinite(result.L).all()


def test_too_few_iterations_are_reported():
    labels = ntp.random_soft_labels(9, 13, 3, seed=0)
    result = ntp.solve_ridge(labels, 1e-3, tol=1e-9, max_iter=5)
    assert result.status is ntp.Status.ITERATION_LIMIT and not result.converged
    assert "max_iter" in result.message


@pytest.mark.parametrize("max_iter", [1, 4, 7])
def test_very_few_iterations_still_return_a_certified_point(max_iter):
    labels = ntp.random_soft_labels(9, 13, 3, seed=0)
    result = ntp.solve_ridge(labels, 0.05, tol=1e-9, max_iter=max_iter)
    assert result.status is ntp.Status.ITERATION_LIMIT and not result.converged
    assert "max_iter" in result.message
    assert result.n_iter == max_iter
    assert result.certificate == ntp.certify_ridge(result.L, labels, 0.05)


def test_ctrl_c_reaches_the_caller_with_the_finished_points():
    labels, seen = ntp.random_soft_labels(6, 9, 2, seed=0), []

    def press_ctrl_c(result):
        seen.append(result)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ntp.ridge_path(labels, [1e-1, 1e-2, 1e-3], callback=press_ctrl_c)
    assert [result.ridge for result in seen] == [1e-1, 1e-2]


def test_runs_repeat_exactly_and_print_nothing(capfd):
    labels = ntp.random_soft_labels(6, 9, 2, seed=0)
    first = ntp.solve_ridge(labels, 1e-4)
    np.random.seed(3)  # noqa: NPY002 - the global generator must not matter
    np.testing.assert_array_equal(first.L, ntp.solve_ridge(labels, 1e-4).L)
    assert capfd.readouterr() == ("", "")
    assert "array" not in repr(first) and "ridge=0.0001" in repr(first)


def test_ten_decades_at_the_published_size():
    """V = 104, m = 403, n = 5110: ridge 1e-3 to 1e-12, every gap <= 1e-5 from L alone."""
    labels = ntp.random_soft_labels(104, 403, 5, n=5110, seed=0)
    results = ntp.ridge_path(labels, 10.0 ** -np.arange(3, 13))
    for result in results:
        assert result.converged, result
        assert ntp.certify_ridge(result.L, labels, result.ridge).relative_gap <= 1e-5


# ---------------------------------------------------------------- the ends of the numbers


@pytest.mark.parametrize("ridge", [1e-30, 1e-300, 5e-324])
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.filterwarnings("error")
def test_a_ridge_beyond_float64_stalls_without_a_warning(ridge, warm):
    labels = ntp.random_soft_labels(9, 13, 3, seed=0)
    before = ntp.solve_ridge(labels, 1e-3) if warm else None
    result = ntp.solve_ridge(labels, ridge, warm_start=before)
    assert result.status is ntp.Status.STALLED
    assert np.isfinite(result.L).all() and result.certificate.relative_gap <= 1
    assert result.slope is None or np.isfinite(result.slope).all()


def test_a_tol_beyond_float64_is_named():
    """The ridge is an ordinary one: it is tol that cannot be had."""
    labels = ntp.random_soft_labels(9, 13, 3, seed=0)
    result = ntp.solve_ridge(labels, 1e-3, tol=1e-16)
    assert result.status is ntp.Status.STALLED
    assert "tol is finer than float64 resolves at ridge 0.001" in result.message


@pytest.mark.parametrize("N", [[[5, 3, 2]], [[1]], np.ones((3, 4)), [[4], [4]]])
@pytest.mark.filterwarnings("error")
def test_uniform_labels_and_one_word(N):
    """ridge_max is 0: any ridge will do, and a ridge of 0 that came from it is explained."""
    labels = ntp.SoftLabels.from_counts(N)
    assert ntp.ridge_max(labels) == 0
    with pytest.raises(ValueError, match=r"so is ridge_max\(labels\): .* use any positive ridge\."):
        ntp.ridge_path(labels, [ntp.ridge_max(labels) * 0.1])
    result = ntp.solve_ridge(labels, 1e-3)
    assert result.converged and (result.L == 0).all() and result.n_iter == 0


def test_underflow_is_no_error():
    labels = ntp.random_soft_labels(9, 13, 3, seed=0)
    with np.errstate(all="raise"):
        assert all(result.converged for result in ntp.ridge_path(labels, [1e-2, 1e-9]))
        ntp.certify_ridge(1000 * ntp.centered_support(labels), labels)
    huge = ntp.certify_ridge(1e307 * np.sign(ntp.centered_support(labels)), labels, 0.1)
    assert huge.relative_gap == np.inf


def test_history_iterations_and_seconds_cover_the_continuation():
    labels = ntp.random_soft_labels(9, 13, 3, seed=0)
    result = ntp.solve_ridge(labels, 1e-6)
    history = result.history
    assert list(history) == list(ntp.RidgeProgress._fields)
    assert len({len(values) for values in history.values()}) == 1
    assert history["n_iter"][-1] == result.n_iter and (np.diff(history["n_iter"]) > 0).all()
    assert len(set(history["ridge"])) >= 4 and history["ridge"][-1] == 1e-6
    assert (np.diff(history["ridge"]) <= 0).all()
    assert history["seconds"][-1] <= result.seconds
    assert history["relative_gap"][-1] == pytest.approx(result.certificate.relative_gap)
    assert "converged: relative gap" in result.message


def test_unseen_tokens_change_the_cost_not_the_solution():
    """Merged into one row they are right to the last digits, whatever their number."""
    N = mixed_counts(12, 9, seed=1)
    padded = ntp.SoftLabels.from_counts(np.vstack([N[:5], np.zeros((4000, 9)), N[5:]]))
    result = ntp.solve_ridge(padded, 0.1 * ntp.ridge_max(padded), tol=1e-8)
    assert result.converged
    rows = result.L[5:4005]
    assert (rows == rows[0]).all()
    judged = ntp.certify_ridge(result.L, padded, result.ridge)
    assert judged.relative_gap <= 1e-8
    again = ntp.solve_ridge(padded, result.ridge / 10, warm_start=result)
    assert again.converged and again.slope.shape == padded.shape


def repeated_counts():
    """Five kinds of contexts, each 1 to 5 times in mixed order; three tokens never follow."""
    kinds = np.vstack([mixed_counts(7, 5, seed=4), np.zeros((3, 5), dtype=int)])
    columns = np.random.default_rng(0).permutation(np.repeat(np.arange(5), np.arange(1, 6)))
    return kinds[:, columns], columns


@pytest.mark.parametrize("fraction", [0.5, 0.05, 1e-3])
def test_contexts_with_equal_counts_are_solved_once(fraction, monkeypatch):
    N, columns = repeated_counts()
    labels = ntp.SoftLabels.from_counts(N)
    ridge = fraction * ntp.ridge_max(labels)
    sizes = []
    step = path_module.RidgeADMM.step

    def record(admm):
        sizes.append(admm.Z.shape)
        step(admm)

    monkeypatch.setattr(path_module.RidgeADMM, "step", record)
    result = ntp.solve_ridge(labels, ridge, tol=1e-8)
    assert set(sizes) == {(8, 5)}  # 7 tokens that follow, one row for the others
    assert result.converged
    value = cvxpy_ridge(labels.P.toarray(), labels.pi, ridge)
    assert result.certificate.primal == pytest.approx(value - labels.entropy, abs=1e-5)
    for j, kind in enumerate(columns):
        np.testing.assert_array_equal(result.L[:, j], result.L[:, list(columns).index(kind)])


@pytest.mark.parametrize("ridge", [None, 1e-3, 10.0])
def test_bounds_of_the_merged_problem_are_those_of_the_whole(ridge):
    labels = ntp.SoftLabels.from_counts(repeated_counts()[0])
    merged = path_module.MergedLabels(labels)
    reduced = np.random.default_rng(1).normal(size=merged.labels.shape)
    found = ridge_bounds(reduced, merged.labels, ridge, merged.repeats)
    expected = ridge_bounds(merged.expand(reduced), labels, ridge)
    np.testing.assert_allclose(found, expected, rtol=1e-7)
    np.testing.assert_allclose(merged.reduce(merged.expand(reduced)), reduced)
    forgotten = Repeats(merged.repeats.rows, np.ones(5))  # mutation: as if each stood for one
    wrong = ridge_bounds(reduced, merged.labels, ridge, forgotten)
    assert wrong.norm != pytest.approx(expected.norm, rel=1e-2)
