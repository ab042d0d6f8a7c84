from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import counts, mp_excess_loss, softmax

import ntp_lite as ntp
from ntp_lite import loss as loss_module


def close_to_reference(value, L, N, rtol):
    return float(abs(value - mp_excess_loss(L, N))) <= rtol * float(mp_excess_loss(L, N))


def test_cross_entropy_is_the_mean_one_hot_loss_of_the_text():
    """The soft-label loss equals the ordinary one-hot loss over the n positions."""
    rng = np.random.default_rng(0)
    ids, V, c = rng.integers(0, 6, size=300), 6, 2
    labels = ntp.SoftLabels.from_tokens(ids, c, V)
    L = torch.from_numpy(rng.normal(size=(V, labels.m)))
    column = {tuple(context): j for j, context in enumerate(labels.contexts.tolist())}
    windows = [column[tuple(ids[i : i + c].tolist())] for i in range(labels.n)]
    per_position = L[:, windows].T
    one_hot = torch.nn.functional.cross_entropy(per_position, torch.from_numpy(ids[c:]))
    assert ntp.cross_entropy(L, labels).item() == pytest.approx(one_hot.item(), rel=1e-12)
    # Mutation: contexts weighted equally instead of by pi.
    N = labels.N.toarray()
    uniform = ntp.SoftLabels.from_counts(np.lcm.reduce(N.sum(axis=0)) // N.sum(axis=0) * N)
    assert ntp.cross_entropy(L, uniform).item() != pytest.approx(one_hot.item(), rel=1e-3)


def test_excess_is_a_weighted_sum_of_divergences():
    """CE - Hc = sum_j pi_j KL(P_j || softmax(L_j))."""
    labels = ntp.random_soft_labels(7, 5, 3, seed=1)
    L = np.random.default_rng(1).normal(size=(7, 5))
    P, Q = labels.P.toarray(), softmax(L)
    terms = np.where(P > 0, P * np.log(np.where(P > 0, P, 1) / Q), 0)
    assert ntp.excess_loss(L, labels) == pytest.approx((labels.pi * terms.sum(axis=0)).sum())
    assert ntp.excess_loss(L, labels) == pytest.approx(
        ntp.cross_entropy(L, labels) - labels.entropy, rel=1e-12
    )
    wrong_axis = softmax(L.T).T
    wrong = np.where(P > 0, P * np.log(np.where(P > 0, P, 1) / wrong_axis), 0)
    assert ntp.excess_loss(L, labels) != pytest.approx((labels.pi * wrong.sum(axis=0)).sum())


@settings(max_examples=40)
@given(counts(max_V=6, max_m=6), st.integers(0, 10**6), st.floats(-14, 1.5))
def test_excess_keeps_its_digits_at_any_size(N, seed, exponent):
    """The excess over the floor is right to 12 digits even where CE and Hc agree to 14."""
    rng = np.random.default_rng(seed)
    labels = ntp.SoftLabels.from_counts(N)
    L = np.where(N > 0, np.log(np.where(N > 0, N, 1)), -rng.uniform(0, 60, N.shape))
    L = L + 10.0**exponent * rng.normal(size=N.shape)
    exact = max(0.0, float(mp_excess_loss(L, N)))  # for V = 1 it is zero up to 60 digits
    value = ntp.excess_loss(L, labels)
    # Logits are known to a rounding error each, which alone moves the excess by about
    # eps * (sqrt(excess) + off-support mass); nothing finer can be asked for.
    blur = 4e-15 * (np.sqrt(exact) + 1e-15)
    assert value >= 0
    assert abs(value - exact) <= 1e-12 * exact + blur * max(1.0, np.abs(L).max())


@pytest.mark.parametrize("size", [1e-3, 1e-5, 1e-7])
def test_excess_of_1e_minus_10_has_nine_right_digits_where_the_difference_has_none(size):
    """Excess loss is computed without cancellation: KL terms, never CE - Hc."""
    N = np.array([[3, 1, 2], [1, 1, 5]])  # every k_j = V: the floor is attained at log P
    labels = ntp.SoftLabels.from_counts(N)
    L = np.log(N) + size * np.array([[1.0, -2, 0.5], [0, 1, -1]])
    assert close_to_reference(ntp.excess_loss(L, labels), L, N, rtol=1e-8)
    if size <= 1e-7:  # mutation: the difference of two rounded numbers
        difference = ntp.cross_entropy(L, labels) - labels.entropy
        assert not close_to_reference(difference, L, N, rtol=1e-3)


def test_the_divergence_term_is_exact_for_small_arguments():
    """e^x - 1 - x to 13 digits for every size of x, where plain expm1(x) - x has none."""

    def is_exact(values):
        return all(abs(v - e) <= 5e-14 * e for v, e in zip(values, exact, strict=True))

    sizes = np.concatenate([10.0 ** -np.arange(0.0, 13.0), [0.0299, 0.0301, 5.0, 50.0]])
    x = np.concatenate([sizes, -sizes])
    with mpmath.workdps(60):
        exact = [float(mpmath.expm1(mpmath.mpf(v)) - mpmath.mpf(v)) for v in x]
    assert is_exact(loss_module._exp_minus_tangent(torch.from_numpy(x)).tolist())
    assert not is_exact((np.expm1(x) - x).tolist())
    y = torch.from_numpy(x[np.abs(x) < 1]).requires_grad_(True)
    loss_module._exp_minus_tangent(y).sum().backward()
    np.testing.assert_allclose(y.grad.numpy(), np.expm1(y.detach().numpy()), rtol=1e-7)


def test_excess_with_off_support_mass_of_1e_minus_10():
    N = np.array([[1, 0, 2], [1, 3, 0], [0, 0, 0], [0, 1, 1]])
    labels = ntp.SoftLabels.from_counts(N)
    L = np.where(N > 0, np.log(np.maximum(N, 1)), np.log(1e-10))
    assert close_to_reference(ntp.excess_loss(L, labels), L, N, rtol=1e-9)
    assert 1e-11 < ntp.excess_loss(L, labels) < 1e-9
    assert not close_to_reference(ntp.cross_entropy(L, labels) - labels.entropy, L, N, rtol=1e-9)


def test_the_floor_is_reached_only_where_every_token_follows():
    """The entropy floor is attained if all k_j = V, else approached by larger margins only."""
    full = ntp.SoftLabels.from_counts([[1, 2, 5], [3, 1, 1]])
    assert ntp.excess_loss(np.log(full.N.toarray()), full) < 1e-30
    partial = ntp.SoftLabels.from_counts([[1, 2, 5], [3, 0, 1]])
    logs = np.log(np.maximum(partial.N.toarray(), 1))
    values = [
        ntp.excess_loss(np.where(partial.N.toarray() > 0, logs, -gap), partial)
        for gap in (1.0, 10.0, 30.0, 100.0)
    ]
    assert (np.diff(values) < 0).all() and values[-1] > 0


def test_adding_a_constant_to_a_column_changes_nothing():
    labels = ntp.random_soft_labels(5, 8, 2, seed=2)
    rng = np.random.default_rng(0)
    L, shift = rng.normal(size=(5, 8)), rng.normal(size=8) * 100
    for loss in (ntp.cross_entropy, ntp.excess_loss):
        assert loss(L + shift, labels) == pytest.approx(loss(L, labels), rel=1e-11)
        row_shift = rng.normal(size=(5, 1))  # wrong axis: this does change the loss
        assert loss(L + row_shift, labels) != pytest.approx(loss(L, labels), rel=1e-3)


def test_permuting_tokens_and_contexts_changes_nothing():
    rng = np.random.default_rng(4)
    N, L = ntp.random_soft_labels(6, 9, 3, seed=3).N.toarray(), rng.normal(size=(6, 9))
    rows, columns = rng.permutation(6), rng.permutation(9)
    labels = ntp.SoftLabels.from_counts(N)
    permuted = ntp.SoftLabels.from_counts(N[rows][:, columns])
    moved = L[rows][:, columns]
    for loss in (ntp.cross_entropy, ntp.excess_loss):
        assert loss(moved, permuted) == pytest.approx(loss(L, labels), rel=1e-13)
        assert loss(L, permuted) != pytest.approx(loss(L, labels), rel=1e-3)


def test_duplicated_contexts_merge_without_changing_the_loss():
    """Splitting a context's counts over two equal columns leaves CE and excess as they were..."""
    N = np.array([[2, 4, 0], [2, 2, 6], [0, 0, 2]])
    L = np.random.default_rng(0).normal(size=(3, 3))
    split = np.column_stack([N // 2, N // 2])
    whole, halves = ntp.SoftLabels.from_counts(N), ntp.SoftLabels.from_counts(split)
    for loss in (ntp.cross_entropy, ntp.excess_loss):
        assert loss(np.column_stack([L, L]), halves) == pytest.approx(loss(L, whole), rel=1e-14)


def test_numpy_gives_a_float_and_torch_a_tensor_with_the_same_value(device, dtype):
    labels = ntp.random_soft_labels(6, 10, 3, seed=0)
    L = np.random.default_rng(0).normal(size=(6, 10))
    tolerance = 1e-13 if dtype == torch.float64 else 1e-5
    for loss in (ntp.cross_entropy, ntp.excess_loss):
        value = loss(L, labels)
        tensor = loss(torch.tensor(L, dtype=dtype, device=device), labels)
        assert type(value) is float
        assert tensor.shape == () and tensor.dtype == dtype and tensor.device.type == device
        assert tensor.item() == pytest.approx(value, rel=tolerance)


@pytest.mark.parametrize("loss", [ntp.cross_entropy, ntp.excess_loss])
def test_gradient_is_the_difference_of_distributions(loss, device):
    """-grad CE(L) = (P - softmax(L)) diag(pi)."""
    labels = ntp.random_soft_labels(6, 4, 3, seed=5)
    L = torch.tensor(np.random.default_rng(2).normal(size=(6, 4)), device=device)
    L.requires_grad_(True)
    loss(L, labels).backward()
    Q = softmax(L.detach().cpu().numpy())
    expected = (Q - labels.P.toarray()) * labels.pi
    np.testing.assert_allclose(L.grad.cpu().numpy(), expected, atol=1e-15)
    unweighted = (Q - labels.P.toarray()) / labels.m  # mutation: uniform instead of pi
    assert np.abs(L.grad.cpu().numpy() - unweighted).max() > 1e-3


@pytest.mark.parametrize("loss", [ntp.cross_entropy, ntp.excess_loss])
@pytest.mark.parametrize("near_optimum", [False, True])
def test_gradient_passes_the_finite_difference_check(loss, near_optimum):
    labels = ntp.SoftLabels.from_counts([[2, 0, 1], [1, 3, 0], [1, 1, 0], [0, 1, 2]])
    N = labels.N.toarray()
    L = np.where(N > 0, np.log(np.maximum(N, 1)), -4.0)
    noise = np.random.default_rng(0).normal(size=L.shape)
    L = torch.tensor(L + (1e-3 if near_optimum else 1.0) * noise, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), (L,), eps=1e-6, atol=1e-8)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, labels), (L,), eps=1e-6, atol=1e-7)


