"""The decoder: causality, positions, tying, repeatability, and that it learns."""

import threading
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


@pytest.mark.parametrize("tied", [False, True])
def test_the_start_is_that_of_torchs_own_layers(tied):
    """The numbers of `torch.manual_seed`, drawn in the order in which the layers stand."""
    model = Transformer(replace(SMALL, tied=tied, layers=1))
    with torch.random.fork_rng():
        torch.manual_seed(SMALL.seed)
        expected = [torch.randn(11, 16) * 16**-0.5]
        expected += [] if tied else [torch.nn.Embedding(11, 16).weight]
        expected += [torch.randn(4, 16) * 0.02]
        for inputs, outputs in ((16, 48), (16, 16), (16, 64), (64, 16)):
            expected.append(torch.nn.Linear(inputs, outputs, bias=False).weight)
    block = model.blocks[0]
    found = [model.W, *([] if tied else [model.tokens.weight]), model.places]
    found += [block.queries_keys_values.weight, block.output.weight]
    found += [block.mlp[0].weight, block.mlp[2].weight]
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_models_built_in_threads_are_those_of_their_seeds():
    sizes = TransformerConfig(V=300, context_length=3, d=32, layers=3)
    together: dict[int, torch.Tensor] = {}
    barrier = threading.Barrier(4)

    def build(seed: int) -> None:
        barrier.wait()
        model = Transformer(replace(sizes, seed=seed))
        together[seed] = torch.cat([p.detach().flatten() for p in model.parameters()])

    for first in range(0, 24, 4):
        threads = [threading.Thread(target=build, args=(first + i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for seed, found in together.items():
        model = Transformer(replace(sizes, seed=seed))
        alone = torch.cat([p.detach().flatten() for p in model.parameters()])
        assert torch.equal(found, alone), seed


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "uint32", ">i2"])
def test_ids_of_any_integer_type(dtype):
    model = Transformer(SMALL)
    expected = model.embeddings(CONTEXTS)
    assert torch.equal(model.embeddings(CONTEXTS.astype(dtype)), expected)
    assert torch.equal(model.embeddings(CONTEXTS.astype(dtype)[::-1])[:, ::1].flip(1), expected)
    assert torch.equal(model.embeddings(CONTEXTS.tolist()), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_ids_in_tensors_of_any_integer_type(dtype):
    model = Transformer(SMALL)
    ids = torch.from_numpy(CONTEXTS)
    assert torch.equal(model.embeddings(ids.to(dtype)), model.embeddings(ids))


@pytest.mark.parametrize("contexts", [CONTEXTS / 2, CONTEXTS > 3, torch.zeros(2, 2)])
def test_ids_that_are_no_whole_numbers_are_refused(contexts):
    with pytest.raises(ValueError, match="give token ids, whole numbers"):
        Transformer(SMALL).embeddings(contexts)


def test_sizes_of_any_integer_kind():
    sizes = TransformerConfig(np.uint16(11), torch.tensor(4), d=np.int8(16), seed=np.int64(3))
    assert sizes == TransformerConfig(11, 4, d=16, seed=3)
    assert type(sizes.V) is int


def test_without_the_last_norm_lengths_are_free():
    spread = [
        Transformer(replace(SMALL, final_norm=norm)).embeddings(CONTEXTS).norm(dim=0).std().item()
        for norm in (True, False)
    ]
    assert spread[0] < 1e-3 < 0.05 < spread[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d": 15}, "multiple of heads"),
        ({"layers": 0}, "layers is 0"),
        ({"V": 2.5}, "V is 2.5"),
        ({"seed": 10**20}, "seed is 1"),
    ],
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
