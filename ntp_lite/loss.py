"""Cross-entropy on sparse soft labels and its excess over the entropy floor."""

from __future__ import annotations

from typing import Any, NamedTuple, overload
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ._validate import check_logits, check_shape
from .soft_labels import SoftLabels, as_labels

# Below this distance from P the divergence is summed as a series: the subtraction would cancel.
SERIES_BELOW = 0.03


class SupportBlock(NamedTuple):
    """Some contexts and the support entries in them, as tensors on one device.

    contexts : a slice, the block's columns among those of the logits.
    rows, columns : (entries,) int64, token and context of each support entry; contexts are counted
        from the block's first.
    log_P : (entries,) logarithm of the probability of each.
    pi : (contexts of the block,) their priors among all contexts.
    weights : (entries,) pi_j P[z,j].
    places : (entries,) where each stands in a (V, contexts) matrix that is read row by row.
    """

    contexts: slice
    rows: torch.Tensor
    columns: torch.Tensor
    log_P: torch.Tensor  # noqa: N815 (P is the letter of the papers)
    pi: torch.Tensor
    weights: torch.Tensor
    places: torch.Tensor


@overload
def cross_entropy(L: torch.Tensor, labels: SoftLabels) -> torch.Tensor: ...
@overload
def cross_entropy(L: ArrayLike, labels: SoftLabels) -> float: ...
def cross_entropy(L: Any, labels: SoftLabels) -> Any:
    """CE(L) = sum_j pi_j (logsumexp(L_j) - <P_j, L_j>), in nats.

    Equals the mean one-hot cross-entropy over the n training positions. Logits (V, m) in numpy (or
    scipy sparse, lists, frames) give a float, computed in float64. Logits in torch give a
    differentiable 0-d tensor on their device: float32 and float64 logits are worked on as they
    are, half-precision ones (float16, bfloat16) in float32, integers and booleans in float64.

    Raises ValueError for another shape or complex logits, and for numpy logits with NaN or
    infinity. Paper: eq. (1). Book: entropy_floor.
    """
    as_labels(labels)
    if isinstance(L, torch.Tensor):
        return _cross_entropy(_working_tensor(L, labels), labels)
    return float(_cross_entropy(_checked_tensor(L, labels), labels))


@overload
def excess_loss(L: torch.Tensor, labels: SoftLabels) -> torch.Tensor: ...
@overload
def excess_loss(L: ArrayLike, labels: SoftLabels) -> float: ...
def excess_loss(L: Any, labels: SoftLabels) -> Any:
    """CE(L) - Hc = sum_j pi_j KL(P_j || softmax(L_j)) >= 0, in nats.

    Non-negative terms are summed: with x = log(Q/P) on the support, KL = sum_{support} P (e^x - 1
    - x) + (mass of Q off the support). So an excess of 1e-10 keeps its digits, which the
    difference CE - Hc would lose. Same types, precisions and errors as `cross_entropy`. Book:
    entropy_floor.
    """
    as_labels(labels)
    if isinstance(L, torch.Tensor):
        return _excess_loss(_working_tensor(L, labels), labels)
    return float(_excess_loss(_checked_tensor(L, labels), labels))


def _cross_entropy(L: torch.Tensor, labels: SoftLabels) -> torch.Tensor:
    block = support_block(labels, L.device, L.dtype)
    inner = (block.weights * L[block.rows, block.columns]).sum()
    return (block.pi * torch.logsumexp(L, dim=0)).sum() - inner


def _excess_loss(L: torch.Tensor, labels: SoftLabels) -> torch.Tensor:
    block = support_block(labels, L.device, L.dtype)
    log_Q = torch.log_softmax(L, dim=0)
    x = log_Q[block.rows, block.columns] - block.log_P
    on_support = (block.weights * _exp_minus_tangent(x)).sum()
    zeros = torch.zeros_like(block.weights)
    off_support = log_Q.exp().index_put((block.rows, block.columns), zeros)
    return on_support + (block.pi * off_support.sum(dim=0)).sum()


def _checked_tensor(L: ArrayLike, labels: SoftLabels) -> torch.Tensor:
    """Finite numpy logits of the right shape as a float64 tensor, without a copy where possible."""
    array = check_logits(L, labels.shape)
    if not array.flags.writeable or min(array.strides) < 0:  # torch cannot share these
        array = array.copy()
    return torch.from_numpy(array)


def _working_tensor(L: torch.Tensor, labels: SoftLabels) -> torch.Tensor:
    """Torch logits of the right shape, dense, in a precision fit for sums of logarithms."""
    check_shape(L, labels.shape)
    if L.is_complex():
        raise ValueError("L holds complex numbers; give real ones, such as its real part.")
    if L.layout != torch.strided:
        L = L.to_dense()
    if L.dtype in (torch.float32, torch.float64):
        return L
    return L.to(torch.float32 if L.is_floating_point() else torch.float64)


