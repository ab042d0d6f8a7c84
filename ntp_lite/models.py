"""Models with logits W H: free vectors (chs. 03, 04) and a small decoder (ch. 14)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional

from ._validate import check_sizes


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


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a decoder; raises ValueError where they do not fit together.

    V : tokens. context_length : the longest context it reads. d : width, also the dimension of W
    and H. layers, heads : d must be a multiple of heads. tied : W is the input embedding as well.
    positions : add a learned vector per position (without, only the causal mask tells order).
    final_norm : normalise the last hidden states; without it |h_j| is free, as in the UFM.
    """

    V: int
    context_length: int
    d: int = 64
    layers: int = 2
    heads: int = 4
    tied: bool = False
    positions: bool = True
    final_norm: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_sizes(V=self.V, context_length=self.context_length, d=self.d, layers=self.layers)
        check_sizes(heads=self.heads)
        if self.d % self.heads:
            raise ValueError(f"d = {self.d} is not a multiple of heads = {self.heads}.")


class Transformer(nn.Module):
    """Pre-norm decoder: logits L = W H with H[:, j] = last hidden state of context j.

    All parameters come from `config.seed`. Book: chapter 14.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):  # leaves the caller's generator as it was
            torch.manual_seed(config.seed)
            self.W = nn.Parameter(torch.randn(config.V, config.d) * config.d**-0.5)
            self.tokens = None if config.tied else nn.Embedding(config.V, config.d)
            self.places = nn.Parameter(torch.randn(config.context_length, config.d) * 0.02)
            self.places.requires_grad_(config.positions)
            self.blocks = nn.Sequential(*(Block(config) for _ in range(config.layers)))
            self.norm = nn.LayerNorm(config.d) if config.final_norm else nn.Identity()

    def embeddings(self, contexts: ArrayLike | Tensor) -> Tensor:
        """H (d, number of contexts) for token ids (number of contexts, length)."""
        ids = torch.as_tensor(contexts, device=self.W.device)
        if ids.ndim != 2 or not 1 <= ids.shape[1] <= self.config.context_length:
            raise ValueError(
                f"contexts have shape {tuple(ids.shape)}; give (number of contexts, length) with "
                f"length <= context_length = {self.config.context_length}."
            )
        x = functional.embedding(ids, self.W if self.tokens is None else self.tokens.weight)
        if self.config.positions:
            x = x + self.places[: ids.shape[1]]
        return self.norm(self.blocks(x)[:, -1]).T

    def logits(self, contexts: ArrayLike | Tensor) -> Tensor:
        """L = W H, (V, number of contexts)."""
        return self.W @ self.embeddings(contexts)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); x is (contexts, positions, d)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        d, self.heads = config.d, config.heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(d), nn.LayerNorm(d)
        self.queries_keys_values = nn.Linear(d, 3 * d, bias=False)
        self.output = nn.Linear(d, d, bias=False)
        wide, narrow = nn.Linear(d, 4 * d, bias=False), nn.Linear(4 * d, d, bias=False)
        self.mlp = nn.Sequential(wide, nn.GELU(), narrow)

    def forward(self, x: Tensor) -> Tensor:
        """One layer."""
        qkv = self.queries_keys_values(self.norm_attention(x)).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (contexts, heads, positions, d / heads)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm_mlp(x))
