"""Checkpoints: bit-exact, whole or refused, never in another file's place."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch_models import LABELS, NAMED, RIDGE, WithDropout, ufm

import ntp_lite as ntp
from ntp_lite import OPTIMIZERS, Status, TrainConfig, _checkpoint, fit, resume

RUNS = {
    "lbfgs": {"ridge": RIDGE, "steps": 60, "tol": 1e-9},
    "adamw": {"ridge": RIDGE, "steps": 60, "optimizer": "adamw", "batch_size": 8,
              "schedule": "cosine", "weight_decay": 0.01, "dtype": "float32"},
    "muon": {"ridge": RIDGE, "steps": 60, "optimizer": "muon", "schedule": "cosine"},
}  # fmt: skip
# Every other optimiser with what it does by default.
RUNS |= {
    name: {"ridge": RIDGE, "steps": 60, "optimizer": name}
    for name in OPTIMIZERS
    if name not in RUNS
}
KILLED = """
import os, signal, sys
from test_checkpoint import LABELS, RUNS, ufm
from ntp_lite.train import TrainConfig, fit

def deadly(L, W, H):
    deadly.calls += 1
    if deadly.calls == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return (L**2).sum()

deadly.calls = 0
options = RUNS[sys.argv[2]] | {"evaluate": [5, 20, 30, 37, 50], "checkpoint_every": 10}
fit(ufm(), LABELS, TrainConfig(checkpoint=sys.argv[1], **options), {"squares": deadly})
"""


def squares(L: np.ndarray, W: np.ndarray, H: np.ndarray) -> float:
    return (L**2).sum()


def same_history(a: dict[str, list[float]], b: dict[str, list[float]]) -> None:
    assert a.keys() == b.keys()
    for name in set(a) - {"seconds"}:
        assert a[name] == b[name], name  # bit for bit


@pytest.mark.parametrize("name", RUNS)
def test_kill_and_resume_is_the_uninterrupted_run(tmp_path, name):
    path = tmp_path / "run.safetensors"
    folders = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    environment = os.environ | {"PYTHONPATH": folders}
    done = subprocess.run([sys.executable, "-c", KILLED, path, name], env=environment, timeout=120)
    assert done.returncode == -signal.SIGKILL
    resumed, whole = ufm(seed=9), ufm()  # the start of the resumed model must not matter
    result = resume(path, resumed, LABELS, {"squares": squares})
    options = RUNS[name] | {"evaluate": [5, 20, 30, 37, 50]}
    expected = fit(whole, LABELS, TrainConfig(**options), {"squares": squares})
    same_history(result.history, expected.history)
    assert result.history["step"] == [0, 5, 20, 30, 37, 50, 60]
    assert torch.equal(resumed.W, whole.W)
    assert torch.equal(resumed.H, whole.H)


def test_ctrl_c_saves_whole_steps_and_can_be_resumed(tmp_path):
    path = str(tmp_path / "run.safetensors")
    before = signal.getsignal(signal.SIGINT)
    options = {"ridge": RIDGE, "steps": 30, "evaluate": [5, 12], "tol": 1e-9}

    def interrupt(L: np.ndarray, W: np.ndarray, H: np.ndarray) -> float:
        if interrupt.armed and len(calls) == 1:
            signal.raise_signal(signal.SIGINT)
        calls.append(1)
        return (L**2).sum()

    calls: list[int] = []
    interrupt.armed = True
    model = ufm()
    part = fit(model, LABELS, TrainConfig(checkpoint=path, **options), {"squares": interrupt})
    assert part.status is Status.INTERRUPTED
    assert part.history["step"][-1] == 5
    assert signal.getsignal(signal.SIGINT) is before
    interrupt.armed = False
    rest = resume(path, model, LABELS, {"squares": interrupt})
    whole = fit(ufm(), LABELS, TrainConfig(**options), {"squares": interrupt})
    same_history(rest.history, whole.history)


def test_truncated_foreign_and_pickled_files_are_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    fit(ufm(), LABELS, TrainConfig(steps=3, checkpoint=str(path)))
    assert os.listdir(tmp_path) == ["run.safetensors"]  # no temporary file stays
    whole = path.read_bytes()
    for end in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match="truncated or not a checkpoint"):
            resume(path, ufm(), LABELS)
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="is a safetensors file, but no"):
        resume(path, ufm(), LABELS)
    torch.save({"x": 1}, path)
    with pytest.raises(ValueError, match="truncated or not a checkpoint"):
        resume(path, ufm(), LABELS)
    with pytest.raises(FileNotFoundError, match="No checkpoint"):
        resume(tmp_path / "none", ufm(), LABELS)


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    fit(ufm(), LABELS, TrainConfig(steps=3, checkpoint=path))
    other = ntp.random_soft_labels(V=12, m=31, support_size=3, seed=5)
    with pytest.raises(ValueError, match="is for other labels"):
        resume(path, ufm(), other)
    with pytest.raises(ValueError, match="is for other contexts"):
        resume(path, ufm(), NAMED)
    with pytest.raises(ValueError, match="is for other sizes"):
        resume(path, ufm(d=5), LABELS)
    with pytest.raises(ValueError, match="is for other sizes"):
        resume(path, ufm(dtype=torch.float32), LABELS)
    with pytest.raises(ValueError, match="is for other metrics"):
        resume(path, ufm(), LABELS, {"squares": squares})
    frozen = ufm()
    frozen.W.requires_grad_(False)
    with pytest.raises(ValueError, match="is for other frozen parameters"):
        resume(path, frozen, LABELS)


SIZES = {"V": 31, "context_length": 1, "d": 8, "layers": 1, "heads": 4, "final_norm": False}


@pytest.mark.parametrize("change", [{"heads": 2}, {"heads": 8}, {"positions": False}])
def test_a_decoder_that_computes_something_else_is_refused(tmp_path, change):
    """Same counts, same sizes of all parameters: only the settings tell them apart."""
    counts = ntp.random_soft_labels(V=31, m=31, support_size=3).N
    labels = ntp.SoftLabels.from_counts(counts, np.arange(31)[:, None])
    path = tmp_path / "run.safetensors"
    model = ntp.Transformer(ntp.TransformerConfig(**SIZES))
    fit(model, labels, TrainConfig(optimizer="adam", steps=2, checkpoint=path))
    other = ntp.Transformer(ntp.TransformerConfig(**SIZES | change))
    with pytest.raises(ValueError, match="is for other model"):
        resume(path, other, labels)
    reversed_contexts = ntp.SoftLabels.from_counts(counts, np.arange(31)[::-1, None])
    with pytest.raises(ValueError, match="is for other contexts"):
        resume(path, model, reversed_contexts)
    same = ntp.Transformer(ntp.TransformerConfig(**SIZES, seed=7))  # the start does not matter
    resume(path, same, labels)
    assert torch.equal(same.W, model.W)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_dropout_and_running_averages_resume_bit_for_bit(tmp_path, optimizer):
    path = tmp_path / "run.safetensors"
    options = {"optimizer": optimizer, "tol": None, "evaluate": [2, 5], "lr": 0.1}
    whole = WithDropout()
    expected = fit(whole, NAMED, TrainConfig(steps=9, **options))

    def stop(L: np.ndarray, W: np.ndarray, H: np.ndarray) -> float:
        if stop.armed and len(stop.calls) == 1:
            signal.raise_signal(signal.SIGTERM)
        stop.calls.append(1)
        return 0.0

    stop.armed, stop.calls = True, []
    part = WithDropout()
    config = TrainConfig(steps=9, checkpoint=path, **options)
    first = fit(part, NAMED, config, {"stop": stop})
    assert first.status is Status.INTERRUPTED and first.history["step"][-1] == 2
    stop.armed = False
    torch.manual_seed(99)
    resumed = WithDropout(seed=3)
    result = resume(path, resumed, NAMED, {"stop": stop})
    assert result.history["objective"] == expected.history["objective"]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


def test_a_finished_run_goes_on_with_more_steps(tmp_path):
    path = tmp_path / "run.safetensors"
    options = {"ridge": RIDGE, "optimizer": "adam", "tol": None, "evaluate": [5, 10]}
    fit(ufm(), LABELS, TrainConfig(steps=10, checkpoint=path, **options))
    model, whole = ufm(seed=1), ufm()
    assert resume(path, model, LABELS).history["step"] == [0, 5, 10]  # nothing is left to do
    result = resume(path, model, LABELS, steps=25)
    expected = fit(whole, LABELS, TrainConfig(steps=25, **options))
    same_history(result.history, expected.history)
    assert torch.equal(model.W, whole.W)
    assert ntp.load(path).config.steps == 25
    with pytest.raises(ValueError, match="steps is 5, but 25 are done"):
        resume(path, model, LABELS, steps=5)
    with pytest.raises(TypeError, match="lr"):
        resume(path, model, LABELS, lr=7.0)


def test_a_converged_run_is_not_trained_further(tmp_path):
    path = tmp_path / "run.safetensors"
    first = fit(ufm(), LABELS, TrainConfig(ridge=1e-2, tol=1e-2, checkpoint=path))
    assert first.status is Status.CONVERGED
    again = resume(path, ufm(seed=2), LABELS, steps=4000)
    assert again.status is Status.CONVERGED
    assert again.history == first.history
    assert again.certificate == first.certificate


# What is in the file


def test_load_reads_what_fit_wrote(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    model = WithDropout()
    config = TrainConfig(optimizer="adam", steps=4, tol=None, checkpoint="~/run.safetensors")
    result = fit(model, NAMED, config)
    found = ntp.load("~/run.safetensors")
    assert found.step == 4
    assert found.status is Status.FINISHED
    assert found.history == result.history
    assert found.config == config
    assert found.model.startswith("WithDropout(")
    assert found.parameters.keys() == {"W", "table", "norm.weight", "norm.bias"}
    np.testing.assert_array_equal(found.parameters["W"], model.W.detach().numpy())
    assert found.buffers["norm.num_batches_tracked"] == 4
    filled = WithDropout(seed=5)
    found.fill(filled)
    for name, tensor in model.state_dict().items():
        assert torch.equal(filled.state_dict()[name], tensor), name
    with pytest.raises(ValueError, match="is for other parameters"):
        found.fill(ufm())


def test_tensors_have_names(tmp_path):
    path = tmp_path / "run.safetensors"
    fit(ufm(), LABELS, TrainConfig(optimizer="adam", steps=2, tol=None, checkpoint=path))
    with safe_open(path, "np") as file:
        assert set(file.keys()) == {
            "parameter.W", "parameter.H", "optimizer.step.W", "optimizer.step.H",
            "optimizer.exp_avg.W", "optimizer.exp_avg.H",
            "optimizer.exp_avg_sq.W", "optimizer.exp_avg_sq.H",
        }  # fmt: skip


def small_run(path: Path, **options: object) -> ntp.SoftLabels:
    small = ntp.random_soft_labels(V=3, m=4, support_size=2)
    options = {"optimizer": "adam", "steps": 3, "tol": None, "evaluate": [2]} | options
    fit(ntp.UFM(3, 4, 2), small, TrainConfig(checkpoint=path, **options))
    return small


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_no_flipped_bit_is_resumed(tmp_path, optimizer):
    path = tmp_path / "run.safetensors"
    small = small_run(path, optimizer=optimizer)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(whole), 300):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"run\.safetensors"):
            resume(path, ntp.UFM(3, 4, 2), small)


def rewritten(path: Path, change: Callable[[dict, dict], str | None]) -> None:
    """The file with other content, and the hash that belongs to it."""
    with safe_open(path, "pt") as file:
        record = json.loads(file.metadata()[_checkpoint.TEXT])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    text = change(record, tensors) or json.dumps(record)
    digest = _checkpoint._digest(text, tensors)
    save_file(tensors, path, {_checkpoint.TEXT: text, _checkpoint.HASH: digest})


def put(*keys: str, value: object) -> Callable[[dict, dict], None]:
    """A change of the JSON text at this place."""

    def change(record: dict, tensors: dict) -> None:
        for key in keys[:-1]:
            record = record[key]
        record[keys[-1]] = value

    return change


def put_tensor(name: str, value: torch.Tensor) -> Callable[[dict, dict], None]:
    return lambda record, tensors: tensors.update({name: value})


MALFORMED = {
    "no JSON": lambda record, tensors: "{",
    "a list": lambda record, tensors: "[]",
    "deep": lambda record, tensors: "[" * 100_000,
    "another format": put("format", value="ntp_lite checkpoint 2"),
    "unknown option": put("config", "magic", value=1),
    "config is a list": put("config", value=[]),
    "step is large": put("step", value=10**9),
    "step is a float": put("step", value=2.0),
    "step is a text": put("step", value="two"),
    "steps is a text": put("config", "steps", value="two"),
    "evaluate is huge": put("config", "evaluate", value=10**9),
    "history of texts": put("history", "objective", value=["a"] * 3),
    "history of unequal columns": put("history", "objective", value=[]),
    "history of a later step": put("history", "step", value=[0, 1, 10**9]),
    "history is a number": put("history", value=3),
    "no steps in the history": put("history", value={"objective": []}),
    "seconds": put("seconds", value=None),
    "stalled": put("stalled", value=[]),
    "status": put("status", value="FINE"),
    "no identity": lambda record, tensors: record.pop("identity") and None,
    "identity is a number": put("identity", value=1),
    "no optimizer": lambda record, tensors: record.pop("optimizer") and None,
    "optimizer of another": put("optimizer", "X", value={}),
    "optimizer is a list": put("optimizer", value=[]),
    "tensor that is not there": put("optimizer", "W", "exp_avg", value={"tensor": "none"}),
    "tensor without a name": put("optimizer", "W", "exp_avg", value={}),
    "moments of another size": put_tensor("optimizer.exp_avg.W", torch.zeros(1, 4)),
    "W of shape (1, 2)": put_tensor("parameter.W", torch.ones(1, 2)),
    "W of shape ()": put_tensor("parameter.W", torch.ones(())),
    "no W": lambda record, tensors: tensors.clear(),
    "NaN in the moments": put_tensor("optimizer.exp_avg.W", torch.full((3, 2), torch.nan)),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_content_is_one_value_error(tmp_path, kind):
    path = tmp_path / "run.safetensors"
    small = small_run(path)
    rewritten(path, MALFORMED[kind])
    with pytest.raises(ValueError, match=r"run\.safetensors") as found:
        resume(path, ntp.UFM(3, 4, 2), small)
    assert "NaN" not in kind or "optimizer.exp_avg.W" in str(found.value)


def test_the_rewriting_itself_is_accepted(tmp_path):
    path = tmp_path / "run.safetensors"
    small = small_run(path)
    rewritten(path, lambda record, tensors: None)
    assert resume(path, ntp.UFM(3, 4, 2), small).status is Status.FINISHED


# Where it is written


def test_a_place_that_cannot_be_written_is_known_before_the_first_step(tmp_path):
    def never(L: np.ndarray, W: np.ndarray, H: np.ndarray) -> float:
        raise AssertionError("training has begun")

    def begin(path: Path) -> None:
        fit(ufm(), LABELS, TrainConfig(checkpoint=path), {"never": never})

    with pytest.raises(FileNotFoundError, match=r"There is no folder .*none"):
        begin(tmp_path / "none" / "run.safetensors")
    with pytest.raises(OSError, match="is a folder"):
        begin(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"no folder .*file"):
        begin(tmp_path / "file" / "run.safetensors")
    taken = tmp_path / "taken.safetensors"
    taken.write_text("precious")
    with pytest.raises(FileExistsError, match=r"resume, name another checkpoint, or .*overwrite"):
        begin(taken)
    assert taken.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["file", "taken.safetensors"]


def test_a_folder_without_permission_is_known_before_the_first_step(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may write everywhere
    with pytest.raises(OSError, match=r"cannot be written: .*Permission denied"):
        fit(ufm(), LABELS, TrainConfig(checkpoint=tmp_path / "run.safetensors"))


def test_overwriting_is_asked_for(tmp_path):
    path = tmp_path / "run.safetensors"
    config = TrainConfig(steps=2, tol=None, checkpoint=path)
    fit(ufm(), LABELS, config)
    with pytest.raises(FileExistsError):
        fit(ufm(), LABELS, config)
    fit(ufm(d=3), LABELS, TrainConfig(steps=3, tol=None, checkpoint=path, overwrite=True))
    assert ntp.load(path).step == 3


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    fit(ufm(), LABELS, TrainConfig(steps=2, tol=None, checkpoint=path))
    whole = path.read_bytes()

    def full(tensors: object, place: Path, metadata: object) -> None:
        Path(place).write_bytes(b"half")
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(_checkpoint, "save_file", full)
    with pytest.raises(OSError, match="cannot be written: No space left on device"):
        resume(path, ufm(), LABELS, steps=4)
    assert path.read_bytes() == whole
    assert os.listdir(tmp_path) == ["run.safetensors"]


def test_mode_follows_the_umask_and_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target.safetensors", tmp_path / "link.safetensors"
    link.symlink_to(target)
    before = os.umask(0o027)
    try:
        fit(ufm(), LABELS, TrainConfig(steps=2, tol=None, checkpoint=link))
    finally:
        os.umask(before)
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert ntp.load(link).step == 2


def test_two_processes_do_not_share_a_temporary_name(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    seen = set()
    replace = os.replace

    def watch(source: Path, target: str) -> None:
        seen.add(str(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watch)
    for number in (11, 12):
        monkeypatch.setattr(os, "getpid", lambda number=number: number)
        fit(ufm(), LABELS, TrainConfig(steps=1, tol=None, checkpoint=path, overwrite=True))
    assert len(seen) == 2


FOREVER = """
import sys
from test_checkpoint import LABELS, ufm
import ntp_lite as ntp

def ready(L, W, H):
    print("ready", flush=True)
    return 0.0

config = ntp.TrainConfig(optimizer="adam", steps=10**8, tol=None, checkpoint=sys.argv[1],
                         evaluate=[3])
print(ntp.fit(ufm(), LABELS, config, {"ready": ready}).status.name)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_from_outside_saves_and_ends_without_a_traceback(tmp_path, number):
    path = tmp_path / "run.safetensors"
    folders = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    run = subprocess.Popen(
        [sys.executable, "-c", FOREVER, path], env=os.environ | {"PYTHONPATH": folders},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for _ in range(2):
        assert run.stdout.readline() == "ready\n"
    run.send_signal(number)
    out, err = run.communicate(timeout=120)
    assert out.split()[-1] == "INTERRUPTED"
    assert "Traceback" not in err
    assert run.returncode == 0
    found = ntp.load(path)
    assert found.status is Status.INTERRUPTED and found.step >= 3