# One copy of the labels per device and precision; it goes when the labels go.
_blocks_of: WeakKeyDictionary[SoftLabels, dict[tuple[str, torch.dtype], SupportBlock]]
_blocks_of = WeakKeyDictionary()


def support_block(
    labels: SoftLabels, device: torch.device | str, dtype: torch.dtype
) -> SupportBlock:
    """All contexts as one block; kept for the next call with the same arguments."""
    known = _blocks_of.setdefault(labels, {})
    key = (str(device), dtype)
    if key not in known:
        with torch.inference_mode(False):  # or no later backward pass could use these tensors
            known[key] = _make_block(labels, slice(0, labels.m), 1.0, device, dtype)
    return known[key]


def support_blocks(
    labels: SoftLabels,
    columns: NDArray[np.integer],
    device: torch.device | str,
    dtype: torch.dtype,
    logits_at_once: int = 2**20,
) -> list[SupportBlock]:
    """The contexts `columns` in blocks of at most `logits_at_once` logits (or one context).

    The slices count contexts from the first of `columns`; priors stay those among all contexts, so
    that the blocks' losses add up.
    """
    width = max(1, logits_at_once // labels.V)
    blocks = []
    for first in range(0, len(columns), width):
        part = labels.select(columns[first : first + width])
        where = slice(first, first + part.m)
        blocks.append(_make_block(part, where, part.n / labels.n, device, dtype))
    return blocks


def _make_block(
    part: SoftLabels, where: slice, weight: float, device: torch.device | str, dtype: torch.dtype
) -> SupportBlock:
    def put(array: NDArray, kind: torch.dtype) -> torch.Tensor:
        return torch.tensor(array, dtype=kind).to(device)  # a copy: labels are read-only

    rows, columns = (put(index, torch.int64) for index in part.entries)
    P, pi = put(part.probabilities, dtype), put(part.pi, dtype) * weight
    weights = pi[columns] * P
    places = rows * part.m + columns
    return SupportBlock(where, rows, columns, torch.log(P), pi, weights, places)


def _exp_minus_tangent(x: torch.Tensor) -> torch.Tensor:
    """e^x - 1 - x, by its series where the subtraction would cancel."""
    s = x.clamp(-SERIES_BELOW, SERIES_BELOW)  # x itself where it is small
    series = s / 5040
    for factorial in (720, 120, 24, 6, 2):
        series = (series + 1 / factorial) * s
    # What is beyond the series, exactly 0 where x is small; to choose by a mask takes longer.
    return series * s + ((torch.expm1(x) - torch.expm1(s)) - (x - s))


class FactoredExcess(torch.autograd.Function):
    """`FactoredExcess.apply(W, H, blocks)`: the excess loss of L = W H, differentiable in both.

    W is (V, d), H (d, contexts of all blocks), blocks are `support_blocks`. Value and gradients
    G H' and W'G come from one pass, so that V x m logits never exist at once.
    """

    @staticmethod
    def forward(
        ctx: Any, W: torch.Tensor, H: torch.Tensor, blocks: list[SupportBlock]
    ) -> torch.Tensor:
        """The excess loss, a 0-d tensor; the gradients are formed if they are needed."""
        total = W.new_zeros(())
        grad_W, grad_H = torch.zeros_like(W), torch.empty_like(H)
        for block in blocks:
            part = H[:, block.contexts]
            E = W @ part
            E -= E.amax(dim=0)
            entries = E.view(-1)
            on_support = entries.index_select(0, block.places)
            # Exponentials are half of what is not a matrix product: each is formed once, and is
            # divided by its column's sum where it is multiplied by the prior anyway.
            sums = E.exp_().sum(dim=0)
            entries.index_copy_(0, block.places, torch.zeros_like(on_support))
            off_support = E.sum(dim=0)
            x = on_support - sums.log().index_select(0, block.columns) - block.log_P
            scale = block.pi / sums
            total += block.weights @ _exp_minus_tangent(x) + scale @ off_support
            if any(ctx.needs_input_grad):
                E *= scale
                # Q - P, exact also where Q is close to P
                entries.index_copy_(0, block.places, block.weights * torch.expm1(x))
                grad_W.addmm_(E, part.T)
                torch.mm(W.T, E, out=grad_H[:, block.contexts])
        ctx.save_for_backward(grad_W, grad_H)
        return total

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Gradients in W and H."""
        grad_W, grad_H = ctx.saved_tensors
        return grad * grad_W, grad * grad_H, None
