"""Training on soft labels, with one process or many, judged by the certificate."""

from __future__ import annotations

import math
import os
import time
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from ._checkpoint import (
    Checkpoint,
    digest_of,
    load,
    pack_optimizers,
    prepare,
    require_same,
    unpack_optimizers,
    write,
)
from ._interrupts import Interrupts
from ._objective import Objective
from ._processes import Processes
from ._progress import LongRunWarning, progress_bar
from ._threads import SMALL_FOR_TORCH, one_thread_if_small
from .certificate import RidgeCertificate, certify_ridge
from .config import TrainConfig
from .metrics import Metrics
from .models import check_model, describe
from .optimizers import matrices_of, optimizer_named
from .soft_labels import SoftLabels
from .status import Status

STALLED_AFTER = 20  # steps in a row that leave the loss as it is, to the last bit
LONG_RUN = 600.0  # seconds; of a longer one nobody should have to guess


@dataclass(frozen=True)
class FitResult:
    """A trained model and the judgement on it.

    model : the one passed in, trained in place. history : equal-length lists "step", "seconds" (of
    training alone), "excess_loss", "objective" (excess loss + penalty), both in nats, and one per
    metric. certificate : `certify_ridge` of the final logits at the ridge, or at |G|_op without
    one; None if tol=None. converged : ridge > 0 and certified relative gap <= tol. status : why the
    run ended; message : the same as a sentence, with advice. seconds : of this call, in all.
    """

    model: nn.Module = field(repr=False)
    history: dict[str, list[float]] = field(repr=False)
    seconds: float
    certificate: RidgeCertificate | None
    converged: bool
    status: Status
    message: str


def fit(
    model: nn.Module,
    labels: SoftLabels,
    config: TrainConfig | None = None,
    metrics: Metrics | None = None,
    progress: bool = False,
) -> FitResult:
    """Minimise CE(W H) + (ridge/2)(|W|^2 + |H|^2) over the parameters of `model`, in place.

    model : UFM, Transformer, or any module that is a `Model`; parameters with requires_grad=False
    stay as they are. metrics : name -> function of (L, W, H), numpy float64 copies of shapes
    (V, m), (V, d), (d, m), called at the evaluation steps; see `standard_metrics`. progress : show
    a bar with the excess loss and the time left, in a terminal or a notebook.

    A step runs in the mode in which the model is (dropout, running averages); evaluations,
    metrics and the certificate in evaluation mode. Ctrl-C and SIGTERM let the step end, save, and
    return what there is (a second one does not wait). Under `torchrun` each process holds a share
    of the contexts, the losses are the same, and all begin with the model of process 0.

    Raises ValueError for labels that do not fit the model and for CUDA where there is none,
    FileExistsError for a checkpoint that is there already, and FloatingPointError, with the step
    and the likely cause, if the loss is not finite. Paper: eq. (NTP-UFM). Book:
    unconstrained_features.
    """
    return Trainer(model, labels, config, metrics).run(progress)


def resume(
    path: str | os.PathLike[str],
    model: nn.Module,
    labels: SoftLabels,
    metrics: Metrics | None = None,
    progress: bool = False,
    steps: int | None = None,
) -> FitResult:
    """Continue the run that wrote the checkpoint `path`; model, labels and metrics as then.

    The model's parameters are overwritten. All options are the checkpoint's, but `steps` may be
    raised, to go on with a run that has ended (a "cosine" schedule is stretched to the new number).
    On a CPU the trajectory is the uninterrupted one, bit for bit. Raises FileNotFoundError if there
    is no such file, and ValueError if it is damaged, no checkpoint, of something else, or if
    `steps` is below the steps done.
    """
    checkpoint = load(path)
    config = checkpoint.config
    if steps is not None:
        config = replace(config, steps=steps)
        if config.steps < checkpoint.step:
            raise ValueError(f"steps is {steps}, but {checkpoint.step} are done; use more.")
    trainer = Trainer(model, labels, config, metrics)
    trainer.restore(checkpoint)
    return trainer.run(progress)


