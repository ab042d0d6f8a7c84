"""Optimisers by name: what their records say is so, and the two that step along matrices."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn, optim
from torch_models import LABELS, NAMED, ufm

import ntp_lite as ntp
from ntp_lite import OPTIMIZERS, Status, TrainConfig, Trainer, fit
from ntp_lite.optimizers import LBFGS, SpectralDescent, matrices_of, polar_factor

RNG = np.random.default_rng(0)


def matrix(*shape: int) -> torch.Tensor:
    return torch.from_numpy(RNG.normal(size=shape))


# Spectral descent


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (6, 1)])
def test_the_polar_factor_is_the_nearest_matrix_with_unit_singular_values(shape):
    A = matrix(*shape)
    U, _, Vt = np.linalg.svd(A.numpy(), full_matrices=False)
    np.testing.assert_allclose(polar_factor(A).numpy(), U @ Vt, atol=1e-12)


def test_the_polar_factor_of_what_lacks_rank():
    left, right = matrix(6, 2), matrix(2, 5)
    found = np.linalg.svd(polar_factor(left @ right).numpy(), compute_uv=False)
    np.testing.assert_allclose(found, [1, 1, 0, 0, 0], atol=1e-10)
    assert torch.equal(polar_factor(torch.zeros(3, 4)), torch.zeros(3, 4))
    g = matrix(7)
    torch.testing.assert_close(polar_factor(g), g / g.norm())


def test_spectral_descent_lowers_the_linearised_loss_by_lr_times_the_nuclear_norm():
    parameter, vector, unused = (nn.Parameter(matrix(*s)) for s in ((5, 3), (4,), (2, 2)))
    before = [p.detach().clone() for p in (parameter, vector, unused)]
    G, g = matrix(5, 3), matrix(4)

    def closure() -> float:
        parameter.grad, vector.grad = G.clone(), g.clone()
        return 1.5

    loss = SpectralDescent([parameter, vector, unused], lr=0.1).step(closure)
    assert loss == 1.5
    change = (parameter - before[0]).detach()
    assert float((change * G).sum()) == pytest.approx(-0.1 * np.linalg.norm(G.numpy(), "nuc"))
    assert np.linalg.norm(change.numpy(), 2) == pytest.approx(0.1)
    torch.testing.assert_close(vector.detach(), before[1] - 0.1 * g / g.norm())
    assert torch.equal(unused, before[2])


def test_spectral_descent_has_decoupled_decay():
    model = ufm()
    W = model.W.detach().clone()
    gradient = torch.autograd.grad(ntp.excess_loss(model.logits(), LABELS), model.W)[0]
    options = {"optimizer": "spectral", "lr": 0.5, "weight_decay": 0.1, "ridge": 0}
    fit(model, LABELS, TrainConfig(steps=1, **options))
    torch.testing.assert_close(model.W.detach(), 0.95 * W - 0.5 * polar_factor(gradient))


@pytest.mark.parametrize(("name", "lr"), [("spectral", 0.1), ("muon", 0.03)])
def test_free_vectors_are_trained_to_a_certified_gap(name, lr):
    config = TrainConfig(
        ridge=1e-2, optimizer=name, lr=lr, steps=500, schedule="cosine", tol=1e-2, evaluate=2
    )
    result = fit(ufm(), LABELS, config)
    assert result.status is Status.CONVERGED, result.message
    best = ntp.solve_ridge(LABELS, 1e-2).certificate
    assert best.dual * (1 - 1e-9) <= result.history["objective"][-1] <= 1.01 * best.primal


# Muon


@pytest.mark.parametrize("name", ["W", "H"])
def test_the_first_step_of_muon_is_the_orthogonalised_gradient(name):
    """Its singular vectors are the gradient's, its singular values near 1 (by five iterations)."""
    model = ufm(d=5)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    fit(model, LABELS, TrainConfig(ridge=0, optimizer="muon", lr=0.1, steps=1, tol=None))
    loss = ntp.excess_loss(start["W"].requires_grad_() @ start["H"].requires_grad_(), LABELS)
    gradient = torch.autograd.grad(loss, start[name])[0]
    step = (start[name] - getattr(model, name)).detach() / 0.1
    step /= 0.2 * max(step.shape) ** 0.5  # the scale that makes an entry move as under AdamW
    U, _, Vt = torch.linalg.svd(gradient, full_matrices=False)
    values = U.T @ step @ Vt.T
    assert values.diag().min() > 0.6 and values.diag().max() < 1.3
    assert (values - values.diag().diag()).abs().max() < 0.05  # bfloat16 inside
    assert (U @ values @ Vt - step).norm() < 0.05 * step.norm()


def decoder(**options: object) -> ntp.Transformer:
    return ntp.Transformer(ntp.TransformerConfig(31, 1, d=8, layers=2, **options))


WORDS = ntp.SoftLabels.from_counts(ntp.random_soft_labels(31, 31, 3).N, NAMED.contexts)


