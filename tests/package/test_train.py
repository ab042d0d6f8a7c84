"""The trainer against independent truths: autograd, the convex solver, an uninterrupted run."""

from __future__ import annotations

import signal
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch_models import LABELS, NAMED, RIDGE, WithDropout, ufm

import ntp_lite as ntp
from ntp_lite import Status, TrainConfig, Trainer, _batches, _progress, fit
from ntp_lite.loss import FactoredExcess
from ntp_lite.metrics import standard_metrics
from ntp_lite.models import UFM, check_model


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


def test_block_columns_is_how_many_contexts_have_logits_at_once(monkeypatch):
    monkeypatch.setattr(_batches, "LOGITS_AT_ONCE", 5 * LABELS.V + 1)
    it = trainer()
    widths = [len(block.pi) for block in it.objective.batches.whole.blocks]
    assert it.block_columns == 5 == max(widths)
    assert sum(widths) == LABELS.m


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


# Models of one's own


def test_evaluation_and_certificate_leave_dropout_and_running_averages_alone():
    model = WithDropout()
    it = Trainer(model, NAMED, TrainConfig(optimizer="adam", device="cpu"))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    first, second = it.evaluate(), it.evaluate()
    it.certify()
    assert first["excess_loss"] == second["excess_loss"]
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name]), name
    model.eval()
    H = model.embeddings(torch.tensor(NAMED.contexts)).detach()
    L = (model.W.detach() @ H).double().numpy()
    assert first["excess_loss"] == pytest.approx(ntp.excess_loss(L, NAMED), rel=1e-5)


def test_a_step_runs_in_the_modes_that_the_reader_chose():
    model = WithDropout()
    model.norm.eval()  # frozen running averages, the rest in training
    it = Trainer(model, NAMED, TrainConfig(optimizer="adam", device="cpu"))
    it.evaluate()
    assert model.drop.training and not model.norm.training
    it.step()
    assert model.norm.num_batches_tracked == 0
    model.train()
    it.step()
    assert model.norm.num_batches_tracked == 1


def test_dropout_follows_from_the_seed_and_leaves_the_global_generator():
    def final(seed: int) -> torch.Tensor:
        model = WithDropout()
        fit(model, NAMED, TrainConfig(optimizer="adam", steps=4, seed=seed, tol=None))
        return model.W.detach()

    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    first = final(1)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.manual_seed(5)
    assert torch.equal(first, final(1))
    assert not torch.equal(first, final(2))


@pytest.mark.parametrize("optimizer", ntp.OPTIMIZERS)
@pytest.mark.parametrize("frozen", ["W", "H"])
def test_what_is_frozen_stays(optimizer, frozen):
    model = ufm()
    getattr(model, frozen).requires_grad_(False)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    fit(model, LABELS, TrainConfig(optimizer=optimizer, steps=3, tol=None, lr=0.1))
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, start[name]) == (name == frozen), name


def test_a_model_with_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match="Every parameter is frozen"):
        fit(ufm().requires_grad_(False), LABELS)


def test_metrics_get_copies():
    def vandal(L: np.ndarray, W: np.ndarray, H: np.ndarray) -> float:
        for array in (L, W, H):
            array.fill(0)
        return 1.0

    def witness(L: np.ndarray, W: np.ndarray, H: np.ndarray) -> float:
        return float(np.abs(L).min() * np.abs(W).min() * np.abs(H).min())

    options = {"optimizer": "adam", "steps": 5, "tol": None}
    alone = fit(ufm(), LABELS, TrainConfig(**options)).history["objective"]
    spoiled = fit(
        ufm(), LABELS, TrainConfig(**options), {"vandal": vandal, "witness": witness}
    ).history
    assert spoiled["objective"] == alone
    assert min(spoiled["witness"]) > 0


class Transposed(WithDropout):
    def embeddings(self, contexts: torch.Tensor) -> torch.Tensor:
        return super().embeddings(contexts).T


class WithoutW(torch.nn.Module):
    def embeddings(self, contexts: torch.Tensor) -> torch.Tensor:
        return contexts


class WithTextW(WithoutW):
    W = "no matrix"


def decoder(V: int = 12, length: int = 1) -> ntp.Transformer:
    return ntp.Transformer(ntp.TransformerConfig(V, length, d=8, layers=1))