class Trainer:
    """One run: `fit(...)` is `Trainer(...).run()`, and `step` is one step of it.

    model, labels, config, metrics : as in `fit`. steps_done, seconds, history : so far.
    excess : excess loss (nats) where the last step formed its gradients.
    """

    def __init__(
        self,
        model: nn.Module,
        labels: SoftLabels,
        config: TrainConfig | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        check_model(model, labels)
        self.config = config or TrainConfig()
        self.labels = labels
        self.metrics = dict(metrics or {})
        self.processes = Processes.join(self.config.device)
        self.device = self.processes.device
        dtype = None if self.config.dtype is None else getattr(torch, self.config.dtype)
        self.model: Any = model.to(self.device, dtype)
        if self.model.W.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"The model is in {self.model.W.dtype}; train in float32 or float64, with "
                "TrainConfig(dtype='float32')."
            )
        if self.processes.count > 1:
            texts = {name: str(value) for name, value in self.identity.items()}
            self.processes.require_equal(config=str(self.config), **texts)
            self.processes.copy_from_first(*model.parameters(), *model.buffers())
        self.objective = Objective(model, labels, self.config, self.processes)
        self.optimizers = optimizer_named(self.config.optimizer).build(
            list(self.objective.parameters.values()),
            matrices_of(self.objective.trained),
            self.config.weight_decay,
        )

        self._evaluation_steps = self.config.evaluation_steps()
        self._check_steps = self.config.check_steps()
        self.steps_done = 0
        self.seconds = 0.0
        self.loss = math.inf
        self.excess = math.inf
        self.stalled = 0
        self.checked = math.inf  # the objective when convergence was last asked for
        self.status: Status | None = None
        self.history: dict[str, list[float]] = {
            name: [] for name in ("step", "seconds", "excess_loss", "objective", *self.metrics)
        }
        self._certified: tuple[int, RidgeCertificate] | None = None  # after which step
        self._is_resumed = False

    # ------------------------------------------------------------ one step

    def step(self) -> float:
        """One step of the optimiser; returns the loss where its gradients were first formed."""
        start = time.perf_counter()
        before = self.loss
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.config.rate(self.steps_done)
        first, *others = self.optimizers
        first.step(self.loss_and_gradients)
        for optimizer in others:  # on the same gradients
            optimizer.step()
        self.steps_done += 1
        self.seconds += time.perf_counter() - start
        self.stalled = self.stalled + 1 if self.loss == before else 0
        self._require_finite(self.loss)
        return self.loss

    def loss_and_gradients(self) -> float:
        """The loss at the current parameters, for this step's contexts; sets every `.grad`."""
        self.loss, self.excess = self.objective.loss_and_gradients(self.steps_done)
        return self.loss

    @property
    def block_columns(self) -> int:
        """How many contexts have logits at the same time."""
        return self.objective.batches.block_columns

    def _require_finite(self, loss: float) -> None:
        if math.isfinite(loss):
            return
        cause = "a start that is not finite, or too large: build it anew"
        if self.steps_done:
            rate = self.config.rate(self.steps_done - 1)
            cause = f"a learning rate, {rate:g}, too large for {self.config.optimizer}"
            cause += ": try a tenth of it"
        where = f"The loss is {loss} in step {self.steps_done}"
        raise FloatingPointError(f"{where}; the likely cause is {cause}.")

    # ------------------------------------------------------------ what is seen from outside

    def evaluate(self) -> dict[str, float]:
        """Append a row to the history, and return it; only what was asked for is computed."""
        excess, objective = self.objective.measure()
        self._require_finite(objective)
        row = {"step": self.steps_done, "seconds": self.seconds}
        row |= {"excess_loss": excess, "objective": objective}
        if self.metrics:
            arrays = self.objective.arrays()
            for name, metric in self.metrics.items():
                row[name] = float(metric(*(array.copy() for array in arrays)))
        for name, column in self.history.items():
            column.append(row[name])
        return row

    def certify(self) -> RidgeCertificate:
        """The certificate of the present logits, at the ridge or, without one, at |G|_op."""
        if self._certified is None or self._certified[0] != self.steps_done:
            L = self.objective.arrays()[0]
            certificate = certify_ridge(L, self.labels, self.config.ridge or None)
            self._certified = (self.steps_done, certificate)
        return self._certified[1]

    def is_converged(self) -> bool:
        """Is the certified relative gap, in every process, at most `tol`?"""
        tol = self.config.tol
        if tol is None or self.config.ridge == 0:
            return False
        certificate = self.certify()
        is_close = certificate.relative_gap <= tol
        return self.processes.all(is_close or self.objective.is_known_zero(certificate.primal))

    # ------------------------------------------------------------ the run

    def run(self, progress: bool = False) -> FitResult:
        """Steps until the certified gap, the last step, a standstill, Ctrl-C or SIGTERM."""
        start = time.perf_counter()
        config = self.config
        is_first = self.processes.rank == 0
        if config.checkpoint and is_first:
            prepare(str(config.checkpoint), config.overwrite or self._is_resumed)
        bar = progress_bar(config.steps, self.steps_done, progress and is_first)
        clock = LongRunWarning(
            config.steps - self.steps_done, silent=not is_first or not bar.disable
        )
        threads = one_thread_if_small(self.labels.V * self.labels.m, SMALL_FOR_TORCH)
        with bar, threads, Interrupts() as interrupts:
            if not self.history["step"]:
                self.checked = self.evaluate()["objective"]
            if self.status is not Status.CONVERGED:
                self.status = None
            if self.steps_done < config.steps and self.status is None:
                self.save()
            while self.steps_done < config.steps and self.status is None:
                self.step()
                bar.set_postfix(excess_loss=f"{self.excess:.3e}", refresh=False)
                bar.update()
                clock.tick()
                self.status = self._status_after_step(interrupts)
                if self.status or self.steps_done % config.checkpoint_every == 0:
                    self.save()
        return self._result(time.perf_counter() - start)

    def _status_after_step(self, interrupts: Interrupts) -> Status | None:
        """Evaluate and ask for convergence where it is due; None to go on."""
        if self.steps_done in self._evaluation_steps:
            self.evaluate()
        is_converged = self.steps_done in self._check_steps and self._is_converged_at_rest()
        if self.processes.any(interrupts.received):
            return Status.INTERRUPTED
        if is_converged:
            return Status.CONVERGED
        if self.stalled > STALLED_AFTER:
            return Status.STALLED
        return self._last_status if self.steps_done == self.config.steps else None

    def _is_converged_at_rest(self) -> bool:
        """Converged; the certificate is asked only once the objective nearly rests."""
        tol, before = self.config.tol, self.checked
        if not tol or not self.config.ridge:
            return False
        is_known = self.history["step"][-1] == self.steps_done
        now = self.history["objective"][-1] if is_known else self.objective.measure()[1]
        self.checked = now
        if abs(now - before) > 10 * tol * before and not self.objective.is_known_zero(now):
            return False
        return self.is_converged()

    @property
    def _last_status(self) -> Status:
        """What a run is that did all its steps, before it is certified."""
        asked = self.config.tol is not None and self.config.ridge > 0
        return Status.ITERATION_LIMIT if asked else Status.FINISHED

    def _result(self, seconds: float) -> FitResult:
        """Bring the history to its end, judge, and put the shares of H together."""
        if self.history["step"][-1] < self.steps_done:
            self.evaluate()
        status = self.status or self._last_status
        certificate = None if self.config.tol is None else self.certify()
        is_converged = self.is_converged()
        if is_converged and status is not Status.INTERRUPTED:
            status = Status.CONVERGED
        self.objective.put_into_model()
        return FitResult(
            model=self.model,
            history=self.history,
            seconds=seconds,
            certificate=certificate,
            converged=is_converged,
            status=status,
            message=_message(status, self.steps_done, certificate, self.config),
        )

    # ------------------------------------------------------------ the state in a file

    def save(self) -> None:
        """Write the checkpoint, if the configuration names one; process 0 does it for all."""
        if self.config.checkpoint is None:
            return
        objective = self.objective
        tensors = {
            f"parameter.{name}": objective.whole(name, objective.parameters.get(name, tensor))
            for name, tensor in self.model.named_parameters()
        }
        tensors |= {f"buffer.{name}": tensor for name, tensor in self.model.named_buffers()}
        memory, more = pack_optimizers(self.optimizers, objective.parameters, objective.whole)
        record = {
            "config": asdict(self.config),
            "identity": self.identity,
            "history": self.history,
            "step": self.steps_done,
            "seconds": self.seconds,
            "loss": self.loss,
            "stalled": self.stalled,
            "checked": self.checked,
            "status": self.status and self.status.name,
            "optimizer": memory,
        }
        if self.processes.rank == 0:
            write(str(self.config.checkpoint), record, tensors | more)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Undo `save`, whatever the number of processes was; ValueError for another run's state."""
        require_same(checkpoint, self.identity)
        checkpoint.fill(self.model)
        self.objective.take_from_model()
        unpack_optimizers(
            self.optimizers, self.objective.parameters, checkpoint, self.objective.part
        )
        self.history = checkpoint.history
        self.status = checkpoint.status
        self.steps_done = checkpoint.step
        self.seconds = checkpoint.record["seconds"]
        self.loss = checkpoint.record["loss"]
        self.stalled = checkpoint.record["stalled"]
        self.checked = checkpoint.record["checked"]
        self._is_resumed = True

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What must be the same when a checkpoint is resumed, and in all processes."""
        N = self.labels.N
        parameters = dict(self.model.named_parameters())
        return {
            "labels": digest_of(np.concatenate([N.indptr, N.indices, N.data])),
            "contexts": digest_of(self.labels.contexts),
            "sizes": {n: [str(p.dtype), *p.shape] for n, p in parameters.items()},
            "model": describe(self.model),
            "frozen parameters": [n for n, p in parameters.items() if not p.requires_grad],
            "metrics": list(self.metrics),
        }


def _message(
    status: Status, steps: int, certificate: RidgeCertificate | None, config: TrainConfig
) -> str:
    """The status as a sentence, with numbers and advice."""
    if status is Status.FINISHED:
        why = (
            "no certificate was asked for"
            if config.ridge
            else "without a ridge there is no optimum"
        )
        return f"did all {steps} steps; {why}"
    if status is Status.INTERRUPTED:
        remedy = f"; resume({config.checkpoint!r}, ...) goes on" if config.checkpoint else ""
        return f"interrupted after step {steps}{remedy}"
    gap = f"the certified relative gap is {certificate.relative_gap:.2g}" if certificate else ""
    if status is Status.CONVERGED:
        if certificate and certificate.relative_gap > (config.tol or 0):
            gap = "the optimum is L = 0, for every token follows every context equally often"
        return f"converged in {steps} steps: {gap}, tol {config.tol:g}"
    if status is Status.STALLED:
        remedy = "" if config.dtype == "float64" else "; dtype='float64' may go further"
        return (
            f"no further progress in this precision after {steps} steps{gap and ': '}{gap}{remedy}"
        )
    return (
        f"did all {steps} steps, and {gap}, above tol {config.tol:g}: use more steps or a larger "
        "d, or solve_ridge, which solves the convex problem itself"
    )
