"""What every public function asks of its arguments: one conversion for each kind of value.

Public functions call these once, at the door; private functions take what is right already.
Whatever holds numbers safely is accepted: torch tensors of any dtype, layout and device, scipy and
torch sparse matrices, data frames, lists, iterators, numpy scalars. What does not is refused with
one sentence that names the argument and says what to do. No argument is ever changed.
"""

from __future__ import annotations

import math
import numbers
import operator
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy import sparse

if TYPE_CHECKING:
    import torch


# ---------------------------------------------------------------- arrays


def as_array(A: Any, name: str = "the array", dtype: DTypeLike | None = np.float64) -> NDArray:
    """Anything that holds real numbers as a dense numpy array, any number of dimensions.

    dtype : of the result; None keeps the integer, boolean or floating type of `A`, in this
        machine's byte order (half-precision floats that numpy lacks become float32).

    The result may share memory with `A`: who writes into it makes a copy first. Entries may be NaN
    or infinite; `as_finite_array` refuses those. Raises ValueError for masked entries, complex
    numbers, texts, objects, ragged lists, and tensors that hold no numbers.
    """
    if is_tensor(A):
        array = _tensor_to_numpy(A, name)
    elif sparse.issparse(A):
        # Entries stored twice are added up: first in the wide type, or uint8 would wrap at 256.
        array = (A if dtype is None else A.astype(dtype)).toarray()
    elif isinstance(A, np.ma.MaskedArray):
        array = _unmasked(A, name)
    else:
        array = _array_like_to_numpy(A, name)
    _refuse_what_is_no_number(array, name, A)
    wanted = array.dtype.newbyteorder("=") if dtype is None else np.dtype(dtype)
    return array.astype(wanted, copy=False)


def as_finite_array(A: Any, name: str = "the array") -> NDArray[np.float64]:
    """`as_array` in float64; ValueError also for NaN or infinity."""
    array = as_array(A, name)
    check_finite(array, name)
    return array


def as_matrix(A: Any, name: str) -> NDArray[np.float64]:
    """`as_finite_array` with two dimensions and at least one entry."""
    array = as_finite_array(A, name)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; give a matrix with rows and columns.")
    return array


def check_logits(L: Any, shape: tuple[int, int], name: str = "L") -> NDArray[np.float64]:
    """`L` as a finite float64 array of this shape, (V, m); ValueError otherwise."""
    array = as_array(L, name)
    check_shape(array, shape, name)
    check_finite(array, name)
    return array


def check_shape(L: Any, shape: tuple[int, int], name: str = "L") -> None:
    """ValueError unless L has this shape, (V, m)."""
    found = tuple(L.shape)
    if found != tuple(shape):
        raise ValueError(f"{name} has shape {found}, not (V, m) = {shape}; columns are contexts.")


def check_finite(array: NDArray, name: str) -> None:
    """ValueError for entries that are NaN or infinite."""
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has entries that are NaN or infinite; check how it was made.")


