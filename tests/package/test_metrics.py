"""The field's measures: closed forms, and the published formulas written out sample by sample."""

from __future__ import annotations

from itertools import combinations, permutations
from math import sqrt

import numpy as np
import pytest
import torch
from reference import mixed_counts
from scipy import sparse

import ntp_lite as ntp
from ntp_lite.metrics import DEFAULT_METRICS

LABELS = ntp.SoftLabels.from_counts(
    np.hstack([mixed_counts(6, 12, seed=2, largest_support=3)] * 2 + [np.eye(6, 4)])
)
RNG = np.random.default_rng(0)
W = RNG.normal(size=(LABELS.V, 5))
H = RNG.normal(size=(5, LABELS.m))


def one_hot(classes=5, members=3):
    """Every token follows `members` contexts, with equal counts, and nothing else does."""
    return ntp.SoftLabels.from_counts(np.tile(np.eye(classes), members))


# ---------------------------------------------------------------- neural collapse


def by_samples(W, H, labels, classes):
    """NC1, CDNV, NC2, NC3 and NC4 from a list of (class, vector), one per training position."""
    N = labels.N.toarray()
    W = W - W.mean(axis=0)
    sets = [frozenset(np.flatnonzero(N[:, j])) for j in range(labels.m)]
    samples = []
    for j in range(labels.m):
        for z in sets[j]:
            name = frozenset([int(z)]) if classes == "next token" else sets[j]
            samples += [(name, j)] * int(N[z, j])
    contexts_of = {}
    for name, j in samples:
        contexts_of.setdefault(name, set()).add(j)
    names = [name for name in contexts_of if len(contexts_of[name]) >= 2]
    samples = [(name, H[:, j]) for name, j in samples if name in names]
    mean = {c: np.mean([h for name, h in samples if name == c], axis=0) for c in names}
    centre = np.mean(list(mean.values()), axis=0)
    within = np.mean([np.outer(h - mean[c], h - mean[c]) for c, h in samples], axis=0)
    between = np.mean([np.outer(mean[c] - centre, mean[c] - centre) for c in names], axis=0)
    variance = {
        c: np.mean([np.sum((h - mean[c]) ** 2) for name, h in samples if name == c]) for c in names
    }
    pairs = list(combinations(names, 2))
    length = {c: np.linalg.norm(mean[c] - centre) for c in names}
    unit = {c: (mean[c] - centre) / length[c] for c in names}
    cosines = np.array([unit[a] @ unit[b] for a, b in pairs])
    word = {c: sum(W[z] for z in c) for c in names}
    M, Wc = np.array([mean[c] - centre for c in names]), np.array([word[c] for c in names])
    competing = set().union(*names)
    hits = 0
    for _, h in samples:
        nearest = min(names, key=lambda c: np.sum((h - mean[c]) ** 2))
        logits = {z: W[z] @ h for z in competing}
        top = sorted(competing, key=lambda z: -logits[z])[: len(nearest)]
        hits += set(top) == set(nearest)
    return {
        "nc1": np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / len(names),
        "cdnv": np.mean(
            [(variance[a] + variance[b]) / 2 / np.sum((mean[a] - mean[b]) ** 2) for a, b in pairs]
        ),
        "equinorm_means": np.std(list(length.values())) / np.mean(list(length.values())),
        "equiangular": np.std(cosines),
        "maximal_angle": np.mean(np.abs(cosines + 1 / (len(names) - 1))),
        "uniformity": np.mean([-np.log(np.linalg.norm(unit[a] - unit[b])) for a, b in pairs]),
        "self_duality": np.linalg.norm(M / np.linalg.norm(M) - Wc / np.linalg.norm(Wc)) ** 2,
        "agreement": hits / len(samples),
        "classes": len(names),
    }


