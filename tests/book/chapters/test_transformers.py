"""The statements of "Transformers", each by an independent truth."""

from __future__ import annotations

from collections import Counter
from itertools import permutations, product

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

import ntp_lite as ntp

COUNTS = np.array([[4, 0, 1, 0, 2], [1, 2, 0, 0, 3], [0, 5, 2, 1, 0], [0, 0, 3, 1, 0]])
LABELS = ntp.SoftLabels.from_counts(COUNTS)


@pytest.fixture
def rng():
    return np.random.default_rng(14)


def tiny(final_norm, context_length=2, **options):
    config = ntp.TransformerConfig(
        V=5, context_length=context_length, d=6, layers=1, heads=2, final_norm=final_norm, **options
    )
    model = ntp.Transformer(config).double()
    if final_norm:
        model.norm.eps = 0.0
    return model


@pytest.mark.parametrize("final_norm", [False, True])
def test_pull_back(final_norm, rng):
    """Theorem label: prop-transformers-pullback

    J by finite differences, not by the backward pass that gives the gradient. Mutations: the
    transposed order of vec, the rank without a norm. Part 3: one small step of gradient flow.
    """
    contexts = np.array(list(product(range(5), repeat=2)))[:16]
    counts = rng.integers(0, 3, size=(5, 16)) + np.eye(5, dtype=int)[:, contexts[:, 0]]
    labels = ntp.SoftLabels.from_counts(counts)
    model = tiny(final_norm)
    theta = [p for name, p in model.named_parameters() if name != "W"]

    def vectors():
        with torch.no_grad():
            return model.embeddings(contexts).numpy().copy()

    H, columns, step = vectors(), [], 1e-6
    for parameter in theta:
        flat = parameter.data.view(-1)
        for i in range(len(flat)):
            old = flat[i].item()
            flat[i] = old + step
            up = vectors()
            flat[i] = old - step
            columns.append(((up - vectors()) / (2 * step)).ravel())
            flat[i] = old
    J = np.array(columns).T

    ntp.cross_entropy(model.logits(contexts), labels).backward()
    W = model.W.detach().numpy()
    Q = np.exp(W @ H)
    G = (labels.P.toarray() - Q / Q.sum(axis=0)) * labels.pi
    pull = W.T @ G
    gradient = np.concatenate([p.grad.numpy().ravel() for p in theta])
    assert np.allclose(gradient, -J.T @ pull.ravel(), atol=1e-8)
    assert not np.allclose(gradient, -J.T @ pull.T.ravel(), atol=1e-4)
    assert np.allclose(model.W.grad.numpy(), -G @ H.T, atol=1e-12)

    d, m = H.shape
    rank = np.linalg.matrix_rank(J, tol=1e-6 * np.linalg.norm(J, 2))
    bound = m * (d - 2) + 2 * d
    assert bound < d * m
    assert (rank <= bound) == final_norm

    tau = 1e-6
    for parameter in theta:
        parameter.data -= tau * parameter.grad
    moved = (vectors() - H).ravel() / tau
    assert np.allclose(moved, J @ J.T @ pull.ravel(), atol=1e-4 * np.abs(moved).max())
    assert not np.allclose(moved, pull.ravel(), atol=1e-2 * np.abs(moved).max())  # K is not I


def relu_mlp(X, Y, units=None):
    """Interpolation by the definition: solve for the output weights, unit by unit."""
    u = np.linspace(1.0, 2.0, len(X)) ** 3
    s = u @ X
    order = np.argsort(s)
    ladder = s[order]
    b = np.concatenate([[ladder[0] - 1], (ladder[1:] + ladder[:-1]) / 2])[:units]
    R = np.maximum(ladder[None, :] - b[:, None], 0)
    if units is None:
        assert np.allclose(R, np.triu(R)) and (np.diag(R) > 0).all()
    C = np.linalg.lstsq(R.T, Y[:, order].T, rcond=None)[0].T
    return lambda x: C @ np.maximum(u @ x - b[:, None], 0)


@pytest.mark.parametrize("mutation", ["none", "one unit fewer", "twice the same point"])
def test_interpolation(mutation, rng):
    """Theorem label: lem-transformers-interpolation"""
    X, Y = rng.normal(size=(3, 9)), rng.normal(size=(2, 9))
    if mutation == "twice the same point":
        X[:, 4] = X[:, 7] + 1e-12
    units = 8 if mutation == "one unit fewer" else None
    try:
        exact = np.allclose(relu_mlp(X, Y, units)(X), Y, atol=1e-8)
    except AssertionError:
        exact = False
    assert exact == (mutation == "none")


