"""What every public function asks of its arguments; called once, at the public boundary."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse


def as_array(A: Any) -> NDArray:
    """A torch tensor, scipy sparse matrix or anything array-like as a dense numpy array."""
    if isinstance(A, torch.Tensor):
        return A.detach().cpu().numpy()
    return A.toarray() if sparse.issparse(A) else np.asarray(A)


def check_shape(L: Any, shape: tuple[int, int], name: str = "L") -> None:
    """ValueError unless L has this shape."""
    found = tuple(L.shape)
    if found != shape:
        raise ValueError(f"{name} has shape {found}, not (V, m) = {shape}; columns are contexts.")


def check_logits(L: Any, shape: tuple[int, int], name: str = "L") -> NDArray[np.float64]:
    """`L` as a float64 numpy array; ValueError if its shape is wrong or it is not finite."""
    array = as_array(L).astype(np.float64, copy=False)
    check_shape(array, shape, name)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has entries that are NaN or infinite; check how it was made.")
    return array


def torch_device(name: torch.device | str | None) -> torch.device:
    """None: the CPU; "auto": CUDA where there is one. ValueError for CUDA where there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name or "cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {str(name)!r}, but there is no CUDA here; use 'cpu'.")
    return device


def check_limits(tol: float = 1.0, max_iter: int = 1, ridge: float = 1.0) -> None:
    """ValueError for a tolerance, an iteration limit or a ridge that cannot be used."""
    if not tol > 0:
        raise ValueError(f"tol is {tol}; use a positive relative duality gap such as 1e-6.")
    if max_iter < 1:
        raise ValueError(f"max_iter is {max_iter}; use 1 or more.")
    if not 0 < ridge < np.inf:
        raise ValueError(f"ridge is {ridge}; use a positive number, below ridge_max(labels).")


def check_sizes(**sizes: int | None) -> None:
    """ValueError for a size below 1; None stands for a default."""
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name} is {size}; use 1 or more.")
