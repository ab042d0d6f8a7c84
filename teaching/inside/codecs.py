"""What may cross between the tests and a submission, as a table.

Values cross as JSON, and are built anew of plain types: nothing that is received is ever executed.
A plain value stands for itself, and a list for a list; everything else is an object with a `kind`.
A subclass of a plain type crosses as that type, without its methods; a tensor and a data frame
cross as arrays, so that a test meets one kind of array only. Fractions and decimals, alone or in an
array, cross as the floats nearest to them.
"""

from __future__ import annotations

import base64
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

Json = Any
Part = Callable[[Any], Any]  # encodes or decodes what lies inside a value

_PLAIN = (bool, int, float, str)
_ARRAY_KINDS = "biufcSU"  # NumPy's letters for numbers, truth values and text: no objects
_EXACT = (Fraction, Decimal)
_SEQUENCES = (list, types.GeneratorType, map, filter, zip)  # they cross as lists


@dataclass(frozen=True)
class Codec:
    """How one kind of value crosses."""

    kind: str
    accepts: Callable[[Any], bool]
    encode: Callable[[Any, Part], dict[str, Json]]
    decode: Callable[[dict[str, Json], Part], Any]


def encode(value: Any, encode_other: Part) -> Json:
    """Return a value as JSON; `encode_other` says what becomes of one that is in no table."""

    def encode_part(part: Any) -> Json:
        return encode(part, encode_other)

    if value is None or type(value) in _PLAIN:
        return value
    if type(value) is list:
        return [encode_part(item) for item in value]
    for codec in CODECS:
        if codec.accepts(value):
            return {"kind": codec.kind} | codec.encode(value, encode_part)
    if isinstance(value, _SEQUENCES):
        return [encode_part(item) for item in value]
    for plain in _PLAIN:
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, _EXACT):
        return float(value)
    return encode_other(value)


def decode(message: Json, decode_other: Part) -> Any:
    """Return the value that `encode` described; `decode_other` takes the kinds of no table."""

    def decode_part(part: Json) -> Any:
        return decode(part, decode_other)

    if isinstance(message, list):
        return [decode_part(item) for item in message]
    if not isinstance(message, dict):
        return message
    codec = _BY_KIND.get(message["kind"])
    if codec is None:
        return decode_other(message)
    return codec.decode(message, decode_part)


# --- Arrays ---


def _is_array(value: Any) -> bool:
    is_one = isinstance(value, np.ndarray | np.generic)
    return is_one and np.asarray(value).dtype.kind in _ARRAY_KINDS


def _encode_array(value: Any, encode_part: Part) -> dict[str, Json]:
    array = np.asarray(value)
    return {
        "dtype": array.dtype.str,
        "shape": array.shape,
        "data": base64.b64encode(array.tobytes()).decode(),
        "is_scalar": isinstance(value, np.generic),
    }


def _is_array_of_exact(value: Any) -> bool:
    if not isinstance(value, np.ndarray) or value.dtype.kind != "O" or not value.size:
        return False
    return all(isinstance(entry, (*_EXACT, int, float)) for entry in value.flat)


def _decode_array(message: dict[str, Json], decode_part: Part) -> Any:
    dtype = np.dtype(str(message["dtype"]))
    if dtype.kind not in _ARRAY_KINDS:
        raise ValueError("arrays of objects do not cross")
    data = base64.b64decode(message["data"])
    array = np.frombuffer(data, dtype).reshape(message["shape"]).copy()
    return array[()] if message["is_scalar"] else array


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _encode_tensor(value: Any, encode_part: Part) -> dict[str, Json]:
    torch = sys.modules["torch"]
    tensor = value.detach().cpu().resolve_conj().resolve_neg()
    if tensor.dtype == torch.bfloat16:  # NumPy has no such type; nothing is lost
        tensor = tensor.float()
    return {"array": encode_part(tensor.numpy())}


def _is_sparse(value: Any) -> bool:
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(value))


def _encode_sparse(value: Any, encode_part: Part) -> dict[str, Json]:
    columns = value.tocsc()
    parts = [columns.data, columns.indices, columns.indptr]
    return {"parts": encode_part(parts), "shape": value.shape, "format": value.format}


def _decode_sparse(message: dict[str, Json], decode_part: Part) -> Any:
    from scipy import sparse

    parts = tuple(decode_part(message["parts"]))
    matrix = sparse.csc_array(parts, shape=message["shape"])
    matrix.check_format(full_check=True)  # scipy's C code trusts the indices
    return matrix.asformat(str(message["format"]))


def _is_frame(value: Any) -> bool:
    library = type(value).__module__.split(".")[0]
    return library in ("pandas", "polars") and hasattr(value, "to_numpy")


def _encode_frame(value: Any, encode_part: Part) -> dict[str, Json]:
    return {"array": encode_part(value.to_numpy())}


def _decode_as_array(message: dict[str, Json], decode_part: Part) -> Any:
    return decode_part(message["array"])


# --- Containers and other plain types ---


def _encode_items(value: Any, encode_part: Part) -> dict[str, Json]:
    return {"items": [encode_part(item) for item in value]}


def _container(kind: type) -> Codec:
    return Codec(
        kind.__name__,
        lambda value: isinstance(value, kind),
        _encode_items,
        lambda message, decode_part: kind(decode_part(message["items"])),
    )


def _encode_dict(value: Any, encode_part: Part) -> dict[str, Json]:
    return {"items": [[encode_part(key), encode_part(item)] for key, item in value.items()]}


def _decode_dict(message: dict[str, Json], decode_part: Part) -> Any:
    return {decode_part(key): decode_part(item) for key, item in message["items"]}


CODECS = (
    Codec("tensor", _is_tensor, _encode_tensor, _decode_as_array),
    Codec("array", _is_array, _encode_array, _decode_array),
    Codec(
        "exact",
        _is_array_of_exact,
        lambda value, encode_part: {"array": encode_part(value.astype(float))},
        _decode_as_array,
    ),
    Codec("sparse", _is_sparse, _encode_sparse, _decode_sparse),
    Codec("frame", _is_frame, _encode_frame, _decode_as_array),
    _container(tuple),  # a named tuple crosses as a tuple
    _container(set),
    _container(frozenset),
    Codec("dict", lambda value: isinstance(value, dict), _encode_dict, _decode_dict),
    Codec(
        "range",
        lambda value: isinstance(value, range),
        lambda value, encode_part: {"bounds": [value.start, value.stop, value.step]},
        lambda message, decode_part: range(*(int(bound) for bound in message["bounds"])),
    ),
    Codec(
        "complex",
        lambda value: isinstance(value, complex),
        lambda value, encode_part: {"parts": [value.real, value.imag]},
        lambda message, decode_part: complex(*message["parts"]),
    ),
    Codec(
        "bytes",
        lambda value: isinstance(value, bytes),
        lambda value, encode_part: {"data": base64.b64encode(value).decode()},
        lambda message, decode_part: base64.b64decode(message["data"]),
    ),
)
_BY_KIND = {codec.kind: codec for codec in CODECS}
