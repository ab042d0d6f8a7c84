"""The statements of "The entropy floor", each by an independent truth."""

import math
from collections import Counter, defaultdict

import mpmath
import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr

import ntp_lite as ntp


@pytest.fixture(scope="module")
def text():
    return ntp.load_corpus("lily")


@pytest.fixture(scope="module")
def labels(text):
    ids, vocab = text
    return ntp.SoftLabels.from_tokens(ids, context_length=2, vocab_size=len(vocab))


@pytest.fixture(scope="module")
def L(labels):
    return 2 * np.random.default_rng(1).standard_normal((labels.V, labels.m))


@pytest.mark.parametrize(
    "mutation",
    [None, "uniform priors", "permuted contexts", "softmax over contexts", "next-but-one"],
)
def test_one_hot_loss_is_soft_label_loss(mutation, text, labels, L):
    """Theorem label: thm-entropy-floor-one-hot

    Truth: a loop over the positions of the text with math.log and math.exp."""
    ids, _ = text
    column_of = {tuple(context): j for j, context in enumerate(labels.contexts.tolist())}
    shift = 1 if mutation == "next-but-one" else 0
    total, count = 0.0, 0
    for t in range(2, len(ids) - shift):
        column = L[:, column_of[tuple(ids[t - 2 : t].tolist())]].tolist()
        total += math.log(math.fsum(map(math.exp, column))) - column[ids[t + shift]]
        count += 1
    truth = total / count
    loss = ntp.cross_entropy(L, labels)
    log_Q = log_softmax(L, axis=1 if mutation == "softmax over contexts" else 0)
    if mutation == "uniform priors":
        loss = -(labels.P.toarray() * log_Q).sum(axis=0).mean()
    elif mutation == "permuted contexts":
        loss = ntp.cross_entropy(np.roll(L, 1, axis=1), labels)
    elif mutation == "softmax over contexts":
        loss = -labels.pi @ (labels.P.toarray() * log_Q).sum(axis=0)
    assert bool(abs(loss - truth) < 1e-12) is (mutation is None)


@pytest.mark.parametrize("mutation", [None, "roles exchanged", "permuted P", "floor in bits"])
def test_excess_is_a_divergence(mutation, labels, L):
    """Theorem label: thm-entropy-floor-kl

    Truth: scipy's relative entropy, entry by entry."""
    P, Q = labels.P.toarray(), np.exp(log_softmax(L, axis=0))
    first, second = P, Q
    if mutation == "roles exchanged":
        first, second = Q, np.maximum(P, 1e-6)
    elif mutation == "permuted P":
        first = np.roll(P, 1, axis=0)
    floor = labels.entropy / (math.log(2) if mutation == "floor in bits" else 1)
    truth = labels.pi @ rel_entr(first, second).sum(axis=0)
    close = bool(np.isclose(ntp.cross_entropy(L, labels) - floor, truth, rtol=1e-12))
    assert close is (mutation is None)
    if mutation is None:
        assert np.isclose(ntp.excess_loss(L, labels), truth, rtol=1e-12)
        assert truth > 0


def test_divergence_is_zero_only_at_equality():
    """Theorem label: lem-entropy-floor-gibbs"""
    rng = np.random.default_rng(2)
    for _ in range(50):
        p, q = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(5))
        p[rng.integers(5)] = 0
        p /= p.sum()
        assert rel_entr(p, q).sum() > 0
        assert rel_entr(q, q).sum() == 0
        # Without its normalisation the sum may well be negative.
        assert rel_entr(p, q / q.min()).sum() < 0


@pytest.mark.parametrize("mutation", [None, "support of another context", "not renormalised"])
def test_two_halves(mutation, labels, L):
    """Theorem label: lem-entropy-floor-halves"""
    P, Q, S = labels.P.toarray(), np.exp(log_softmax(L, axis=0)), labels.S.toarray()
    if mutation == "support of another context":
        S = np.roll(S, 1, axis=1)
    on_support = (S * Q).sum(axis=0)
    inside = S * Q / (1 if mutation == "not renormalised" else on_support)
    halves = rel_entr(P, np.where(S > 0, inside, 1.0)).sum(axis=0) - np.log(on_support)
    assert np.allclose(halves, rel_entr(P, Q).sum(axis=0), rtol=1e-10) is (mutation is None)


def _path(labels, t):
    P = labels.P.toarray()
    return np.where(P > 0, np.log(np.where(P > 0, P, 1.0)), -t)


