"""Cross-entropy on sparse soft labels and its excess over the entropy floor (chapter 02)."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ._validate import check_logits, check_shape
from .soft_labels import SoftLabels


class SupportBlock(NamedTuple):
    """Some contexts and the support entries in them, as tensors on one device."""

    contexts: slice
    rows: torch.Tensor
    columns: torch.Tensor
    P: torch.Tensor
    pi: torch.Tensor


def support_blocks(
    labels: SoftLabels,
    columns: NDArray[np.integer],
    device: torch.device | str,
    dtype: torch.dtype,
    logits_at_once: int = 2**20,
) -> list[SupportBlock]:
    """The contexts `columns` in blocks of at most `logits_at_once` logits (or one context)."""
    width = max(1, logits_at_once // labels.V)
    blocks = []
    for first in range(0, len(columns), width):
        part = labels.select(columns[first : first + width])
        rows, where, P, pi = part.tensors(device, dtype)
        weight = part.n / labels.n
        blocks.append(SupportBlock(slice(first, first + part.m), rows, where, P, pi * weight))
    return blocks


Logits = TypeVar("Logits", NDArray[np.float64], torch.Tensor)


def cross_entropy(L: Logits, labels: SoftLabels) -> float | torch.Tensor:
    """CE(L) = sum_j pi_j (logsumexp(L_j) - <P_j, L_j>), in nats.

    Equals the mean one-hot cross-entropy over the n training positions. Numpy logits (V, m) give
    a float, computed in float64; torch logits give a differentiable 0-d tensor. Raises ValueError
    for another shape, and for numpy logits with NaN or infinity. Paper: eq. (1). Book: chapter 02.
    """
    if not isinstance(L, torch.Tensor):
        return float(cross_entropy(torch.from_numpy(check_logits(L, labels.N.shape)), labels))
    check_shape(L, labels.N.shape)
    rows, columns, P, pi = labels.tensors(L.device, L.dtype)
    inner = (pi[columns] * P * L[rows, columns]).sum()
    return (pi * torch.logsumexp(L, dim=0)).sum() - inner


def excess_loss(L: Logits, labels: SoftLabels) -> float | torch.Tensor:
    """CE(L) - Hc = sum_j pi_j KL(P_j || softmax(L_j)) >= 0, in nats.

    Non-negative terms are summed: with x = log(Q/P) on the support, KL = sum_{support} P (e^x - 1
    - x) + (mass of Q off the support). So an excess of 1e-10 keeps its digits, which the
    difference CE - Hc would lose. Same types and errors as `cross_entropy`. Book: chapter 02.
    """
    if not isinstance(L, torch.Tensor):
        return float(excess_loss(torch.from_numpy(check_logits(L, labels.N.shape)), labels))
    check_shape(L, labels.N.shape)
    rows, columns, P, pi = labels.tensors(L.device, L.dtype)
    log_Q = torch.log_softmax(L, dim=0)
    x = log_Q[rows, columns] - torch.log(P)
    on_support = (pi[columns] * P * _exp_minus_tangent(x)).sum()
    off_support = log_Q.exp().index_put((rows, columns), torch.zeros_like(P))
    return on_support + (pi * off_support.sum(dim=0)).sum()


def _exp_minus_tangent(x: torch.Tensor) -> torch.Tensor:
    """e^x - 1 - x, by its series where the subtraction would cancel."""
    small = x.abs() < 0.03
    s = torch.where(small, x, torch.zeros_like(x))
    series = s * s / 2 * (1 + s / 3 * (1 + s / 4 * (1 + s / 5 * (1 + s / 6 * (1 + s / 7)))))
    large = torch.where(small, torch.zeros_like(x), x)
    return torch.where(small, series, torch.expm1(large) - large)


class FactoredExcess(torch.autograd.Function):
    """`FactoredExcess.apply(W, H, blocks)`: the excess loss of L = W H, differentiable in both.

    Each block (columns, rows, where, P, pi) is a slice of contexts with the support entries in it.
    Value and gradients G H' and W'G come from one pass, so that V x m logits never exist at once.
    """

    @staticmethod
    def forward(ctx: Any, W: torch.Tensor, H: torch.Tensor, blocks: list) -> torch.Tensor:
        """The excess loss, a 0-d tensor; the gradients are formed if they are needed."""
        total, grad_W, grad_H = W.new_zeros(()), torch.zeros_like(W), torch.zeros_like(H)
        for columns, rows, where, P, pi in blocks:
            Q = torch.log_softmax(W @ H[:, columns], dim=0)
            x = Q[rows, where] - torch.log(P)
            Q.exp_()
            Q[rows, where] = 0
            total += (pi[where] * P * _exp_minus_tangent(x)).sum() + Q.sum(dim=0) @ pi
            if any(ctx.needs_input_grad):
                Q[rows, where] = P * torch.expm1(x)  # Q - P, exact also where Q is close to P
                Q *= pi
                grad_W.addmm_(Q, H[:, columns].T)
                grad_H[:, columns] = W.T @ Q
        ctx.save_for_backward(grad_W, grad_H)
        return total

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Gradients in W and H."""
        grad_W, grad_H = ctx.saved_tensors
        return grad * grad_W, grad * grad_H, None
