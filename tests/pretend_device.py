"""A second device without hardware: its tensors compute on the CPU, and refuse to be mixed.

Code that forgets to move a tensor, or asks one on the device for its numbers by `.numpy()`, runs
well on every machine without a GPU. On `DEVICE`, within `PretendDevice`, it fails as on one. (Torch
without CUDA cannot even name a tensor's place "cuda", so these say "meta".)
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
MOVES = {torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.copy_}  # may see both devices


class OnDevice(torch.Tensor):
    """Wraps a CPU tensor and says that it lives on `DEVICE`."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnDevice:
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), dtype=inner.dtype, device=DEVICE
        )

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} was called on the device outside `PretendDevice`.")


class PretendDevice(TorchFunctionMode):
    """While active, device=DEVICE makes `OnDevice` tensors, and those compute."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = tree_flatten((args, kwargs))[0]
        tensors = [x for x in given if isinstance(x, torch.Tensor)]
        wrapped = [x for x in tensors if isinstance(x, OnDevice)]
        if func == torch.Tensor.device.__get__ and wrapped:
            return DEVICE
        if func is torch.Tensor.numpy and wrapped:
            raise TypeError("can't convert a tensor of this device to numpy; use .cpu() first.")
        strangers = [x for x in tensors if not isinstance(x, OnDevice) and x.ndim > 0]
        if wrapped and strangers and func not in MOVES:
            raise RuntimeError(f"{func}: expected all tensors to be on the same device.")
        to_device = DEVICE in [x for x in given if isinstance(x, torch.device)]
        if func is torch.device or not (wrapped or to_device):
            return func(*args, **kwargs)
        if func is torch.Tensor.cpu:
            return args[0].inner.clone()
        inner_args, inner_kwargs = tree_map(_on_cpu, (args, kwargs))
        return _wrap(func(*inner_args, **inner_kwargs), wrapped)


def _on_cpu(x: Any) -> Any:
    if isinstance(x, OnDevice):
        return x.inner
    return torch.device("cpu") if isinstance(x, torch.device) and x == DEVICE else x


def _wrap(result: Any, given: list[OnDevice]) -> Any:
    """Tensors of a result on the device; one that was changed in place is still the same object."""
    same = {id(x.inner): x for x in given}

    def wrap(x: Any) -> Any:
        if not isinstance(x, torch.Tensor):
            return x
        return same[id(x)] if id(x) in same else OnDevice(x)

    return tree_map(wrap, result)
