"""Training on soft labels, with one process or many, judged by the certificate (chs. 03, 13-16)."""

from __future__ import annotations

import atexit
import hashlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn, optim
from tqdm import tqdm

from ._validate import check_sizes, torch_device
from .certificate import Certificate, certify_ridge
from .loss import FactoredExcess, SupportBlock, support_blocks
from .metrics import Array, Metrics
from .models import UFM
from .soft_labels import SoftLabels

BLOCK = 2**20  # logits that exist at once
FORMAT = "ntp_lite checkpoint 2"
SAVED = ("history", "step", "seconds", "loss", "stalled")
# Class and default learning rate. Without momentum the decay of SGD is decoupled.
OPTIMIZERS: dict[str, tuple[Any, float]] = {
    "lbfgs": (optim.LBFGS, 1.0),
    "adam": (optim.Adam, 3e-3),
    "adamw": (optim.AdamW, 3e-3),
    "sgd": (optim.SGD, 1.0),
}
LBFGS = {
    "max_iter": 1, "max_eval": 25, "history_size": 10, "tolerance_grad": 0, "tolerance_change": 0,
    "line_search_fn": "strong_wolfe",
}  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Raises ValueError for values that make no sense.

    ridge : the penalty (ridge/2)(|W|^2 + |H|^2) inside the loss; H are the vectors of all m
        contexts, for a transformer its last hidden states.
    optimizer : "lbfgs" (strong Wolfe line search), "adam", "adamw" or "sgd". lr : None means 1 for
        "lbfgs" and "sgd", 0.003 for the others.
    weight_decay : decoupled decay of "adamw" and "sgd"; apart from `ridge`, and uncertified.
    steps : at most this many. schedule : "constant", "cosine" (to 0, after 2% of warm-up) or
        "step" (times 0.3 after one half and again after three quarters).
    batch_size : contexts per step, without replacement in each epoch; None is all of them.
    device : "auto" is CUDA where there is one. dtype : "float32", "float64"; None: the model's.
    seed : of the batches. A model has its own.
    tol : stop at a certified relative gap <= tol; None: no certificate (an SVD of V x m logits).
    evaluate : the steps that enter the history, or their number (log-spaced).
    checkpoint : a file, written every `checkpoint_every` steps, at the end and on Ctrl-C.
    """

    ridge: float = 1e-5
    optimizer: str = "lbfgs"
    lr: float | None = None
    weight_decay: float = 0.0
    steps: int = 3000
    schedule: str = "constant"
    batch_size: int | None = None
    device: str = "auto"
    dtype: str | None = None
    seed: int = 0
    tol: float | None = 1e-2
    evaluate: int | Sequence[int] = 50
    checkpoint: str | None = None
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        for name, allowed in (
            ("optimizer", tuple(OPTIMIZERS)),
            ("schedule", ("constant", "cosine", "step")),
            ("dtype", (None, "float32", "float64")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; use one of {allowed}.")
        for name in ("ridge", "weight_decay", "lr", "tol"):
            if not 0 <= (getattr(self, name) or 0) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; use 0 or a positive number.")
        sizes = {"steps": self.steps, "batch_size": self.batch_size}
        check_sizes(checkpoint_every=self.checkpoint_every, **sizes)
        if self.weight_decay and self.optimizer not in ("adamw", "sgd"):
            raise ValueError(f"{self.optimizer} has no decoupled decay; use adamw, sgd or ridge.")
        if self.batch_size and self.optimizer == "lbfgs":
            raise ValueError("lbfgs needs the full batch; drop batch_size or use adam.")

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        lr = OPTIMIZERS[self.optimizer][1] if self.lr is None else self.lr
        done = step / self.steps
        if self.schedule == "step":
            return lr * 0.3 ** ((done >= 0.5) + (done >= 0.75))
        if self.schedule == "cosine":
            lr *= min(1.0, (step + 1) / (0.02 * self.steps)) * (1 + math.cos(math.pi * done)) / 2
        return lr

    def evaluation_steps(self) -> set[int]:
        """The steps that enter the history; 0 and the last are always among them."""
        chosen: Any = self.evaluate
        if isinstance(chosen, int):
            chosen = np.geomspace(1, self.steps, max(2, chosen)).round().astype(int).tolist()
        return {0, self.steps, *(step for step in chosen if step <= self.steps)}


@dataclass(frozen=True)
class FitResult:
    """A trained model and the judgement on it.

    model : the one passed in, trained in place. history : equal-length lists "step", "seconds" (of
    training alone), "excess_loss", "objective" (excess loss + penalty) and one per metric.
    certificate : `certify_ridge` of the final logits at the ridge, or at |G|_op without one; None
    if tol=None. converged : ridge > 0 and certified relative gap <= tol. seconds : in all.
    """

    model: nn.Module = field(repr=False)
    history: dict[str, list[float]] = field(repr=False)
    seconds: float
    certificate: Certificate | None
    converged: bool
    message: str


def fit(
    model: nn.Module, labels: SoftLabels, config: TrainConfig | None = None,
    metrics: Metrics | None = None, progress: bool = False,
) -> FitResult:  # fmt: skip
    """Minimise CE(W H) + (ridge/2)(|W|^2 + |H|^2) over the parameters of `model`, in place.

    model : UFM, Transformer, or a module with `W` (V, d) and `embeddings(contexts)` (d, count).
    metrics : name -> function of (L, W, H), numpy float64, called at the evaluation steps; see
    `standard_metrics`. progress : show a bar with the excess loss and the time left.

    Ctrl-C lets the step end, saves, and returns what there is (a second one does not wait). Under
    `torchrun` each process holds a share of the contexts; the losses are the same.

    Raises ValueError for labels that do not fit the model and for CUDA where there is none, and
    FloatingPointError, with the step and the likely cause, if the loss is not finite. Paper:
    eq. (NTP-UFM). Book: chapter 03.
    """
    return _Run(model, labels, config or TrainConfig(), metrics or {}).train(progress)


def resume(
    path: str | Path, model: nn.Module, labels: SoftLabels,
    metrics: Metrics | None = None, progress: bool = False,
) -> FitResult:  # fmt: skip
    """Continue the run that wrote the checkpoint `path`; model, labels and metrics as then.

    The model's parameters are overwritten. On a CPU the trajectory is the uninterrupted one, bit
    for bit. Raises ValueError if the file is not a whole checkpoint, or one of something else.
    """
    name = repr(str(path))
    if not Path(path).is_file():
        raise FileNotFoundError(f"No checkpoint at {name}.")
    try:
        with safe_open(path, "pt") as file:  # no pickle is involved
            text = (file.metadata() or {}).get("ntp_lite", "{}")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        state = json.loads(text)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{name} is truncated or not a checkpoint: {error}.") from None
    if state.get("format") != FORMAT:
        raise ValueError(f"{name} is a safetensors file, but no {FORMAT!r}.")
    config = TrainConfig(**state["config"] | {"checkpoint": str(path)})
    run = _Run(model, labels, config, metrics or {})
    for what, now in run.identity().items():
        if state[what] != now:
            raise ValueError(f"{name} is for other {what}: {state[what]}, not {now}.")
    run.restore(text, tensors)
    return run.train(progress)


class _Run:
    """One run: what a checkpoint holds, and the step that advances it."""

    def __init__(
        self, model: Any, labels: SoftLabels, config: TrainConfig, metrics: Metrics
    ) -> None:
        self.labels, self.config, self.metrics = labels, config, metrics
        self.rank, self.world, self.device = _processes(config.device)
        self.model = model.to(self.device, config.dtype and getattr(torch, config.dtype))
        self.parameters = list(model.parameters())
        first, last = (labels.m * r // self.world for r in (self.rank, self.rank + 1))
        self.share = slice(first, last)  # the contexts of this process
        # L-BFGS takes inner products over all parameters: there each process steps on all of H.
        self.sharded = isinstance(model, UFM) and config.optimizer != "lbfgs"
        if isinstance(model, UFM):
            if (len(model.W), model.H.shape[1]) != labels.N.shape:
                remedy = "build it as UFM(labels.V, labels.m, d)"
                raise ValueError(f"{model} is not for V={labels.V}, m={labels.m}; {remedy}.")
            if self.sharded:  # a view: steps on it are steps on the model
                self.parameters[1] = nn.Parameter(model.H.detach()[:, self.share])
        elif labels.contexts is None:
            raise ValueError("These labels carry no contexts for the model; use from_tokens.")
        else:
            self.contexts = torch.as_tensor(labels.contexts[self.share], device=self.device)
        lbfgs = config.optimizer == "lbfgs"
        options = LBFGS if lbfgs else {"weight_decay": config.weight_decay}
        self.optimizer = OPTIMIZERS[config.optimizer][0](self.parameters, config.rate(0), **options)
        self.blocks = self.blocks_of(np.arange(first, last))
        names = ("step", "seconds", "excess_loss", "objective", *metrics)
        self.history: dict[str, list[float]] = {name: [] for name in names}
        self.step, self.stalled, self.seconds, self.loss = 0, 0, 0.0, math.inf
        self.seen, self.epoch, self.interrupted = self.parameters[0].new_empty(0), -1, False
        self.certificate: Certificate | None = None

    def train(self, progress: bool) -> FitResult:
        """Steps until the last one, the certified gap, or Ctrl-C."""
        config, start, message = self.config, time.perf_counter(), ""
        stops, shown = config.evaluation_steps(), progress and self.rank == 0
        kind = tqdm
        if progress:  # the notebook's bar warns where ipywidgets are missing: import it only here
            from tqdm.auto import tqdm as kind  # type: ignore[no-redef]
        bar = kind(total=config.steps, initial=self.step, disable=not shown)
        with bar, ExitStack() as stack:
            # Many processes would be caught at different steps: there, Ctrl-C ends the run at once.
            if self.world == 1 and threading.current_thread() is threading.main_thread():
                stack.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
                signal.signal(signal.SIGINT, self.on_ctrl_c)
            if not self.step:
                self.evaluate()
            while self.step < config.steps and not message:
                self.advance()
                bar.set_postfix(excess_loss=f"{self.excess:.3e}", refresh=False)
                bar.update()
                if self.step in stops:
                    self.evaluate()
                    message = "certified" if self.settled() else ""
                if self.stalled > 20:
                    message = "no further progress in this precision"
                if self.interrupted:
                    message = "interrupted after a whole step"
                last = message or self.step == config.steps
                if config.checkpoint and (last or self.step % config.checkpoint_every == 0):
                    self.save(config.checkpoint)
        if self.history["step"][-1] < self.step:
            self.evaluate()
        converged = config.tol is not None and self.certify()
        if self.sharded:
            self.model.H.data.copy_(self.whole(self.parameters[1].detach()))
        message = message or f"did all {config.steps} steps"
        seconds = time.perf_counter() - start
        return FitResult(self.model, self.history, seconds, self.certificate, converged, message)

    def on_ctrl_c(self, *_: Any) -> None:
        """Let the step end; a second Ctrl-C does not wait."""
        self.interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def advance(self) -> None:
        """One step of the optimiser."""
        start, before = time.perf_counter(), self.loss
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate(self.step)
        self.optimizer.step(self.closure)
        self.step += 1
        self.seconds += time.perf_counter() - start
        self.stalled = self.stalled + 1 if self.loss == before else 0
        self.require_finite(self.loss)

    def require_finite(self, loss: float) -> None:
        lr = f"{self.config.rate(self.step - 1):g}"
        rate = f"a learning rate, {lr}, too large for {self.config.optimizer}: try a tenth of it"
        cause = rate if self.step else "a start that is not finite, or too large: build it anew"
        if not math.isfinite(loss):
            where = f"The loss is {loss} in step {self.step}"
            raise FloatingPointError(f"{where}; the likely cause is {cause}.")

    def closure(self) -> float:
        """Loss and gradients at the current parameters, summed over the processes."""
        scale = 1.0
        if self.config.optimizer == "lbfgs":
            # A step begins where the last line search ended: do not pay for that point twice.
            now = torch.cat([p.detach().reshape(-1) for p in self.parameters])
            if torch.equal(self.seen, now):
                return self.loss
            self.seen = now
            scale = self.labels.m  # PyTorch's L-BFGS has absolute thresholds, for gradients near 1
        columns, blocks, weight = self.batch()
        W, H = self.model.W, self.embed(columns)
        self.optimizer.zero_grad()
        excess = weight * FactoredExcess.apply(W, H, blocks)
        squares = weight * H.square().sum() + W.square().sum() / self.world
        loss = scale * (excess + self.config.ridge / 2 * squares)
        loss.backward()
        values = torch.stack([loss.detach(), excess.detach()])
        common = self.parameters[:1] if self.sharded else self.parameters
        self.sum(values, *(p.grad for p in common if p.grad is not None))
        self.loss, self.excess = values.tolist()
        return self.loss

    @torch.no_grad()
    def evaluate(self) -> None:
        """Append a row to the history; only what was asked for is computed."""
        W, H = self.model.W.detach(), self.embed().detach()  # no gradient is formed
        values = torch.stack([FactoredExcess.apply(W, H, self.blocks), H.square().sum()])
        self.sum(values)
        excess, squares = values.tolist()
        objective = excess + self.config.ridge / 2 * (squares + float(W.square().sum()))
        self.require_finite(objective)
        arrays = self.arrays() if self.metrics else ()
        measured = [float(metric(*arrays)) for metric in self.metrics.values()]
        row = [self.step, self.seconds, excess, objective, *measured]
        for column, value in zip(self.history.values(), row, strict=True):
            column.append(value)

    def settled(self) -> bool:
        """Certified; asked only once the objective nearly rests, for an answer costs an SVD."""
        before, now = self.history["objective"][-2:]
        tol = self.config.tol or 0.0
        if not tol * self.config.ridge or abs(now - before) > 10 * tol * before:
            return False
        certified = torch.tensor(float(self.certify()), device=self.device)
        self.sum(certified)  # all stop together, whatever their last digits say
        return bool(certified)

    def certify(self) -> bool:
        """Renew the certificate; is its gap within tol?"""
        ridge, tol = self.config.ridge, self.config.tol or 0.0
        self.certificate = certify_ridge(self.arrays()[0], self.labels, ridge or None)
        return ridge > 0 and self.certificate.relative_gap <= tol

    @torch.no_grad()
    def arrays(self) -> tuple[Array, Array, Array]:
        """L, W and the whole of H as numpy float64."""
        W, H = (A.double().cpu().numpy() for A in (self.model.W, self.whole(self.embed())))
        return W @ H, W, H

    def embed(self, columns: slice | NDArray[np.int64] = slice(None)) -> Tensor:
        """The vectors (d, count) of these contexts, counted within this process's share."""
        if not isinstance(self.model, UFM):
            return self.model.embeddings(self.contexts[columns])
        H = self.parameters[1]
        return (H if self.sharded else H[:, self.share])[:, columns]

    def batch(self) -> tuple[slice | NDArray[np.int64], list[SupportBlock], float]:
        """This process's contexts in this step, their blocks, m / all contexts of the step."""
        m, size = self.labels.m, self.config.batch_size or self.labels.m
        if size >= m:
            return slice(None), self.blocks, 1.0
        epoch, i = divmod(self.step, -(-m // size))
        if epoch != self.epoch:  # its order follows from seed and epoch: there is nothing to save
            self.order = np.random.default_rng((self.config.seed, epoch)).permutation(m)
            self.epoch = epoch
        drawn = self.order[i * size : (i + 1) * size]
        own = np.intersect1d(drawn, np.arange(m)[self.share])
        return own - self.share.start, self.blocks_of(own), m / len(drawn)

    def blocks_of(self, columns: NDArray[np.int64]) -> list[SupportBlock]:
        """The support entries of these contexts in blocks of at most BLOCK logits."""
        dtype = self.parameters[0].dtype
        return support_blocks(self.labels, columns, self.device, dtype, BLOCK)

    def sum(self, *tensors: Tensor) -> None:
        """Sum over the processes, in place."""
        for tensor in tensors if self.world > 1 else ():
            dist.all_reduce(tensor)

    def whole(self, own: Tensor) -> Tensor:
        """All m columns from each process's own."""
        full = own.new_zeros(len(own), self.labels.m)
        full[:, self.share] = own
        self.sum(full)
        return full

    def identity(self) -> dict[str, Any]:
        """What must be the same when a checkpoint is resumed."""
        N = self.labels.N
        counts = b"".join(np.int64(part).tobytes() for part in (N.indptr, N.indices, N.data))
        sizes = {name: list(p.shape) for name, p in self.model.named_parameters()}
        labels = hashlib.sha256(counts).hexdigest()[:16]
        return {"labels": labels, "sizes": sizes, "metrics": list(self.metrics)}

    def save(self, path: str) -> None:
        """Replace `path` in one stroke: whoever reads it sees the old state or the new one."""
        tensors: dict[str, Tensor] = {}
        H = self.parameters[1] if self.sharded else None
        of_H = [] if H is None else [H, *self.optimizer.state.get(H, {}).values()]  # in columns

        def beside(tensor: Tensor) -> dict[str, Any]:
            """What stands for a tensor in the JSON text."""
            cut = tensor.ndim == 2 and any(tensor is part for part in of_H)
            key, value = str(len(tensors)), tensor.detach()
            tensors[key] = (self.whole(value) if cut else value).cpu().contiguous()
            return {"tensor": key, "cut": cut}

        state = {"format": FORMAT, "config": asdict(self.config), **self.identity()}
        state |= {name: getattr(self, name) for name in SAVED}
        state |= {"parameters": self.parameters, "optimizer": self.optimizer.state_dict()}
        text = json.dumps(state, default=beside)
        if self.rank == 0:
            save_file(tensors, f"{path}.tmp", {"ntp_lite": text})
            with open(f"{path}.tmp", "rb") as file:
                os.fsync(file.fileno())
            os.replace(f"{path}.tmp", path)

    def restore(self, text: str, tensors: dict[str, Tensor]) -> None:
        """Undo `save`; the number of processes may be another one."""

        def tensor_or_item(item: dict[str, Any]) -> Any:
            if item.keys() != {"tensor", "cut"}:
                return item
            value = tensors[item["tensor"]]
            return value[:, self.share] if item["cut"] else value

        state = json.loads(text, object_hook=tensor_or_item)
        for own, saved in zip(self.parameters, state["parameters"], strict=True):
            own.data.copy_(saved)
        optimizer = state["optimizer"]  # its keys are numbers, which JSON made strings
        optimizer["state"] = {int(i): value for i, value in optimizer["state"].items()}
        self.optimizer.load_state_dict(optimizer)
        for name in SAVED:
            setattr(self, name, state[name])


def _processes(name: str) -> tuple[int, int, torch.device]:
    """Rank, number of processes, device; joins the group that `torchrun` announces."""
    device = torch_device(name)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if device == torch.device("cuda"):
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    if not dist.is_initialized():
        return 0, 1, device
    return dist.get_rank(), dist.get_world_size(), device
