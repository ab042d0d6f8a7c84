"""Token ids and the names of tokens, from the files of other tokenizers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .corpus import find_file

ID_TYPES = ("uint16", "uint32", "int32", "int64")


def read_ids(name: str | Path, dtype: str | None = None) -> NDArray[np.integer]:
    """Token ids from a .npy file, a .bin file of bare numbers, or a text of numbers.

    dtype : of a .bin file, one of ID_TYPES, lowest byte first; it does not say so itself. Ids of
    .npy and .bin stay on disk until they are used. Raises ValueError for anything else.
    """
    path = find_file(name, what="token id")
    shown = repr(str(name))
    if path.suffix == ".bin":
        return _bare_numbers(path, shown, dtype)
    if dtype is not None:
        raise ValueError(f"--ids-dtype is for .bin files; {shown} says itself what it holds.")
    ids = _numpy_array(path, shown) if path.suffix == ".npy" else _numbers_in_text(path, shown)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise ValueError(
            f"{shown} holds {ids.dtype} of shape {ids.shape}; token ids are whole numbers in a row."
        )
    return ids


def _bare_numbers(path: Path, shown: str, dtype: str | None) -> NDArray[np.integer]:
    if dtype not in ID_TYPES:
        raise ValueError(
            f"{shown} does not say how its numbers are written; give --ids-dtype, one of "
            f"{', '.join(ID_TYPES)}."
        )
    kind = np.dtype(dtype).newbyteorder("<")
    size = path.stat().st_size
    if size == 0 or size % kind.itemsize:
        raise ValueError(f"{shown} has {size} bytes, no whole number of {dtype}; check the type.")
    return np.memmap(path, dtype=kind, mode="r")


def _numpy_array(path: Path, shown: str) -> NDArray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{shown} is no .npy file of numbers; write it with numpy.save.") from None


def _numbers_in_text(path: Path, shown: str) -> NDArray[np.int64]:
    words = path.read_bytes().split()
    try:
        return np.array([int(word) for word in words], dtype=np.int64)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{shown} is neither .npy nor .bin nor a text of whole numbers with spaces between."
        ) from None


def read_tokens(name: str | Path) -> list[str]:
    """The name of each token id: lines of a text, or the vocabulary in a tokenizer's JSON.

    JSON is a list of names, an object name -> id, or the `tokenizer.json` of Hugging Face. Ids
    without a name are called "<id 7>". Raises ValueError for anything else.
    """
    path = find_file(name, what="token")
    shown = repr(str(name))
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{shown} is not UTF-8; save the tokens as UTF-8 first.") from None
    if path.suffix == ".json":
        return _names_in_json(text, shown)
    names = text.removesuffix("\n").split("\n")  # a line may begin or end with a space
    return [line.removesuffix("\r") for line in names]


def _names_in_json(text: str, shown: str) -> list[str]:
    try:
        ids = _ids_by_name(json.loads(text))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        ids = {}
    numbers = list(ids.values())
    if not numbers or not all(type(i) is int and i >= 0 for i in numbers):
        raise ValueError(
            f"{shown} holds no vocabulary; give a list of tokens, an object token -> id, or the "
            "tokenizer.json of Hugging Face."
        )
    if len(set(numbers)) < len(numbers) or max(numbers) >= 100 * len(numbers) + 1000:
        raise ValueError(f"{shown} gives two tokens one id, or has enormous ids; check it.")
    names = [f"<id {i}>" for i in range(max(numbers) + 1)]
    for token, i in ids.items():
        names[i] = token
    return names


def _ids_by_name(content: Any) -> dict[str, Any]:
    if isinstance(content, dict) and "model" in content:  # a tokenizer.json
        vocabulary = content["model"]["vocab"]
        added = {row["content"]: row["id"] for row in content.get("added_tokens", [])}
        return _ids_by_name(vocabulary) | added
    if isinstance(content, list):
        # Some models list pairs (token, score).
        tokens = [row[0] if isinstance(row, list) else row for row in content]
        if not all(isinstance(token, str) for token in tokens):
            raise TypeError("a token is no text")
        # Two tokens of one name keep their ids: the second gets a name of its own.
        ids: dict[str, int] = {}
        for i, token in enumerate(tokens):
            ids[token if token not in ids else f"{token} (id {i})"] = i
        return ids
    return dict(content)