@pytest.mark.parametrize("mutation", ["none", "no first layer", "narrow"])
def test_wide_decoder_is_a_table(mutation, rng):
    """Theorem label: thm-transformers-table

    All 27 contexts of three tokens, states and attention written out position by position, any H;
    then the certificate of the logits. Mutations: without the first MLP, sums of e + p confuse
    contexts; a second MLP with a unit fewer.
    """
    V, c, d = 3, 3, 4
    contexts = np.array(list(product(range(V), repeat=c)))
    m = len(contexts)
    counts = rng.integers(0, 3, size=(V, m)) + np.eye(V, dtype=int)[:, contexts[:, 0]]
    labels = ntp.SoftLabels.from_counts(counts)
    ridge = 1e-3
    solved = ntp.solve_ridge(labels, ridge, tol=1e-7)
    W, H = ntp.balanced_factors(solved.L, d)
    e1 = np.eye(d)[0]
    named = np.array([e1 * (z + V * i) for i in range(c) for z in range(V)]).T
    digits = np.array([e1 * (z * V**i) for i in range(c) for z in range(V)]).T
    f1 = relu_mlp(named, digits - named)

    def last_state(context):
        state = [e1 * (z + V * i) for i, z in enumerate(context)]
        if mutation != "no first layer":
            state = [x + f1(x[:, None])[:, 0] for x in state]
        weights = np.exp(np.zeros(c)) / c  # softmax of zero queries
        return state[-1] + c * sum(w * x for w, x in zip(weights, state, strict=True))

    x = np.array([last_state(context) for context in contexts]).T
    different = len(np.unique(x.round(6), axis=1).T) == m
    assert different == (mutation != "no first layer")
    if not different:
        return
    f2 = relu_mlp(x, H - x, m - 1 if mutation == "narrow" else None)
    built = x + f2(x)
    assert np.allclose(built, H, atol=1e-6) == (mutation == "none")
    if mutation == "none":
        assert ntp.certify_ridge(W @ built, labels, ridge).relative_gap < 1e-3
        energy = (np.sum(W**2) + np.sum(built**2)) / 2
        objective = ntp.excess_loss(W @ built, labels) + ridge * energy
        assert np.isclose(objective, solved.certificate.primal, rtol=1e-4)


def test_decay_is_a_sum_of_column_lengths(rng):
    """Theorem label: prop-transformers-decay

    Minimised numerically over the gains. Mutations: the nuclear and the Frobenius norm.
    """
    M = rng.normal(size=(6, 3)) @ [[2, 1.5, 1], [0, 1, 0.5], [0, 0, 0.3]]  # not orthogonal
    log_g = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [log_g], max_iter=200, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def charge():
        g = log_g.exp()
        return ((torch.from_numpy(M) / g).square().sum() + g.square().sum()) / 2

    def closure():
        optimizer.zero_grad()
        value = charge()
        value.backward()
        return value

    optimizer.step(closure)
    least = charge().item()
    assert np.isclose(least, np.linalg.norm(M, axis=0).sum(), rtol=1e-8)
    assert not np.isclose(least, np.linalg.norm(M, "nuc"), rtol=1e-2)
    assert not np.isclose(least, np.linalg.norm(M), rtol=1e-2)
    gains = log_g.exp().detach().numpy()
    assert np.allclose(gains, np.linalg.norm(M / gains, axis=0), rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "blind"),
    [
        ({"positions": False}, True),
        ({"positions": True}, False),
        ({"positions": False, "layers": 2}, False),
    ],
)
def test_one_layer_without_positions_is_blind_to_order(options, blind):
    """Theorem label: prop-transformers-order

    Mutations: position vectors; a second layer; another last token.
    """
    config = ntp.TransformerConfig(**({"V": 7, "context_length": 4, "d": 8, "heads": 2,
                                       "layers": 1, "seed": 3} | options))  # fmt: skip
    model = ntp.Transformer(config).double()
    orders = np.array([(*p, 5) for p in permutations((1, 2, 6))])
    with torch.no_grad():
        H = model.embeddings(orders).numpy()
        moved = model.embeddings(np.array([[5, 1, 2, 6]])).numpy()
    assert (np.ptp(H, axis=1).max() < 1e-12) == blind
    assert np.abs(H[:, :1] - moved).max() > 1e-3