@pytest.mark.parametrize("mutation", [None, "permuted S", "shares lost"])
def test_floor_is_approached(mutation, labels):
    """Theorem label: thm-entropy-floor-not-reached

    The closed form along the path; with logits on a wrong support the excess does not vanish."""
    t = 30.0
    logits = _path(labels, t)
    if mutation == "permuted S":
        logits = np.roll(logits, 1, axis=1)
    elif mutation == "shares lost":
        logits = np.where(labels.S.toarray() > 0, 0.0, -t)
    closed = labels.pi @ np.log1p((labels.V - labels.support_sizes) * math.exp(-t))
    close = bool(np.isclose(ntp.excess_loss(logits, labels), closed, rtol=1e-9, atol=0))
    assert close is (mutation is None)
    assert (ntp.excess_loss(logits, labels) < 1e-9) is (mutation is None)


@pytest.mark.parametrize("full", [True, False])
def test_floor_is_reached_only_with_full_supports(full):
    """Theorem label: thm-entropy-floor-not-reached"""
    N = np.random.default_rng(4).integers(1, 9, size=(6, 4))
    if not full:
        N[2, 1] = 0
    labels = ntp.SoftLabels.from_counts(N)
    excess = ntp.excess_loss(_path(labels, 12.0), labels)
    assert (excess < 1e-28) is full
    assert full or excess > labels.pi[1] * math.exp(-12.0) * 0.99


def _random_case(rng):
    """Soft labels with full, single and equal supports among them, and logits of all sizes."""
    V, m = rng.integers(1, 6), rng.integers(1, 5)
    N = rng.integers(1, 9, size=(V, m)) * (rng.random((V, m)) < rng.random())
    N[rng.integers(V), N.sum(axis=0) == 0] = 1
    labels = ntp.SoftLabels.from_counts(N)
    size = 10 ** rng.uniform(-2, 1.3)
    flat = size * labels.S.toarray()
    return labels, [size * rng.normal(size=(V, m)), flat, flat + rng.normal(size=(V, m)), 0 * flat]


@pytest.mark.parametrize("mutation", [None, "spread halved", "one token off too many", "V for k"])
def test_logits_must_grow(mutation):
    """Theorem label: cor-entropy-floor-growth

    The two lines on random labels and logits, the second never above the first. Mutations: half the
    spread, V / k_j in place of V / k_j - 1, V - k_j in place of (V - k_j) / k_j."""
    rng = np.random.default_rng(0)
    holds = True
    for _ in range(300):
        labels, cases = _random_case(rng)
        for logits in cases:
            spread = np.ptp(logits, axis=0) / (2 if mutation == "spread halved" else 1)
            k = labels.support_sizes
            rho = labels.V / k - (0 if mutation == "one token off too many" else 1)
            rho *= k if mutation == "V for k" else 1
            first = labels.pi @ np.log1p(rho * np.exp(-spread))
            second = math.exp(-spread.max()) * (labels.pi @ np.log(labels.V / k))
            holds &= bool(ntp.excess_loss(logits, labels) >= first * (1 - 1e-9) - 1e-14)
            assert second <= first * (1 + 1e-9) or mutation == "spread halved"
    assert holds is (mutation is None)


@pytest.mark.parametrize("mutation", [None, "unequal shares", "logits of another support"])
def test_growth_bound_is_attained(mutation):
    """Theorem label: cor-entropy-floor-growth

    Equal shares, logits R on the support and 0 off it: the first line is an equality."""
    S = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]])
    N = S * np.arange(1, 5)[:, None] if mutation == "unequal shares" else 2 * S
    labels = ntp.SoftLabels.from_counts(N)
    logits = np.roll(S, 1, axis=0) if mutation == "logits of another support" else S
    for R in (0.5, 3.0, 20.0):
        rho = labels.V / labels.support_sizes - 1
        bound = labels.pi @ np.log1p(rho * math.exp(-R))
        attained = np.isclose(ntp.excess_loss(R * logits, labels), bound, rtol=1e-9, atol=0)
        assert bool(attained) is (mutation is None)


