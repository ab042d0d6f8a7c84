"""Training of a UFM or a transformer on soft labels, judged by the certificate (chs. 03, 13, 14, 16).

One process or many: under `torchrun` the contexts are shared out, and losses stay the same.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from .certificate import Certificate, certify_ridge
from .loss import FactoredExcess
from .soft_labels import SoftLabels
from .transformer import Transformer, TransformerConfig
from .ufm import UFM

Metric = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], float]

FORMAT = "ntp_lite checkpoint 1"
LEARNING_RATES = {"lbfgs": 1.0, "adam": 3e-3, "adamw": 3e-3, "sgd": 1.0}
RESTORED = ("step", "stalled", "seconds", "loss")
BLOCK = 2**20  # logits that exist at once; larger was not faster on a processor


@dataclass(frozen=True)
class TrainConfig:
    """How to train; every field has a default.

    ridge : the penalty (ridge/2)(|W|^2 + |H|^2) inside the loss; H are the embeddings of all
        contexts, for a transformer its last hidden states. 0 switches it off.
    optimizer : "lbfgs" (full batch, strong Wolfe line search), "adam", "adamw" or "sgd".
    lr : learning rate; None means 1 for "lbfgs" and "sgd", 3e-3 for the others.
    weight_decay : the optimiser's decoupled decay ("adamw" and "sgd"), apart from `ridge`; no
        claim of optimality comes with it.
    steps : at most this many. schedule : "constant", "cosine" (to 0, after a warm-up over the first
        2%) or "step" (times 0.3 after one half and after three quarters).
    batch_size : contexts in one step, drawn without replacement in each epoch; None is all.
    device : "auto" (CUDA if there is one), "cpu", "cuda", ... dtype : "float32", "float64" or None
        (as the model is). seed : of the batches; a model has its own.
    tol : stop once the certified relative gap is <= tol (ridge > 0); None never stops early, and
        skips the certificate, whose cost is that of an SVD of V x m logits.
    evaluate : steps at which history is written: their number, log-spaced, or the steps themselves.
    checkpoint : file to save to every `checkpoint_every` steps, at the end and on Ctrl-C.
    """

    ridge: float = 1e-5
    optimizer: str = "lbfgs"
    lr: float | None = None
    weight_decay: float = 0.0
    steps: int = 1000
    schedule: str = "constant"
    batch_size: int | None = None
    device: str = "auto"
    dtype: str | None = None
    seed: int = 0
    tol: float | None = 1e-3
    evaluate: int | Sequence[int] = 50
    checkpoint: str | None = None
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        def choice(name: str, allowed: Sequence[str | None]) -> None:
            if getattr(self, name) not in allowed:
                names = ", ".join(repr(a) for a in allowed)
                raise ValueError(f"{name} is {getattr(self, name)!r}; use one of {names}.")

        choice("optimizer", list(LEARNING_RATES))
        choice("schedule", ["constant", "cosine", "step"])
        choice("dtype", [None, "float32", "float64"])
        for name in ("ridge", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; use 0 or a positive number.")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise ValueError(f"lr is {self.lr}; use a positive number, or None for the default.")
        for name in ("steps", "checkpoint_every", "batch_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; use 1 or more.")
        if self.weight_decay and self.optimizer not in ("adamw", "sgd"):
            raise ValueError(f"{self.optimizer} has no decoupled weight_decay; use adamw, or ridge.")
        if self.optimizer == "lbfgs" and self.batch_size is not None:
            raise ValueError("lbfgs needs the full batch; set batch_size=None or use adam.")

    def rate(self, step: int) -> float:
        """The learning rate of a step; it depends on nothing else, so there is nothing to save."""
        lr = LEARNING_RATES[self.optimizer] if self.lr is None else self.lr
        done = step / self.steps
        if self.schedule == "cosine":
            return lr * min(1.0, (step + 1) / (0.02 * self.steps)) * (1 + math.cos(math.pi * done)) / 2
        return lr * 0.3 ** ((done >= 0.5) + (done >= 0.75)) if self.schedule == "step" else lr

    def evaluation_steps(self) -> set[int]:
        """The steps after which history is written; 0 and the last one are always among them."""
        chosen: Any = self.evaluate
        if isinstance(chosen, int):
            chosen = np.geomspace(1, self.steps, max(chosen, 2)).round().astype(int).tolist()
        return {0, self.steps, *(step for step in chosen if step <= self.steps)}


@dataclass(frozen=True)
class FitResult:
    """A trained model and the judgement on it.

    model : the model that was passed in, trained in place. history : equal-length lists "step",
    "seconds" (training alone), "excess_loss", "objective" (excess loss plus the penalty) and one for
    each metric. certificate : `certify_ridge` of the final logits, at the given ridge or,
    without one, at |G|_op; None if tol=None. converged : ridge > 0 and certified relative gap <= tol.
    seconds : wall clock, evaluation included. message : why it stopped.
    """

    model: torch.nn.Module = field(repr=False)
    history: dict[str, list[float]] = field(repr=False)
    seconds: float
    certificate: Certificate | None
    converged: bool
    message: str = ""


def fit(
    model: torch.nn.Module,
    labels: SoftLabels,
    config: TrainConfig | None = None,
    metrics: dict[str, Metric] | None = None,
    progress: bool = False,
) -> FitResult:
    r"""Minimise CE(W H) + (ridge/2)(|W|^2 + |H|^2) over the parameters of `model`, in place.

    Parameters
    ----------
    model : UFM or Transformer, or any module with an attribute `W` (V, d) and a method
        `embeddings(contexts)` that returns (d, number of contexts).
    metrics : name -> function of numpy float64 (L, W, H), called at the evaluation steps.
    progress : show a progress bar with the excess loss and the time left.

    Ctrl-C lets the running step end, saves the checkpoint if there is one, and returns the
    result so far. Under `torchrun` each process trains on its share of the contexts.

    Raises ValueError for labels that do not fit the model, FloatingPointError if the loss is
    not finite (with the step and the likely cause). Paper: eq. (NTP-UFM). Book: chapter 03.
    """
    return _Trainer(model, labels, config or TrainConfig(), metrics or {}).run(progress)


def resume(
    path: str | Path,
    labels: SoftLabels,
    metrics: dict[str, Metric] | None = None,
    progress: bool = False,
    steps: int | None = None,
) -> FitResult:
    """Continue the run that wrote the checkpoint `path`, on the same labels, with the same metrics.

    On one CPU machine the trajectory is the uninterrupted one, bit for bit. `steps` moves the
    end. Raises ValueError if the file is not a whole checkpoint or belongs to other labels or metrics.
    """
    tensors, state = load_checkpoint(path)
    if state["labels"] != _fingerprint(labels):
        raise ValueError(f"The checkpoint {str(path)!r} was written for other labels; pass the same.")
    names = [name for name in state["history"] if name not in _Trainer.columns]
    if sorted(names) != sorted(metrics or {}):
        raise ValueError(f"The checkpoint {str(path)!r} has the metrics {names}; pass just these.")
    model: torch.nn.Module
    if state["model"]["class"] == "UFM":
        model = UFM(**state["model"]["sizes"])
    else:
        model = Transformer(TransformerConfig(**state["model"]["sizes"]))
    config = TrainConfig(**{**state["config"], "checkpoint": str(path)})
    trainer = _Trainer(model, labels, replace(config, steps=steps or config.steps), metrics or {})
    trainer.restore(tensors, state)
    return trainer.run(progress)


class _Trainer:
    """The state of one run: what a checkpoint holds, and the step that advances it."""

    columns = ("step", "seconds", "excess_loss", "objective")

    def __init__(
        self, model: Any, labels: SoftLabels, config: TrainConfig, metrics: dict[str, Metric]
    ) -> None:
        self.labels, self.config, self.metrics = labels, config, metrics
        self.rank, self.world, self.device = _processes(config.device)
        self.model = model.to(self.device, config.dtype and getattr(torch, config.dtype))
        # Each process has a run of consecutive contexts.
        first, last = (labels.m * r // self.world for r in (self.rank, self.rank + 1))
        self.mine = np.arange(first, last)
        self.parameters = list(model.parameters())
        # L-BFGS takes inner products over all parameters, so it needs all of H in each process.
        self.sharded = False
        if isinstance(model, UFM):
            sizes = (len(model.W), model.H.shape[1])
            if sizes != labels.N.shape:
                raise ValueError(
                    f"The model has (V, m) = {sizes}, the labels {labels.N.shape}; "
                    "build it as UFM(labels.V, labels.m, d)."
                )
            self.sharded = self.world > 1 and config.optimizer != "lbfgs"
            if self.sharded:
                self.parameters[1] = torch.nn.Parameter(model.H.detach()[:, first:last].clone())
        elif labels.contexts is None:
            raise ValueError("These labels carry no contexts for a transformer; use from_tokens.")
        else:
            self.contexts = torch.as_tensor(labels.contexts, device=self.device)
        self.optimizer = _optimizer(self.parameters, config)
        self.own_blocks = self._blocks(self.mine)
        self.history: dict[str, list[float]] = {n: [] for n in (*self.columns, *metrics)}
        self.step, self.stalled, self.seconds, self.loss = 0, 0, 0.0, math.inf
        self.seen: list[Tensor] = []
        self.epoch = -1

    def run(self, progress: bool) -> FitResult:
        """Train to the end, to the certified gap, or until Ctrl-C."""
        config, start, message = self.config, time.perf_counter(), ""
        stops = config.evaluation_steps()
        show = progress and self.rank == 0
        bar = tqdm(total=config.steps, initial=self.step, disable=not show, desc="fit")
        with bar, _deferred_interrupt() as interrupted:
            if not self.history["step"]:
                self.evaluate()
            while self.step < config.steps and not message:
                self.advance()
                bar.set_postfix(excess=f"{self.excess:.3e}", refresh=False)
                bar.update()
                if self.step in stops:
                    self.evaluate()
                    message = self.reason_to_stop()
                elif self.stalled > 20:
                    message = "no further progress in this precision"
                if interrupted:
                    message = "interrupted; this is the last complete step"
                if config.checkpoint and (message or self.step % config.checkpoint_every == 0):
                    self.save(config.checkpoint)
            if self.history["step"][-1] < self.step:
                self.evaluate()
        certificate = None if config.tol is None else self.certify()
        if self.sharded:
            self.model.H.data.copy_(self.factors()[1])
        gap = math.inf if certificate is None else certificate.relative_gap
        return FitResult(
            model=self.model,
            history=self.history,
            seconds=time.perf_counter() - start,
            certificate=certificate,
            converged=config.ridge > 0 and gap <= (config.tol or 0),
            message=message or f"all {config.steps} steps done",
        )

    def advance(self) -> None:
        """One optimiser step; FloatingPointError if the loss is no longer finite."""
        start = time.perf_counter()
        rate, before = self.config.rate(self.step), self.loss
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step(self.closure)
        self.step += 1
        self.seconds += time.perf_counter() - start
        self.stalled = self.stalled + 1 if self.loss == before else 0
        if not math.isfinite(self.loss):
            raise FloatingPointError(
                f"The loss is {self.loss} at step {self.step}; the likely cause is a learning rate "
                f"({rate:g}) that is too large for {self.config.optimizer}: try a tenth of it."
            )

    def closure(self) -> float:
        """Loss and gradients at the current parameters, summed over the processes."""
        if self.config.optimizer == "lbfgs":
            # Each step begins where the last line search ended: do not pay for that point twice.
            now = [p.detach() for p in self.parameters]
            if self.seen and all(map(torch.equal, self.seen, now)):
                return self.loss
            self.seen = [p.clone() for p in now]
        columns, blocks, share = self._batch()
        W, H = self.model.W, self._embed(columns)
        self.optimizer.zero_grad()
        excess = share * FactoredExcess.apply(W, H, blocks)
        squares = share * H.square().sum() + W.square().sum() / self.world
        loss = self.config.ridge / 2 * squares + excess
        if self.config.optimizer == "lbfgs":
            loss = loss * self.labels.m  # L-BFGS has absolute thresholds made for gradients near 1
        loss.backward()
        values = torch.stack([loss.detach(), excess.detach()])
        self._sum(values, *(p.grad for p in self.parameters[: 1 if self.sharded else None]))
        self.loss, self.excess = values.tolist()
        return self.loss

    def evaluate(self) -> None:
        """Append one row to the history; only what was asked for is computed."""
        with torch.no_grad():
            W, H = self.model.W.detach(), self._embed(self.mine).detach()
            excess = FactoredExcess.apply(W, H, self.own_blocks)
            values = torch.stack([excess, H.square().sum()])
            self._sum(values)
            excess, squares = values.tolist()
        objective = excess + self.config.ridge / 2 * (squares + float(W.square().sum()))
        row: list[float] = [self.step, self.seconds, excess, objective]
        if self.metrics:
            arrays = self.arrays()
            row += [float(metric(*arrays)) for metric in self.metrics.values()]
        for values_so_far, value in zip(self.history.values(), row, strict=True):
            values_so_far.append(value)

    def reason_to_stop(self) -> str:
        """Certify, but only when the objective has nearly settled: a certificate costs an SVD."""
        tol, objective = self.config.tol, self.history["objective"]
        if not tol or not self.config.ridge or objective[-1] < (1 - 10 * tol) * objective[-2]:
            return ""
        found = torch.tensor(self.certify().relative_gap <= tol, device=self.device)
        if self.world > 1:
            dist.broadcast(found, 0)  # all stop together, whatever the last digits say
        return "certified" if found else ""

    def certify(self) -> Certificate:
        """The certificate of the current logits, at the ridge or (without one) at |G|_op."""
        return certify_ridge(self.arrays()[0], self.labels, self.config.ridge or None)

    def factors(self) -> tuple[Tensor, Tensor]:
        """W and the whole of H, gathered from the processes."""
        with torch.no_grad():
            return self.model.W.detach(), self._whole(self._embed(self.mine).detach())

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """L, W, H as float64 numpy arrays."""
        W, H = (x.double().cpu().numpy() for x in self.factors())
        return W @ H, W, H

    def save(self, path: str) -> None:
        """Write the whole state to `path`, at once: a reader sees the old file or the new one."""
        tensors: dict[str, Tensor] = {}
        parameters = _pack([p.detach() for p in self.parameters], tensors, "parameters")
        optimizer = _pack(self.optimizer.state_dict(), tensors, "optimizer")
        if self.sharded:
            for key in _of_H(tensors):
                tensors[key] = self._whole(tensors[key].to(self.device)).cpu()
        state = {
            "format": FORMAT,
            "labels": _fingerprint(self.labels),
            "model": _recipe(self.model),
            "config": asdict(self.config),
            "parameters": parameters,
            "optimizer": optimizer,
            **{name: getattr(self, name) for name in ("history", *RESTORED)},
        }
        if self.rank == 0:
            temporary = f"{path}.tmp"
            save_file(tensors, temporary, {"ntp_lite": json.dumps(state)})
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """The inverse of `save`; the number of processes may differ."""
        if self.sharded:
            for key in _of_H(tensors):
                tensors[key] = tensors[key][:, self.mine]
        with torch.no_grad():
            for parameter, value in zip(
                self.parameters, _unpack(state["parameters"], tensors), strict=True
            ):
                parameter.copy_(value)
        self.optimizer.load_state_dict(_unpack(state["optimizer"], tensors))
        self.history = state["history"]
        for name in RESTORED:
            setattr(self, name, state[name])

    def _embed(self, columns: NDArray[np.int64]) -> Tensor:
        if not isinstance(self.model, UFM):
            return self.model.embeddings(self.contexts[torch.from_numpy(columns)])
        H = self.parameters[1]
        offset = self.mine[0] if self.sharded else 0
        return H if len(columns) == H.shape[1] else H[:, torch.from_numpy(columns - offset)]

    def _batch(self) -> tuple[NDArray[np.int64], list, float]:
        """Contexts of this step in this process, their blocks, and m / (contexts in the step)."""
        m, size = self.labels.m, self.config.batch_size
        if size is None or size >= m:
            return self.mine, self.own_blocks, 1.0
        epoch, i = divmod(self.step, -(-m // size))
        if epoch != self.epoch:  # the order depends on seed and epoch alone, so nothing is saved
            self.epoch = epoch
            self.order = np.random.default_rng((self.config.seed, epoch)).permutation(m)
        batch = self.order[i * size : (i + 1) * size]
        own = np.sort(batch[(batch >= self.mine[0]) & (batch <= self.mine[-1])])
        return own, self._blocks(own), m / len(batch)

    def _blocks(self, columns: NDArray[np.int64]) -> list[tuple]:
        """The support entries of these contexts, cut into blocks of at most BLOCK logits."""
        dtype, labels = self.parameters[0].dtype, self.labels
        rows, _, P, pi = labels.tensors(self.device, dtype)
        width = max(1, BLOCK // labels.V)
        blocks = []
        for a in range(0, len(columns), width):
            chosen = columns[a : a + width]
            k = labels.support_sizes[chosen]
            where = np.repeat(np.arange(len(chosen)), k)
            entry = np.repeat(labels.N.indptr[chosen] - (np.cumsum(k) - k), k) + np.arange(k.sum())
            index = [torch.as_tensor(x, device=self.device) for x in (entry, where, chosen)]
            slab = slice(a, a + len(chosen))
            blocks.append((slab, rows[index[0]], index[1], P[index[0]], pi[index[2]]))
        return blocks

    def _sum(self, *tensors: Tensor | None) -> None:
        if self.world > 1:
            for tensor in tensors:
                if tensor is not None:
                    dist.all_reduce(tensor)

    def _whole(self, own: Tensor) -> Tensor:
        """All m columns from the processes' own ones."""
        if self.world == 1:
            return own
        whole = own.new_zeros(len(own), self.labels.m)
        whole[:, self.mine] = own
        dist.all_reduce(whole)
        return whole


