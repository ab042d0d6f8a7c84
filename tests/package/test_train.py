"""The trainer against independent truths: autograd, the convex solver, an uninterrupted run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import ntp_lite as ntp
from ntp_lite import Status, TrainConfig, Trainer, _batches, fit, resume
from ntp_lite.loss import FactoredExcess
from ntp_lite.metrics import standard_metrics
from ntp_lite.models import UFM

LABELS = ntp.random_soft_labels(V=12, m=31, support_size=3, seed=4)
RIDGE = 1e-3


def ufm(d: int = 12, seed: int = 0, **options: object) -> UFM:
    return UFM(LABELS.V, LABELS.m, d, seed, **options)


def trainer(model: torch.nn.Module | None = None, **options: object) -> Trainer:
    return Trainer(model or ufm(), LABELS, TrainConfig(**options))


# The loss


@pytest.mark.parametrize("block", [12, 100, 10_000])  # one context at a time, some, all
def test_loss_and_gradients_equal_those_of_dense_logits(monkeypatch, block, device, dtype):
    monkeypatch.setattr(_batches, "LOGITS_AT_ONCE", block)
    it = trainer(ufm(dtype=dtype), device=device, optimizer="adam", ridge=RIDGE)
    W, H = (p.detach().clone().requires_grad_() for p in it.model.parameters())
    penalty = RIDGE / 2 * (W.square().sum() + H.square().sum())
    dense = ntp.excess_loss(W @ H, LABELS) + penalty
    dense.backward()
    value = it.loss_and_gradients()
    exact = dtype == torch.float64
    tight = {"rtol": 1e-10, "atol": 1e-13} if exact else {"rtol": 1e-4, "atol": 1e-6}
    assert value == pytest.approx(dense.item(), rel=tight["rtol"])
    assert it.excess == pytest.approx((dense - penalty).item(), rel=tight["rtol"])
    torch.testing.assert_close(it.model.W.grad, W.grad, **tight)
    torch.testing.assert_close(it.model.H.grad, H.grad, **tight)


def test_all_logits_never_exist_at_once(monkeypatch):
    monkeypatch.setattr(_batches, "LOGITS_AT_ONCE", 5 * LABELS.V)

    class Largest(TorchDispatchMode):
        entries = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            sizes = [x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
            self.entries = max([self.entries, *sizes])
            return out

    model = ufm(d=2)
    with Largest() as seen:
        fit(model, LABELS, TrainConfig(optimizer="adam", steps=2, tol=None))
    assert 5 * LABELS.V <= seen.entries < LABELS.V * LABELS.m / 2


def test_batches_of_an_epoch_add_up_to_the_whole():
    it = trainer(optimizer="adam", batch_size=7)
    batches = it.objective.batches
    W, H = it.model.W, it.model.H
    whole = FactoredExcess.apply(W, H, batches.whole.blocks).item()
    total, seen = 0.0, []
    for step in range(5):  # 31 contexts: 7 + 7 + 7 + 7 + 3
        columns, blocks, share = batches.at(step)
        part = FactoredExcess.apply(W, H[:, torch.from_numpy(columns)], blocks).item()
        total += share * part * len(columns) / 31
        seen.extend(columns)
    assert sorted(seen) == list(range(31))
    assert total == pytest.approx(whole, rel=1e-12)
    assert not np.array_equal(batches.at(5).columns, batches.at(0).columns)
    assert np.array_equal(batches.at(0).columns, trainer(
        optimizer="adam", batch_size=7).objective.batches.at(0).columns)  # fmt: skip


# Optima


@pytest.mark.parametrize("d", [12, 30])
def test_lbfgs_reaches_the_convex_optimum(device, d):
    best = ntp.solve_ridge(LABELS, RIDGE, tol=1e-7)
    model = ufm(d)
    result = fit(model, LABELS, TrainConfig(ridge=RIDGE, tol=1e-3, steps=4000, device=device))
    assert result.converged
    assert result.status is Status.CONVERGED
    assert result.certificate.relative_gap <= 1e-3
    final = result.history["objective"][-1]
    assert best.certificate.dual * (1 - 1e-9) <= final <= 1.001 * best.certificate.primal
    np.testing.assert_allclose(model.logits().detach().cpu().numpy(), best.L, atol=0.1)
    W, H = (p.detach().cpu() for p in (model.W, model.H))
    torch.testing.assert_close(W.T @ W, H @ H.T, rtol=0, atol=2e-2 * float(W.square().sum()))


@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("factor", [2.0, 0.9, 0.1])
def test_around_ridge_max_and_from_near_the_saddle(factor, scale):
    """Above ridge_max the optimum is zero, below it the origin is a saddle to be left."""
    ridge = factor * ntp.ridge_max(LABELS)
    model = ufm(scale=scale)
    assert fit(model, LABELS, TrainConfig(ridge=ridge, tol=1e-3)).converged
    best = ntp.solve_ridge(LABELS, ridge)
    nuclear = np.linalg.norm(model.logits().detach().numpy(), "nuc")
    assert nuclear == pytest.approx(np.linalg.norm(best.L, "nuc"), rel=0.1, abs=0.05)


def test_float32_is_certified_in_float64(device):
    config = TrainConfig(ridge=RIDGE, steps=3000, tol=1e-2, dtype="float32", device=device)
    model = ufm()
    assert fit(model, LABELS, config).converged
    assert model.W.dtype == torch.float32


@pytest.mark.parametrize(
    ("optimizer", "lr", "steps"), [("adam", 3e-2, 800), ("adamw", 3e-2, 800), ("sgd", 8.0, 3000)]
)
def test_first_order_methods_come_near(optimizer, lr, steps):
    best = ntp.solve_ridge(LABELS, RIDGE).certificate.primal
    config = TrainConfig(
        ridge=RIDGE, optimizer=optimizer, lr=lr, steps=steps, schedule="cosine", tol=None
    )
    result = fit(ufm(), LABELS, config)
    assert result.history["objective"][-1] < 1.01 * best
    assert result.certificate is None
    assert not result.converged


def test_too_few_dimensions_stay_uncertified():
    result = fit(ufm(d=2), LABELS, TrainConfig(ridge=RIDGE, steps=500))
    assert not result.converged
    assert result.certificate.relative_gap > 0.1


def test_weight_decay_is_decoupled_and_apart_from_ridge():
    model = ufm()
    W = model.W.detach().clone()
    gradient = torch.autograd.grad(ntp.excess_loss(model.logits(), LABELS), model.W)[0]
    fit(model, LABELS, TrainConfig(ridge=0, optimizer="sgd", lr=0.5, weight_decay=0.1, steps=1))
    torch.testing.assert_close(model.W.detach(), (1 - 0.05) * W - 0.5 * gradient)


def test_a_stalled_lbfgs_says_so_and_stops():
    result = fit(ufm(), LABELS, TrainConfig(ridge=RIDGE, steps=20_000, tol=1e-14))
    assert result.status is Status.STALLED
    assert "no further progress" in result.message
    assert not result.converged
    assert result.certificate.relative_gap < 1e-4


# History, metrics, reproducibility


def test_history_has_equal_columns_and_true_values():
    model, seen = ufm(), []

    def probe(L: np.ndarray, W: np.ndarray, H: np.ndarray) -> float:
        np.testing.assert_allclose(L, W @ H)
        seen.append(float(ntp.excess_loss(L, LABELS)))
        return (W**2).sum() + (H**2).sum()

    config = TrainConfig(ridge=RIDGE, optimizer="adam", steps=40, evaluate=[3, 10])
    history = fit(model, LABELS, config, metrics={"squares": probe}).history
    assert list(history) == ["step", "seconds", "excess_loss", "objective", "squares"]
    assert history["step"] == [0, 3, 10, 40]
    np.testing.assert_allclose(history["excess_loss"], seen, rtol=1e-10)
    penalty = RIDGE / 2 * np.array(history["squares"])
    np.testing.assert_allclose(history["objective"], seen + penalty, rtol=1e-10)
    assert history["seconds"] == sorted(history["seconds"])


def test_default_evaluations_are_log_spaced():
    steps = sorted(TrainConfig(steps=1000, evaluate=20).evaluation_steps())
    assert steps[:2] == [0, 1]
    assert steps[-1] == 1000
    ratios = np.array(steps[-4:]) / steps[-5:-1]  # steps from 233 on: rounding is below 0.5%
    np.testing.assert_allclose(ratios, 1000 ** (1 / 19), rtol=0.005)


def test_seed_makes_runs_equal_and_other_seeds_differ():
    def final(seed: int) -> torch.Tensor:
        model = ufm()
        config = TrainConfig(optimizer="adam", batch_size=8, steps=20, seed=seed, tol=None)
        fit(model, LABELS, config)
        return model.W.detach()

    assert torch.equal(final(1), final(1))
    assert not torch.equal(final(1), final(2))


def test_schedules():
    constant = TrainConfig(optimizer="adam", lr=2.0, steps=100)
    assert [constant.rate(i) for i in (0, 50, 99)] == [2.0, 2.0, 2.0]
    cosine = TrainConfig(optimizer="adam", lr=2.0, steps=100, schedule="cosine")
    assert cosine.rate(0) == pytest.approx(1.0)
    assert cosine.rate(50) == pytest.approx(1.0)
    assert cosine.rate(99) < 1e-3


def test_standard_metrics_against_known_logits():
    L_mm = ntp.solve_max_margin(LABELS).L
    L_in = ntp.in_support_logits(LABELS).toarray()
    factors = ntp.word_context_factors(L_mm)
    metrics = standard_metrics(LABELS, L_mm=L_mm, ridge=RIDGE)
    at_mm = {name: f(L_mm, factors.W, factors.H) for name, f in metrics.items()}
    assert at_mm["cosine_mm"] == pytest.approx(1)
    assert at_mm["cosine_proxy"] < 0.9999
    assert at_mm["gram_words"] == pytest.approx(0, abs=1e-6)
    assert at_mm["gram_contexts"] == pytest.approx(0, abs=1e-6)
    assert at_mm["norm_W"] ** 2 == pytest.approx(np.linalg.norm(L_mm, "nuc"))
    assert at_mm["in_support_error"] == pytest.approx(np.linalg.norm(L_in))
    moved = L_in + 7 * L_mm + np.arange(LABELS.m)  # a constant per column changes nothing
    assert metrics["in_support_error"](moved, factors.W, factors.H) == pytest.approx(0, abs=1e-9)
    assert metrics["relative_gap"](moved, factors.W, factors.H) == pytest.approx(
        ntp.certify_ridge(moved, LABELS, RIDGE).relative_gap
    )
    with pytest.raises(ValueError, match="cosine_mm"):
        standard_metrics(LABELS, "cosine_mm")


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "magic"}, "optimizer is 'magic'"),
        ({"schedule": "up"}, "schedule"),
        ({"ridge": -1}, "ridge is -1"),
        ({"ridge": float("nan")}, "ridge is nan"),
        ({"lr": float("inf")}, "lr is inf"),
        ({"steps": 0}, "steps is 0"),
        ({"batch_size": 5}, "full batch"),
        ({"weight_decay": 0.1}, "no decoupled decay"),
    ],
)
def test_bad_configurations_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)


def test_a_model_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"UFM\(labels.V, labels.m, d\)"):
        fit(UFM(LABELS.V, LABELS.m + 1, 3), LABELS)


def test_cuda_without_cuda_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:0"):
        with pytest.raises(ValueError, match=f"device is '{device}', but .* use 'cpu'"):
            fit(ufm(), LABELS, TrainConfig(device=device))


def test_divergence_names_step_and_cause():
    config = TrainConfig(ridge=1.0, optimizer="sgd", lr=1e6, steps=200)
    with pytest.raises(FloatingPointError, match=r"step \d+; the likely cause is a learning rate"):
        fit(ufm(), LABELS, config)


def test_a_start_that_is_not_finite_is_not_blamed_on_the_learning_rate():
    model = ufm()
    model.W.data[0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match=r"nan in step 0; the likely cause is a start"):
        fit(model, LABELS)


# Checkpoints

RUNS = {
    "lbfgs": {"ridge": RIDGE, "steps": 60, "tol": 1e-9},
    "adamw": {"ridge": RIDGE, "steps": 60, "optimizer": "adamw", "batch_size": 8,
              "schedule": "cosine", "weight_decay": 0.01, "dtype": "float32"},
}  # fmt: skip
KILLED = """
import os, signal, sys
from test_train import LABELS, RUNS, ufm
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
    fit(ufm(), LABELS, TrainConfig(steps=3, checkpoint=str(path)))
    other = ntp.random_soft_labels(V=12, m=31, support_size=3, seed=5)
    with pytest.raises(ValueError, match="is for other labels"):
        resume(path, ufm(), other)
    with pytest.raises(ValueError, match="is for other sizes"):
        resume(path, ufm(d=5), LABELS)
    with pytest.raises(ValueError, match="is for other metrics"):
        resume(path, ufm(), LABELS, {"squares": squares})
