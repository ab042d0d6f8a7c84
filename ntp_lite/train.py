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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, optim
from tqdm.auto import tqdm

from .certificate import Certificate, certify_ridge
from .decomposition import in_support_logits, split_logits
from .geometry import support_collapse, word_context_factors
from .loss import FactoredExcess
from .margin import centered_support
from .soft_labels import SoftLabels
from .ufm import UFM

Array = NDArray[np.float64]
Metric = Callable[[Array, Array, Array], float]

BLOCK = 2**20  # logits that exist at once
FORMAT = "ntp_lite checkpoint 1"
SAVED = ("history", "step", "seconds", "loss", "stalled")
LBFGS = {
    "max_iter": 1, "max_eval": 25, "history_size": 10, "tolerance_grad": 0, "tolerance_change": 0,
    "line_search_fn": "strong_wolfe",
}  # fmt: skip
# Class, default learning rate, options. Without momentum the decay of SGD is decoupled.
OPTIMIZERS: dict[str, tuple[Any, float, dict[str, Any]]] = {
    "lbfgs": (optim.LBFGS, 1.0, LBFGS),
    "adam": (optim.Adam, 3e-3, {}),
    "adamw": (optim.AdamW, 3e-3, {}),
    "sgd": (optim.SGD, 1.0, {}),
}


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
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; use 0 or a positive number.")
        for name in ("steps", "checkpoint_every", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; use 1 or more.")
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

    model: torch.nn.Module = field(repr=False)
    history: dict[str, list[float]] = field(repr=False)
    seconds: float
    certificate: Certificate | None
    converged: bool
    message: str


def fit(
    model: torch.nn.Module,
    labels: SoftLabels,
    config: TrainConfig | None = None,
    metrics: dict[str, Metric] | None = None,
    progress: bool = False,
) -> FitResult:
    """Minimise CE(W H) + (ridge/2)(|W|^2 + |H|^2) over the parameters of `model`, in place.

    Parameters
    ----------
    model : UFM, Transformer, or a module with `W` (V, d) and `embeddings(contexts)` (d, count).
    metrics : name -> function of (L, W, H), numpy float64, called at the evaluation steps; see
        `standard_metrics`.
    progress : show a bar with the excess loss and the time left.

    Ctrl-C lets the step end, saves, and returns what there is (a second one does not wait). Under
    `torchrun` each process holds a share of the contexts; the losses are the same.

    Raises ValueError for labels that do not fit the model, and FloatingPointError, with the step
    and the likely cause, if the loss is not finite. Paper: eq. (NTP-UFM). Book: chapter 03.
    """
    return _Run(model, labels, config or TrainConfig(), metrics or {}).train(progress)


def resume(
    path: str | Path,
    model: torch.nn.Module,
    labels: SoftLabels,
    metrics: dict[str, Metric] | None = None,
    progress: bool = False,
) -> FitResult:
    """Continue the run that wrote the checkpoint `path`; model, labels and metrics as then.

    The model's parameters are overwritten. On a CPU the trajectory is the uninterrupted one, bit
    for bit. Raises ValueError if the file is not a whole checkpoint, or one of something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"No checkpoint at {str(path)!r}.")
    try:
        with safe_open(path, "pt") as file:  # no pickle is involved
            state = json.loads((file.metadata() or {}).get("ntp_lite", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is truncated or not a checkpoint: {error}.") from None
    if state.get("format") != FORMAT:
        raise ValueError(f"{str(path)!r} is a safetensors file, but no {FORMAT!r}.")
    config = TrainConfig(**state["config"] | {"checkpoint": str(path)})
    run = _Run(model, labels, config, metrics or {})
    for what, now in run.identity().items():
        if state[what] != now:
            raise ValueError(f"{str(path)!r} is for other {what}: {state[what]}, not {now}.")
    run.restore(tensors, state)
    return run.train(progress)


class _Run:
    """One run: what a checkpoint holds, and the step that advances it."""

    def __init__(
        self, model: Any, labels: SoftLabels, config: TrainConfig, metrics: dict[str, Metric]
    ) -> None:
        self.labels, self.config, self.metrics = labels, config, metrics
        self.rank, self.world, self.device = _processes(config.device)
        self.model = model.to(self.device, config.dtype and getattr(torch, config.dtype))
        self.parameters = list(model.parameters())
        first, last = (labels.m * r // self.world for r in (self.rank, self.rank + 1))
        self.mine = np.arange(first, last)  # the contexts of this process
        self.sharded = False
        if isinstance(model, UFM):
            sizes = (len(model.W), model.H.shape[1])
            if sizes != labels.N.shape:
                raise ValueError(
                    f"The model has (V, m) = {sizes}, the labels {labels.N.shape}; "
                    "build it as UFM(labels.V, labels.m, d)."
                )
            # L-BFGS takes inner products over all parameters: there each process has all of H.
            self.sharded = self.world > 1 and config.optimizer != "lbfgs"
            if self.sharded:
                self.parameters[1] = torch.nn.Parameter(model.H.detach()[:, first:last].clone())
        elif labels.contexts is None:
            raise ValueError("These labels carry no contexts for the model; use from_tokens.")
        else:
            self.contexts = torch.as_tensor(labels.contexts, device=self.device)
        kind, _, options = OPTIMIZERS[config.optimizer]
        if config.optimizer in ("adamw", "sgd"):
            options = {"weight_decay": config.weight_decay}
        self.optimizer = kind(self.parameters, lr=config.rate(0), **options)
        self.blocks = self.blocks_of(self.mine)
        names = ("step", "seconds", "excess_loss", "objective", *metrics)
        self.history: dict[str, list[float]] = {name: [] for name in names}
        self.step, self.stalled, self.seconds = 0, 0, 0.0
        self.loss, self.excess = math.inf, math.inf
        self.seen: list[Tensor] = []
        self.epoch = -1

    def train(self, progress: bool) -> FitResult:
        """Steps until the last one, the certified gap, or Ctrl-C."""
        config, start, message = self.config, time.perf_counter(), ""
        stops, interrupted = config.evaluation_steps(), threading.Event()
        bar = tqdm(total=config.steps, initial=self.step, disable=not progress or self.rank > 0)
        # Many processes would be caught at different steps: there, Ctrl-C ends the run at once.
        catch = self.world == 1 and threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGINT)

        def on_interrupt(*_: Any) -> None:
            interrupted.set()
            signal.signal(signal.SIGINT, before)

        if catch:
            signal.signal(signal.SIGINT, on_interrupt)
        try:
            if not self.step:
                self.evaluate()
            while self.step < config.steps and not message:
                self.advance()
                bar.set_postfix(excess_loss=f"{self.excess:.3e}", refresh=False)
                bar.update()
                if self.step in stops:
                    self.evaluate()
                    message = self.reason_to_stop()
                if self.stalled > 20:
                    message = "no further progress in this precision"
                if interrupted.is_set():
                    message = "interrupted after a whole step"
                last = message or self.step == config.steps
                if config.checkpoint and (last or self.step % config.checkpoint_every == 0):
                    self.save(config.checkpoint)
        finally:
            bar.close()
            if catch:
                signal.signal(signal.SIGINT, before)
        if self.history["step"][-1] < self.step:
            self.evaluate()
        certificate = None if config.tol is None else self.certify()
        if self.sharded:
            self.model.H.data.copy_(self.whole(self.parameters[1].detach()))
        return FitResult(
            model=self.model,
            history=self.history,
            seconds=time.perf_counter() - start,
            certificate=certificate,
            converged=self.certified(certificate),
            message=message or f"did all {config.steps} steps",
        )

    def advance(self) -> None:
        """One step of the optimiser."""
        start, before, rate = time.perf_counter(), self.loss, self.config.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step(self.closure)
        self.step += 1
        self.seconds += time.perf_counter() - start
        self.stalled = self.stalled + 1 if self.loss == before else 0
        self.require_finite(self.loss)

    def require_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss} in step {self.step}; the likely cause is a learning rate, "
                f"{self.config.rate(self.step - 1):g}, too large for {self.config.optimizer}: "
                "try a tenth of it."
            )

    def closure(self) -> float:
        """Loss and gradients at the current parameters, summed over the processes."""
        scale = 1.0
        if self.config.optimizer == "lbfgs":
            # A step begins where the last line search ended: do not pay for that point twice.
            now = [p.detach() for p in self.parameters]
            if self.seen and all(map(torch.equal, self.seen, now)):
                return self.loss
            self.seen = [p.clone() for p in now]
            scale = self.labels.m  # PyTorch's L-BFGS has absolute thresholds, for gradients near 1
        columns, blocks, share = self.batch()
        W, H = self.model.W, self.embed(columns)
        self.optimizer.zero_grad()
        excess = share * FactoredExcess.apply(W, H, blocks)
        squares = share * H.square().sum() + W.square().sum() / self.world
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
        W, H = self.model.W.detach(), self.embed(self.mine).detach()  # no gradient is formed
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

    def reason_to_stop(self) -> str:
        """Certify once the objective has nearly settled, for a certificate costs an SVD."""
        config, objective = self.config, self.history["objective"]
        if not config.tol or not config.ridge or len(objective) < 2:
            return ""
        if abs(objective[-1] - objective[-2]) > 10 * config.tol * objective[-2]:
            return ""
        done = torch.tensor(float(self.certified(self.certify())), device=self.device)
        if self.world > 1:
            dist.broadcast(done, 0)  # all stop together, whatever their last digits say
        return "certified" if done else ""

    def certify(self) -> Certificate:
        return certify_ridge(self.arrays()[0], self.labels, self.config.ridge or None)

    def certified(self, certificate: Certificate | None) -> bool:
        gap = math.inf if certificate is None else certificate.relative_gap
        return self.config.ridge > 0 and gap <= (self.config.tol or 0)

    @torch.no_grad()
    def arrays(self) -> tuple[Array, Array, Array]:
        """L, W and the whole of H as numpy float64."""
        H = self.whole(self.embed(self.mine)).double().cpu().numpy()
        W = self.model.W.double().cpu().numpy()
        return W @ H, W, H

    def embed(self, columns: NDArray[np.int64]) -> Tensor:
        """The vectors of these contexts, in ascending order, (d, count)."""
        index = torch.from_numpy(columns)
        if not isinstance(self.model, UFM):
            return self.model.embeddings(self.contexts[index])
        H = self.parameters[1]
        if len(columns) == H.shape[1]:
            return H
        return H[:, index - (self.mine[0] if self.sharded else 0)]

    def batch(self) -> tuple[NDArray[np.int64], list[tuple], float]:
        """Contexts of this step in this process, their blocks, m / contexts of the step."""
        m, size = self.labels.m, self.config.batch_size or self.labels.m
        if size >= m:
            return self.mine, self.blocks, 1.0
        epoch, i = divmod(self.step, -(-m // size))
        if epoch != self.epoch:  # its order follows from seed and epoch: there is nothing to save
            self.order = np.random.default_rng((self.config.seed, epoch)).permutation(m)
            self.epoch = epoch
        drawn = self.order[i * size : (i + 1) * size]
        own = np.intersect1d(drawn, self.mine)
        return own, self.blocks_of(own), m / len(drawn)

    def blocks_of(self, columns: NDArray[np.int64]) -> list[tuple]:
        """The support entries of these contexts in blocks of at most BLOCK logits."""
        blocks, width = [], max(1, BLOCK // self.labels.V)
        for a in range(0, len(columns), width):
            part = self.labels.select(columns[a : a + width])
            rows, where, P, pi = part.tensors(self.device, self.parameters[0].dtype)
            blocks.append((slice(a, a + part.m), rows, where, P, pi * (part.n / self.labels.n)))
        return blocks

    def sum(self, *tensors: Tensor) -> None:
        """Sum over the processes, in place."""
        for tensor in tensors if self.world > 1 else ():
            dist.all_reduce(tensor)

    def whole(self, own: Tensor) -> Tensor:
        """All m columns from each process's own."""
        if self.world == 1:
            return own
        full = own.new_zeros(len(own), self.labels.m)
        full[:, self.mine] = own
        self.sum(full)
        return full

    def identity(self) -> dict[str, Any]:
        """What must be the same when a checkpoint is resumed."""
        N = self.labels.N
        counts = b"".join(np.int64(part).tobytes() for part in (N.indptr, N.indices, N.data))
        return {
            "labels": hashlib.sha256(counts).hexdigest()[:16],
            "sizes": {name: list(p.shape) for name, p in self.model.named_parameters()},
            "metrics": list(self.metrics),
        }

    def save(self, path: str) -> None:
        """Replace `path` in one stroke: whoever reads it sees the old state or the new one."""
        tensors: dict[str, Tensor] = {}
        nested = {"parameters": dict(enumerate(self.parameters)), **self.optimizer.state_dict()}
        state = _pack(nested, tensors, "")
        for key in self.keys_of_H(tensors):
            tensors[key] = self.whole(tensors[key].to(self.device)).cpu()
        state |= {"format": FORMAT, "config": asdict(self.config)} | self.identity()
        state |= {name: getattr(self, name) for name in SAVED}
        if self.rank == 0:
            save_file(tensors, f"{path}.tmp", {"ntp_lite": json.dumps(state)})
            with open(f"{path}.tmp", "rb") as file:
                os.fsync(file.fileno())
            os.replace(f"{path}.tmp", path)

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Undo `save`; the number of processes may be another one."""
        for key in self.keys_of_H(tensors):
            tensors[key] = tensors[key][:, self.mine]
        nested = _unpack({k: state[k] for k in ("parameters", "state", "param_groups")}, tensors)
        for i, value in nested.pop("parameters").items():
            self.parameters[i].data.copy_(value)
        self.optimizer.load_state_dict(nested)
        for name in SAVED:
            setattr(self, name, state[name])

    def keys_of_H(self, tensors: dict[str, Tensor]) -> list[str]:
        """Tensors that are cut into columns: H, the second parameter, and its optimiser state."""
        names = ("/parameters/1", "/state/1/") if self.sharded else ()
        return [key for key in tensors if key.startswith(names) and tensors[key].ndim == 2]


def _processes(device: str) -> tuple[int, int, torch.device]:
    """Rank, number of processes, device; joins the group that `torchrun` announces."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if device == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        atexit.register(dist.destroy_process_group)
    if not dist.is_initialized():
        return 0, 1, torch.device(device)
    return dist.get_rank(), dist.get_world_size(), torch.device(device)


def _pack(value: Any, tensors: dict[str, Tensor], key: str) -> Any:
    """`value` as JSON; its tensors move to `tensors`."""
    if isinstance(value, Tensor):
        tensors[key] = value.detach().cpu().contiguous()
        return {"tensor": key}
    if isinstance(value, dict):
        return {str(k): _pack(v, tensors, f"{key}/{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(v, tensors, f"{key}/{i}") for i, v in enumerate(value)]
    return value


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {int(k) if k.isdigit() else k: _unpack(v, tensors) for k, v in value.items()}
    return [_unpack(v, tensors) for v in value] if isinstance(value, list) else value


def standard_metrics(
    labels: SoftLabels, *names: str, L_mm: ArrayLike | None = None, ridge: float | None = None
) -> dict[str, Metric]:
    """Metrics for `fit` by name; only those named are computed. Without names: all there are.

    "norm_W", "norm_H"; "in_support_error" |P_F(L) - L_in|; "cosine_proxy" and, given `L_mm`,
    "cosine_mm" (of L with centred columns); "gram_words", "gram_contexts" (Frobenius distance of
    the normalised W W' and H'H from those of L_mm); "collapse", within / total over support classes
    with k >= 2, of L - P_F(L); "operator_norm" |G|_op, "alignment"; "relative_gap" at `ridge`.
    Raises ValueError for a name that is not known or needs L_mm or ridge. Chapters 13 and 14.
    """
    L_in, targets = in_support_logits(labels), {"proxy": centered_support(labels)}
    found: dict[str, Metric] = {
        "norm_W": lambda L, W, H: float(np.linalg.norm(W)),
        "norm_H": lambda L, W, H: float(np.linalg.norm(H)),
        "in_support_error": lambda L, W, H: float(
            np.linalg.norm((split_logits(L, labels).in_support - L_in).data)
        ),
        "collapse": lambda L, W, H: (
            support_collapse(split_logits(L, labels).orthogonal, labels).several_tokens
        ),
        "operator_norm": lambda L, W, H: certify_ridge(L, labels).operator_norm or 0.0,
        "alignment": lambda L, W, H: certify_ridge(L, labels).alignment or 0.0,
    }
    if ridge is not None:
        found["relative_gap"] = lambda L, W, H: certify_ridge(L, labels, ridge).relative_gap
    if L_mm is not None:
        targets["mm"] = np.asarray(L_mm)
        factors = word_context_factors(L_mm)
        words, contexts = _unit(factors.W @ factors.W.T), _unit(factors.H.T @ factors.H)
        found["gram_words"] = lambda L, W, H: float(np.linalg.norm(_unit(W @ W.T) - words))
        found["gram_contexts"] = lambda L, W, H: float(np.linalg.norm(_unit(H.T @ H) - contexts))
    found |= {f"cosine_{name}": _cosine_to(target) for name, target in targets.items()}
    unknown = set(names) - set(found)
    if unknown:
        raise ValueError(f"No metric {sorted(unknown)} (without L_mm, ridge?); have {list(found)}.")
    return {name: found[name] for name in names or found}


def _cosine_to(target: Array) -> Metric:
    return lambda L, W, H: float((_unit(L - L.mean(axis=0)) * _unit(target)).sum())


def _unit(A: Array) -> Array:
    return A / (np.linalg.norm(A) or 1.0)