@pytest.mark.parametrize("classes", ["next token", "support"])
def test_neural_collapse_sample_by_sample(classes):
    """Mutations seen to fail: contexts unweighted; global mean over samples; W not centred."""
    found = ntp.neural_collapse(W, H, LABELS, classes)
    expected = by_samples(W, H, LABELS, classes)
    assert expected["classes"] >= 5
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize("classes", ["next token", "support"])
def test_a_simplex_has_collapsed(classes):
    """Neural collapse proper: all measures at their ideal values, and uniform on the sphere."""
    labels = one_hot(5)
    simplex = np.eye(5) - 1 / 5
    found = ntp.neural_collapse(7 * simplex, np.tile(2 * simplex, 3), labels, classes)
    for name in ("nc1", "cdnv", "equinorm_means", "equinorm_words", "equiangular"):
        assert getattr(found, name) == pytest.approx(0, abs=1e-12), name
    assert found.maximal_angle == pytest.approx(0, abs=1e-12)
    assert found.self_duality == pytest.approx(0, abs=1e-12)
    assert found.duality_cosine == pytest.approx(1)
    assert found.duality_spread == pytest.approx(0, abs=1e-7)
    assert found.agreement == 1
    assert found.uniformity == pytest.approx(-np.log(sqrt(2 * 5 / 4)))
    assert found.uniformity_variation == pytest.approx(0, abs=1e-12)
    assert (found.classes, found.contexts) == (5, 15)
    turned = ntp.neural_collapse(-7 * simplex, np.tile(2 * simplex, 3), labels, classes)
    assert turned.self_duality == pytest.approx(4)
    assert turned.agreement == 0


def test_max_margin_geometry_has_collapsed_by_support_not_by_token():
    """L_mm gives equal supports equal vectors; a context with two next tokens has one vector."""
    factors = ntp.word_context_factors(ntp.solve_max_margin(LABELS).L)
    support = ntp.neural_collapse(factors.W, factors.H, LABELS, "support")
    token = ntp.neural_collapse(factors.W, factors.H, LABELS, "next token")
    assert support.nc1 < 1e-10
    assert support.cdnv < 1e-10
    assert token.nc1 > 1e-2
    assert token.cdnv > 1e-2


def test_neural_collapse_without_classes_and_with_coinciding_means():
    alone = ntp.SoftLabels.from_counts(np.eye(3))
    found = ntp.neural_collapse(np.eye(3), np.eye(3), alone)
    assert found.classes == 0
    assert np.isnan(found.nc1)
    point = ntp.neural_collapse(np.eye(5), np.ones((5, 15)), one_hot())
    assert point.cdnv == np.inf
    with pytest.raises(ValueError, match="'next token' or 'support'"):
        ntp.neural_collapse(W, H, LABELS, "words")
    with pytest.raises(ValueError, match="do not fit"):
        ntp.neural_collapse(W, H[:, 1:], LABELS)
    with pytest.raises(ValueError, match="NaN"):
        ntp.neural_collapse(W * np.nan, H, LABELS)


def test_soft_self_duality():
    """1 for the simplex; exact by stationarity with one-hot labels; NaN for full supports."""
    simplex = np.eye(5) - 1 / 5
    cosines = ntp.soft_self_duality(simplex + 3, np.tile(simplex, 3), one_hot())
    np.testing.assert_allclose(cosines, 1)
    N = np.array([[1, 2, 1], [1, 0, 1], [0, 0, 1]])
    labels = ntp.SoftLabels.from_counts(N)
    words, contexts = RNG.normal(size=(3, 2)), RNG.normal(size=(2, 3))
    centred = words - words.mean(axis=0)
    sums = np.array([centred[0] + centred[1], centred[0]])
    expected = (sums * contexts.T[:2]).sum(1) / np.linalg.norm(sums, axis=1)
    expected /= np.linalg.norm(contexts[:, :2], axis=0)
    found = ntp.soft_self_duality(words, torch.tensor(contexts), labels)
    np.testing.assert_allclose(found[:2], expected)
    assert np.isnan(found[2])


# ---------------------------------------------------------------- permutation test


