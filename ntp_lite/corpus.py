"""Text to token ids: the bundled stories, any UTF-8 file, or a public data set (ch. 01, 16)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BUNDLED = ("lily", "primer", "tales")
SEPARATOR = "<sep>"
UNKNOWN = "<unk>"


def tokenize(text: str) -> list[str]:
    """Lower-case words (with inner apostrophes) and single punctuation marks, in reading order.

    >>> tokenize('Mia said, "It\\'s hot!"')
    ['mia', 'said', ',', '"', "it's", 'hot', '!', '"']
    """
    return re.findall(r"\w+(?:['’]\w+)*|[^\w\s]", text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """The token list: position in the list = token id. `len(vocab)` is the paper's V."""

    tokens: tuple[str, ...]

    @cached_property
    def index(self) -> dict[str, int]:
        """The id of each token."""
        return {token: i for i, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, i: int) -> str:
        return self.tokens[i]

    def encode(self, tokens: str | Iterable[str]) -> NDArray[np.int64]:
        """Token ids; others become `<unk>`, or raise ValueError if the vocabulary has none."""
        words = tokenize(tokens) if isinstance(tokens, str) else list(tokens)
        unknown = self.index.get(UNKNOWN, -1)
        ids = [self.index.get(word, unknown) for word in words]
        if -1 in ids:
            word = words[ids.index(-1)]
            raise ValueError(f"Token {word!r} is not in the vocabulary, which has no {UNKNOWN}.")
        return np.array(ids, dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """The tokens of `ids`, joined by spaces."""
        return " ".join(self.tokens[i] for i in ids)


def load_corpus(
    name: str | Path, max_vocab: int | None = None, max_stories: int | None = None
) -> tuple[NDArray[np.int64], Vocabulary]:
    """Load a text and return `(ids, vocab)`: int64 token ids and their Vocabulary. Chapter 01.

    name : "lily", "primer" or "tales" (bundled, written for this project), "tinystories" (the
        public data set, needs the `hub` extra and a network), or a path to a UTF-8 text file.
        Blank lines separate stories; stories are joined by the token `<sep>`.
    max_vocab : keep this many tokens, counting `<sep>` and `<unk>`; the commonest words stay
        and all others become `<unk>`. None keeps every word, and there is no `<unk>`.
    max_stories : read only the first stories (default: all; 10,000 for "tinystories").

    Special tokens come first in the vocabulary, then words by decreasing frequency, ties
    alphabetically. Raises ValueError for an unknown name, a folder, an empty text, a text that is
    not UTF-8, max_vocab < 3 or max_stories < 1; FileNotFoundError for a missing file; OSError
    if the data set cannot be reached.
    """
    if max_vocab is not None and max_vocab < 3:
        raise ValueError(f"max_vocab is {max_vocab}; use 3 ({SEPARATOR}, {UNKNOWN}, word) or more.")
    if max_stories is not None and max_stories < 1:
        raise ValueError(f"max_stories is {max_stories}; use 1 or more, or None for all.")
    read = _tinystories(max_stories or 10_000) if name == "tinystories" else _read_stories(name)
    stories = [words for words in map(tokenize, read) if words][:max_stories]
    if not stories:
        raise ValueError(f"The text {str(name)!r} is empty; give a text with at least one word.")
    counts = Counter(word for story in stories for word in story)
    words = sorted(counts, key=lambda word: (-counts[word], word))
    special = [SEPARATOR] if len(stories) > 1 else []
    if max_vocab is not None and len(words) + len(special) > max_vocab:
        special.append(UNKNOWN)
        words = words[: max_vocab - len(special)]
    vocab = Vocabulary((*special, *words))
    joined = [token for story in stories for token in (SEPARATOR, *story)]
    return vocab.encode(joined[1:]), vocab


def _read_stories(name: str | Path) -> list[str]:
    bundled = Path(__file__).parent / "data" / f"{name}.txt"
    path = bundled if name in BUNDLED else Path(name)
    if path.is_dir():
        raise ValueError(f"{str(name)!r} is a folder; give the path of a text file.")
    if not path.exists() and path.name == name and not path.suffix:
        known = ", ".join((*BUNDLED, "tinystories"))
        raise ValueError(f"Unknown corpus {name!r}; use one of {known}, or a path to a text file.")
    if not path.exists():
        raise FileNotFoundError(f"No file at {str(name)!r}; check the path of your text.")
    try:
        return re.split(r"\n\s*\n", path.read_text("utf-8-sig"))
    except UnicodeDecodeError as error:
        where = f"{str(name)!r} is not UTF-8 (byte {error.start})"
        raise ValueError(f"{where}; save the text as UTF-8 first.") from None


def _tinystories(max_stories: int) -> list[str]:
    remedy = f"The bundled texts need no network: {', '.join(BUNDLED)}."
    try:
        from datasets import load_dataset  # an optional extra: ntp_lite[hub]

        rows = load_dataset("roneneldan/TinyStories", split="train", streaming=True)
        return [row["text"].replace("\n\n", "\n") for row in rows.take(max_stories)]
    except ImportError:
        raise OSError(f'"tinystories" needs: pip install "ntp_lite[hub]". {remedy}') from None
    except Exception as error:  # the hub's client raises many kinds when it is offline
        raise OSError(f"The TinyStories data set cannot be reached ({error}). {remedy}") from error