@pytest.mark.parametrize("mutation", [None, "CE - floor", "off-support mass dropped", "plain exp"])
@pytest.mark.parametrize("case", ["off support", "on support"])
def test_excess_keeps_its_digits(mutation, case):
    """Theorem label: prop-entropy-floor-safe

    Truth: mpmath with 60 digits, for an excess that sits off the support and for one on it."""
    N = np.array([[6, 1, 2], [3, 0, 2], [1, 4, 5], [0, 2, 1]])
    labels = ntp.SoftLabels.from_counts(N)
    logits = _path(labels, 45.0 if case == "off support" else 90.0)
    if case == "on support":
        logits[0] += 1e-9
    mpmath.mp.dps = 60
    truth = mpmath.mpf(0)
    for j in range(3):
        lse = mpmath.log(mpmath.fsum(mpmath.exp(mpmath.mpf(x)) for x in logits[:, j]))
        total = int(N[:, j].sum())
        for z in np.flatnonzero(N[:, j]):
            p = mpmath.mpf(int(N[z, j])) / total
            truth += (
                mpmath.mpf(total)
                / int(N.sum())
                * p
                * (mpmath.log(p) - mpmath.mpf(logits[z, j]) + lse)
            )
    assert 1e-21 < truth < 1e-17
    got = ntp.excess_loss(logits, labels)
    P, pi = labels.P.toarray(), labels.pi
    if mutation == "CE - floor":
        got = ntp.cross_entropy(logits, labels) - labels.entropy
    elif mutation == "off-support mass dropped":
        got -= pi @ np.where(P > 0, 0, np.exp(log_softmax(logits, axis=0))).sum(axis=0)
    elif mutation == "plain exp":
        x = np.where(P > 0, log_softmax(logits, axis=0) - np.log(np.where(P > 0, P, 1.0)), 0.0)
        got = pi @ (P * (np.exp(x) - 1 - x)).sum(axis=0)
        got += pi @ np.where(P > 0, 0, np.exp(log_softmax(logits, axis=0))).sum(axis=0)
    right = abs(float(got / truth - 1)) < 1e-5
    if mutation == "off-support mass dropped" and case == "on support":
        assert right  # nothing leaks off the support here: this mutation shows in the other case
    else:
        assert right == (mutation is None)


@pytest.mark.parametrize("mutation", [None, "oldest tokens kept", "other positions"])
def test_worth_of_one_more_token(mutation, text):
    """Theorem label: thm-entropy-floor-longer

    Truth: conditional mutual information from a dictionary of windows, in plain Python."""
    ids, vocab = text
    windows = Counter(tuple(ids[t - 3 : t + 1].tolist()) for t in range(3, len(ids)))
    n = len(ids) - 3
    kept = slice(0, 2) if mutation == "oldest tokens kept" else slice(1, 3)
    long_count, short_count, short_pair = Counter(), Counter(), defaultdict(int)
    for window, count in windows.items():
        long_count[window[:3]] += count
        short_count[window[kept]] += count
        short_pair[window[kept], window[3]] += count
    worth = math.fsum(
        count
        / n
        * math.log(
            count
            / long_count[window[:3]]
            / (short_pair[window[kept], window[3]] / short_count[window[kept]])
        )
        for window, count in windows.items()
    )
    longer = ntp.SoftLabels.from_tokens(ids, 3, len(vocab))
    text_of_shorter = ids if mutation == "other positions" else ids[1:]
    shorter = ntp.SoftLabels.from_tokens(text_of_shorter, 2, len(vocab))
    assert (abs(shorter.entropy - longer.entropy - worth) < 1e-12) is (mutation is None)


def test_supports_unite_when_contexts_merge(text):
    """Theorem label: thm-entropy-floor-longer"""
    ids, vocab = text
    longer = ntp.SoftLabels.from_tokens(ids, 3, len(vocab))
    shorter = ntp.SoftLabels.from_tokens(ids[1:], 2, len(vocab))
    union = defaultdict(set)
    S = longer.S.toarray()
    for j, context in enumerate(longer.contexts.tolist()):
        union[tuple(context[1:])] |= set(np.flatnonzero(S[:, j]).tolist())
    S_short = shorter.S.toarray()
    for j, context in enumerate(shorter.contexts.tolist()):
        assert union[tuple(context)] == set(np.flatnonzero(S_short[:, j]).tolist())


def test_a_mean_over_fewer_positions_may_rise():
    """The chapter's counter-example: without equal positions the theorem fails."""
    ids = np.array([0, 0, 0, 1])
    assert (
        ntp.SoftLabels.from_tokens(ids, 2, 2).entropy
        > ntp.SoftLabels.from_tokens(ids, 1, 2).entropy
    )
