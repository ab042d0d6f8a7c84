"""Shared set-up: one thread, no display, repeatable hypothesis runs, devices and precisions."""

from __future__ import annotations

import os

# Before numpy loads its linear algebra: on a busy machine two threads are far slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import importlib.util
from pathlib import Path

import hypothesis
import matplotlib
import pytest
import torch

matplotlib.use("Agg")
torch.set_num_threads(1)

hypothesis.settings.register_profile(
    "repeatable",
    deadline=None,  # the first call pays for imports and for a busy machine
    derandomize=True,  # the same examples in every run: a failure can be repeated
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    """Stop before the first test if another tree's package would be tested; forget a `make`.

    `make test` hands its own settings on: a make that a test starts would say that it enters and
    leaves folders.
    """
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        os.environ.pop(name, None)
    root = Path(__file__).resolve().parents[1]
    spec = importlib.util.find_spec("ntp_lite")
    found = None if spec is None or spec.origin is None else Path(spec.origin).resolve().parents[1]
    if found != root:
        raise pytest.UsageError(
            f"ntp_lite is imported from {found}, not from {root}; run make in this folder, which "
            "sets up its own environment."
        )


NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=NO_CUDA)])
def device(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param
