"""Models with logits L = W H: free vectors and a small decoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from ._validate import as_array, as_number, as_size
from .soft_labels import SoftLabels


class Model(Protocol):
    """What `fit` can train: a `torch.nn.Module` whose logits are L = W H, (V, m).

    W : a tensor (V, d), one row per token. embeddings(contexts) : the columns of H that belong to
    these contexts, (d, count), in their order. What stands for a context is the model's choice:

    - token ids (count, context_length), rows of `labels.contexts`. That is the rule.
    - the numbers of the columns, a slice or an index tensor, if the class says
      `reads_tokens = False`: then a context has no features, its column of H is free, as in `UFM`.

    Book: unconstrained_features (free vectors) and transformers (a decoder).
    """

    W: Tensor

    def embeddings(self, contexts: ArrayLike | Tensor) -> Tensor:
        """H at these contexts, (d, count)."""
        ...


def check_model(model: Any, labels: SoftLabels) -> None:
    """ValueError, with a remedy, for a model that cannot be trained on these labels.

    Asks for two embeddings, so what would end a run after its last step is known before its first.
    """
    name = type(model).__name__
    if not isinstance(model, nn.Module):
        raise ValueError(f"The model is of type {name}; give a torch.nn.Module.")
    # Not isinstance(model, Model): from Python 3.12 on it sees no parameter of a torch module.
    for attribute, missing in (("W", "W"), ("embeddings", "embeddings(contexts)")):
        if not hasattr(model, attribute):
            raise ValueError(f"{name} has no {missing}; logits are L = W H, see ntp_lite.Model.")
    if not isinstance(model.W, Tensor) or model.W.ndim != 2:
        raise ValueError(f"W of {name} is no matrix; give a tensor (V, d).")
    if len(model.W) != labels.V:
        raise ValueError(
            f"{name} has {len(model.W)} rows in W and the labels have V={labels.V} tokens; "
            "build it for labels.V."
        )
    reads_tokens = getattr(model, "reads_tokens", True)
    if reads_tokens and labels.contexts is None:
        raise ValueError("These labels carry no contexts for the model; use from_tokens.")
    if isinstance(model, UFM) and model.H.shape[1] != labels.m:
        raise ValueError(
            f"The UFM has {model.H.shape[1]} contexts and the labels have m={labels.m}; build it "
            "as UFM(labels.V, labels.m, d)."
        )
    if reads_tokens:
        _check_embeddings(model, _two_contexts(labels).to(model.W.device), 2)
    else:
        last = min(2, labels.m)
        _check_embeddings(model, slice(labels.m - last, labels.m), last)


def _two_contexts(labels: SoftLabels) -> Tensor:
    """The contexts with the least and the largest token id."""
    contexts = np.asarray(labels.contexts)
    if contexts.ndim != 2 or contexts.dtype.kind not in "iu":
        raise ValueError(
            f"labels.contexts is {contexts.dtype} {contexts.shape}; a model that reads tokens "
            "needs token ids (m, context_length)."
        )
    extremes = [contexts.min(axis=1).argmin(), contexts.max(axis=1).argmax()]
    return torch.as_tensor(contexts[extremes].astype(np.int64))


@torch.no_grad()
def _check_embeddings(model: Any, contexts: Any, count: int) -> None:
    """Do so many contexts have so many columns of length d?"""
    name, d = type(model).__name__, model.W.shape[1]
    with evaluating(model):
        try:
            H = model.embeddings(contexts)
        except (IndexError, RuntimeError) as error:
            raise ValueError(
                f"{name} cannot read the contexts of these labels ({error}); build it for their "
                "number, length and token ids."
            ) from None
    shape = tuple(H.shape) if isinstance(H, Tensor) else type(H).__name__
    if shape != (d, count):
        hint = "; transpose it" if shape == (count, d) else ""
        raise ValueError(
            f"embeddings of {name} gives {shape} for {count} contexts, not (d, count) = "
            f"{(d, count)}: one column per context{hint}."
        )


def describe(model: nn.Module) -> str:
    """Class and settings, of a decoder without its seed: what a checkpoint knows a model by."""
    config = getattr(model, "config", None)
    if not is_dataclass(config) or isinstance(config, type):
        return str(model)
    settings = {name: value for name, value in asdict(config).items() if name != "seed"}
    return f"{type(model).__name__}({', '.join(f'{k}={v!r}' for k, v in settings.items())})"


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Dropout off, running averages at rest; every module afterwards in the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class UFM(nn.Module):
    """NTP-UFM: words W (V, d), contexts H (d, m), logits L = W H of rank at most d.

    With the penalty (ridge/2)(|W|^2 + |H|^2) its training loss is the paper's NTP-UFM problem; for
    d >= rank(L_ridge) that is the same as min CE(L) + ridge |L|_* (nuclear_norm).

    Entries start as independent normals of deviation `scale / sqrt(d)`, from `seed` alone. Do not
    make `scale` tiny: with a ridge the origin is a saddle, and an optimiser that starts too near
    it can stay there (certificates).

    Raises ValueError for sizes that are not whole numbers from 1. Paper: eq. (NTP-UFM). Book:
    unconstrained_features.
    """

    reads_tokens = False  # a context is nothing but the number of its column

    def __init__(
        self, V: int, m: int, d: int, seed: int = 0, scale: float = 1.0,
        dtype: torch.dtype = torch.float64,
    ) -> None:  # fmt: skip
        super().__init__()
        V = as_size(V, "V")
        m = as_size(m, "m")
        d = as_size(d, "d")
        generator = torch.Generator().manual_seed(as_size(seed, "seed", 0, 2**63 - 1))
        deviation = as_number(scale, "scale") / d**0.5
        W = _normal((V, d), generator, dtype)
        H = _normal((d, m), generator, dtype)
        self.W = nn.Parameter(W * deviation)
        self.H = nn.Parameter(H * deviation)

    def extra_repr(self) -> str:
        """The sizes, for print(model)."""
        return f"V={len(self.W)}, m={self.H.shape[1]}, d={self.W.shape[1]}"

    def embeddings(self, contexts: slice | ArrayLike | Tensor) -> Tensor:
        """The columns of H with these numbers, (d, count); a slice copies nothing."""
        columns: Any = contexts
        return self.H[:, columns]

    def logits(self) -> Tensor:
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
        for name in ("V", "context_length", "d", "layers", "heads"):
            object.__setattr__(self, name, as_size(getattr(self, name), name))
        object.__setattr__(self, "seed", as_size(self.seed, "seed", 0, 2**63 - 1))
        if self.d % self.heads:
            raise ValueError(f"d = {self.d} is not a multiple of heads = {self.heads}.")


class Transformer(nn.Module):
    """Pre-norm decoder: logits L = W H with H[:, j] = last hidden state of context j.

    All parameters come from `config.seed`, drawn by a generator of the model's own, so that models
    built at the same time in several threads do not mix. Book: transformers.
    """

    reads_tokens = True

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(config.seed)
        V, d = config.V, config.d
        self.W = nn.Parameter(_normal((V, d), generator) * d**-0.5)
        self.tokens = None
        if not config.tied:
            self.tokens = skip_init(nn.Embedding, V, d)
            nn.init.normal_(self.tokens.weight, generator=generator)
        places = _normal((config.context_length, d), generator) * 0.02
        self.places = nn.Parameter(places, requires_grad=config.positions)
        self.blocks = nn.Sequential(*(Block(config, generator) for _ in range(config.layers)))
        self.norm = nn.LayerNorm(d) if config.final_norm else nn.Identity()

    def embeddings(self, contexts: ArrayLike | Tensor) -> Tensor:
        """H (d, number of contexts) for token ids (number of contexts, length).

        The ids may have any integer type. Raises ValueError for another shape or type.
        """
        ids = contexts
        if not isinstance(ids, Tensor):
            ids = torch.as_tensor(_whole_numbers(ids))
        if ids.ndim != 2 or not 1 <= ids.shape[1] <= self.config.context_length:
            raise ValueError(
                f"contexts have shape {tuple(ids.shape)}; give (number of contexts, length) with "
                f"length <= context_length = {self.config.context_length}."
            )
        if ids.dtype.is_floating_point or ids.dtype.is_complex or ids.dtype == torch.bool:
            raise ValueError(f"contexts are of type {ids.dtype}; give token ids, whole numbers.")
        ids = ids.to(self.W.device, torch.int64)  # an embedding reads int32 and int64 alone
        x = functional.embedding(ids, self.W if self.tokens is None else self.tokens.weight)
        if self.config.positions:
            x = x + self.places[: ids.shape[1]]
        return self.norm(self.blocks(x)[:, -1]).T

    def logits(self, contexts: ArrayLike | Tensor) -> Tensor:
        """L = W H, (V, number of contexts)."""
        return self.W @ self.embeddings(contexts)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); x is (contexts, positions, d)."""

    def __init__(self, config: TransformerConfig, generator: torch.Generator) -> None:
        super().__init__()
        d = config.d
        self.heads = config.heads
        self.norm_attention = nn.LayerNorm(d)
        self.norm_mlp = nn.LayerNorm(d)
        self.queries_keys_values = _linear(d, 3 * d, generator)
        self.output = _linear(d, d, generator)
        wide = _linear(d, 4 * d, generator)
        narrow = _linear(4 * d, d, generator)
        self.mlp = nn.Sequential(wide, nn.GELU(), narrow)

    def forward(self, x: Tensor) -> Tensor:
        """One layer."""
        qkv = self.queries_keys_values(self.norm_attention(x)).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (contexts, heads, positions, d / heads)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm_mlp(x))


def _normal(
    shape: tuple[int, int], generator: torch.Generator, dtype: torch.dtype | None = None
) -> Tensor:
    """Independent standard normals; ValueError for more of them than the memory holds."""
    try:
        return torch.randn(shape, generator=generator, dtype=dtype)
    except RuntimeError:
        raise ValueError(
            f"There is no memory for a matrix of {shape[0]:,} x {shape[1]:,}; use a smaller d."
        ) from None


def _whole_numbers(contexts: ArrayLike) -> NDArray:
    """Token ids of any integer type as an array that torch can read."""
    ids = as_array(contexts, "contexts", dtype=None)
    return ids.astype(np.int64) if ids.dtype.kind in "iu" else ids


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear map without bias, with the start that torch gives it but from this generator."""
    layer = skip_init(nn.Linear, inputs, outputs, bias=False)
    nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=generator)
    return layer
