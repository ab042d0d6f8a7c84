"""Every kind of value that a public function may be given, as functions that make it.

The tables are shared by the tests of `_validate` and by `test_every_kind_of_input`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse


def memory_map(A):
    A = np.ascontiguousarray(A)
    with tempfile.TemporaryFile() as file:
        np.save(file, A)
        file.flush()
        mapped = np.memmap(file, mode="r", dtype=A.dtype, shape=A.shape, offset=128)
    np.testing.assert_array_equal(mapped, A)
    return mapped


def polars_frame(A):
    return pytest.importorskip("polars").DataFrame(A)


def read_only(A):
    A = A.copy()
    A.setflags(write=False)
    return A


ARRAYS: dict[str, Callable[[np.ndarray], Any]] = {
    "float16": lambda A: A.astype(np.float16),
    "float32": lambda A: A.astype(np.float32),
    "longdouble": lambda A: A.astype(np.longdouble),
    "big endian": lambda A: A.astype(">f8"),
    "int8": lambda A: A.astype(np.int8),
    "int64": lambda A: A.astype(np.int64),
    "bfloat16 tensor": lambda A: torch.tensor(A, dtype=torch.bfloat16),
    "float16 tensor": lambda A: torch.tensor(A, dtype=torch.float16),
    "float8 tensor": lambda A: torch.tensor(A).to(torch.float8_e4m3fn),
    "int32 tensor": lambda A: torch.tensor(A, dtype=torch.int32),
    "tensor with gradient": lambda A: torch.tensor(A, requires_grad=True),
    "result with gradient": lambda A: torch.tensor(A, requires_grad=True) * 1,
    "transposed tensor": lambda A: torch.tensor(np.ascontiguousarray(A.T)).T,
    "negative bit": lambda A: torch.tensor(-1j * A).conj().imag,
    "sparse tensor": lambda A: torch.tensor(A).to_sparse(),
    "sparse csr tensor": lambda A: torch.tensor(A).to_sparse_csr(),
    "sparse bfloat16 tensor": lambda A: torch.tensor(A, dtype=torch.bfloat16).to_sparse(),
    "scipy csc": sparse.csc_array,
    "scipy coo": sparse.coo_array,
    "scipy matrix": sparse.csr_matrix,
    "list": lambda A: A.tolist(),
    "iterator of rows": lambda A: iter(A.tolist()),
    "frame": pd.DataFrame,
    "nullable frame": lambda A: pd.DataFrame(A).astype("Float64"),
    "read-only": read_only,
    "Fortran": np.asfortranarray,
    "reversed": lambda A: A[::-1, ::-1].copy()[::-1, ::-1],
    "strided": lambda A: np.repeat(A, 2, axis=1)[:, ::2],
    "np.matrix": lambda A: np.asmatrix(A),
    "masked, nothing hidden": np.ma.MaskedArray,
    "memory map": memory_map,
    "polars": polars_frame,
}

SIGNED = ["int8", "int16", "int32", "int64"]
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]

# Every way to hold a whole number. Each takes a small Python int.
SIZES: dict[str, Callable[[int], Any]] = {}
for _kind in SIGNED + UNSIGNED:
    SIZES[f"numpy {_kind}"] = lambda n, kind=_kind: np.dtype(kind).type(n)
    SIZES[f"0-d array of {_kind}"] = lambda n, kind=_kind: np.array(n, dtype=kind)
    SIZES[f"0-d tensor of {_kind}"] = lambda n, kind=_kind: torch.tensor(
        n, dtype=getattr(torch, kind)
    )

# Every way to hold a number with a fraction that all of them represent exactly.
NUMBERS: dict[str, Callable[[float], Any]] = {
    "float32": np.float32,
    "float16": np.float16,
    "longdouble": np.longdouble,
    "0-d array": np.array,
    "tensor": torch.tensor,
    "bfloat16 tensor": lambda x: torch.tensor(x, dtype=torch.bfloat16),
    "tensor with gradient": lambda x: torch.tensor(x, requires_grad=True),
    "fraction": Fraction,
}

# Every way to hold several numbers in a row.
SEQUENCES: dict[str, Callable[[list], Any]] = {
    "tuple": tuple,
    "generator": lambda x: (item for item in x),
    "array": np.array,
    "reversed twice": lambda x: np.array(x[::-1])[::-1],
    "tensor": torch.tensor,
    "series": pd.Series,
    "read-only": lambda x: read_only(np.array(x)),
}
