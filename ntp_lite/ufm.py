"""The unconstrained features model: logits = W H with both factors free (chapters 03 and 04)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray


class UFM(torch.nn.Module):
    """NTP-UFM: words W (V, d), contexts H (d, m), logits L = W H of rank at most d.

    With the penalty (ridge/2)(|W|^2 + |H|^2) its training loss is the paper's NTP-UFM problem; for
    d >= rank(L_ridge) that is the same as min CE(L) + ridge |L|_* (chapter 04).

    Entries start as independent normals of deviation `scale / sqrt(d)`, from `seed` alone. Do not
    make `scale` tiny: with a ridge the origin is a saddle, and an optimiser that starts too near
    it can stay there (chapter 05).

    Raises ValueError for sizes below 1. Paper: eq. (NTP-UFM). Book: chapter 03.
    """

    def __init__(
        self, V: int, m: int, d: int, seed: int = 0, scale: float = 1.0,
        dtype: torch.dtype = torch.float64,
    ) -> None:  # fmt: skip
        super().__init__()
        check_sizes(V=V, m=m, d=d)
        generator = torch.Generator().manual_seed(seed)
        W, H = (torch.randn(shape, generator=generator, dtype=dtype) for shape in ((V, d), (d, m)))
        self.W = torch.nn.Parameter(W * (scale / d**0.5))
        self.H = torch.nn.Parameter(H * (scale / d**0.5))

    def extra_repr(self) -> str:
        """The sizes, for print(model)."""
        return f"V={len(self.W)}, m={self.H.shape[1]}, d={self.W.shape[1]}"

    def logits(self) -> torch.Tensor:
        """L = W H, (V, m)."""
        return self.W @ self.H


def balanced_factors(
    L: ArrayLike, d: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """W = U Sigma^(1/2) (V, d) and H = Sigma^(1/2) V' (d, m) from the SVD of L.

    For d >= rank(L): W H = L, W'W = HH' and |W|^2 + |H|^2 = 2 |L|_*, the least possible. A
    smaller d gives the factors of the best rank-d approximation, a larger one pads with zeros;
    None means min(V, m). Raises ValueError for d < 1. Chapter 04.
    """
    check_sizes(d=d)
    U, values, Vt = np.linalg.svd(np.asarray(L, dtype=np.float64), full_matrices=False)
    roots = np.sqrt(values)[:d]
    W, H = U[:, :d] * roots, roots[:, None] * Vt[:d]
    missing = 0 if d is None else d - len(roots)
    return np.pad(W, ((0, 0), (0, missing))), np.pad(H, ((0, missing), (0, 0)))


def check_sizes(**sizes: int | None) -> None:
    """ValueError for a size below 1; None stands for a default."""
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name} is {size}; use 1 or more.")