@pytest.mark.parametrize("tied", [False, True])
def test_muon_takes_the_linear_maps_of_a_decoder_and_adamw_the_rest(tied):
    model = decoder(tied=tied)
    it = Trainer(model, WORDS, TrainConfig(optimizer="muon", weight_decay=0.1))
    muon, adamw = it.optimizers
    names = {id(p): name for name, p in model.named_parameters()}
    of_muon = {names[id(p)] for p in muon.param_groups[0]["params"]}
    of_adamw = {names[id(p)] for p in adamw.param_groups[0]["params"]}
    assert isinstance(muon, optim.Muon) and isinstance(adamw, optim.AdamW)
    assert of_muon == {
        f"blocks.{i}.{part}.weight"
        for i in range(2)
        for part in ("queries_keys_values", "output", "mlp.0", "mlp.2")
    }
    assert of_muon | of_adamw == set(names.values())
    assert {"W", "places", "norm.weight", "blocks.0.norm_mlp.bias"} <= of_adamw
    assert muon.param_groups[0]["weight_decay"] == adamw.param_groups[0]["weight_decay"] == 0.1


def test_both_step_on_the_gradients_of_the_same_point():
    model = decoder()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    it = Trainer(model, WORDS, TrainConfig(optimizer="muon", lr=1e-3, ridge=0))
    it.loss_and_gradients()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    it.step()
    for name in ("W", "tokens.weight"):  # the first step of AdamW is lr times the sign
        change = getattr(model, name.split(".")[0])
        change = (change if name == "W" else change.weight).detach() - before[name]
        known = gradients[name].abs() > 1e-6
        torch.testing.assert_close(
            change[known], -1e-3 * gradients[name][known].sign(), rtol=1e-2, atol=1e-6
        )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_lowers_a_decoders_loss(optimizer):
    model = decoder()
    config = TrainConfig(ridge=0, optimizer=optimizer, steps=30, tol=None, schedule="cosine")
    history = fit(model, WORDS, config).history["excess_loss"]
    assert history[-1] < 0.9 * history[0]


def test_muon_without_a_matrix_is_refused():
    model = decoder().requires_grad_(False)
    model.W.requires_grad_()
    with pytest.raises(ValueError, match="Muon is for matrices, and this model has none"):
        fit(model, WORDS, TrainConfig(optimizer="muon"))


def test_muon_where_pytorch_lacks_it_is_one_sentence(monkeypatch):
    monkeypatch.delattr(optim, "Muon")
    with pytest.raises(ValueError, match=r"muon needs PyTorch 2.9 or newer, and this is .*adamw"):
        TrainConfig(optimizer="muon")


# Records and L-BFGS


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_records_say_what_is_so(name):
    record = OPTIMIZERS[name]
    assert TrainConfig(optimizer=name).rate(0) == record.lr
    decayed = {"optimizer": name, "weight_decay": 0.1}
    if record.decoupled_decay:
        TrainConfig(**decayed)
    else:
        with pytest.raises(ValueError, match="no decoupled decay"):
            TrainConfig(**decayed)
    if record.full_batch:
        with pytest.raises(ValueError, match="full batch"):
            TrainConfig(optimizer=name, batch_size=3)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_entrywise_is_that_columns_may_step_apart(name):
    """The step of the first columns of H, alone, is that in the whole; or the record says no."""
    H, G = matrix(4, 6), matrix(4, 6)

    def stepped(columns: slice) -> torch.Tensor:
        parameter = nn.Parameter(H[:, columns].clone())
        (optimizer,) = OPTIMIZERS[name].build([parameter], [parameter], 0.0)

        def closure() -> float:
            parameter.grad = G[:, columns].clone()
            return float((parameter.detach() * G[:, columns]).sum())

        for group in optimizer.param_groups:
            group["lr"] = 0.1
        optimizer.step(closure)
        return parameter.detach()

    apart = torch.cat([stepped(slice(0, 2)), stepped(slice(2, 6))], dim=1)
    equal = torch.allclose(apart, stepped(slice(0, 6)), atol=1e-12)
    assert equal == OPTIMIZERS[name].entrywise


def test_lbfgs_pays_for_no_point_twice_and_remembers_across_a_restart():
    target = matrix(4, 3)

    def problem(start: torch.Tensor) -> tuple[nn.Parameter, LBFGS, list[torch.Tensor]]:
        parameter = nn.Parameter(start.clone())
        return parameter, LBFGS([parameter]), []

    def steps(count: int, parameter: nn.Parameter, optimizer: LBFGS, seen: list) -> None:
        def closure() -> float:
            parameter.grad = None
            loss = ((parameter - target) ** 4).sum()
            loss.backward()
            seen.append(parameter.detach().clone())
            return loss.item()

        for _ in range(count):
            optimizer.step(closure)

    first, optimizer, seen = problem(torch.zeros(4, 3, dtype=torch.float64))
    steps(5, first, optimizer, seen)
    repeated = sum(torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])
    assert repeated == 0
    second, another, seen_again = problem(first.detach())
    another.load_state_dict(deepcopy(optimizer.state_dict()))  # or both would write in it
    torch.testing.assert_close(second.grad, 4 * (first.detach() - target) ** 3)
    seen.clear()
    steps(4, first, optimizer, seen)
    steps(4, second, another, seen_again)
    assert torch.equal(first, second)
    assert len(seen) == len(seen_again)


def test_matrices_are_the_trainable_maps():
    model = ufm()
    assert [id(p) for p in matrices_of(model)] == [id(model.W), id(model.H)]
    model.H.requires_grad_(False)
    assert [id(p) for p in matrices_of(model)] == [id(model.W)]
