"""How to train: the options of `fit`, checked when they are given."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ._validate import as_array, as_number, as_size
from .optimizers import optimizer_named

SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "float64")
MOST_EVALUATIONS = 1_000_000


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Raises ValueError for values that make no sense.

    ridge : the penalty (ridge/2)(|W|^2 + |H|^2) inside the loss; H are the vectors of all m
        contexts, for a transformer its last hidden states.
    optimizer : "lbfgs" (strong Wolfe line search), "adam", "adamw", "sgd" (without momentum),
        "muon" (orthogonalised momentum, PyTorch >= 2.9; embeddings, biases and norms of a decoder
        go to AdamW) or "spectral" (normalised steepest descent in the spectral norm).
    lr : None means 1 for "lbfgs" and "sgd", 0.003 for "adam" and "adamw", 0.03 for "muon", 0.1 for
        "spectral".
    weight_decay : decoupled decay of "adamw", "sgd", "muon" and "spectral"; apart from `ridge`, and
        uncertified.
    steps : at most this many. schedule : "constant" or "cosine" (to 0, after 2% of warm-up).
    batch_size : contexts per step, without replacement in each epoch; None is all of them.
    device : "auto" is CUDA where there is one. dtype : "float32", "float64"; None: the model's.
    seed : of the batches and of what a model draws while it trains (dropout). The start of a model
        has a seed of its own.
    tol : stop at a certified relative gap <= tol; None: no certificate (an SVD of V x m logits).
    check_every : how many steps lie between two questions whether `tol` is reached; None: 50
        questions, log-spaced over `steps`. An SVD answers, but only once the objective, compared
        with that at the last question, nearly rests.
    evaluate : the steps that enter the history, or their number (log-spaced). When a run ends
        does not depend on it.
    checkpoint : a file, written before the first step, every `checkpoint_every` steps, at the end,
        on Ctrl-C and on SIGTERM. overwrite : may it replace a file that is there already?
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
    check_every: int | None = None
    evaluate: int | Sequence[int] = 50
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_every: int = 100
    overwrite: bool = False

    def __post_init__(self) -> None:
        self._keep_plain_numbers()
        self._keep_plain_texts()
        optimizer = optimizer_named(self.optimizer)
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}; use one of {SCHEDULES}.")
        if self.weight_decay and not optimizer.decoupled_decay:
            raise ValueError(
                f"{self.optimizer} has no decoupled decay; use adamw, sgd, muon, spectral or ridge."
            )
        if self.batch_size is not None and optimizer.full_batch:
            raise ValueError(f"{self.optimizer} needs the full batch; drop batch_size or use adam.")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # the class is frozen

    def _keep_plain_numbers(self) -> None:
        """Numpy and torch scalars as Python numbers, which JSON can hold, within their ranges."""
        for name in ("steps", "checkpoint_every"):
            self._set(name, as_size(getattr(self, name), name))
        for name in ("batch_size", "check_every"):
            if getattr(self, name) is not None:
                self._set(name, as_size(getattr(self, name), name))
        self._set("seed", as_size(self.seed, "seed", 0, 2**63 - 1))
        for name in ("ridge", "weight_decay", "tol"):
            if getattr(self, name) is not None or name != "tol":
                self._set(name, _number_from_zero(getattr(self, name), name))
        if self.lr is not None:
            self._set("lr", _number_from_zero(self.lr, "lr"))
            if self.lr == 0:
                raise ValueError("lr is 0, and nothing would move; use a positive number.")
        self._set("evaluate", _count_or_steps(self.evaluate))

    def _keep_plain_texts(self) -> None:
        """Paths, devices and types as texts."""
        is_number = isinstance(self.device, int) and not isinstance(self.device, bool)
        self._set("device", f"cuda:{self.device}" if is_number else str(self.device or "cpu"))
        if self.dtype is not None:
            precision = str(self.dtype).removeprefix("torch.")
            if precision not in PRECISIONS:
                raise ValueError(f"dtype is {self.dtype!r}; use None or one of {PRECISIONS}.")
            self._set("dtype", precision)
        if self.checkpoint is not None:
            self._set("checkpoint", str(Path(self.checkpoint).expanduser()))
        if not isinstance(self.overwrite, bool):
            raise ValueError(f"overwrite is {self.overwrite!r}; use True or False.")

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        lr = optimizer_named(self.optimizer).lr if self.lr is None else self.lr
        if self.schedule == "constant":
            return lr
        done = step / self.steps
        warm_up = min(1.0, (step + 1) / (0.02 * self.steps))
        return lr * (warm_up * (1 + math.cos(math.pi * done)) / 2)

    def evaluation_steps(self) -> frozenset[int]:
        """The steps that enter the history; 0 and the last are always among them."""
        if isinstance(self.evaluate, int):
            return _log_spaced(self.steps, self.evaluate)
        chosen = (step for step in self.evaluate if step <= self.steps)
        return frozenset({0, self.steps, *chosen})

    def check_steps(self) -> frozenset[int] | range:
        """The steps after which the run asks whether it has converged."""
        if self.check_every is None:
            return _log_spaced(self.steps, 50)
        return range(0, self.steps + 1, self.check_every)


def _number_from_zero(value: Any, name: str) -> float:
    remedy = "use 0 or a positive number"
    number = as_number(value, name, remedy)
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} is {value}; {remedy}.")
    return number


def _count_or_steps(chosen: Any) -> int | tuple[int, ...]:
    """`evaluate`: one number, or the steps in any sequence, set or array of whole numbers."""
    if isinstance(chosen, set | frozenset | Iterator):
        chosen = list(chosen)
    if np.ndim(chosen) == 0:
        return as_size(chosen, "evaluate", 1, MOST_EVALUATIONS)
    steps = as_array(chosen, "evaluate", dtype=None)
    if steps.size == 0:
        return ()
    if steps.ndim != 1 or steps.dtype.kind not in "iu" or steps.min() < 0:
        raise ValueError(f"evaluate is {chosen!r}; use a number of steps, or a list of steps.")
    return tuple(sorted(steps.tolist()))


def _log_spaced(last: int, count: int) -> frozenset[int]:
    """0, 1, ..., last: so many steps, denser at the beginning, where most happens."""
    steps = np.geomspace(1, last, max(2, count)).round().astype(int).tolist()
    return frozenset({0, last, *steps})
