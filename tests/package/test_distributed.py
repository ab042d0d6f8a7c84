"""Two processes under torchrun: the losses of one, a shared checkpoint, no hang after a death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ntp_lite._objective import Objective
from ntp_lite._processes import Processes
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
    "muon": {"steps": 20, "optimizer": "muon"},
    "frozen": {"steps": 20, "optimizer": "adam", "lr": 0.03},
    "transformer": {"steps": 15, "optimizer": "adamw"},
    "transformer_muon": {"steps": 15, "optimizer": "muon"},
}


RESUMED = ("adam", "batches", "muon", "lbfgs")


def model_of(name: str, seed: int = 0) -> torch.nn.Module:
    if name.startswith("transformer"):
        return Transformer(TransformerConfig(12, 2, d=8, layers=1, seed=seed)).double()
    model = UFM(LABELS.V, LABELS.m, 6, seed)
    model.H.requires_grad_(name != "frozen")
    return model


def config_of(name: str, **more: object) -> TrainConfig:
    return TrainConfig(**{"ridge": 1e-3, "device": "cpu", "tol": 1e-12, **RUNS[name], **more})


def norm_of_L(L: np.ndarray, W: np.ndarray, H: np.ndarray) -> float:
    return float(np.linalg.norm(L))


def worker(folder: str) -> None:
    """What each process runs; only the first one writes. Every process has a start of its own."""
    for name in RUNS:
        model = model_of(name, seed=int(os.environ["RANK"]))
        config = config_of(name, checkpoint=f"{folder}/{name}.safetensors", checkpoint_every=10)
        result = fit(model, LABELS, config, {"norm": norm_of_L})
        Path(folder, f"{name}{os.environ['RANK']}.npy").write_bytes(
            b"".join(p.detach().numpy().tobytes() for p in model.parameters())
        )
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


def resuming_worker(folder: str) -> None:
    """Two processes go on with what one began."""
    for name in RESUMED:
        model = model_of(name, seed=7)
        result = resume(
            f"{folder}/{name}.safetensors", model, LABELS, {"norm": norm_of_L}, steps=40
        )
        if os.environ["RANK"] == "0":
            Path(folder, f"{name}.json").write_text(json.dumps(result.history))


def unequal_worker(folder: str) -> None:
    """Options, metrics or labels that differ are refused by every process."""
    rank = int(os.environ["RANK"])
    other = ntp.random_soft_labels(V=12, m=31, support_size=3, seed=rank)
    sentences = []
    for labels, options, metrics in (
        (LABELS, {"seed": rank}, {}),
        (LABELS, {}, {f"norm{rank}": norm_of_L}),
        (other, {}, {}),
    ):
        try:
            fit(UFM(12, 31, 6), labels, config_of("batches", **options), metrics)
        except ValueError as error:
            sentences.append(str(error))
    Path(folder, f"{rank}.json").write_text(json.dumps(sentences))


def long_worker(folder: str) -> None:
    """Until somebody stops it; says when its first steps are done."""

    def ready(L: np.ndarray, W: np.ndarray, H: np.ndarray) -> float:
        Path(folder, f"ready{os.environ['RANK']}").touch()
        return 0.0

    options = {"steps": 10**8, "evaluate": [3], "tol": None}
    config = config_of("adam", checkpoint=f"{folder}/run.safetensors", **options)
    result = fit(model_of("adam"), LABELS, config, {"ready": ready})
    Path(folder, f"ended{os.environ['RANK']}").write_text(result.status.name)


def launch(which: str, folder: Path) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launcher, "--nproc-per-node", "2", __file__, which, str(folder)]
    root = str(Path(ntp.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, start_new_session=True, **pipes)


def torchrun(which: str, folder: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    run = launch(which, folder)
    out, err = run.communicate(timeout=timeout)
    return subprocess.CompletedProcess(run.args, run.returncode, out, err)


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


@pytest.mark.parametrize("name", RUNS)
def test_processes_that_start_apart_end_with_one_model(two, name):
    first, second = ((two / f"{name}{rank}.npy").read_bytes() for rank in (0, 1))
    assert first == second


def test_only_what_may_be_cut_is_cut():
    """Frozen columns and steps along whole matrices: there every process holds all of H."""

    def is_sharded(name: str, count: int = 2) -> bool:
        processes = Processes(0, count, torch.device("cpu"))
        return Objective(model_of(name), LABELS, config_of(name), processes).is_sharded

    cut = {name for name in RUNS if is_sharded(name)}
    assert cut == {"adam", "batches"}
    assert not is_sharded("adam", count=1)


def test_unequal_options_are_refused_by_all(tmp_path):
    done = torchrun("unequal_worker", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in (0, 1):
        config, metrics, labels = json.loads((tmp_path / f"{rank}.json").read_text())
        assert "different config;" in config
        assert "different metrics;" in metrics
        assert "different labels and contexts;" in labels or "different labels;" in labels


def test_ctrl_c_saves_and_ends_all_processes(tmp_path):
    """As in a terminal, the signal reaches the launcher and both workers."""
    run = launch("long_worker", tmp_path)
    deadline = time.monotonic() + 200
    while not all((tmp_path / f"ready{rank}").exists() for rank in (0, 1)):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=120)
    for rank in (0, 1):
        assert (tmp_path / f"ended{rank}").read_text() == "INTERRUPTED"
    assert "train.py" not in err  # no traceback of ours; the launcher may say that it was stopped
    assert ntp.load(tmp_path / "run.safetensors").status is ntp.Status.INTERRUPTED


@pytest.mark.parametrize("name", ["adam", "batches", "lbfgs", "muon"])
def test_one_process_resumes_what_two_began(two, name):
    """The checkpoint holds all columns: resumed at its end, it is what two processes reached."""
    model = UFM(LABELS.V, LABELS.m, 6, seed=5)
    resume(two / f"{name}.safetensors", model, LABELS, {"norm": norm_of_L})
    found = json.loads((two / f"{name}.json").read_text())
    np.testing.assert_array_equal(found["parameters"][0], model.W.detach().numpy())
    np.testing.assert_array_equal(found["parameters"][1], model.H.detach().numpy())


def test_two_processes_resume_what_one_began(tmp_path):
    for name in RESUMED:
        path = tmp_path / f"{name}.safetensors"
        config = config_of(name, steps=10, checkpoint=path)
        fit(model_of(name), LABELS, config, {"norm": norm_of_L})
    done = torchrun("resuming_worker", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in RESUMED:
        found = json.loads((tmp_path / f"{name}.json").read_text())
        whole = fit(model_of(name), LABELS, config_of(name, steps=40), {"norm": norm_of_L}).history
        assert found["step"][-1] == 40
        assert found["objective"][-1] == pytest.approx(whole["objective"][-1], rel=1e-6)
        assert found["norm"][-1] == pytest.approx(whole["norm"][-1], rel=1e-4)


def test_alone_nothing_is_asked_of_others():
    alone = Processes.join("cpu")
    own = torch.ones(2, 3)
    alone.require_equal(labels="these")
    alone.copy_from_first(own)
    assert alone.whole(own, 3) is own
    assert (alone.any(True), alone.any(False), alone.all(True)) == (True, False, True)
    assert alone.share(31) == slice(0, 31)


def test_a_dead_worker_ends_the_run(tmp_path):
    start = time.monotonic()
    done = torchrun("dying_worker", tmp_path)
    assert done.returncode != 0
    assert "exitcode" in done.stderr
    assert time.monotonic() - start < 200


if __name__ == "__main__":
    workers = (worker, dying_worker, resuming_worker, unequal_worker, long_worker)
    {function.__name__: function for function in workers}[sys.argv[1]](sys.argv[2])