def test_collapse_test_against_all_arrangements():
    """With few contexts every arrangement is listed: p, movable and smallest_p from the list."""
    N = np.zeros((4, 8), dtype=int)
    N[:2, [0, 1, 4, 5]] = 1
    N[2:, [2, 3, 6, 7]] = 1
    labels = ntp.SoftLabels.from_counts(N)
    groups = np.array([0, 0, 0, 0, 1, 1, 2, 3])  # 0 mixes both classes; 1 has one; 2, 3 are alone
    X = RNG.normal(size=(3, 8))
    X[:, :4] += 4 * np.array([1, 1, -1, -1])  # collapsed where a shuffle can see it
    found = ntp.collapse_test(X, labels, groups)
    drawn = ntp.collapse_test(X, labels, groups, shuffles=5)
    assert found.exact
    assert not drawn.exact
    assert drawn.smallest_p == pytest.approx(1 / 6)  # 1 / (1 + 5)
    assert (found.contexts, found.movable) == (8, 4)
    assert found.arrangements == pytest.approx(6)
    assert found.smallest_p == pytest.approx(1 / 6)

    def value(classes):
        within = 0.0
        for c in (0, 1):
            mine = X[:, classes == c]
            within += np.square(mine - mine.mean(axis=1, keepdims=True)).sum()
        return within / np.square(X - X.mean(axis=1, keepdims=True)).sum()

    true = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    orders = set(permutations(true[:4]))
    listed = [value(np.array([*order, *true[4:]])) for order in orders]
    assert len(listed) == 6
    assert found.value == pytest.approx(value(true))
    assert found.permuted == pytest.approx(np.mean(listed))
    expected = np.mean(np.array(listed) <= found.value * (1 + 1e-12))
    assert found.p_value == pytest.approx(expected)
    assert "4 of 8 contexts can move" in str(found)


