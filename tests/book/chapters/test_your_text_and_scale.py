"""The statements of "Your own text, and scale", each by an independent truth."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, permutations
from math import exp, fsum, log

import numpy as np
import pytest
import torch

import ntp_lite as ntp

LABELS = ntp.random_soft_labels(V=9, m=23, support_size=3, seed=6)
P, PI = LABELS.P.toarray(), LABELS.pi
RIDGE = 0.03


def factors(d=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(LABELS.V, d)), rng.normal(size=(d, LABELS.m))


@pytest.mark.parametrize("cuts", [(0, 23), (0, 1, 23), (0, 7, 8, 20, 23)])
@pytest.mark.parametrize("mutation", ["none", "mean", "local priors", "whole penalty", "rows"])
def test_shards_add_up(cuts, mutation):
    """Theorem label: thm-your-text-and-scale-shards

    Truth: automatic differentiation of the package's loss on all contexts at once. Mutations: the
    mean of shards, priors normalised in each shard, the whole penalty on W in each shard, and
    the softmax taken over a shard of tokens.
    """
    W, H = factors()
    W_t, H_t = (torch.tensor(A, requires_grad=True) for A in (W, H))
    F = ntp.excess_loss(W_t @ H_t, LABELS) + RIDGE / 2 * (W_t.square().sum() + H_t.square().sum())
    F.backward()
    shards = [slice(a, b) for a, b in pairwise(cuts)]
    R, value, grad_W, grad_H = len(shards), 0.0, np.zeros_like(W), np.zeros_like(H)
    for s in shards:
        prior = PI[s] / PI[s].sum() if mutation == "local priors" else PI[s]
        share = 1 if mutation == "whole penalty" else R
        E = np.exp(W @ H[:, s])
        Q = E / E.sum(axis=0)
        if mutation == "rows":
            Q[:4], Q[4:] = E[:4] / E[:4].sum(axis=0), E[4:] / E[4:].sum(axis=0)
        G = (P[:, s] - Q) * prior
        grad_W += -G @ H[:, s].T + RIDGE / share * W
        grad_H[:, s] = -W.T @ G + RIDGE * H[:, s]
        columns = zip(P.T[s], Q.T, strict=True)
        KL = [fsum(p * log(p / q) for p, q in zip(*c, strict=True) if p) for c in columns]
        value += prior @ KL + RIDGE / 2 * (np.sum(H[:, s] ** 2) + np.sum(W**2) / share)
    if mutation == "mean":
        grad_W, value = grad_W / R, value / R
    holds = (
        np.isclose(value, F.item(), rtol=1e-10)
        and np.allclose(grad_W, W_t.grad.numpy(), rtol=0, atol=1e-12)
        and np.allclose(grad_H, H_t.grad.numpy(), rtol=0, atol=1e-12)
    )
    harmless = R == 1 and mutation in ("mean", "local priors", "whole penalty")
    assert holds == (mutation == "none" or harmless)


def test_shards_add_up_for_shared_parameters():
    """Theorem label: thm-your-text-and-scale-shards

    The last sentence, for a decoder: gradients of shards of contexts sum to the whole gradient.
    """
    contexts = np.arange(2 * LABELS.m).reshape(LABELS.m, 2) % LABELS.V
    labels = ntp.SoftLabels.from_counts(LABELS.N, contexts)
    model = ntp.Transformer(ntp.TransformerConfig(LABELS.V, 2, d=8, layers=1)).double()

    def gradient(columns):
        """Of the sum over these contexts with the global priors."""
        part = labels.select(columns)
        model.zero_grad()
        loss = ntp.excess_loss(model.logits(part.contexts), part) * (part.n / labels.n)
        loss.backward()
        return torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])

    whole = gradient(np.arange(labels.m)).clone()
    parts = [gradient(np.arange(a, b)).clone() for a, b in ((0, 5), (5, 23))]
    assert torch.allclose(sum(parts), whole, rtol=0, atol=1e-12)
    assert not torch.allclose(sum(parts) / 2, whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e5])
def test_log_sum_exp_merges(scale):
    """Theorem label: prop-your-text-and-scale-lse

    Truth: exact summation (math.fsum) after subtraction of the maximum; all orders of merging.
    Mutation: sums added without rescaling.
    """
    rng = np.random.default_rng(3)
    parts = [scale * rng.normal(size=size) for size in (1, 4, 2, 3)]

    def pair(x):
        return x.max(), np.exp(x - x.max()).sum()

    def merge(a, b, rescale=True):
        top = max(a[0], b[0])
        factors = [exp(p[0] - top) if rescale else 1.0 for p in (a, b)]
        return top, factors[0] * a[1] + factors[1] * b[1]

    everything = np.concatenate(parts)
    top = everything.max()
    exact = top + log(fsum(exp(x - top) for x in everything))
    for order in permutations(parts):
        total = pair(order[0])
        for part in order[1:]:
            total = merge(total, pair(part))
        assert np.isclose(total[0] + log(total[1]), exact, rtol=1e-14)
        assert 1 <= total[1] <= len(everything)
    left, right = (merge(pair(parts[0]), pair(parts[1])), merge(pair(parts[2]), pair(parts[3])))
    assert np.allclose(merge(left, right), total, rtol=1e-14)
    careless = merge(left, right, rescale=False)
    assert not np.isclose(careless[0] + log(careless[1]), exact, rtol=0, atol=0.05)


def counts(ids, c):
    """Literally: a Counter of windows."""
    return Counter(tuple(ids[i : i + c + 1]) for i in range(len(ids) - c))


@pytest.mark.parametrize("c", [1, 2, 4])
def test_overlapping_parts(c):
    """Theorem label: lem-your-text-and-scale-overlap

    Mutations: one token less of overlap, and one more.
    """
    ids = np.random.default_rng(5).integers(0, 4, 60).tolist()
    cuts = [0, 1, 17, 40, 60 - c]
    for overlap in (c - 1, c, c + 1):
        parts = [ids[a : b + overlap] for a, b in pairwise(cuts)]
        total = sum((counts(part, c) for part in parts), Counter())
        assert (total == counts(ids, c)) == (overlap == c)
    own = ntp.SoftLabels.from_tokens(ids, c, 4)
    found = {
        (*own.contexts[j].tolist(), int(z)): int(k)
        for z, j, k in zip(*own.entries, own.N.data, strict=True)
    }
    assert found == counts(ids, c)


def pair_of_counts(seed):
    """Two count matrices over the same contexts, some of them empty in one."""
    rng = np.random.default_rng(seed)
    N_A, N_B = (rng.integers(0, 5, (4, 7)) * (rng.random((4, 7)) < 0.6) for _ in range(2))
    N_A[0, :4], N_B[1, 3:] = 1, 2
    N_A[:, 6], N_B[:, 0] = 0, 0
    N_A[:, 5] = N_B[:, 5] * 3  # shared, with equal soft labels
    return N_A, N_B


def kept(N):
    return ntp.SoftLabels.from_counts(N[:, N.any(axis=0)])


@pytest.mark.parametrize("seed", range(5))
def test_counts_add_and_floors_do_not(seed):
    """Theorem label: thm-your-text-and-scale-merge

    Floors from the package, divergences literally. Mutations: equal weights in the mixture, equal
    weights of the floors, intersection in place of union, divergences in the other direction.
    """
    N_A, N_B = pair_of_counts(seed)
    A, B, both = kept(N_A), kept(N_B), kept(N_A + N_B)
    n_A, n_B = N_A.sum(axis=0), N_B.sum(axis=0)
    used = (n_A + n_B) > 0
    N_A, N_B, n_A, n_B = N_A[:, used], N_B[:, used], n_A[used], n_B[used]
    alpha, P_both = n_A / (n_A + n_B), both.P.toarray()
    P_A, P_B = N_A / np.maximum(n_A, 1), N_B / np.maximum(n_B, 1)
    assert np.allclose(both.pi, (n_A + n_B) / (A.n + B.n))
    assert np.allclose(alpha * P_A + (1 - alpha) * P_B, P_both)
    assert not np.allclose((P_A + P_B) / 2, P_both, atol=0.05)
    assert np.array_equal((N_A > 0) | (N_B > 0), both.S.toarray() == 1)
    assert not np.array_equal((N_A > 0) & (N_B > 0), both.S.toarray() == 1)

    def divergences(own, n_j, other, turned=False):
        total = 0.0
        for z, j in np.argwhere(own > 0):
            ratio = log(own[z, j] / other[z, j])
            total += n_j[j] * (-other[z, j] if turned else own[z, j]) * ratio
        return total

    rise = both.n * both.entropy - A.n * A.entropy - B.n * B.entropy
    right = divergences(P_A, n_A, P_both) + divergences(P_B, n_B, P_both)
    turned = divergences(P_A, n_A, P_both, True) + divergences(P_B, n_B, P_both, True)
    assert np.isclose(rise, right, rtol=1e-9) and rise > 0
    assert not np.isclose(rise, turned, rtol=1e-2)
    unweighted = both.n * (both.entropy - (A.entropy + B.entropy) / 2)
    assert A.n == B.n or not np.isclose(unweighted, right, rtol=1e-6)
    h = [-a * log(a) - (1 - a) * log(1 - a) if 0 < a < 1 else 0.0 for a in alpha]
    assert rise <= (n_A + n_B) @ h <= both.n * log(2)
    # The bound is reached, and equality holds, exactly where the theorem says.
    disjoint = kept(np.array([[5], [0]]) + np.array([[0], [5]]))
    assert np.isclose(disjoint.entropy, log(2))
    same = kept(N_A + 3 * N_A)
    assert np.isclose(same.entropy, kept(N_A).entropy)
