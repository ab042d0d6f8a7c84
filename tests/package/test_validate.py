"""One conversion for each kind of value: what is accepted, what is refused, with which words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from kinds import ARRAYS
from scipy import sparse

from ntp_lite._validate import (
    as_array,
    as_finite_array,
    as_number,
    as_ridge,
    as_size,
    as_tolerance,
    check_logits,
    torch_device,
)

VALUES = np.array([[1.0, -2.0, 0.0], [0.0, 4.0, 8.0]])


@pytest.mark.parametrize("kind", ARRAYS)
def test_every_holder_of_numbers_becomes_the_same_float64_array(kind):
    array = as_array(ARRAYS[kind](VALUES))
    assert type(array) is np.ndarray and array.dtype == np.float64 and array.dtype.isnative
    np.testing.assert_array_equal(array, VALUES)


def test_without_a_dtype_integers_and_booleans_keep_theirs():
    for dtype in (bool, np.int8, np.uint16, np.uint64, np.float32):
        assert as_array(np.ones(3, dtype=dtype), dtype=None).dtype == dtype
    assert as_array(np.ones(3, dtype=">i4"), dtype=None).dtype == np.dtype("int32")
    assert as_array(torch.tensor([True]), dtype=None).dtype == bool


def test_narrow_entries_stored_twice_are_added_in_float64():
    twice = sparse.coo_array((np.array([200, 100], np.uint8), ([0, 0], [0, 0])), shape=(1, 1))
    assert as_array(twice)[0, 0] == 300


REFUSED = {
    "complex": (np.array([1j]), "complex"),
    "complex tensor": (torch.tensor([1j]), "complex"),
    "texts": (np.array(["a"]), "numbers"),
    "objects": (np.array([object()]), "numbers"),
    "one text": ("abc", "numbers"),
    "None": (None, "NoneType"),
    "dates": (np.array(["2020-01-01"], dtype="datetime64[D]"), "numbers"),
    "ragged": ([[1, 2], [3]], "equal length"),
    "masked": (np.ma.array([1.0, 2.0], mask=[0, 1]), "1 masked"),
    "meta tensor": (torch.zeros(2, device="meta"), "meta device"),
    "missing values": (pd.DataFrame({"a": [1, None], "b": ["x", "y"]}), "none missing"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_holds_no_numbers_is_refused_by_name(kind):
    value, word = REFUSED[kind]
    with pytest.raises(ValueError, match=word) as caught:
        as_array(value, "my_array")
    message = str(caught.value)
    assert message.startswith("my_array ") and message.endswith(".") and "\n" not in message


def test_finite_arrays_and_logits():
    with pytest.raises(ValueError, match="X has entries that are NaN"):
        as_finite_array([np.nan], "X")
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        check_logits(VALUES, (3, 2))
    np.testing.assert_array_equal(check_logits(VALUES.tolist(), (2, 3)), VALUES)


INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("make", [np.array, torch.tensor, lambda x, dtype: dtype(x)])
def test_sizes_of_every_integer_kind_become_python_ints(kind, make):
    library = torch if make is torch.tensor else np
    value = make(100, dtype=getattr(library, kind))
    size = as_size(value, "V")
    assert type(size) is int and size == 100
    assert size * size == 10_000  # a uint8 or int8 would have wrapped
    assert value == 100  # and it is left as it was


@pytest.mark.parametrize(
    "value", [3.0, np.float64(3), torch.tensor(3.0), True, np.True_, torch.tensor(True), "3", None]
)
def test_what_is_no_size_is_refused(value):
    with pytest.raises(ValueError, match=r"^V is .*; use a whole number such as 1\.$"):
        as_size(value, "V")


def test_ranges_of_sizes():
    assert as_size(0, "seed", minimum=0) == 0
    with pytest.raises(ValueError, match="V is 0; use 1 or more"):
        as_size(0, "V")
    with pytest.raises(ValueError, match="seed is 9; use 8 or less"):
        as_size(9, "seed", maximum=8)


@pytest.mark.parametrize(
    "value", [2, 2.0, np.float32(2), np.int8(2), np.array(2.0), torch.tensor(2.0).bfloat16()]
)
def test_numbers_become_python_floats(value):
    for convert in (lambda v: as_number(v, "x"), as_tolerance, as_ridge):
        number = convert(value)
        assert type(number) is float and number == 2.0


@pytest.mark.parametrize("value", ["0.1", None, True, np.True_, [1.0], np.array([1.0, 2.0]), 1j])
def test_what_is_no_number_is_refused(value):
    for convert, name in ((as_tolerance, "tol"), (as_ridge, "ridge")):
        with pytest.raises(ValueError, match=rf"^{name} (is|holds) .*; .*\.$"):
            convert(value)


@pytest.mark.parametrize("name", ["gpu", "mps", "meta", "", "cpu:x", True, 1.5])
def test_devices_that_cannot_be_used(name):
    with pytest.raises(ValueError, match=r"^device is .*use 'cpu', 'cuda' or 'auto'\.$"):
        torch_device(name)


def test_devices_that_can(monkeypatch):
    for name in (None, "cpu", "CPU", torch.device("cpu")):
        assert torch_device(name) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch_device("auto") == torch.device("cpu")  # also where "mps" is available
    for name in (0, "cuda", "CUDA:1"):
        with pytest.raises(ValueError, match="no CUDA here; use 'cpu'"):
            torch_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert torch_device("auto") == torch.device("cuda")
    assert torch_device(1) == torch.device("cuda:1")
    with pytest.raises(ValueError, match="has 2 here, counted from 0"):
        torch_device(2)
