"""Training on soft labels, with one process or many, judged by the certificate (chs. 03, 13-16)."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._batches import Batches
from ._checkpoint import (
    Checkpoint,
    digest_of,
    load,
    named_tensors,
    pack_optimizers,
    prepare,
    require_same,
    unpack_optimizers,
    write,
)
from ._interrupts import Interrupts
from ._processes import ColumnShard, Processes
from ._progress import progress_bar
from .certificate import Certificate, certify_ridge
from .config import TrainConfig
from .loss import FactoredExcess
from .metrics import Array, Metrics
from .models import UFM, check_model, describe, evaluating
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
    certificate: Certificate | None
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
    and the likely cause, if the loss is not finite. Paper: eq. (NTP-UFM). Book: chapter 03.
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
        self.config = config or TrainConfig()
        self.labels = labels
        self.metrics = dict(metrics or {})
        self.processes = Processes.join(self.config.device)
        self.device = self.processes.device
        dtype = None if self.config.dtype is None else getattr(torch, self.config.dtype)
        self.model: Any = model.to(self.device, dtype)
        check_model(model, labels)
        if self.processes.count > 1:
            texts = {name: str(value) for name, value in self.identity.items()}
            self.processes.require_equal(config=str(self.config), **texts)
            self.processes.copy_from_first(*model.parameters(), *model.buffers())
        self.record = optimizer_named(self.config.optimizer)
        # PyTorch's L-BFGS has absolute thresholds, for gradients near 1.
        self._scale = float(labels.m) if self.record.absolute_thresholds else 1.0
        self.share = self.processes.share(labels.m)
        self.is_sharded = self.processes.count > 1 and self.record.entrywise and type(model) is UFM
        self.trained: Any = ColumnShard(model, self.share) if self.is_sharded else model
        self.parameters = {n: p for n, p in self.trained.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise ValueError(
                "Every parameter is frozen; call requires_grad_(True) on some of them."
            )
        self.optimizers = self.record.build(
            list(self.parameters.values()), matrices_of(self.trained), self.config.weight_decay
        )
        self.token_ids = self._token_ids_of_share()
        self.batches = Batches(labels, self.share, self.config, self.device, model.W.dtype)

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
        self._certified: tuple[int, Certificate] | None = None  # after which step
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
        batch = self.batches.at(self.steps_done)
        for parameter in self.parameters.values():
            parameter.grad = None
        with self._draws_of_this_step():
            W = self.trained.W
            H = self._embeddings(batch.columns)
            excess = batch.weight * FactoredExcess.apply(W, H, batch.blocks)
            squares = batch.weight * H.square().sum() + W.square().sum() / self.processes.count
            loss = self._scale * (excess + self.config.ridge / 2 * squares)
            loss.backward()
        values = torch.stack([loss.detach(), excess.detach()])
        shared = [p.grad for name, p in self.parameters.items() if self._is_shared(name)]
        self.processes.sum(values, *(grad for grad in shared if grad is not None))
        self.loss, self.excess = values.tolist()
        return self.loss

    def _embeddings(self, columns: slice | NDArray[np.int64]) -> Tensor:
        """The vectors (d, count) of these contexts, counted within this process's share."""
        if self.token_ids is not None:
            return self.trained.embeddings(self.token_ids[columns])
        first = 0 if self.is_sharded else self.share.start
        if isinstance(columns, slice):
            return self.trained.embeddings(slice(columns.start + first, columns.stop + first))
        return self.trained.embeddings(torch.as_tensor(columns + first, device=self.device))

    def _token_ids_of_share(self) -> Tensor | None:
        """What a model that reads tokens is given; None for free vectors."""
        if not getattr(self.model, "reads_tokens", True):
            return None
        own: Any = np.asarray(self.labels.contexts)[self.share].astype(np.int64)
        return torch.as_tensor(own, device=self.device)

    @contextmanager
    def _draws_of_this_step(self) -> Iterator[None]:
        """What the model draws (dropout) follows from seed, step and process alone.

        So a resumed run draws what the uninterrupted one does, the line search of one step sees one
        function, and the caller's generators stay as they were.
        """
        if self.token_ids is None:  # free vectors draw nothing
            yield
            return
        devices = [self.device] if self.device.type == "cuda" else []
        key = (self.config.seed, self.steps_done, self.processes.rank)
        seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
        with torch.random.fork_rng(devices):
            torch.random.default_generator.manual_seed(seed)
            if devices:
                torch.cuda.manual_seed(seed)
            yield

    def _is_shared(self, parameter: str) -> bool:
        """Do all processes hold this parameter, so that its gradients must be summed?"""
        return not (self.is_sharded and parameter == "H")

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
        excess, objective = self._measure()
        self._require_finite(objective)
        row = {"step": self.steps_done, "seconds": self.seconds}
        row |= {"excess_loss": excess, "objective": objective}
        if self.metrics:
            arrays = self._arrays()
            for name, metric in self.metrics.items():
                row[name] = float(metric(*(array.copy() for array in arrays)))
        for name, column in self.history.items():
            column.append(row[name])
        return row

    def certify(self) -> Certificate:
        """The certificate of the present logits, at the ridge or, without one, at |G|_op."""
        if self._certified is None or self._certified[0] != self.steps_done:
            L = self._arrays()[0]
            certificate = certify_ridge(L, self.labels, self.config.ridge or None)
            self._certified = (self.steps_done, certificate)
        return self._certified[1]

    def is_converged(self) -> bool:
        """Is the certified relative gap, in every process, at most `tol`?"""
        config = self.config
        if config.tol is None:
            return False
        certificate = self.certify()
        good = certificate.relative_gap <= config.tol or self._is_zero(certificate.primal)
        return config.ridge > 0 and self.processes.all(good)

    @torch.no_grad()
    def _measure(self) -> tuple[float, float]:
        """Excess loss and objective over all contexts."""
        with self._evaluating():
            W = self.trained.W
            H = self._embeddings(self.batches.whole.columns)
            excess = FactoredExcess.apply(W, H, self.batches.whole.blocks)
            values = torch.stack([excess, H.square().sum()])
        self.processes.sum(values)
        excess, squares = values.tolist()
        return excess, excess + self.config.ridge / 2 * (squares + float(W.square().sum()))

    @torch.no_grad()
    def _arrays(self) -> tuple[Array, Array, Array]:
        """L, W and the whole of H as numpy float64."""
        with self._evaluating():
            own = self._embeddings(self.batches.whole.columns)
        W = self.trained.W.detach().double().cpu().numpy()
        H = self.processes.whole(own, self.labels.m).double().cpu().numpy()
        return W @ H, W, H

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Evaluation mode, with the running averages of process 0."""
        self.processes.copy_from_first(*self.model.buffers())
        with evaluating(self.model):
            yield

    def _is_zero(self, objective: float) -> bool:
        """Has this run reached the optimum 0 of labels from which nothing can be learnt?

        If every token follows every context equally often, L = 0 is optimal at every ridge, with
        objective 0. No gap is small in relation to that.
        """
        counts = self.labels.N.data
        if len(counts) < self.labels.V * self.labels.m or objective > np.finfo(float).eps:
            return False
        columns = counts.reshape(self.labels.m, self.labels.V)
        return bool((columns == columns[:, :1]).all())

    # ------------------------------------------------------------ the run

    def run(self, progress: bool = False) -> FitResult:
        """Steps until the certified gap, the last step, a standstill, Ctrl-C or SIGTERM."""
        start = time.perf_counter()
        config = self.config
        is_first = self.processes.rank == 0
        if config.checkpoint and is_first:
            prepare(config.checkpoint, config.overwrite or self._is_resumed)
        bar = progress_bar(config.steps, self.steps_done, progress and is_first)
        clock = _Clock(config.steps - self.steps_done, silent=not is_first or not bar.disable)
        with bar, Interrupts() as interrupts:
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
        now = self.history["objective"][-1] if is_known else self._measure()[1]
        self.checked = now
        if abs(now - before) > 10 * tol * before and not self._is_zero(now):
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
        if self.is_sharded:
            self.trained.put_back(self.model, self.processes)
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
        tensors = {f"parameter.{n}": self._whole(n, p) for n, p in self._named("parameters")}
        tensors |= {f"buffer.{name}": tensor for name, tensor in self._named("buffers")}
        memory, more = pack_optimizers(self.optimizers, self._names, self._whole)
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
            write(self.config.checkpoint, record, tensors | more)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Undo `save`; the number of processes may be another one. ValueError if it does not fit."""
        require_same(checkpoint, self.identity)
        checkpoint.fill(self.model)
        if self.is_sharded:
            self.trained.take_from(self.model)
        unpack_optimizers(self.optimizers, self._names, checkpoint, self._part)
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
            "labels": [digest_of(part) for part in (N.indptr, N.indices, N.data)],
            "contexts": digest_of(self.labels.contexts),
            "sizes": {n: [str(p.dtype), *p.shape] for n, p in parameters.items()},
            "model": describe(self.model),
            "frozen parameters": [n for n, p in parameters.items() if not p.requires_grad],
            "metrics": list(self.metrics),
        }

    @property
    def _names(self) -> dict[int, str]:
        return {id(p): name for name, p in self.parameters.items()}

    def _named(self, kind: str) -> list[tuple[str, Tensor]]:
        """The parameters or buffers as they are now; of a sharded H this process's columns."""
        own = named_tensors(self.model)[kind]
        return [(n, self.parameters.get(n, t)) for n, t in own.items()]

    def _whole(self, parameter: str, tensor: Tensor) -> Tensor:
        """All columns of a tensor that is cut as H is."""
        if self._is_shared(parameter) or tensor.ndim != 2:
            return tensor
        return self.processes.whole(tensor.detach(), self.labels.m)

    def _part(self, parameter: str, tensor: Tensor) -> Tensor:
        """This process's columns of it."""
        is_whole = self._is_shared(parameter) or tensor.ndim != 2
        return tensor if is_whole else tensor[:, self.share]


