"""The decoder: causality, positions, tying, repeatability, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import ntp_lite as ntp
from ntp_lite.models import Transformer, TransformerConfig
from ntp_lite.train import TrainConfig, fit

SMALL = TransformerConfig(V=11, context_length=4, d=16, layers=2, heads=4, seed=3)
CONTEXTS = np.random.default_rng(0).integers(0, 11, size=(9, 4))


def test_shapes_and_logits():
    model = Transformer(SMALL)
    H = model.embeddings(CONTEXTS)
    assert H.shape == (16, 9)
    torch.testing.assert_close(model.logits(CONTEXTS), model.W @ H)


def test_no_position_sees_a_later_token():
    model = Transformer(SMALL)
    inside = model.tokens(torch.from_numpy(CONTEXTS)) + model.places
    states = model.norm(model.blocks(inside))
    for i in range(4):
        prefix = model.embeddings(CONTEXTS[:, : i + 1])
        torch.testing.assert_close(states[:, i].T, prefix, rtol=1e-4, atol=1e-5)


def test_order_matters_through_positions_alone_in_one_layer():
    swapped = CONTEXTS[:, [1, 0, 2, 3]]
    plain = Transformer(replace(SMALL, layers=1, positions=False))
    torch.testing.assert_close(plain.embeddings(CONTEXTS), plain.embeddings(swapped))
    placed = Transformer(replace(SMALL, layers=1))
    assert not torch.allclose(placed.embeddings(CONTEXTS), placed.embeddings(swapped), atol=1e-4)


def test_one_context_does_not_see_another():
    model = Transformer(SMALL)
    alone = torch.cat([model.embeddings(row[None]) for row in CONTEXTS], dim=1)
    torch.testing.assert_close(model.embeddings(CONTEXTS), alone, rtol=1e-4, atol=1e-5)


def test_tied_model_reads_with_the_matrix_it_writes_with():
    free, tied = Transformer(SMALL), Transformer(replace(SMALL, tied=True))
    count = [sum(p.numel() for p in model.parameters()) for model in (free, tied)]
    assert count[0] - count[1] == 11 * 16
    before = tied.embeddings(CONTEXTS).clone()
    with torch.no_grad():
        tied.W[CONTEXTS[0, -1]] += torch.arange(16.0)  # not a constant: the norm would remove it
    assert not torch.allclose(before[:, 0], tied.embeddings(CONTEXTS)[:, 0], atol=1e-3)


def test_start_depends_on_seed_alone_and_leaves_the_global_generator():
    torch.manual_seed(1)
    first, state = Transformer(SMALL), torch.random.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.manual_seed(2)
    second = Transformer(SMALL)
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.W, Transformer(replace(SMALL, seed=4)).W)


def test_without_the_last_norm_lengths_are_free():
    spread = [
        Transformer(replace(SMALL, final_norm=norm)).embeddings(CONTEXTS).norm(dim=0).std().item()
        for norm in (True, False)
    ]
    assert spread[0] < 1e-3 < 0.05 < spread[1]


@pytest.mark.parametrize(
    ("changes", "message"), [({"d": 15}, "multiple of heads"), ({"layers": 0}, "layers is 0")]
)
def test_bad_sizes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changes)


@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 0)])
def test_contexts_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="contexts have shape"):
        Transformer(SMALL).embeddings(np.zeros(shape, dtype=int))


def test_it_learns_to_the_entropy_floor(device):
    ids, vocab = ntp.load_corpus("lily")
    labels = ntp.SoftLabels.from_tokens(ids, 3, len(vocab)).select(np.arange(60))
    model = Transformer(TransformerConfig(len(vocab), 3, d=32, layers=1))
    config = TrainConfig(ridge=0, optimizer="adamw", lr=1e-2, steps=120, schedule="cosine",
                         device=device)  # fmt: skip
    result = fit(model, labels, config)
    assert result.history["excess_loss"][0] > 1
    assert result.history["excess_loss"][-1] < 0.02
    L = model.logits(labels.contexts).detach().double()
    assert result.history["excess_loss"][-1] == pytest.approx(
        float(ntp.excess_loss(L.cpu().numpy(), labels)), rel=1e-3
    )
    assert not result.converged  # without a ridge there is no optimum to be near
    assert 0 < result.certificate.alignment < 1