def test_extreme_logits_stay_finite():
    labels = ntp.SoftLabels.from_counts([[1, 0, 2], [0, 1, 2]])
    L = np.array([[1e4, -1e4, 800.0], [-1e4, 1e4, -800.0]])
    assert ntp.excess_loss(L, labels) == pytest.approx(2 / 3 * (800 - np.log(2)))
    assert ntp.cross_entropy(-L, labels) == pytest.approx(2e4 / 3 + 2 / 3 * 800)
    x = torch.tensor(L, requires_grad=True)
    ntp.excess_loss(x, labels).backward()
    assert torch.isfinite(x.grad).all()


def test_sparse_logits_are_the_dense_ones():
    labels = ntp.random_soft_labels(7, 11, 3, seed=2)
    L_in = ntp.in_support_logits(labels)
    assert ntp.excess_loss(L_in, labels) == ntp.excess_loss(L_in.toarray(), labels)
    assert ntp.cross_entropy(L_in, labels) != ntp.cross_entropy(2 * L_in, labels)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.uint8, torch.bool])
@pytest.mark.parametrize("loss", [ntp.cross_entropy, ntp.excess_loss])
def test_whole_numbers_in_torch_are_worked_on_in_float64(loss, dtype):
    """P and pi must not be rounded to whole numbers, which made the loss 0."""
    labels = ntp.random_soft_labels(3, 5, 2, seed=0)
    L = np.arange(15).reshape(3, 5) % 2
    value = loss(torch.tensor(L, dtype=dtype), labels)
    assert value.dtype == torch.float64
    assert value.item() == pytest.approx(loss(L.astype(float), labels), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("loss", [ntp.cross_entropy, ntp.excess_loss])
def test_half_precision_logits_are_summed_in_float32(loss, dtype):
    labels = ntp.random_soft_labels(50, 300, 3, seed=0)
    L = torch.tensor(np.random.default_rng(0).normal(size=(50, 300)), dtype=dtype)
    L.requires_grad_(True)
    value = loss(L, labels)
    value.backward()
    assert value.dtype == torch.float32 and L.grad.dtype == dtype
    exact = loss(L.detach().double(), labels).item()
    assert value.item() == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("loss", [ntp.cross_entropy, ntp.excess_loss])
def test_an_evaluation_in_inference_mode_does_not_spoil_later_training(loss):
    labels = ntp.random_soft_labels(4, 6, 2, seed=0)
    L = torch.zeros(4, 6, dtype=torch.float64)
    with torch.inference_mode():
        loss(L, labels)
    L.requires_grad_(True)
    loss(L, labels).backward()
    assert torch.isfinite(L.grad).all()


def test_torch_sparse_logits_are_the_dense_ones_and_keep_their_gradient():
    labels = ntp.random_soft_labels(4, 6, 2, seed=0)
    L = torch.tensor(labels.S.toarray(), requires_grad=True)
    thin = L.to_sparse()
    assert ntp.cross_entropy(thin, labels) == ntp.cross_entropy(L, labels)
    ntp.excess_loss(thin, labels).backward()
    assert L.grad is not None and L.grad.abs().sum() > 0


def test_reversed_and_read_only_numpy_logits():
    labels = ntp.random_soft_labels(4, 6, 2, seed=0)
    L = np.random.default_rng(0).normal(size=(4, 6))
    expected = ntp.cross_entropy(L, labels)
    backwards = np.ascontiguousarray(L[::-1])[::-1]
    assert ntp.cross_entropy(backwards, labels) == pytest.approx(expected, rel=1e-15)
    L.setflags(write=False)
    assert ntp.cross_entropy(L, labels) == expected


def test_logits_and_labels_exchanged():
    labels = ntp.random_soft_labels(4, 6, 2, seed=0)
    for loss in (ntp.cross_entropy, ntp.excess_loss):
        with pytest.raises(ValueError, match="labels are no SoftLabels but ndarray"):
            loss(labels, np.zeros((4, 6)))
        with pytest.raises(ValueError, match="complex"):
            loss(torch.zeros(4, 6, dtype=torch.complex64), labels)


def test_blocks_add_up_to_the_whole():
    labels = ntp.random_soft_labels(5, 23, 2, seed=0)
    rng = np.random.default_rng(0)
    W, H = torch.tensor(rng.normal(size=(5, 3))), torch.tensor(rng.normal(size=(3, 23)))
    whole = ntp.excess_loss(W @ H, labels).item()
    for at_once in (1, 20, 50, 2**20):
        blocks = loss_module.support_blocks(labels, np.arange(23), "cpu", W.dtype, at_once)
        assert len(blocks) == -(-23 // max(1, at_once // 5))
        value = loss_module.FactoredExcess.apply(W, H, blocks)
        assert value.item() == pytest.approx(whole, rel=1e-13)


def test_the_tensors_of_labels_go_when_the_labels_go():
    labels = ntp.random_soft_labels(5, 23, 2, seed=0)
    ntp.cross_entropy(np.zeros((5, 23)), labels)
    assert labels in loss_module._blocks_of
    before = len(loss_module._blocks_of)
    del labels
    assert len(loss_module._blocks_of) == before - 1
