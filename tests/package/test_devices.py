"""The paths for other devices, on a device that only pretends: nothing is mixed or left behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretend_device import DEVICE, OnDevice, PretendDevice

import ntp_lite as ntp
from ntp_lite import loss, margin
from ntp_lite._admm import StoppingRule
from ntp_lite._threads import Workers

LABELS = ntp.random_soft_labels(12, 17, 3, seed=0)
TALL = ntp.random_soft_labels(30, 8, 3, seed=0)  # contexts are the smaller side
L = np.random.default_rng(0).normal(size=(12, 17))


def solve(labels, device):
    rule = StoppingRule(tol=1e-6, max_iter=500, check_every=10)
    return margin._solve(labels.S.toarray() > 0, rule, device, None, Workers())


@pytest.mark.parametrize("labels", [LABELS, TALL], ids=["wide", "tall"])
@pytest.mark.parametrize("float32_from", [10, 10**9], ids=["begins in float32", "float64"])
def test_the_max_margin_solver_moves_everything(labels, float32_from, monkeypatch):
    monkeypatch.setattr(margin, "FLOAT32_FROM", float32_from)
    here = solve(labels, torch.device("cpu"))
    with PretendDevice():
        there = solve(labels, DEVICE)
    assert there.converged and isinstance(there.L, np.ndarray)
    np.testing.assert_allclose(there.L, here.L, atol=1e-6)


def test_the_other_driver_brings_its_result_back_to_the_device(monkeypatch):
    def fail(gram):
        raise torch.linalg.LinAlgError

    gram = torch.tensor(L @ L.T)
    with PretendDevice():
        there = gram.to(DEVICE)
        monkeypatch.setattr(torch.linalg, "eigh", fail)
        values, vectors = margin._eigh(there)
        assert isinstance(values, OnDevice) and isinstance(vectors, OnDevice)
        np.testing.assert_allclose(values.cpu().numpy(), np.linalg.eigvalsh(L @ L.T))


def test_the_losses_move_everything():
    expected = ntp.cross_entropy(L, LABELS), ntp.excess_loss(L, LABELS)
    with PretendDevice():
        logits = torch.tensor(L).to(DEVICE)
        found = ntp.cross_entropy(logits, LABELS), ntp.excess_loss(logits, LABELS)
        assert all(isinstance(value, OnDevice) for value in found)
        assert [value.item() for value in found] == pytest.approx(expected, rel=1e-13)
        W = torch.tensor(np.ones((12, 3))).to(DEVICE)
        H = torch.tensor(np.ones((3, 17))).to(DEVICE)
        blocks = loss.support_blocks(LABELS, np.arange(17), DEVICE, torch.float64, 50)
        value = loss.FactoredExcess.apply(W, H, blocks)
        flat = ntp.excess_loss(np.zeros((12, 17)), LABELS)
        assert value.item() == pytest.approx(flat, rel=1e-13)


def test_the_pretended_device_refuses_what_a_gpu_refuses():
    with PretendDevice():
        there = torch.ones(3, 4, device=DEVICE)
        assert there.device == DEVICE and (there @ there.T).sum().item() == 36
        with pytest.raises(RuntimeError, match="same device"):
            _ = there + torch.ones(3, 4)
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()


@pytest.mark.parametrize(
    "forgotten", ["weights", "on", "row_weight", "support_weight", "Z", "U", "level"]
)
def test_a_tensor_that_stays_behind_is_noticed(forgotten, monkeypatch):
    """Mutation: one of the solver's tensors is left on the CPU."""
    to_device = margin.MarginADMM._to_device

    def leave_one(admm, *state):
        to_device(admm, *state)
        setattr(admm, forgotten, getattr(admm, forgotten).cpu())

    monkeypatch.setattr(margin.MarginADMM, "_to_device", leave_one)
    with PretendDevice(), pytest.raises(RuntimeError, match="same device"):
        solve(LABELS, DEVICE)
