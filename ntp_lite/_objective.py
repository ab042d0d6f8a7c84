"""What training minimises: CE(W H) + (ridge/2)(|W|^2 + |H|^2), over this process's contexts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._batches import Batches
from ._processes import ColumnShard, Processes
from .config import TrainConfig
from .loss import FactoredExcess
from .metrics import Array
from .models import UFM, evaluating
from .optimizers import optimizer_named
from .soft_labels import SoftLabels


class Objective:
    """Loss, gradients and the arrays behind them, for a model on its device.

    parameters : what is trained, by name: all that require a gradient. Of a UFM under several
    processes each one trains its own columns of H, if the optimiser works entry by entry;
    otherwise each holds all of H.
    """

    def __init__(
        self, model: Any, labels: SoftLabels, config: TrainConfig, processes: Processes
    ) -> None:
        optimizer = optimizer_named(config.optimizer)
        self.model = model
        self.labels = labels
        self.config = config
        self.processes = processes
        self.share = processes.share(labels.m)
        has_own_columns = type(model) is UFM and model.H.requires_grad
        self.is_sharded = processes.count > 1 and optimizer.entrywise and has_own_columns
        self.trained: Any = ColumnShard(model, self.share) if self.is_sharded else model
        self.parameters = {n: p for n, p in self.trained.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise ValueError(
                "Every parameter is frozen; call requires_grad_(True) on some of them."
            )
        # PyTorch's L-BFGS has absolute thresholds, for gradients near 1.
        self.scale = float(labels.m) if optimizer.absolute_thresholds else 1.0
        self.token_ids = self._token_ids_of_share()
        self.batches = Batches(labels, self.share, config, processes.device, model.W.dtype)

    def loss_and_gradients(self, step: int) -> tuple[float, float]:
        """Loss (times `scale`) and excess loss for the contexts of a step; sets every `.grad`."""
        batch = self.batches.at(step)
        for parameter in self.parameters.values():
            parameter.grad = None
        with self._draws_of(step):
            W = self.trained.W
            H = self.embeddings(batch.columns)
            excess = batch.weight * FactoredExcess.apply(W, H, batch.blocks)
            loss = excess
            if self.config.ridge:
                squares = batch.weight * H.square().sum() + W.square().sum() / self.processes.count
                loss = excess + self.config.ridge / 2 * squares
            loss = self.scale * loss
            loss.backward()
        values = torch.stack([loss.detach(), excess.detach()])
        shared = [p.grad for name, p in self.parameters.items() if self.is_shared(name)]
        self.processes.sum(values, *(gradient for gradient in shared if gradient is not None))
        total, total_excess = values.tolist()
        return total, total_excess

    @torch.no_grad()
    def measure(self) -> tuple[float, float]:
        """Excess loss and objective of all contexts, in evaluation mode."""
        with self._evaluating():
            W = self.trained.W
            H = self.embeddings(self.batches.whole.columns)
            values = torch.stack(
                [FactoredExcess.apply(W, H, self.batches.whole.blocks), H.square().sum()]
            )
        self.processes.sum(values)
        excess, squares = values.tolist()
        return excess, excess + self.config.ridge / 2 * (squares + float(W.square().sum()))

    @torch.no_grad()
    def arrays(self) -> tuple[Array, Array, Array]:
        """L, W and the whole of H as numpy float64; they may share memory with the model."""
        with self._evaluating():
            own = self.embeddings(self.batches.whole.columns)
        W = self.trained.W.detach().double().cpu().numpy()
        H = self.processes.whole(own, self.labels.m).double().cpu().numpy()
        return W @ H, W, H

    def embeddings(self, columns: slice | NDArray[np.int64]) -> Tensor:
        """The vectors (d, count) of these contexts, counted within this process's share."""
        if self.token_ids is not None:
            return self.trained.embeddings(self.token_ids[columns])
        first = 0 if self.is_sharded else self.share.start
        if isinstance(columns, slice):
            return self.trained.embeddings(slice(columns.start + first, columns.stop + first))
        numbers = torch.as_tensor(columns + first).to(self.processes.device)
        return self.trained.embeddings(numbers)

    def is_shared(self, parameter: str) -> bool:
        """Do all processes hold this parameter, so that its gradients must be summed?"""
        return not (self.is_sharded and parameter == "H")

    def whole(self, parameter: str, tensor: Tensor) -> Tensor:
        """All columns of a tensor that is cut as H is."""
        if self.is_shared(parameter) or tensor.ndim != 2:
            return tensor
        return self.processes.whole(tensor.detach(), self.labels.m)

    def part(self, parameter: str, tensor: Tensor) -> Tensor:
        """This process's columns of it."""
        is_whole = self.is_shared(parameter) or tensor.ndim != 2
        return tensor if is_whole else tensor[:, self.share]

    def take_from_model(self) -> None:
        """After the model was overwritten: this process's columns anew."""
        if self.is_sharded:
            self.trained.take_from(self.model)

    def put_into_model(self) -> None:
        """The columns of all processes into the model."""
        if self.is_sharded:
            self.trained.put_back(self.model, self.processes)

    def is_known_zero(self, value: float) -> bool:
        """Is `value` (nats) the optimum 0 of labels from which nothing can be learnt?

        If every token follows every context equally often, L = 0 is optimal at every ridge, with
        objective 0. No gap is small in relation to that, so rounding has to do as the measure.
        """
        counts = self.labels.N.data
        if len(counts) < self.labels.V * self.labels.m or value > np.finfo(float).eps:
            return False
        columns = counts.reshape(self.labels.m, self.labels.V)
        return bool((columns == columns[:, :1]).all())

    def _token_ids_of_share(self) -> Tensor | None:
        """What a model that reads tokens is given; None for free vectors."""
        if not getattr(self.model, "reads_tokens", True):
            return None
        own = np.asarray(self.labels.contexts)[self.share].astype(np.int64)
        return torch.as_tensor(own).to(self.processes.device)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Evaluation mode, with the running averages of process 0."""
        self.processes.copy_from_first(*self.model.buffers())
        with evaluating(self.model):
            yield

    @contextmanager
    def _draws_of(self, step: int) -> Iterator[None]:
        """What the model draws (dropout) follows from seed, step and process alone.

        So a resumed run draws what the uninterrupted one does, the line search of one step sees one
        function, and the caller's generators stay as they were.
        """
        if self.token_ids is None:  # free vectors draw nothing
            yield
            return
        device = self.processes.device
        devices = [device] if device.type == "cuda" else []
        key = (self.config.seed, step, self.processes.rank)
        seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1
        with torch.random.fork_rng(devices):
            torch.random.default_generator.manual_seed(seed)
            if devices:
                torch.cuda.manual_seed(seed)
            yield
