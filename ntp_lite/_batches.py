"""Which contexts a step of training sees (Book: your_text_and_scale)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .config import TrainConfig
from .loss import SupportBlock, support_blocks
from .soft_labels import SoftLabels

LOGITS_AT_ONCE = 2**20


class Batch(NamedTuple):
    """The part of one step's contexts that this process holds.

    columns : their numbers, counted from the first context of this process's share.
    blocks : their soft labels; slices of contexts count from the first of `columns`.
    weight : m / all contexts of the step, so that the losses of an epoch's batches average to the
        loss of all m.
    """

    columns: slice | NDArray[np.int64]
    blocks: list[SupportBlock]
    weight: float


class Batches:
    """The batches of one process, which holds the contexts `share`.

    An epoch's order follows from seed and epoch, so a resumed run has nothing to be told.
    """

    def __init__(
        self,
        labels: SoftLabels,
        share: slice,
        config: TrainConfig,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.labels = labels
        self.share = share
        self.seed = config.seed
        self.size = config.batch_size or labels.m
        self.device = device
        self.dtype = dtype
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)
        own = np.arange(share.start, share.stop)
        self.whole = Batch(slice(0, len(own)), self._blocks(own), 1.0)

    def at(self, step: int) -> Batch:
        """The batch of a step."""
        m = self.labels.m
        if self.size >= m:
            return self.whole
        steps_per_epoch = -(-m // self.size)
        epoch, i = divmod(step, steps_per_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(m)
            self._epoch = epoch
        drawn = self._order[i * self.size : (i + 1) * self.size]
        own = np.sort(drawn[(drawn >= self.share.start) & (drawn < self.share.stop)])
        return Batch(own - self.share.start, self._blocks(own), m / len(drawn))

    @property
    def block_columns(self) -> int:
        """How many contexts a block has at most."""
        return max(1, LOGITS_AT_ONCE // self.labels.V)

    def _blocks(self, columns: NDArray[np.int64]) -> list[SupportBlock]:
        return support_blocks(self.labels, columns, self.device, self.dtype, LOGITS_AT_ONCE)