@pytest.mark.parametrize(
    ("model", "labels", "message"),
    [
        (object(), NAMED, "give a torch.nn.Module"),
        (WithoutW(), NAMED, "has no W"),
        (WithTextW(), NAMED, "W of WithTextW is no matrix"),
        (torch.nn.Linear(2, 2), NAMED, "has no W"),
        (Transposed(), NAMED, "one column per context; transpose it"),
        (decoder(13), NAMED, "13 rows in W and the labels have V=12"),
        (decoder(11), NAMED, "11 rows in W and the labels have V=12"),
        (decoder(), LABELS, "carry no contexts"),
        (decoder(), NAMED, r"cannot read the contexts of these labels \("),  # ids up to 30
        (decoder(length=2).bfloat16(),
         ntp.SoftLabels.from_counts(LABELS.N, np.zeros((31, 2), int)), "float32 or float64"),
        (decoder(), ntp.SoftLabels.from_counts(LABELS.N, ["a"] * 31), "needs token ids"),
        (UFM(12, 30, 2), LABELS, r"UFM\(labels.V, labels.m, d\)"),
    ],
)  # fmt: skip
def test_a_model_that_does_not_fit_is_refused_before_the_first_step(model, labels, message):
    with pytest.raises(ValueError, match=message):
        fit(model, labels, TrainConfig(optimizer="adam", tol=None, steps=1))


def test_a_context_longer_than_the_model_reads_is_refused():
    labels = ntp.SoftLabels.from_counts(LABELS.N, np.zeros((31, 3), int))
    with pytest.raises(ValueError, match="length <= context_length = 1"):
        fit(decoder(), labels)


def test_free_vectors_may_be_a_class_of_ones_own():
    class LowRank(torch.nn.Module):
        """H = A B, free, but of a rank of one's own choice."""

        reads_tokens = False

        def __init__(self) -> None:
            super().__init__()
            self.W = torch.nn.Parameter(torch.randn(12, 6, dtype=torch.float64))
            self.A = torch.nn.Parameter(torch.randn(6, 2, dtype=torch.float64))
            self.B = torch.nn.Parameter(torch.randn(2, 31, dtype=torch.float64))

        def embeddings(self, contexts: object) -> torch.Tensor:
            return (self.A @ self.B)[:, contexts]

    model = LowRank()
    check_model(model, LABELS)
    for options in ({}, {"optimizer": "adam", "batch_size": 8}):
        history = fit(model, LABELS, TrainConfig(steps=20, tol=None, **options)).history
        assert history["objective"][-1] < history["objective"][0]


def test_no_runtime_check_of_the_protocol_decides_what_a_model_is():
    # From Python 3.12 on isinstance looks attributes up without calling __getattr__, which is how a
    # torch module gives its parameters: it would refuse every model.
    with pytest.raises(TypeError, match="runtime_checkable"):
        isinstance(ufm(), ntp.Model)


# When to stop


def test_when_to_stop_does_not_depend_on_when_to_log():
    last = {
        evaluate: fit(ufm(), LABELS, TrainConfig(ridge=1e-2, tol=1e-3, evaluate=evaluate))
        for evaluate in (5, 20, 200, (3, 10))
    }
    steps = {result.history["step"][-1] for result in last.values()}
    assert len(steps) == 1
    assert all(result.status is Status.CONVERGED for result in last.values())


def test_check_every_is_the_distance_of_the_questions():
    asked = []

    class Asking(Trainer):
        def is_converged(self) -> bool:
            asked.append(self.steps_done)
            return super().is_converged()

    config = TrainConfig(ridge=1e-2, tol=1e-3, check_every=7)
    result = Asking(ufm(), LABELS, config).run()
    assert result.converged
    assert asked and all(step % 7 == 0 for step in asked)
    assert result.history["step"][-1] % 7 == 0
    assert config.check_steps() == range(0, 3001, 7)
    assert TrainConfig().check_steps() == TrainConfig(evaluate=50).evaluation_steps()


def test_each_end_has_its_status_and_its_advice():
    def ended(model: UFM | None = None, **options: object) -> ntp.FitResult:
        return fit(model or ufm(), LABELS, TrainConfig(**options))

    assert ended(tol=None, steps=2).status is Status.FINISHED
    assert ended(ridge=0, steps=2).status is Status.FINISHED
    stopped = ended(steps=2, tol=1e-9)
    assert stopped.status is Status.ITERATION_LIMIT
    for words in ("did all 2 steps", f"{stopped.certificate.relative_gap:.2g}", "solve_ridge"):
        assert words in stopped.message
    late = ended(ridge=1e-2, tol=1e-3, check_every=10**6, steps=300)
    assert late.status is Status.CONVERGED  # asked at its end, whatever the schedule says
    assert late.history["step"][-1] == 300


@pytest.mark.parametrize("counts", [[[2, 5], [2, 5], [2, 5]], [[3, 4]]])
def test_labels_from_which_nothing_can_be_learnt_converge_at_zero(counts):
    labels = ntp.SoftLabels.from_counts(counts)
    result = fit(UFM(labels.V, 2, 2), labels)
    assert result.converged and result.status is Status.CONVERGED
    assert result.history["objective"][-1] < 1e-15
    almost = ntp.SoftLabels.from_counts([[2, 5], [2, 5], [2, 6]])
    it = Trainer(UFM(3, 2, 2), almost, TrainConfig())
    assert not it.objective.is_known_zero(0.0)