class _Clock:
    """Warns once of a run that will take long, where no progress bar says it."""

    def __init__(self, steps: int, silent: bool) -> None:
        self.steps = steps
        self.silent = silent
        self.done = 0
        self.start = time.perf_counter()

    def tick(self) -> None:
        """After each step; the first seconds may be slower than the rest."""
        self.done += 1
        passed = time.perf_counter() - self.start
        if self.silent or passed < LONG_RUN / 60:
            return
        self.silent = True
        total = passed / self.done * self.steps
        if total > LONG_RUN:
            warnings.warn(
                f"At this pace {self.steps} steps take {total / 60:.0f} minutes, unless `tol` is "
                "reached before. progress=True shows a bar; Ctrl-C ends the run and returns what "
                "there is; fewer `steps`, or solve_ridge on fewer contexts, may do.",
                stacklevel=4,
            )


def _message(
    status: Status, steps: int, certificate: Certificate | None, config: TrainConfig
) -> str:
    """The status as a sentence, with numbers and advice."""
    if status is Status.FINISHED:
        why = (
            "no certificate was asked for" if config.ridge else "without a ridge nothing is optimal"
        )
        return f"did all {steps} steps; {why}"
    if status is Status.INTERRUPTED:
        remedy = f"; resume({config.checkpoint!r}, ...) goes on" if config.checkpoint else ""
        return f"interrupted after step {steps}{remedy}"
    gap = f"the certified relative gap is {certificate.relative_gap:.2g}" if certificate else ""
    if status is Status.CONVERGED:
        return f"converged in {steps} steps: {gap}, tol {config.tol:g}"
    if status is Status.STALLED:
        remedy = "" if config.dtype == "float64" else "; dtype='float64' may go further"
        return (
            f"no further progress in this precision after {steps} steps{gap and ': '}{gap}{remedy}"
        )
    return (
        f"did all {steps} steps, and {gap}, above tol {config.tol:g}: use more steps or a larger d, "
        "or solve_ridge, which solves the convex problem itself"
    )
