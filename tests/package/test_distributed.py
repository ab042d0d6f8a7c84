"""Two processes under torchrun: the losses of one, a shared checkpoint, no hang after a death."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ntp_lite.models import UFM, Transformer, TransformerConfig
from ntp_lite.train import TrainConfig, fit, resume

sys.path.insert(0, str(Path(__file__).parent))

import ntp_lite as ntp

LABELS = ntp.SoftLabels.from_counts(
    ntp.random_soft_labels(V=12, m=31, support_size=3, seed=4).N,  # 31: the shares differ
    contexts=np.arange(62).reshape(31, 2) % 12,
)
RUNS = {
    "lbfgs": {"steps": 25, "optimizer": "lbfgs"},
    "adam": {"steps": 40, "optimizer": "adam", "lr": 0.03},
    "batches": {"steps": 40, "optimizer": "adamw", "lr": 0.03, "batch_size": 3},
    "transformer": {"steps": 15, "optimizer": "adamw"},
}


def model_of(name: str) -> torch.nn.Module:
    if name == "transformer":
        return Transformer(TransformerConfig(12, 2, d=8, layers=1)).double()
    return UFM(LABELS.V, LABELS.m, 6)


def config_of(name: str, **more: object) -> TrainConfig:
    return TrainConfig(**{"ridge": 1e-3, "device": "cpu", "tol": 1e-12, **RUNS[name], **more})


def norm_of_L(L: np.ndarray, W: np.ndarray, H: np.ndarray) -> float:
    return float(np.linalg.norm(L))


def worker(folder: str) -> None:
    """What each process runs; only the first one writes."""
    for name in RUNS:
        model = model_of(name)
        config = config_of(name, checkpoint=f"{folder}/{name}.safetensors", checkpoint_every=10)
        result = fit(model, LABELS, config, {"norm": norm_of_L})
        if os.environ["RANK"] == "0":
            found = {
                "history": result.history,
                "gap": result.certificate.relative_gap,
                "parameters": [p.detach().tolist() for p in model.parameters()],
            }
            Path(folder, f"{name}.json").write_text(json.dumps(found))


def dying_worker(folder: str) -> None:
    def die(L: np.ndarray, W: np.ndarray, H: np.ndarray) -> float:
        if os.environ["RANK"] == "1" and die.calls == 3:
            os._exit(7)
        die.calls += 1
        return 0.0

    die.calls = 0
    fit(model_of("adam"), LABELS, config_of("adam", steps=100_000), {"die": die})


def torchrun(which: str, folder: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launcher, "--nproc-per-node", "2", __file__, which, str(folder)]
    root = str(Path(ntp.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, timeout=timeout, capture_output=True, text=True)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    done = torchrun("worker", folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_have_the_losses_of_one(two, name):
    found = json.loads((two / f"{name}.json").read_text())
    model = model_of(name)
    expected = fit(model, LABELS, config_of(name), {"norm": norm_of_L})
    for column in ("step", "excess_loss", "objective", "norm"):
        np.testing.assert_allclose(found["history"][column], expected.history[column], rtol=1e-6)
    assert found["gap"] == pytest.approx(expected.certificate.relative_gap, rel=1e-4)
    for given, p in zip(found["parameters"], model.parameters(), strict=True):
        np.testing.assert_allclose(given, p.detach().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["adam", "batches", "lbfgs"])
def test_one_process_resumes_what_two_began(two, name):
    """The checkpoint holds all columns: resumed at its end, it is what two processes reached."""
    model = UFM(LABELS.V, LABELS.m, 6, seed=5)
    resume(two / f"{name}.safetensors", model, LABELS, {"norm": norm_of_L})
    found = json.loads((two / f"{name}.json").read_text())
    np.testing.assert_array_equal(found["parameters"][0], model.W.detach().numpy())
    np.testing.assert_array_equal(found["parameters"][1], model.H.detach().numpy())


def test_a_dead_worker_ends_the_run(tmp_path):
    start = time.monotonic()
    done = torchrun("dying_worker", tmp_path)
    assert done.returncode != 0
    assert "exitcode" in done.stderr
    assert time.monotonic() - start < 90


if __name__ == "__main__":
    {"worker": worker, "dying_worker": dying_worker}[sys.argv[1]](sys.argv[2])
