"""The trainer on a second device that is not there: a tensor left on the other one is found.

PyTorch's fake tensors need a PyTorch that was built with CUDA. Here the numbers stay on the CPU and
only a note says that a tensor's memory is "on CUDA": an operation on both kinds, or numpy on one
that is noted, fails as it would there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch_models import LABELS

import ntp_lite as ntp

REAL_TO, REAL_NUMPY = torch.Tensor.to, torch.Tensor.numpy


class SecondDevice(TorchDispatchMode):
    """Knows the memory that is "on CUDA"; what is computed from it is there, too."""

    def __init__(self) -> None:
        super().__init__()
        self.there: dict[int, torch.UntypedStorage] = {}  # kept, so that no address is used twice

    def holds(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self.there

    def put(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage.nbytes():
            self.there[storage.data_ptr()] = storage

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = [x for x in tree_leaves((args, kwargs or {})) if isinstance(x, torch.Tensor)]
        if func is torch.ops.aten.copy_.default:  # the one that may join two devices
            given = given[:1]
        places = {self.holds(x) for x in given if x.numel() and (x.ndim or self.holds(x))}
        if len(places) == 2:
            raise RuntimeError(f"{func}: tensors on two devices")
        out = func(*args, **(kwargs or {}))
        if True in places:
            for x in tree_leaves(out):
                if isinstance(x, torch.Tensor):
                    self.put(x)
        return out

    def device_of(self, tensor: torch.Tensor) -> torch.device:
        return torch.device("cuda" if self.holds(tensor) else "cpu")

    def move(self, tensor: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        device, dtype = options.get("device"), options.get("dtype")
        if args:
            device, dtype, *_ = torch._C._nn._parse_to(*args)
        device = self.device_of(tensor) if device is None else torch.device(device)
        moved = tensor if dtype is None else REAL_TO(tensor, dtype)
        if device == self.device_of(moved):
            return moved
        copy = moved.clone()
        self.there.pop(copy.untyped_storage().data_ptr(), None)
        if device.type == "cuda":
            self.put(copy)
        return copy

    def to_numpy(self, tensor: torch.Tensor) -> np.ndarray:
        if self.holds(tensor):
            raise TypeError("numpy of a tensor on CUDA")
        return REAL_NUMPY(tensor)


@pytest.fixture
def second_device(monkeypatch) -> Iterator[SecondDevice]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "manual_seed", lambda seed: None)
    real_fork = torch.random.fork_rng
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: real_fork([]))
    with SecondDevice() as mode:
        monkeypatch.setattr(torch.Tensor, "to", lambda x, *a, **k: mode.move(x, *a, **k))
        monkeypatch.setattr(torch.Tensor, "cpu", lambda x: mode.move(x, "cpu"))
        monkeypatch.setattr(torch.Tensor, "numpy", lambda x: mode.to_numpy(x))
        monkeypatch.setattr(torch.Tensor, "device", property(mode.device_of), raising=False)
        yield mode


def squares(L: np.ndarray, W: np.ndarray, H: np.ndarray) -> float:
    return float((L**2).sum())


@pytest.mark.parametrize("optimizer", ntp.OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [None, 7])
def test_free_vectors_stay_on_their_device(second_device, optimizer, batch_size):
    if batch_size and ntp.OPTIMIZERS[optimizer].full_batch:
        pytest.skip("needs the full batch")
    options = {"optimizer": optimizer, "batch_size": batch_size, "steps": 3, "ridge": 1e-2}
    found, expected = (
        ntp.fit(
            ntp.UFM(12, 31, 4), LABELS, ntp.TrainConfig(device=device, **options), {"s": squares}
        )
        for device in ("cuda", "cpu")
    )
    assert all(second_device.holds(p) for p in found.model.parameters())
    assert not any(second_device.holds(p) for p in expected.model.parameters())
    np.testing.assert_allclose(found.history["s"], expected.history["s"], rtol=1e-6)
    assert found.certificate.primal == pytest.approx(expected.certificate.primal, rel=1e-6)


def test_a_decoder_stays_on_its_device_and_is_saved_from_there(second_device, tmp_path):
    labels = ntp.SoftLabels.from_counts(LABELS.N, np.arange(31)[:, None] % 12)
    model = ntp.Transformer(ntp.TransformerConfig(12, 1, d=8, layers=1))
    path = tmp_path / "run.safetensors"
    config = ntp.TrainConfig(optimizer="muon", device="cuda", steps=3, checkpoint=path)
    ntp.fit(model, labels, config)
    assert all(second_device.holds(p) for p in model.parameters())
    again = ntp.Transformer(ntp.TransformerConfig(12, 1, d=8, layers=1, seed=1))
    ntp.resume(path, again, labels, steps=5)
    assert all(second_device.holds(p) for p in again.parameters())


def test_one_tensor_on_the_other_device_is_found(second_device):
    it = ntp.Trainer(ntp.UFM(12, 31, 4), LABELS, ntp.TrainConfig(device="cuda", tol=None))
    blocks = it.objective.batches.whole.blocks
    blocks[0] = blocks[0]._replace(weights=blocks[0].weights.cpu())
    with pytest.raises(RuntimeError, match="two devices"):
        it.loss_and_gradients()
    with pytest.raises(TypeError, match="numpy of a tensor on CUDA"):
        it.model.W.detach().numpy()
