"""A pretrained language model, read as `ntp_lite` reads every model: words W, contexts H, L = W H.

Needs the extra `pretrained` and a model: the folder that `make pretrained` fills, or any causal
language model of the transformers library, by its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import ntp_lite as ntp

FOLDER = Path(__file__).parents[1] / "_pretrained" / "smollm2-135m-instruct"


class Pretrained(nn.Module):
    """The adapter of the chapter: rows of the output matrix, and last states after the last norm.

    tokens : (V,) the tokenizer's ids of the words that the text uses. start : an id put before each
    context, or None.
    """

    tokens: Tensor

    def __init__(self, lm: Any, tokens: NDArray[np.int64], start: int | None = None) -> None:
        super().__init__()
        self.lm = lm
        self.start = start
        self.register_buffer("tokens", torch.as_tensor(tokens))

    @property
    def W(self) -> Tensor:
        """(V, d): the rows of the words that the text uses."""
        return self.lm.get_output_embeddings().weight[self.tokens]

    def embeddings(self, contexts: Any) -> Tensor:
        """H at these contexts, (d, count)."""
        return self.states(contexts)[-1][:, -1].T

    def states(self, contexts: Any) -> tuple[Tensor, ...]:
        """After the token vectors and after each layer, (count, length, d); the last normalised."""
        ids = self.tokens[torch.tensor(np.asarray(contexts))]
        if self.start is not None:
            ids = nn.functional.pad(ids, (1, 0), value=self.start)
        return self.lm.base_model(ids, output_hidden_states=True).hidden_states


class LastLayer(nn.Module):
    """The last layer, the last norm and the rows of W, free to train; all below is frozen.

    What enters the last layer is computed once, for every context. Keys and values are needed at
    all positions, everything else at the last one alone, which is a quarter of the work.
    """

    reads_tokens = False  # contexts are asked for by number, and their states looked up
    entering: Tensor
    cosines: Tensor
    sines: Tensor

    def __init__(self, model: Pretrained, contexts: NDArray[np.int64]) -> None:
        super().__init__()
        base = model.lm.base_model
        with torch.no_grad():
            entering = torch.cat([model.states(part)[-2] for part in np.array_split(contexts, 8)])
            cosines, sines = base.rotary_emb(entering, torch.arange(entering.shape[1])[None])
        self.register_buffer("entering", entering)
        self.register_buffer("cosines", cosines)
        self.register_buffer("sines", sines)
        self.layer = base.layers[-1]
        self.norm = base.norm
        self.W = nn.Parameter(model.W.detach().clone())

    def embeddings(self, columns: Any) -> Tensor:
        """The columns of H with these numbers, (d, count)."""
        layer, x = self.layer, self.entering[columns]
        attention = layer.self_attn
        normed = layer.input_layernorm(x)
        queries, keys, values = (
            part.unflatten(2, (-1, attention.head_dim)).transpose(1, 2)
            for part in (
                attention.q_proj(normed[:, -1:]),
                attention.k_proj(normed),
                attention.v_proj(normed),
            )
        )
        queries = rotated(queries, self.cosines[:, -1:], self.sines[:, -1:])
        keys = rotated(keys, self.cosines, self.sines)
        seen = nn.functional.scaled_dot_product_attention(queries, keys, values, enable_gqa=True)
        last = x[:, -1] + attention.o_proj(seen.transpose(1, 2).flatten(2)[:, 0])
        return self.norm(last + layer.mlp(layer.post_attention_layernorm(last))).T


def rotated(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary positions: coordinates i and i + half turn by an angle that grows with the place."""
    first, second = x.chunk(2, dim=-1)
    return x * cosines[:, None] + torch.cat([-second, first], dim=-1) * sines[:, None]


def load(folder: Path = FOLDER) -> tuple[Any, Any]:
    """Tokenizer and model, in float32 and evaluation mode, without a network."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    lm = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return tokenizer, lm.eval()


def text_of(name: str) -> str:
    """A bundled text as it was written."""
    return (Path(ntp.__file__).parent / "data" / f"{name}.txt").read_text("utf-8")


def read(tokenizer: Any, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The model's own tokens that occur in a bundled text, and the text as numbers among them."""
    ids = np.array(tokenizer(text_of(name), add_special_tokens=False)["input_ids"])
    tokens, numbers = np.unique(ids, return_inverse=True)
    return tokens, numbers


def contexts_of(labels: ntp.SoftLabels) -> NDArray[np.int64]:
    """The token numbers of the contexts, (m, c)."""
    return np.asarray(labels.contexts)


def frequent(numbers: NDArray[np.int64], V: int, context_length: int, least: int) -> ntp.SoftLabels:
    """Soft labels of the contexts that occur at least `least` times."""
    labels = ntp.SoftLabels.from_tokens(numbers, context_length, V)
    return labels.select(np.rint(labels.pi * labels.n) >= least)
