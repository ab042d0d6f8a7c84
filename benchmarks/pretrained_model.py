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


class LastLayers(nn.Module):
    """The last layers, the last norm and the rows of W, free to train; all below is frozen.

    What enters the first of these layers is computed once, for every context of `labels`.
    """

    reads_tokens = False  # contexts are asked for by number, and their states looked up

    def __init__(self, model: Pretrained, contexts: NDArray[np.int64], layers: int) -> None:
        super().__init__()
        base = model.lm.base_model
        with torch.no_grad():
            entering = torch.cat(
                [model.states(part)[-1 - layers] for part in np.array_split(contexts, 8)]
            )
            places = torch.arange(entering.shape[1])[None]
            angles = base.rotary_emb(entering, places)
        self.register_buffer("entering", entering)
        self.register_buffer("cosines", angles[0])
        self.register_buffer("sines", angles[1])
        self.layers = base.layers[-layers:]
        self.norm = base.norm
        self.W = nn.Parameter(model.W.detach().clone())

    def embeddings(self, columns: Any) -> Tensor:
        """The columns of H with these numbers, (d, count)."""
        x = self.entering[columns]
        for layer in self.layers:
            x = layer(x, attention_mask=None, position_embeddings=(self.cosines, self.sines))
        return self.norm(x[:, -1]).T


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


def frequent(
    numbers: NDArray[np.int64], V: int, context_length: int, least: int
) -> ntp.SoftLabels:
    """Soft labels of the contexts that occur at least `least` times."""
    labels = ntp.SoftLabels.from_tokens(numbers, context_length, V)
    return labels.select(np.rint(labels.pi * labels.n) >= least)
