"""Several processes that train one model: who holds what, and how sums are formed.

Under `torchrun` every process holds a share of the contexts. Losses and gradients of shared
parameters are summed, so that all of them take the same step. Book: your_text_and_scale.
"""

from __future__ import annotations

import atexit
import hashlib
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ._validate import torch_device
from .models import UFM


@dataclass(frozen=True)
class Processes:
    """This process among `count`; alone, every method is the identity."""

    rank: int
    count: int
    device: torch.device

    @classmethod
    def join(cls, device_name: str) -> Processes:
        """Join the group that `torchrun` announces in the environment, if there is one.

        The group is left when Python ends, not when a run does: PyTorch cannot promise that a
        process which left joins again, and a script may train more than once.
        """
        device = torch_device(device_name)
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
            if device == torch.device("cuda"):
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
            atexit.register(_leave)
        if not dist.is_initialized():
            return cls(0, 1, device)
        return cls(dist.get_rank(), dist.get_world_size(), device)

    def share(self, m: int) -> slice:
        """The contexts of this process; shares differ by one at most."""
        return slice(m * self.rank // self.count, m * (self.rank + 1) // self.count)

    def sum(self, *tensors: Tensor) -> None:
        """Sum over the processes, in place."""
        for tensor in tensors if self.count > 1 else ():
            dist.all_reduce(tensor)

    def any(self, flag: bool) -> bool:
        """Is it so in any process? All of them get the same answer."""
        if self.count == 1:
            return flag
        answer = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(answer)
        return bool(answer)

    def all(self, flag: bool) -> bool:
        """Is it so in every process? All of them get the same answer."""
        return not self.any(not flag)

    @torch.no_grad()
    def copy_from_first(self, *tensors: Tensor) -> None:
        """Overwrite these tensors by those of process 0."""
        for tensor in tensors if self.count > 1 else ():
            there = tensor.detach().contiguous()
            dist.broadcast(there, 0)
            tensor.detach().copy_(there)

    def whole(self, own: Tensor, m: int) -> Tensor:
        """All m columns, from the columns that each process holds."""
        if self.count == 1:
            return own
        full = own.new_zeros(len(own), m)
        full[:, self.share(m)] = own
        self.sum(full)
        return full

    def require_equal(self, **texts: str) -> None:
        """ValueError, in every process, unless each text is the same in all of them."""
        if self.count == 1:
            return
        digests = [hashlib.sha256(text.encode()).digest()[:7] for text in texts.values()]
        least = torch.tensor([int.from_bytes(d, "big") for d in digests], device=self.device)
        largest = least.clone()
        dist.all_reduce(least, dist.ReduceOp.MIN)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        differs = (least != largest).tolist()
        names = [name for name, unequal in zip(texts, differs, strict=True) if unequal]
        if names:
            raise ValueError(
                f"The processes were started with different {' and '.join(names)}; give all of "
                "them the same."
            )


class ColumnShard(nn.Module):
    """Free vectors of which this process trains only its own columns of H; W is the model's."""

    reads_tokens = False

    def __init__(self, model: UFM, share: slice) -> None:
        super().__init__()
        self.share = share
        self.W = model.W
        self.H = nn.Parameter(model.H.detach()[:, share].clone())

    def embeddings(self, contexts: slice | Tensor) -> Tensor:
        """Columns of H, counted from the first of this process."""
        return self.H[:, contexts]

    @torch.no_grad()
    def take_from(self, model: UFM) -> None:
        """This process's columns anew."""
        self.H.copy_(model.H[:, self.share])

    @torch.no_grad()
    def put_back(self, model: UFM, processes: Processes) -> None:
        """All processes' columns into the model."""
        model.H.copy_(processes.whole(self.H.detach(), model.H.shape[1]))


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
