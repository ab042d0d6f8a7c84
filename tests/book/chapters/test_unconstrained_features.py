"""The statements of "The unconstrained features model", each by an independent truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import softmax

import ntp_lite as ntp
from ntp_lite.models import UFM
from ntp_lite.train import TrainConfig, fit


@pytest.fixture(scope="module")
def labels():
    return ntp.random_soft_labels(V=7, m=5, support_size=3, seed=2)


@pytest.mark.parametrize(("width", "holds"), [(40, True), (12, True), (11, False), (4, False)])
def test_wide_features_are_a_table(width, holds):
    """Theorem label: prop-unconstrained-features-any

    Part 1 with its formula for B; the mutation is a rank below m = 12, where part 2 takes over.
    """
    rng = np.random.default_rng(width)
    Phi, H = np.tanh(rng.normal(size=(width, 12))), rng.normal(size=(3, 12))
    B = H @ np.linalg.pinv(Phi.T @ Phi) @ Phi.T
    assert np.allclose(B @ Phi, H, atol=1e-6) is holds
    if not holds:
        c = np.linalg.svd(Phi)[2][-1]
        any_H = rng.normal(size=(3, width)) @ Phi
        assert np.allclose(any_H @ c, 0, atol=1e-10)
        assert not np.allclose(H @ c, 0, atol=1e-3)


@pytest.mark.parametrize("mutation", ["", "equal priors", "wrong axis", "sign"])
def test_gradients(labels, mutation):
    """Theorem label: prop-unconstrained-features-gradients

    By central differences of the definition, without autograd. Mutations: priors 1/m, the softmax
    over contexts, the reversed sign.
    """
    rng = np.random.default_rng(0)
    ridge, P = 0.05, labels.P.toarray()
    W, H = rng.normal(size=(labels.V, 3)), rng.normal(size=(3, labels.m))

    def F(W, H):
        return ntp.cross_entropy(W @ H, labels) + ridge / 2 * ((W**2).sum() + (H**2).sum())

    def numeric(X, f):
        grad = np.zeros_like(X)
        for i in np.ndindex(X.shape):
            step = np.zeros_like(X)
            step[i] = 1e-5
            grad[i] = (f(X + step) - f(X - step)) / 2e-5
        return grad

    L = W @ H
    Q = softmax(L.T).T if mutation == "wrong axis" else softmax(L)
    pi = np.full(labels.m, 1 / labels.m) if mutation == "equal priors" else labels.pi
    G = (P - Q) * pi * (-1 if mutation == "sign" else 1)
    right_W = np.allclose(ridge * W - G @ H.T, numeric(W, lambda X: F(X, H)), atol=1e-8)
    right_H = np.allclose(ridge * H - W.T @ G, numeric(H, lambda X: F(W, X)), atol=1e-8)
    assert right_W is right_H is (mutation == "")


def test_sum_of_words_is_conserved_without_ridge(labels):
    """Theorem label: prop-unconstrained-features-gradients

    Columns of G sum to zero; the mutation is a ridge, which shrinks the sum.
    """
    for ridge, conserved in ((0.0, True), (0.05, False)):
        model = UFM(labels.V, labels.m, d=3, seed=0, scale=0.5)
        before = model.W.detach().numpy().sum(axis=0)
        config = TrainConfig(
            ridge=ridge, optimizer="sgd", lr=0.5, steps=100, tol=None, device="cpu"
        )
        fit(model, labels, config)
        after = model.W.detach().numpy().sum(axis=0)
        assert np.allclose(before, after, atol=1e-12) is conserved


def lower_bounds(L, labels, exponent=2.0):
    """Both bounds of the chapter's remark on growth, with the largest |L|."""
    damping = np.exp(-exponent * np.abs(L).max())
    ratio = labels.V / labels.support_sizes
    return labels.pi @ np.log1p((ratio - 1) * damping), damping * (labels.pi @ np.log(ratio))


@pytest.mark.parametrize(("exponent", "holds"), [(2.0, True), (1.0, False)])
def test_growth_bound(labels, exponent, holds):
    """Theorem label: cor-entropy-floor-growth

    Read with entries of size M: random logits of all sizes, and the worst ones, M on the support
    and -M off it. The mutation, e^(-M) in place of e^(-2M), fails.
    """
    rng = np.random.default_rng(1)
    S = labels.S.toarray()
    right = True
    for equal_or_not in (labels, ntp.SoftLabels.from_counts(S)):
        for scale in (0.1, 1.0, 5.0, 10.0):
            for L in (scale * rng.normal(size=S.shape), scale * (2 * S - 1)):
                first, second = lower_bounds(L, equal_or_not, exponent)
                right &= bool(ntp.excess_loss(L, equal_or_not) >= first * (1 - 1e-9))
                assert first >= second
    assert right is holds