def is_tensor(A: Any) -> bool:
    """Is A a torch tensor? Does not import torch: without it nobody can hold a tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(A, torch.Tensor)


def _tensor_to_numpy(A: torch.Tensor, name: str) -> NDArray:
    """The numbers of a tensor, without its gradient, from any device, layout and dtype."""
    import torch

    if A.is_meta:
        raise ValueError(f"{name} is a tensor on the meta device, which holds no numbers; use cpu.")
    A = A.detach()
    if A.layout != torch.strided:
        if A.dtype in (torch.float16, torch.bfloat16):
            A = A.to(torch.float32)  # torch cannot make every half-precision layout dense
        A = A.to_dense()
    if A.is_floating_point() and A.dtype not in (torch.float16, torch.float32, torch.float64):
        A = A.to(torch.float32)  # bfloat16 and the eight-bit floats, which numpy does not have
    return A.resolve_conj().resolve_neg().cpu().numpy()


def _unmasked(A: np.ma.MaskedArray, name: str) -> NDArray:
    hidden = int(np.ma.getmaskarray(A).sum())
    if hidden:
        raise ValueError(f"{name} has {hidden} masked entries; fill them or drop them first.")
    return np.asarray(A.data)


def _array_like_to_numpy(A: Any, name: str) -> NDArray:
    if isinstance(A, Iterator):
        A = list(A)  # numpy would wrap the iterator itself
    try:
        array = np.asarray(A)
        if array.dtype == object:  # a frame of nullable integers, say: numbers behind pointers
            array = np.array(array.tolist())
        return array
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a list of tensors with gradients
        raise ValueError(
            f"{name} cannot be made an array of numbers; give an array, a tensor or nested lists "
            "with rows of equal length."
        ) from None


def _refuse_what_is_no_number(array: NDArray, name: str, given: Any) -> None:
    kind = array.dtype.kind
    if kind == "c":
        raise ValueError(f"{name} holds complex numbers; give real ones, such as its real part.")
    if kind not in "biuf":
        what = type(given).__name__ if array.ndim == 0 else f"entries of type {array.dtype}"
        raise ValueError(f"{name} is no array of numbers but {what}; give numbers, none missing.")


# ---------------------------------------------------------------- sizes and numbers


def as_size(value: Any, name: str, minimum: int = 1, maximum: int | None = None) -> int:
    """A whole number as a Python int: from an int, a numpy integer, or a 0-d array or tensor.

    Python's own integers do not wrap, as a uint16 does at 65,536. Raises ValueError for
    floats (3.0 as well), booleans, texts and numbers outside [minimum, maximum].
    """
    dtype = str(getattr(value, "dtype", ""))
    is_bool = isinstance(value, bool) or "bool" in dtype
    try:
        number = operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        number = None
    if number is None or is_bool:
        raise ValueError(f"{name} is {_short(value)}; use a whole number such as {minimum}.")
    if number < minimum:
        raise ValueError(f"{name} is {number}; use {minimum} or more.")
    if maximum is not None and number > maximum:
        raise ValueError(f"{name} is {number}; use {maximum} or less.")
    return number


def as_number(value: Any, name: str, remedy: str = "use a number") -> float:
    """A real number as a Python float: from an int, a float, or a 0-d array or tensor.

    NaN and infinity pass: the caller knows its range. Raises ValueError for booleans, texts, None
    and arrays of several numbers, with `remedy` as the end of the sentence.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    if hasattr(value, "dtype") and not isinstance(value, np.bool_):
        array = as_array(value, name, dtype=None)
        if array.ndim == 0 and array.dtype.kind in "iuf":
            return float(array)
    raise ValueError(f"{name} is {_short(value)}; {remedy}.")


def as_tolerance(value: Any, name: str = "tol") -> float:
    """A positive float (infinity: any gap will do); ValueError otherwise."""
    remedy = "use a positive relative duality gap such as 1e-6"
    number = as_number(value, name, remedy)
    if not number > 0:
        raise ValueError(f"{name} is {value}; {remedy}.")
    return number


def as_ridge(value: Any, name: str = "ridge") -> float:
    """A positive, finite float; ValueError otherwise."""
    remedy = "use a positive number, below ridge_max(labels)"
    number = as_number(value, name, remedy)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} is {value}; {remedy}.")
    return number


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"a {type(value).__name__}"


# ---------------------------------------------------------------- devices


def torch_device(name: torch.device | str | int | None) -> torch.device:
    """Where to compute. None: the CPU; "auto": CUDA where there is one, else the CPU.

    A number is CUDA's device of that number, as in torch. Certificates need float64, so "auto"
    never takes a device without it (Apple's "mps"). Raises ValueError for any device that is
    unknown, absent or lacks float64.
    """
    import torch

    remedy = "use 'cpu', 'cuda' or 'auto'"
    if name is None:
        name = "cpu"
    if isinstance(name, str):
        name = name.lower()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if isinstance(name, int) and not isinstance(name, bool):
        name = f"cuda:{name}"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise ValueError(f"device is {_short(name)}, unknown to torch; {remedy}.") from None
    if device.type not in ("cpu", "cuda"):
        why = "holds no numbers" if device.type == "meta" else "may lack float64"
        raise ValueError(f"device is {str(device)!r}, which {why}; {remedy}.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {str(device)!r}, but there is no CUDA here; use 'cpu'.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device is {str(device)!r}, but CUDA has {torch.cuda.device_count()} here, counted "
            "from 0; use 'cuda'."
        )
    return device