def test_price_of_looking_alike(rng):
    """Theorem label: thm-transformers-merging

    Truths: floors of merged counts; scipy's divergence; logits near the infimum, and no logits
    below it. Mutations: other groups, an unweighted mixture. Both bounds are attained.
    """
    groups = np.array([0, 1, 0, 1, 1])
    P, pi = LABELS.P.toarray(), LABELS.pi

    def price(P, pi, groups, weighted=True):
        total = 0.0
        for g in np.unique(groups):
            members = np.flatnonzero(groups == g)
            w = pi[members] if weighted else np.ones(len(members))
            mixture = P[:, members] @ w / w.sum()
            for j in members:
                z = P[:, j] > 0
                total += pi[j] * np.sum(P[z, j] * np.log(P[z, j] / mixture[z]))
        return total

    def merged(groups):
        counts = np.stack([COUNTS[:, groups == g].sum(axis=1) for g in (0, 1)], axis=1)
        return ntp.SoftLabels.from_counts(counts)

    right = price(P, pi, groups)
    assert np.isclose(right, merged(groups).entropy - LABELS.entropy, rtol=1e-12)
    assert not np.isclose(right, price(P, pi, np.array([1, 1, 0, 0, 1])), rtol=1e-2)
    assert not np.isclose(right, price(P, pi, groups, weighted=False), rtol=1e-3)

    equal = ntp.SoftLabels.from_counts(np.array([[3, 1], [2, 2], [0, 2]]))  # 5 and 5 positions
    js = jensenshannon(*equal.P.toarray().T) ** 2
    assert np.isclose(price(equal.P.toarray(), equal.pi, np.zeros(2)), js)

    best = np.log(merged(groups).P.toarray() + 1e-9)[:, groups]
    assert right - 1e-12 < ntp.excess_loss(best, LABELS) < right + 1e-6
    for _ in range(50):
        L = (best[:, [0, 1]] + rng.normal(size=(4, 2)))[:, groups]
        assert ntp.excess_loss(L, LABELS) > right
    assert ntp.excess_loss(np.log(P + 1e-9), LABELS) < right  # free columns can

    weights = pi / np.bincount(groups, pi)[groups]
    assert 0 < right < -pi @ np.log(weights)
    apart = np.array([[1, 0, 0], [0, 0.5, 0], [0, 0.5, 0], [0, 0, 1]])
    prior = np.array([0.5, 0.3, 0.2])
    assert np.isclose(price(apart, prior, np.zeros(3)), -prior @ np.log(prior))
    assert price(np.tile(P[:, :1], 3), prior, np.zeros(3)) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("mutation", ["none", "two contexts exchanged"])
def test_trained_decoder_is_certified(mutation):
    """A decoder trained with the ridge on W and H ends on the path, by the certificate alone."""
    ids, vocab = ntp.load_corpus("lily")
    labels = ntp.SoftLabels.from_tokens(ids, 2, len(vocab))
    labels = labels.select((labels.support_sizes >= 2) & (labels.support_sizes <= 6))
    model = ntp.Transformer(
        ntp.TransformerConfig(V=labels.V, context_length=2, d=32, layers=1, final_norm=False)
    )
    config = ntp.TrainConfig(ridge=1e-3, steps=400, device="cpu", dtype="float64", tol=None)
    ntp.fit(model, labels, config)
    L = model.logits(labels.contexts).detach().numpy()
    if mutation != "none":
        L = L[:, [1, 0, *range(2, labels.m)]]
    judged = ntp.certify_ridge(L, labels, 1e-3)
    assert (judged.relative_gap < 0.05) == (mutation == "none")


