"""The optimisers by name, and what the trainer has to know of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn, optim

Parameters = list[nn.Parameter]


@dataclass(frozen=True)
class Optimizer:
    """What a name stands for.

    build : function of (parameters, matrices, weight_decay) that gives the torch optimisers which
        step together, on the same gradients. `matrices` are those of the parameters that are maps
        between two spaces; see `matrices_of`.
    lr : the default learning rate.
    decoupled_decay : does it know weight decay that is no part of the loss?
    entrywise : is the step of an entry made from that entry's gradients alone? Then a matrix may be
        cut into pieces that live in different processes.
    full_batch : does it need the loss of all contexts in every step?
    absolute_thresholds : are its decisions made for gradients near 1? Then it is given m times the
        loss, a sum over contexts, which has the same minimisers.
    """

    name: str
    build: Callable[[Parameters, Parameters, float], list[optim.Optimizer]]
    lr: float
    decoupled_decay: bool = False
    entrywise: bool = True
    full_batch: bool = False
    absolute_thresholds: bool = False


class LBFGS(optim.LBFGS):
    """One L-BFGS direction and one strong-Wolfe line search a step, no point paid for twice.

    A step begins where the last line search ended, so PyTorch's own would evaluate that loss and
    gradient again. The last point, its loss and (in `state_dict`) its gradient are remembered, so
    that a run which is stopped and resumed evaluates what the uninterrupted one does.
    """

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(
            parameters,
            max_iter=1,
            max_eval=25,
            history_size=10,
            tolerance_grad=0,  # when to stop is decided by the certificate
            tolerance_change=0,
            line_search_fn="strong_wolfe",
        )

    def step(self, closure: Callable[[], float]) -> Any:  # type: ignore[override]
        """One direction and its line search; `closure` forms the gradients, returns the loss."""
        return super().step(lambda: self._remembering(closure))

    def _remembering(self, closure: Callable[[], float]) -> float:
        memory = self.state[self._first]
        now = _flat(self.param_groups[0]["params"])
        if "last_point" in memory and torch.equal(memory["last_point"], now):
            return memory["last_loss"]  # its gradients are still in place
        memory["last_loss"] = closure()
        memory["last_point"] = now
        return memory["last_loss"]

    @property
    def _first(self) -> nn.Parameter:
        """Where PyTorch keeps the state of the whole."""
        return self.param_groups[0]["params"][0]

    def state_dict(self) -> dict[str, Any]:
        """PyTorch's, with the gradient at the last point."""
        packed = super().state_dict()
        memory = packed["state"].get(0, {})
        if "last_point" in memory:
            parameters = self.param_groups[0]["params"]
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            packed["state"][0] = memory | {"last_gradient": _flat(gradients)}
        return packed

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Undo `state_dict`."""
        super().load_state_dict(state_dict)
        flat = self.state[self._first].pop("last_gradient", None)
        if flat is not None:
            parameters = self.param_groups[0]["params"]
            pieces = flat.split([p.numel() for p in parameters])
            for parameter, piece in zip(parameters, pieces, strict=True):
                parameter.grad = piece.view_as(parameter).clone()


class SpectralDescent(optim.Optimizer):
    """Normalised steepest descent in the spectral norm: A <- A - lr U V' for a gradient U Sigma V'.

    Of all steps with |step|_op <= lr this one lowers the linearised loss most, by lr times the
    gradient's nuclear norm. Singular values that are zero up to rounding count as zero, so that a
    zero gradient moves nothing. A vector is a matrix with one column: its step is lr g / |g|. As
    the length of a step does not shrink near an optimum, let lr fall (schedule "cosine").
    Book: gradient_descent.
    """

    def __init__(self, parameters: Parameters, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float]) -> float:  # type: ignore[override]
        """One step; `closure` forms the gradients and returns the loss."""
        with torch.enable_grad():
            loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.sub_(polar_factor(parameter.grad), alpha=group["lr"])
        return loss


def polar_factor(A: Tensor) -> Tensor:
    """U V' of A = U Sigma V', over the singular values that are not zero up to rounding."""
    matrix = A.flatten(1) if A.ndim > 1 else A[:, None]
    U, values, Vt = torch.linalg.svd(matrix, full_matrices=False)
    smallest = values[0] * max(matrix.shape) * torch.finfo(values.dtype).eps
    kept = (values > smallest).to(values.dtype)
    return ((U * kept) @ Vt).view_as(A)


def matrices_of(model: nn.Module) -> Parameters:
    """The trainable parameters of a model that are maps between two spaces: what Muon is for.

    In a model that reads tokens these are the weights of its linear layers. Its embeddings, W among
    them, are tables of vectors; Muon's authors leave those to AdamW, with biases and norms. In a
    model of free vectors nothing would remain, and there W and H are the matrices.
    """
    candidates: list[Any]
    if getattr(model, "reads_tokens", True):
        candidates = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    else:
        candidates = [p for p in model.parameters() if p.ndim == 2]
    return [p for p in candidates if p.requires_grad]


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    """All entries in one vector."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _lbfgs(parameters: Parameters, matrices: Parameters, decay: float) -> list[optim.Optimizer]:
    return [LBFGS(parameters)]