# Where it runs


def test_progress_is_shown_in_a_terminal_alone(monkeypatch, capsys):
    config = TrainConfig(steps=5, tol=None)
    fit(ufm(), LABELS, config, progress=True)
    assert capsys.readouterr().err == ""  # the stream of a test is no terminal
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    fit(ufm(), LABELS, config, progress=True)
    shown = capsys.readouterr().err
    assert "5/5" in shown
    assert "excess_loss=" in shown
    fit(ufm(), LABELS, config)
    assert capsys.readouterr().err == ""


def test_progress_without_a_stream_ends_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert fit(ufm(), LABELS, TrainConfig(steps=2, tol=None), progress=True).seconds > 0


def test_a_long_run_is_announced_where_no_bar_is(monkeypatch):
    monkeypatch.setattr(_progress, "LONG_RUN", 0.0)
    with pytest.warns(UserWarning, match="steps take .* minutes") as found:
        fit(ufm(), LABELS, TrainConfig(steps=20, tol=None))
    assert len(found) == 1
    monkeypatch.setattr(_progress, "LONG_RUN", 600.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(ufm(), LABELS, TrainConfig(steps=20, tol=None))


def test_an_ignored_ctrl_c_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        seen = []

        def look(L: np.ndarray, W: np.ndarray, H: np.ndarray) -> float:
            seen.append(signal.getsignal(signal.SIGINT))
            signal.raise_signal(signal.SIGINT)
            return 0.0

        result = fit(ufm(), LABELS, TrainConfig(steps=3, tol=None), {"look": look})
    finally:
        signal.signal(signal.SIGINT, before)
    assert set(seen) == {signal.SIG_IGN}
    assert result.status is Status.FINISHED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_wait(number):
    class SecondError(Exception):
        pass

    def former(number: int, frame: object) -> None:
        raise SecondError

    def twice(L: np.ndarray, W: np.ndarray, H: np.ndarray) -> float:
        signal.raise_signal(number)
        signal.raise_signal(number)
        return 0.0

    before = signal.signal(number, former)
    try:
        with pytest.raises(SecondError):
            fit(ufm(), LABELS, TrainConfig(steps=3, tol=None), {"twice": twice})
        assert signal.getsignal(number) is former
    finally:
        signal.signal(number, before)


def test_it_trains_in_threads_as_it_does_alone():
    def final() -> torch.Tensor:
        model = ufm()
        fit(model, LABELS, TrainConfig(optimizer="adam", steps=10, tol=None))
        return model.W.detach()

    found: list[torch.Tensor] = []
    threads = [threading.Thread(target=lambda: found.append(final())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and all(torch.equal(W, final()) for W in found)


# Options


def test_options_take_the_scalars_of_numpy_and_torch():
    config = TrainConfig(
        ridge=np.float32(0.5), steps=np.int64(7), seed=np.uint8(3), lr=torch.tensor(0.25),
        tol=np.float64(0.1), evaluate=np.array([1, 4]), device=torch.device("cpu"),
        dtype=torch.float32, checkpoint_every=np.int16(5), optimizer="adam", batch_size=np.int8(2),
    )  # fmt: skip
    plain = TrainConfig(
        ridge=0.5, steps=7, seed=3, lr=0.25, tol=0.1, evaluate=(1, 4), device="cpu",
        dtype="float32", checkpoint_every=5, optimizer="adam", batch_size=2,
    )  # fmt: skip
    assert config == plain
    assert {type(value) for value in vars(config).values()} <= {
        int, float, str, bool, tuple, type(None)
    }  # fmt: skip
    for steps in (range(3), {2, 1, 0}, iter([0, 1, 2]), [0, 1, 2]):
        assert TrainConfig(evaluate=steps).evaluate == (0, 1, 2)
    assert TrainConfig(device=0).device == "cuda:0"
    assert TrainConfig(device=None).device == "cpu"
    assert TrainConfig(evaluate=[]).evaluation_steps() == {0, 3000}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0}, "lr is 0"),
        ({"lr": "fast"}, "lr is 'fast'"),
        ({"ridge": None}, "ridge is None"),
        ({"steps": 3.0}, "steps is 3.0"),
        ({"check_every": 0}, "check_every is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"evaluate": 10**9}, "evaluate is 1000000000"),
        ({"evaluate": [0.5]}, "evaluate is"),
        ({"evaluate": [-1]}, "evaluate is"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"schedule": "step"}, "schedule is 'step'"),
        ({"overwrite": "yes"}, "overwrite is 'yes'"),
        ({"optimizer": "spectral", "batch_size": 2}, "spectral needs the full batch"),
    ],
)
def test_more_bad_configurations_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)