def _optimizer(parameters: list[Any], config: TrainConfig) -> torch.optim.Optimizer:
    rate, decay = config.rate(0), config.weight_decay
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, rate)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, rate, weight_decay=decay)
    if config.optimizer == "sgd":  # without momentum, its decay is decoupled
        return torch.optim.SGD(parameters, rate, weight_decay=decay)
    exact = {"tolerance_grad": 0, "tolerance_change": 0, "history_size": 10}
    return torch.optim.LBFGS(parameters, rate, 1, line_search_fn="strong_wolfe", **exact)


def _processes(device: str) -> tuple[int, int, torch.device]:
    """Rank, number of processes, device; joins the group that `torchrun` announces."""
    name = device
    if device == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if name == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if name.startswith("cuda") else "gloo")
        atexit.register(dist.destroy_process_group)
    if not dist.is_initialized():
        return 0, 1, torch.device(name)
    return dist.get_rank(), dist.get_world_size(), torch.device(name)


@contextmanager
def _deferred_interrupt() -> Iterator[list[int]]:
    """A list that Ctrl-C fills, so that a step is never cut in two; a second Ctrl-C stops at once."""
    caught: list[int] = []

    def handler(number: int, frame: Any) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    if threading.current_thread() is not threading.main_thread() or dist.is_initialized():
        yield caught  # many processes would stop at different steps: there, Ctrl-C ends the run
        return
    previous = signal.signal(signal.SIGINT, handler)
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, previous)


