"""UFM and balanced factors: closed forms, padding, truncation, repeatability."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ntp_lite.linalg import balanced_factors
from ntp_lite.models import UFM


def test_logits_are_the_product_with_contexts_as_columns():
    model = UFM(V=5, m=7, d=3, seed=1)
    assert model.W.shape == (5, 3)
    assert model.H.shape == (3, 7)
    expected = np.einsum("vd,dm->vm", model.W.detach().numpy(), model.H.detach().numpy())
    np.testing.assert_allclose(model.logits().detach().numpy(), expected, rtol=1e-12)


def test_start_depends_on_seed_alone():
    torch.manual_seed(3)
    first, before = UFM(4, 6, 2, seed=5), torch.random.get_rng_state()
    torch.manual_seed(99)
    second, other = UFM(4, 6, 2, seed=5), UFM(4, 6, 2, seed=6)
    assert torch.equal(first.W, second.W)
    assert torch.equal(first.H, second.H)
    assert not torch.equal(first.W, other.W)
    torch.manual_seed(3)
    assert torch.equal(torch.random.get_rng_state(), before)  # the global generator is left alone


def test_embeddings_are_the_columns_that_are_named():
    model = UFM(V=5, m=7, d=3, seed=1)
    for columns in ([4, 0], np.array([4, 0]), torch.tensor([4, 0])):
        assert torch.equal(model.embeddings(columns), model.H[:, [4, 0]])
    assert torch.equal(model.embeddings(slice(2, 5)), model.H[:, 2:5])
    assert model.embeddings(slice(0, 7)).data_ptr() == model.H.data_ptr()


def test_sizes_of_any_integer_kind_and_what_is_too_large():
    model = UFM(np.uint16(5), torch.tensor(7), np.int8(3), seed=np.uint8(1), scale=np.float32(1))
    assert torch.equal(model.W, UFM(5, 7, 3, seed=1).W)
    assert str(model) == "UFM(V=5, m=7, d=3)"
    with pytest.raises(ValueError, match="no memory for a matrix of 5 x 1,000,000,000,000,000"):
        UFM(5, 7, 10**15)
    with pytest.raises(ValueError, match="seed is"):
        UFM(5, 7, 3, seed=10**20)


def test_scale_is_the_norm_of_a_word_and_of_a_context():
    model = UFM(V=300, m=400, d=200, scale=2.0)
    assert float(model.W.detach().norm(dim=1).mean()) == pytest.approx(2.0, rel=0.02)
    assert float(model.H.detach().norm(dim=0).mean()) == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize("sizes", [(0, 3, 2), (3, 0, 2), (3, 3, 0)])
def test_sizes_below_one_are_refused(sizes):
    with pytest.raises(ValueError, match="1 or more"):
        UFM(*sizes)


@given(
    V=st.integers(1, 8),
    m=st.integers(1, 8),
    rank=st.integers(1, 8),
    extra=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_balanced_factors_attain_the_nuclear_norm(V, m, rank, extra, seed):
    rng = np.random.default_rng(seed)
    L = rng.normal(size=(V, rank)) @ rng.normal(size=(rank, m))
    nuclear = np.linalg.svd(L, compute_uv=False).sum()
    for d in (None, min(V, m) + extra):
        W, H = balanced_factors(L, d)
        assert W.shape == (V, d or min(V, m))
        assert H.shape == (d or min(V, m), m)
        tolerance = 1e-10 * nuclear
        np.testing.assert_allclose(W @ H, L, atol=tolerance)
        np.testing.assert_allclose(W.T @ W, H @ H.T, atol=tolerance)
        assert (W**2).sum() + (H**2).sum() == pytest.approx(2 * nuclear, rel=1e-10)
        # Any other factorisation of the same L costs more.
        A = np.eye(W.shape[1]) + 0.3 * rng.normal(size=(W.shape[1],) * 2)
        other = ((W @ A) ** 2).sum() + (np.linalg.solve(A, H) ** 2).sum()
        assert other >= 2 * nuclear * (1 - 1e-10)


def test_fewer_dimensions_give_the_best_approximation():
    L = np.diag([5.0, 3.0, 1.0])
    W, H = balanced_factors(L, 2)
    np.testing.assert_allclose(W @ H, np.diag([5.0, 3.0, 0.0]), atol=1e-12)


def test_no_dimension_is_refused():
    with pytest.raises(ValueError, match="d is 0"):
        balanced_factors(np.eye(3), 0)