def _adam(parameters: Parameters, matrices: Parameters, decay: float) -> list[optim.Optimizer]:
    return [optim.Adam(parameters)]


def _adamw(parameters: Parameters, matrices: Parameters, decay: float) -> list[optim.Optimizer]:
    return [optim.AdamW(parameters, weight_decay=decay)]


def _sgd(parameters: Parameters, matrices: Parameters, decay: float) -> list[optim.Optimizer]:
    # Without momentum PyTorch's decay, added to the gradient, is the decoupled one.
    return [optim.SGD(parameters, lr=1.0, weight_decay=decay)]


def _muon(parameters: Parameters, matrices: Parameters, decay: float) -> list[optim.Optimizer]:
    if not matrices:
        raise ValueError(
            "Muon is for matrices, and this model has none: no trainable linear layer. Use adamw."
        )
    # Scaled so that an entry moves by about as much as under AdamW: one rate serves both.
    muon = optim.Muon(matrices, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
    in_muon = {id(p) for p in matrices}
    others = [p for p in parameters if id(p) not in in_muon]
    return [muon, *([optim.AdamW(others, weight_decay=decay)] if others else [])]


def _spectral(parameters: Parameters, matrices: Parameters, decay: float) -> list[optim.Optimizer]:
    return [SpectralDescent(parameters, lr=1.0, weight_decay=decay)]


# The trainer sets the learning rate before every step, so `build` needs none.
OPTIMIZERS: dict[str, Optimizer] = {
    record.name: record
    for record in (
        Optimizer(
            "lbfgs", _lbfgs, lr=1.0, entrywise=False, full_batch=True, absolute_thresholds=True
        ),
        Optimizer("adam", _adam, lr=3e-3),
        Optimizer("adamw", _adamw, lr=3e-3, decoupled_decay=True),
        Optimizer("sgd", _sgd, lr=1.0, decoupled_decay=True),
        Optimizer("muon", _muon, lr=3e-2, decoupled_decay=True, entrywise=False),
        Optimizer(
            "spectral", _spectral, lr=0.1, decoupled_decay=True, entrywise=False, full_batch=True
        ),
    )
}


def optimizer_named(name: str) -> Optimizer:
    """The record of this name; ValueError for a name not known, or Muon in a PyTorch without it."""
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer is {name!r}; use one of {tuple(OPTIMIZERS)}.")
    if name == "muon" and not hasattr(optim, "Muon"):
        raise ValueError(
            f"muon needs PyTorch 2.9 or newer, and this is {torch.__version__}; use adamw."
        )
    return OPTIMIZERS[name]