def load_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and state of a checkpoint; no pickle is involved. Raises ValueError for any other file."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"No checkpoint at {str(path)!r}.")
    try:
        with safe_open(path, "pt") as file:
            state = json.loads((file.metadata() or {}).get("ntp_lite", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, OSError) as error:
        raise ValueError(f"{str(path)!r} is truncated or no checkpoint ({error}).") from None
    if state.get("format") != FORMAT:
        raise ValueError(f"{str(path)!r} is a safetensors file, but not an {FORMAT!r}.")
    return tensors, state


def _of_H(tensors: dict[str, Tensor]) -> list[str]:
    """Keys of the tensors that have a column per context: H is the second parameter of a UFM."""
    names = ("parameters/1", "optimizer/state/1/")
    return [key for key, value in tensors.items() if key.startswith(names) and value.ndim == 2]


def _recipe(model: torch.nn.Module) -> dict[str, Any]:
    if isinstance(model, Transformer):
        return {"class": "Transformer", "sizes": asdict(model.config)}
    if isinstance(model, UFM):
        (V, d), m = model.W.shape, model.H.shape[1]
        return {"class": "UFM", "sizes": {"V": V, "m": m, "d": d}}
    raise ValueError(f"Checkpoints hold a UFM or a Transformer, not a {type(model).__name__}.")


def _pack(value: Any, tensors: dict[str, Tensor], key: str) -> Any:
    """`value` as JSON, with its tensors moved to `tensors`."""
    if isinstance(value, Tensor):
        tensors[key] = value.cpu().contiguous()
        return {"tensor": key}
    if isinstance(value, dict):
        return {str(k): _pack(v, tensors, f"{key}/{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(v, tensors, f"{key}/{i}") for i, v in enumerate(value)]
    return value


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"tensor"}:
            return tensors[value["tensor"]]
        return {int(k) if k.isdigit() else k: _unpack(v, tensors) for k, v in value.items()}
    return [_unpack(v, tensors) for v in value] if isinstance(value, list) else value


def _fingerprint(labels: SoftLabels) -> str:
    parts = (labels.N.indptr, labels.N.indices, labels.N.data)
    return hashlib.sha256(b"".join(np.int64(part).tobytes() for part in parts)).hexdigest()