def test_collapse_test_has_power_where_contexts_can_move():
    labels = one_hot(4, members=6)
    collapsed = np.tile(np.eye(4), 6) + 0.1 * RNG.normal(size=(4, 24))
    found = ntp.collapse_test(collapsed, labels, several_tokens=False)
    assert found.movable == found.contexts == 24
    assert not found.exact
    assert found.p_value == found.smallest_p == pytest.approx(1e-3)
    noise = ntp.collapse_test(RNG.normal(size=(4, 24)), labels, several_tokens=False)
    assert noise.p_value > 0.01
    groups = np.arange(24) % 4  # the group is the class: nothing can move
    stuck = ntp.collapse_test(collapsed, labels, groups, several_tokens=False)
    assert (stuck.movable, stuck.p_value, stuck.smallest_p) == (0, 1, 1)
    assert stuck.permuted == pytest.approx(stuck.value)
    same = ntp.support_collapse(collapsed, labels)
    assert found.value == pytest.approx(same.one_token)
    assert (same.movable_one_token, same.movable_several_tokens) == (24, 0)
    one_class = ntp.support_collapse(np.eye(2), ntp.SoftLabels.from_counts(np.ones((3, 2))))
    assert one_class.movable_several_tokens == 0  # a shuffle of one class changes nothing
    empty = ntp.collapse_test(collapsed, labels)  # no context has two next tokens
    assert np.isnan(empty.value)
    assert np.isnan(empty.p_value)
    for arguments, message in (
        ({"groups": [1]}, "groups has shape"),
        ({"shuffles": 0}, "shuffles is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            ntp.collapse_test(collapsed, labels, **arguments)


# ---------------------------------------------------------------- ranks and the gradient


def test_stable_rank():
    assert ntp.stable_rank(np.eye(7)) == pytest.approx(7)
    assert ntp.stable_rank(np.outer(np.arange(1, 5), np.arange(1, 4))) == pytest.approx(1)
    assert ntp.stable_rank(np.diag([2.0, 1, 1])) == pytest.approx(6 / 4)
    assert ntp.stable_rank(np.zeros((3, 2))) == 0


def matrix_with(values, shape=(40, 60), seed=3):
    """A dense matrix with these singular values and random singular vectors."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.normal(size=(shape[0], len(values))))[0]
    R = np.linalg.qr(rng.normal(size=(shape[1], len(values))))[0]
    return (U * values) @ R.T


@pytest.mark.parametrize("exponent", [0.0, 0.3, 0.5, 1.0, 2.5])
@pytest.mark.parametrize("scale", [1e-160, 1.0, 1e160])
def test_exponent_of_a_known_spectrum(exponent, scale):
    """Mutations seen to fail: slope against i instead of ln i; sign."""
    places = np.arange(1.0, 41)
    A = scale * matrix_with(places**-exponent)
    for first, last in ((1, 40), (7, 31), (1, 3)):
        found = ntp.spectral_exponent(A, first, last)
        assert found.exponent == pytest.approx(exponent, abs=1e-9)
        assert found.residual == pytest.approx(0, abs=1e-9)
        assert found.first == first


@pytest.mark.parametrize("scale", [1e-170, 1.0, 1e170])
def test_exponent_holds_ninety_nine_per_cent(scale):
    """Mutations seen to fail: sums of the values instead of their squares; scale not taken out."""
    values = np.arange(1.0, 41) ** -0.7
    shares = np.cumsum(values**2) / np.sum(values**2)
    found = ntp.spectral_exponent(scale * matrix_with(values))
    assert found.exponent == pytest.approx(0.7)
    assert shares[found.last - 2] < 0.99 <= shares[found.last - 1]
    late = ntp.spectral_exponent(np.diag([1.0, 1e-3, 1e-6, 1e-9]), first=2)
    assert (late.first, late.last) == (2, 2)
    assert np.isnan(late.exponent)


def test_a_spectrum_that_bends_has_a_residual():
    """exp(-i/8) is no power law: the residual is large, and ranges disagree."""
    A = np.diag(np.exp(-np.arange(40) / 8))
    early, late = ntp.spectral_exponent(A, 1, 10), ntp.spectral_exponent(A, 10, 40)
    whole = ntp.spectral_exponent(A, 1, 40)
    assert late.exponent > 4 * early.exponent
    assert whole.residual > 1
    places = np.log(np.arange(1, 41))
    design = np.stack([np.ones(40), places], axis=1)
    heights = -np.arange(40) / 8
    solved = np.linalg.lstsq(design, heights, rcond=None)[0]
    assert whole.exponent == pytest.approx(-solved[1])
    assert whole.residual == pytest.approx(np.abs(heights - design @ solved).max())


def test_exponent_of_too_few_singular_values():
    """Mutation seen to fail: two values suffice."""
    few = (np.zeros((3, 4)), np.ones((5, 1)), np.diag([2.0, 1.0]), np.diag([1.0, 1, 1, 0]))
    for A in few:
        found = ntp.spectral_exponent(A, 1, min(A.shape))
        assert np.isnan(found.exponent)
        assert np.isnan(found.residual)
    assert ntp.spectral_exponent(np.diag([1.0, 1, 1, 0])).last == 3
    for first, last, message in ((0, 3, "first is 0"), (1, 8, "use 7 or less"), (3, 2, "use 3")):
        with pytest.raises(ValueError, match=message):
            ntp.spectral_exponent(np.eye(7), first, last)


def test_gradient_bottleneck():
    """The lost share is what least squares onto the columns of W leaves. Mutation: W W' as P_W."""
    L = RNG.normal(size=(LABELS.V, LABELS.m))
    P, Q = LABELS.P.toarray(), np.exp(L) / np.exp(L).sum(axis=0)
    G = (P - Q) * LABELS.pi
    fitted = W[:, :2] @ np.linalg.lstsq(W[:, :2], G, rcond=None)[0]
    expected = np.square(G - fitted).sum() / np.square(G).sum()
    assert 0.2 < expected < 0.9
    assert ntp.gradient_bottleneck(W[:, :2], L, LABELS) == pytest.approx(expected)
    doubled = np.hstack([W[:, :2], W[:, :2]])  # not of full rank
    assert ntp.gradient_bottleneck(doubled, L, LABELS) == pytest.approx(expected)
    full = RNG.normal(size=(LABELS.V, LABELS.V))
    assert ntp.gradient_bottleneck(full, L, LABELS) == pytest.approx(0, abs=1e-12)
    assert ntp.gradient_bottleneck(np.zeros((LABELS.V, 2)), L, LABELS) == 1
    with pytest.raises(ValueError, match=r"not \(V, d\)"):
        ntp.gradient_bottleneck(W.T, L, LABELS)


# ---------------------------------------------------------------- by name


def test_names_are_asked_for():
    """Without names nothing expensive; histories written before keep their keys."""
    default = ntp.standard_metrics(LABELS, L_mm=ntp.centered_support(LABELS), ridge=1e-3)
    assert tuple(default) == DEFAULT_METRICS
    assert "cosine_mm" not in ntp.standard_metrics(LABELS)
    assert list(ntp.standard_metrics(LABELS, "nc1", "norm_W")) == ["nc1", "norm_W"]
    for name in ("relative_gap", "gram_words", "nonsense"):
        with pytest.raises(ValueError, match=name):
            ntp.standard_metrics(LABELS, name)


def test_field_metrics_by_name():
    names = (
        "norm_efficiency_lower", "norm_efficiency_upper", "stable_rank", "stable_rank_W",
        "stable_rank_H", "effective_rank", "effective_rank_W", "effective_rank_H",
        "collapse_directions", "soft_self_duality", "gradient_bottleneck", "nc1", "support_nc1",
        "cdnv", "support_agreement", "spectral_exponent", "spectral_residual",
    )  # fmt: skip
    metrics = ntp.standard_metrics(LABELS, *names)
    L = W @ H
    got = {name: metric(L, W, H) for name, metric in metrics.items()}
    efficiency = ntp.norm_efficiency(L, LABELS)
    assert got["norm_efficiency_lower"] == efficiency.lower
    assert got["norm_efficiency_upper"] == efficiency.upper
    assert got["stable_rank"] == ntp.stable_rank(L - L.mean(axis=0))
    assert got["stable_rank_W"] == ntp.stable_rank(W)
    assert got["stable_rank_H"] == ntp.stable_rank(H)
    assert got["effective_rank"] == ntp.effective_rank(L - L.mean(axis=0))
    assert got["effective_rank_W"] == ntp.effective_rank(W)
    assert got["effective_rank_H"] == ntp.effective_rank(H)
    slope = ntp.spectral_exponent(L - L.mean(axis=0))
    assert got["spectral_exponent"] == slope.exponent
    assert got["spectral_residual"] == slope.residual
    directions = H / np.linalg.norm(H, axis=0)
    collapse = ntp.support_collapse(directions, LABELS).several_tokens
    assert got["collapse_directions"] == pytest.approx(collapse)
    assert got["soft_self_duality"] == np.nanmean(ntp.soft_self_duality(W, H, LABELS))
    assert got["gradient_bottleneck"] == ntp.gradient_bottleneck(W, L, LABELS)
    assert got["nc1"] == ntp.neural_collapse(W, H, LABELS).nc1
    assert got["support_nc1"] == ntp.neural_collapse(W, H, LABELS, "support").nc1
    assert got["cdnv"] == ntp.neural_collapse(W, H, LABELS).cdnv


def test_what_is_remembered_is_the_content():
    """An array changed in place is measured again. Mutation seen to fail: memory by identity."""
    metrics = ntp.standard_metrics(LABELS, "operator_norm", "alignment", "norm_efficiency_lower")
    L = ntp.in_support_logits(LABELS).toarray() + 4 * ntp.centered_support(LABELS) + W @ H
    before = {name: metric(L, W, H) for name, metric in metrics.items()}
    L *= 0.8
    after = {name: metric(L, W, H) for name, metric in metrics.items()}
    assert all(before[name] != after[name] for name in metrics)
    fresh = ntp.standard_metrics(LABELS, "operator_norm", "alignment")
    assert after["operator_norm"] == fresh["operator_norm"](L, W, H)


def test_sparse_and_torch_input():
    L = torch.tensor(W @ H, dtype=torch.float32)
    assert ntp.gradient_bottleneck(torch.tensor(W), L, LABELS) == pytest.approx(
        ntp.gradient_bottleneck(W, W @ H, LABELS), abs=1e-6
    )
    assert ntp.stable_rank(sparse.csc_array(np.eye(3))) == pytest.approx(3)


@pytest.mark.parametrize(
    "measure",
    [
        lambda labels: ntp.neural_collapse(W, H, labels),
        lambda labels: ntp.soft_self_duality(W, H, labels),
        lambda labels: ntp.collapse_test(H, labels),
        lambda labels: ntp.gradient_bottleneck(W, W @ H, labels),
        lambda labels: ntp.standard_metrics(labels),
    ],
)
def test_logits_in_place_of_labels_are_told(measure):
    with pytest.raises(ValueError, match="labels are no SoftLabels but ndarray"):
        measure(W @ H)