@pytest.mark.parametrize("mutation", ["few can move", "all can move"])
def test_a_permutation_test_is_worth_what_can_move(mutation):
    """Perfectly collapsed vectors, and p cannot fall below one over the arrangements.

    Mutation: shuffles among all contexts, which do have power for the same vectors.
    """
    classes = np.array([0] * 6 + [1] * 6)
    labels = ntp.SoftLabels.from_counts(5 * np.eye(2, dtype=int)[:, classes])
    last = np.where(np.isin(np.arange(12), (0, 6)), 7, classes)  # one mixed pair
    groups = last if mutation == "few can move" else None
    H = np.vstack([classes, 1 - classes]).astype(float)
    test = ntp.collapse_test(H, labels, groups, several_tokens=False)
    assert test.value < 1e-12 and test.p_value >= test.smallest_p
    few = test.movable == 2 and test.arrangements == 2 and test.p_value == 0.5
    assert few == (mutation == "few can move")
    assert (test.p_value < 0.01) == (mutation == "all can move")


END = 0


def random_stories(seed, repeats=True):
    """Stories over tokens 1, 2, 3, each ended by END; some are told again."""
    rng = np.random.default_rng(seed)
    stories = [[*rng.integers(1, 4, rng.integers(0, 6)).tolist(), END] for _ in range(12)]
    if not repeats:
        return [list(s) for s in sorted(set(map(tuple, stories)))]
    return stories + stories[:4]


def prefix_labels(stories):
    """Soft labels of all prefixes, by looking each prefix up among all stories."""
    prefixes = sorted({tuple(s[:i]) for s in stories for i in range(len(s))})
    N = np.zeros((4, len(prefixes)), dtype=int)
    for j, prefix in enumerate(prefixes):
        for s in stories:
            if len(s) > len(prefix) and tuple(s[: len(prefix)]) == prefix:
                N[s[len(prefix)], j] += 1
    return ntp.SoftLabels.from_counts(N)


@pytest.mark.parametrize("seed", range(10))
def test_prefix_trees(seed):
    """Theorem label: thm-open-directions-tree

    Mutations: repeated stories counted as distinct; ln(D) for repeated ones; no end token.
    """
    stories = random_stories(seed)
    labels = prefix_labels(stories)
    c = np.array(list(Counter(map(tuple, stories)).values()))
    D = len(stories)
    entropy = -np.sum(c / D * np.log(c / D))
    assert labels.n == sum(map(len, stories))
    assert (labels.support_sizes - 1).sum() == len(c) - 1 != D - 1
    assert (labels.support_sizes > 1).sum() <= len(c) - 1
    assert np.isclose(labels.entropy, entropy / (labels.n / D), rtol=1e-12)
    assert labels.entropy < np.log(D) / (labels.n / D) * (1 - 1e-3)
    distinct = random_stories(seed, repeats=False)
    assert np.isclose(
        prefix_labels(distinct).entropy * prefix_labels(distinct).n,
        len(distinct) * np.log(len(distinct)),
    )
    without = prefix_labels([[1, 2], [1, 2, 3], [1, 2, 3, 3]])  # each a prefix of the next
    assert (without.support_sizes - 1).sum() == 0 != 3 - 1


@pytest.mark.parametrize("seed", range(10))
def test_certainty_only_grows(seed):
    """Theorem label: prop-open-directions-share

    Mutations: shares of contexts; longer contexts that do not refine the shorter ones.
    """
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 3, 60)

    def share(contexts):
        N = Counter(zip(contexts, ids[4:].tolist(), strict=True))
        k = Counter(context for context, _ in N)
        certain = sum(count for (context, _), count in N.items() if k[context] == 1)
        return certain / len(contexts), np.mean([size == 1 for size in k.values()])

    def window(c):
        return [tuple(ids[t - c : t]) for t in range(4, len(ids))]

    positions = [share(window(c))[0] for c in (1, 2, 3, 4)]
    assert (np.diff(positions) >= 0).all() and positions[-1] > positions[0]
    table = ntp.SoftLabels.from_tokens(ids[2:], 2, 3)
    assert np.isclose(table.pi[table.support_sizes == 1].sum(), positions[1])
    other = [tuple(ids[t - 4 : t - 2]) for t in range(4, len(ids))]  # older tokens instead
    assert share(other)[0] < positions[3]


def test_share_of_contexts_can_fall():
    """The mutation of the proposition that readers find in an exercise."""
    shorter = ntp.SoftLabels.from_counts([[6, 3], [0, 3]])
    longer = ntp.SoftLabels.from_counts([[6, 1, 1, 1], [0, 1, 1, 1]])
    assert (longer.support_sizes == 1).mean() < (shorter.support_sizes == 1).mean()
