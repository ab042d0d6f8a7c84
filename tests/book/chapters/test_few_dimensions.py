"""The statements of "Few dimensions", each by an independent truth."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

import ntp_lite as ntp
from ntp_lite import exercises


def softmax(L):
    E = np.exp(L - L.max(axis=0))
    return E / E.sum(axis=0)


def train(labels, d, ridge, seed=0, scale=1.0):
    """L-BFGS on the factors: W, H and the objective above the floor."""
    P, pi, (V, m) = labels.P.toarray(), labels.pi, labels.N.shape

    def objective(x):
        W, H = x[: V * d].reshape(V, d), x[V * d :].reshape(d, m)
        G = (P - softmax(W @ H)) * pi
        value = ntp.excess_loss(W @ H, labels) + ridge / 2 * (x @ x)
        return value, np.hstack([(ridge * W - G @ H.T).ravel(), (ridge * H - W.T @ G).ravel()])

    start = scale * np.random.default_rng(seed).normal(size=(V + m) * d)
    options = {"maxiter": 3000, "maxfun": 6000, "ftol": 1e-15, "gtol": 1e-9}
    end = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    return end.x[: V * d].reshape(V, d), end.x[V * d :].reshape(d, m), end.fun


def all_subsets(V, k, seed=0):
    rng, subsets = np.random.default_rng(seed), list(combinations(range(V), k))
    N = np.zeros((V, len(subsets)), dtype=int)
    for j, T in enumerate(subsets):
        N[list(T), j] = rng.integers(1, 6, size=k)
    return ntp.SoftLabels.from_counts(N)


def rank(L):
    s = np.linalg.svd(L, compute_uv=False)
    return int((s > 1e-8 * s[0]).sum())


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5])
def test_three_parts_of_a_gap(d):
    """Theorem label: prop-few-dimensions-gap

    A trained point of each width. Mutation: a gap below v_d - min J would need another width.
    """
    labels, ridge = ntp.SoftLabels.from_counts(np.eye(5, dtype=int)), 0.02
    convex = ntp.solve_ridge(labels, ridge, tol=1e-9)
    assert rank(np.where(np.abs(convex.L) > 1e-6, convex.L, 0)) == 4
    W, H, value = min((train(labels, d, ridge, seed) for seed in range(4)), key=lambda x: x[2])
    judged = ntp.certify_ridge(W @ H, labels, ridge)
    width = value - convex.certificate.primal  # an upper bound of v_d - min J, here tight
    if d >= 4:
        assert abs(width) < 1e-7 and judged.relative_gap < 1e-4
        assert judged.operator_norm <= ridge * (1 + 1e-4)  # (a): optimal over all widths
    else:
        assert width > 1e-3 and judged.gap >= width - 1e-9
        assert judged.operator_norm > 1.01 * ridge
        for noise in (0.01, 0.1, 1.0):  # nobody of this width closes it
            rng = np.random.default_rng(0)
            other = (W + noise * rng.normal(size=W.shape)) @ H
            assert ntp.certify_ridge(other, labels, ridge).gap >= width - 1e-9


def conditions(W, p):
    """(face, frequencies) by linear programming and least squares."""
    T, off = np.flatnonzero(p), np.flatnonzero(p == 0)
    d = W.shape[1]
    equal = np.hstack([W[T] - W[T[0]], np.zeros((len(T), 1))])
    lower = np.hstack([W[off] - W[T[0]], np.ones((len(off), 1))])
    cost, bounds = np.append(np.zeros(d), -1), [(-1, 1)] * d + [(None, 1)]
    solved = linprog(cost, lower, np.zeros(len(off)), equal, np.zeros(len(T)), bounds)
    lifted = np.column_stack([W[T], np.ones(len(T))])
    residual = lifted @ np.linalg.lstsq(lifted, np.log(p[T]), rcond=None)[0] - np.log(p[T])
    return -solved.fun > 1e-7, np.abs(residual).max() < 1e-7


SQUARE = np.array([[1.0, 1], [1, -1], [-1, -1], [-1, 1], [0, 0], [1, 0]])


@pytest.mark.parametrize(
    ("words", "p", "reached"),
    [  # multiples of 1/60 or 1/7
        (SQUARE[:5], [0.5, 0.5, 0, 0, 0], True),  # an edge
        (SQUARE[:5], [0.1, 0.9, 0, 0, 0], True),  # any frequencies
        (SQUARE[:5], [0, 0, 1, 0, 0], True),  # a corner
        (SQUARE[:5], [0, 0, 0, 0, 1], False),  # inside
        (SQUARE[:5], [0.5, 0, 0.5, 0, 0], False),  # a diagonal
        (SQUARE, [0.5, 0.5, 0, 0, 0, 0], False),  # an edge with one more word on it
        (SQUARE, [0.6, 0.15, 0, 0, 0, 0.25], False),  # the whole edge, wrong frequencies
        (SQUARE, [1 / 7, 4 / 7, 0, 0, 0, 2 / 7], True),  # the whole edge, a geometric sequence
    ],
)
def test_faces(words, p, reached):
    """Theorem label: prop-few-dimensions-faces

    Truth: the least divergence found by L-BFGS. Each condition alone is not enough.
    """
    p = np.array(p)
    counts = np.round(p * (7 if np.isclose(p * 7, np.round(p * 7)).all() else 60))
    p = counts / counts.sum()
    labels = ntp.SoftLabels.from_counts(counts.astype(int)[:, None])

    def objective(h):
        L = words @ h[:, None]
        return ntp.excess_loss(L, labels), words.T @ (softmax(L)[:, 0] - p)

    options = {"maxiter": 5000, "ftol": 1e-18, "gtol": 1e-12}
    start = np.full(2, 0.1)
    least = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).fun
    assert (least < 1e-6) == reached and (reached or least > 1e-3)
    assert all(conditions(words, p)) == reached


def trig_logits(P, t, angles, power=1):
    """Solve for the coefficients instead of writing products: an independent construction."""
    V, m = P.shape
    k = int((P > 0).sum(axis=0).max())
    basis = [f(i * angles) for i in range(1, k + 1) for f in (np.cos, np.sin)]
    W = np.column_stack(basis)
    L = np.zeros((V, m))
    for j in range(m):
        T = np.flatnonzero(P[:, j])
        gaps = 1 - np.cos(angles[:, None] - angles[T])
        target = -(gaps.prod(axis=1) ** power)
        lifted = np.column_stack([W, np.ones(V)])
        face = np.linalg.lstsq(lifted, target, rcond=None)[0]
        error = np.abs(lifted @ face - target).max()
        if error > 1e-9:
            raise ValueError("not a trigonometric polynomial of degree k")
        frequencies = np.linalg.lstsq(lifted[T], np.log(P[T, j]), rcond=None)[0]
        L[:, j] = W @ (frequencies + t * face)[:-1]
    return L


@pytest.mark.parametrize(("V", "k"), [(5, 1), (7, 2), (8, 3)])
def test_twice_the_support_size_is_enough(V, k):
    """Theorem label: thm-few-dimensions-enough

    Coefficients by least squares: the product is a polynomial of degree k and no more is needed.
    Mutations: the square of the product; one harmonic too few; two words at one angle.
    """
    labels, rng = all_subsets(V, k), np.random.default_rng(1)
    P = labels.P.toarray()
    angles = 2 * np.pi * (np.arange(V) + 0.2 * rng.uniform(size=V)) / V
    L = trig_logits(P, 1e5, angles)
    assert rank(L - L.mean(axis=0)) <= 2 * k and rank(L) <= 2 * k
    assert ntp.excess_loss(L, labels) < 1e-9
    assert not ntp.excess_loss(trig_logits(P, 1.0, angles), labels) < 1e-3  # t matters
    with pytest.raises(ValueError, match="degree k"):
        trig_logits(P, 1e5, angles, power=2)
    if k == 2:
        fewer = np.linalg.svd(L)
        truncated = (fewer[0][:, :3] * fewer[1][:3]) @ fewer[2][:3]
        assert not ntp.excess_loss(truncated, labels) < 0.01
    merged = angles.copy()
    merged[1] = merged[0]
    assert not ntp.excess_loss(trig_logits(P, 1e5, merged), labels) < 1e-3
    # The formula of the chapter, entry by entry, has the same excess as its own closed form.
    t = 7.0
    f = exercises.few_dimensions._circle(P, t)
    off = np.where(P == 0, np.exp(f), 0).sum(axis=0)
    assert np.isclose(ntp.excess_loss(f, labels), labels.pi @ np.log1p(off))
    assert np.allclose(np.exp(f)[P > 0], P[P > 0]) and rank(f - f.mean(axis=0)) <= 2 * k


@pytest.mark.parametrize(("V", "k", "d"), [(4, 1, 1), (6, 2, 1), (6, 2, 2), (6, 2, 3), (4, 3, 2)])
def test_no_fewer_for_all_subsets(V, k, d):
    """Theorem label: thm-few-dimensions-needed

    Random, trained and huge logits of rank d. Mutation: one dimension more breaks the bound.
    """
    labels = all_subsets(V, k)
    bound = labels.pi.min() * (labels.P.data.min() / 3) ** (d + 1)
    rng = np.random.default_rng(2)
    tried = [
        size * rng.normal(size=(V, d)) @ rng.normal(size=(d, labels.m))
        for size in (0.1, 1, 10, 1000)
        for _ in range(50)
    ]
    factors = [train(labels, d, 1e-7, seed)[:2] for seed in range(2)]
    tried += [W @ H for W, H in factors]
    assert d < min(2 * k, V - 1)
    assert min(ntp.excess_loss(L, labels) for L in tried) >= bound
    enough = min(2 * k, V - 1)
    W, H, _ = train(labels, enough, 1e-9)
    better = ntp.excess_loss(W @ H, labels)
    assert not better >= 0.01 * min(ntp.excess_loss(L, labels) for L in tried)
    if (V, k) == (6, 2):
        t = 1e6
        angles = 2 * np.pi * np.arange(V) / V
        L = trig_logits(labels.P.toarray(), t, angles)
        assert not ntp.excess_loss(L, labels) >= bound


def test_softmax_bottleneck_on_blocks():
    """Theorem label: prop-few-dimensions-log-odds

    Full supports: rank of the log-odds decides. A block of a sparse text: it is necessary.
    Mutation: d = rank is enough, d = rank - 1 is not; P in place of ln P has another rank.
    """
    rng = np.random.default_rng(3)
    N = rng.integers(1, 30, size=(4, 5))
    full = ntp.SoftLabels.from_counts(N)
    Lambda = np.log(full.P.toarray())
    Lambda -= Lambda.mean(axis=0)
    assert rank(Lambda) == 3 and ntp.excess_loss(Lambda, full) < 1e-15

    def reached(labels, d, ridge=1e-9):
        values = [train(labels, d, ridge, seed)[:2] for seed in range(6)]
        return min(ntp.excess_loss(W @ H, labels) for W, H in values)

    assert reached(full, 3) < 1e-7
    assert all(reached(full, d) > 1e-4 for d in (1, 2))
    sparse = ntp.SoftLabels.from_counts(np.vstack([N, [[0, 0, 0, 0, 9]]]))
    assert reached(sparse, 2) > 1e-4 and reached(sparse, 4) < 1e-6
    # Powers of two: the log-odds have rank one, P itself has not.
    doubling = 2 ** (np.arange(4)[:, None] * np.arange(1, 4))
    one = ntp.SoftLabels.from_counts(doubling)
    centred = np.log(doubling) - np.log(doubling).mean(axis=0)
    P = one.P.toarray()
    assert rank(centred) == 1 and rank(P - P.mean(axis=0)) > 1
    assert reached(one, 1) < 1e-6
    # Second part: twins with log-odds of rank two, one more token; fixed words in the plane fail.
    words = rng.normal(size=(4, 2))
    twins = np.array([[0.5, 0.3, 0.2, 0], [0.2, 0.6, 0.2, 0]])
    assert not all(all(conditions(words, p)) for p in twins)
    three = np.vstack([np.eye(3), [[-1, -1, -1]]])
    assert all(all(conditions(three, p)) for p in twins)


def polygon_price(W):
    """|W|_F |H|_F with shortest h_z, each from a quadratic programme solved by SLSQP."""
    total = 0.0
    for z in range(len(W)):
        D = W[z] - np.delete(W, z, axis=0)
        start = np.linalg.lstsq(D, np.ones(len(D)), rcond=None)[0]
        solved = minimize(
            lambda h: h @ h,
            start * 2,
            jac=lambda h: 2 * h,
            constraints={"type": "ineq", "fun": lambda h, D=D: D @ h - 1, "jac": lambda h, D=D: D},
        )
        assert solved.success and (D @ solved.x).min() > 1 - 1e-6
        total += solved.fun
    return np.linalg.norm(W - W.mean(axis=0)) * np.sqrt(total)


@pytest.mark.parametrize("V", [4, 5, 8, 12])
def test_what_few_dimensions_cost(V):
    """Theorem label: thm-few-dimensions-price

    The circle, bent polygons, and trained logits. Mutations: the price of full width, and twice
    the price of the circle.
    """
    angle = 2 * np.pi * np.arange(V) / V
    upper, lower = V / (1 - np.cos(angle[1])), V**3 / (64 * np.pi)
    scale = 1 / (1 - np.cos(angle[1]))
    L = scale * np.cos(angle[:, None] - angle)
    margins = np.diag(L) - L + 2 * np.eye(V)
    assert rank(L) == 2 and margins.min() >= 1 - 1e-9
    assert np.isclose(np.linalg.norm(L, "nuc"), upper) and lower <= upper <= V**3 / 8
    rng = np.random.default_rng(4)
    for _ in range(5):
        bent = np.sort(angle + 0.3 * rng.normal(size=V) / V)
        W = np.column_stack([np.cos(bent), rng.uniform(0.6, 1) * np.sin(bent)])
        assert polygon_price(W) >= lower
    hard = ntp.SoftLabels.from_counts(np.eye(V, dtype=int))
    W, H, _ = train(hard, 2, 1e-7)
    excess, norm = ntp.excess_loss(W @ H, hard), np.linalg.norm(W @ H, "nuc")
    assert norm >= lower * np.log(1 / (V * excess) - 1)
    assert not norm >= 2 * upper * np.log(1 / (V * excess) - 1)
    if V >= 8:
        assert not norm <= (V - 1) * np.log((V - 1) / excess)  # full width would be cheaper
    for epsilon in (1e-2, 1e-6):  # the second half of part 1
        tau = np.log((V - 1) / epsilon)
        assert ntp.excess_loss(tau * L, hard) <= epsilon
        assert np.isclose(np.linalg.norm(tau * L, "nuc"), tau * upper)
    full = ntp.solve_max_margin(np.eye(V), tol=1e-8)
    assert np.isclose(full.certificate.primal, V - 1, rtol=1e-6)


def test_collapse_at_every_width():
    """Theorem label: prop-few-dimensions-collapse

    Averaging twins keeps the rank and the constraints and lowers the norm, for any feasible matrix
    of low rank; copies are equal at trained points. Mutations: strangers, and other frequencies.
    """
    S = all_subsets(5, 2).S.toarray()
    S = np.hstack([S, S[:, :3]])  # twins: (0, 10), (1, 11), (2, 12)
    angles = 2 * np.pi * np.arange(5) / 5
    L = trig_logits(S, 1.0, angles)  # ln 1 = 0: equal logits on each support
    L *= 1 + np.arange(13) / 13  # columns may have different lengths
    level = np.where(S == 1, L, np.inf).min(axis=0)
    L /= (level - np.where(S == 1, -np.inf, L).max(axis=0)).min()

    def average(i, j):
        E = np.eye(13)
        E[np.ix_([i, j], [i, j])] = 0.5
        return L @ E

    def feasible(M):
        inside = np.where(S == 1, M, np.nan)
        spread = np.nanmax(inside, axis=0) - np.nanmin(inside, axis=0)
        margin = np.nanmin(inside, axis=0) - np.where(S == 1, -np.inf, M).max(axis=0)
        return spread.max() < 1e-9 and margin.min() >= 1 - 1e-9

    assert feasible(L) and rank(L) == 4
    for i, j in ((0, 10), (1, 11), (2, 12)):
        mean = average(i, j)
        assert feasible(mean) and rank(mean) <= 4
        assert np.linalg.norm(mean, "nuc") < np.linalg.norm(L, "nuc") - 1e-3
    assert not feasible(average(0, 1))
    N = all_subsets(5, 2).N.toarray()
    copies = ntp.SoftLabels.from_counts(np.hstack([N, N[:, :1]]))
    _, H, _ = min((train(copies, 2, 1e-2, seed) for seed in range(3)), key=lambda x: x[2])
    assert np.linalg.norm(H[:, 0] - H[:, -1]) < 1e-3 * np.linalg.norm(H[:, 0])
    other = N[:, :1] * np.array([[5], [1], [1], [1], [1]])
    labels = ntp.SoftLabels.from_counts(np.hstack([N, other]))
    _, H, _ = min((train(labels, 2, 1e-2, seed) for seed in range(3)), key=lambda x: x[2])
    assert not np.linalg.norm(H[:, 0] - H[:, -1]) < 0.03 * np.linalg.norm(H[:, 0])


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_what_a_narrow_head_passes_on(d):
    """Random words lose 1 - d/V on average; stationary ones pass on ridge^2 d of |G|^2.

    Mutations: lengths in the place of squared lengths; one dimension more.
    """
    labels = ntp.SoftLabels.from_counts(np.eye(6, dtype=int) + np.eye(6, k=1, dtype=int))
    rng = np.random.default_rng(0)
    L = rng.normal(size=(6, 6))
    draws = [ntp.gradient_bottleneck(rng.normal(size=(6, d)), L, labels) for _ in range(1000)]
    assert abs(np.mean(draws) - (1 - d / 6)) < 0.02
    assert not abs(np.mean(np.sqrt(draws)) - (1 - d / 6)) < 0.02
    ridge = 1e-2
    W, H, _ = train(labels, d, ridge)
    total = np.sum(((labels.P.toarray() - softmax(W @ H)) * labels.pi) ** 2)
    passed = (1 - ntp.gradient_bottleneck(W, W @ H, labels)) * total
    assert np.isclose(passed, ridge**2 * d, rtol=1e-3)
    assert not np.isclose(passed, ridge**2 * (d + 1), rtol=1e-2)