def test_growth_bound_on_the_energy():
    """Theorem label: cor-entropy-floor-growth

    Two tokens of which one follows: the first bound is attained, and M units of energy are needed.
    """
    one_sided = ntp.SoftLabels.from_counts(np.array([[1], [0]]))
    for M in (1.0, 4.0, 10.0):
        L = np.array([[M], [-M]])
        first, second = lower_bounds(L, one_sided)
        assert np.isclose(ntp.excess_loss(L, one_sided), first, rtol=1e-9, atol=0)
        assert second <= first <= second / np.log(2)
        W, H = ntp.word_context_factors(L)[:2]
        assert ((W**2).sum() + (H**2).sum()) / 2 >= M - 1e-12


def test_full_support_reaches_the_floor():
    """Theorem label: cor-entropy-floor-growth

    Its assumption, some k_j < V, is needed: with every k_j = V finite logits reach the floor.
    """
    full = ntp.SoftLabels.from_counts(1 + np.random.default_rng(0).integers(0, 5, size=(4, 6)))
    assert lower_bounds(np.zeros((4, 6)), full) == (0, 0)
    assert ntp.excess_loss(np.log(full.P.toarray()), full) < 1e-15


@pytest.mark.parametrize("ridge", [0.1, 0.02])
def test_ridge_bounds_the_energy(labels, ridge):
    """Theorem label: prop-unconstrained-features-ridge

    At the optimum, from the convex solver; the mutation is a run without the ridge.
    """
    roof = (np.log(labels.V) - labels.entropy) / ridge
    solved = ntp.solve_ridge(labels, ridge)
    assert (
        float(np.linalg.norm(solved.L, "nuc")) <= roof
    )  # least energy of its factors: nuclear_norm
    assert ntp.excess_loss(solved.L, labels) > 0
    if ridge == 0.1:
        model = UFM(labels.V, labels.m, d=5, seed=0)
        fit(model, labels, TrainConfig(ridge=0.0, steps=100, tol=None, device="cpu"))
        assert (model.W.square().sum() + model.H.square().sum()).item() / 2 > roof


def test_additive_network_is_stuck():
    """Theorem label: prop-unconstrained-features-additive

    Random additive networks and a trained one stay at ln 2 or above; the mutation, one more feature
    (the product of the letters), breaks the tie.
    """
    labels = ntp.SoftLabels.from_counts(np.array([[1, 0, 0, 1], [0, 1, 1, 0]]))
    additive = np.array([[1.0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1]])
    product = np.vstack([additive, [1.0, 0, 0, 1]])
    rng = np.random.default_rng(0)
    for Phi, stuck in ((additive, True), (product, False)):
        losses = [
            ntp.cross_entropy(rng.normal(size=(2, len(Phi))) * scale @ Phi, labels)
            for scale in (0.1, 1.0, 5.0)
            for _ in range(100)
        ]
        assert bool(min(losses) >= np.log(2) - 1e-12) is stuck
        A = torch.zeros(2, len(Phi), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([A], max_iter=200, line_search_fn="strong_wolfe")

        def closure(A=A, Phi=Phi, optimizer=optimizer):
            optimizer.zero_grad()
            loss = ntp.cross_entropy(A @ torch.tensor(Phi), labels)
            loss.backward()
            return loss

        optimizer.step(closure)
        assert bool(abs(closure().item() - np.log(2)) < 1e-9) is stuck


def test_larger_ridge_smaller_energy_larger_loss(labels):
    """The exercise on monotonicity, on certified solutions."""
    results = [ntp.solve_ridge(labels, ridge, tol=1e-8) for ridge in (0.005, 0.02, 0.08)]
    energies = [float(np.linalg.norm(r.L, "nuc")) for r in results]
    losses = [ntp.excess_loss(r.L, labels) for r in results]
    assert energies == sorted(energies, reverse=True) and losses == sorted(losses)
    assert energies[0] > 1.1 * energies[-1] and losses[-1] > 1.1 * losses[0]
