from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import counts, softmax
from scipy import sparse

import ntp_lite as ntp


def in_F(A, S, tol=1e-12):
    """Is A zero off the support, with columns that sum to zero?"""
    return np.abs(A[S == 0]).max(initial=0.0) <= tol and np.abs(A.sum(axis=0)).max() <= tol


def restricted_softmax(A, S):
    """Softmax over the support of each column alone."""
    return softmax(np.where(S > 0, A, -np.inf))


@given(counts(max_V=9, max_m=9))
def test_L_in_is_the_element_of_F_whose_restricted_softmax_is_P(N):
    """L_in lies in F and its softmax, restricted to each support, is exactly P."""
    labels = ntp.SoftLabels.from_counts(N)
    L_in, P, S = (x.toarray() for x in (ntp.in_support_logits(labels), labels.P, labels.S))
    assert in_F(L_in, S)
    np.testing.assert_allclose(restricted_softmax(L_in, S), P, rtol=1e-12)
    if (labels.support_sizes > 1).any() and np.abs(L_in).max() > 1e-3:
        assert not np.allclose(restricted_softmax(-L_in, S), P, rtol=1e-6)  # mutation: sign
        assert not in_F(2 * S * np.log(np.where(P > 0, P, 1)), S)  # mutation: not centred


def test_L_in_is_unique_in_F():
    """Two elements of F with the same restricted softmax are equal: the map is injective."""
    labels = ntp.SoftLabels.from_counts([[3, 0, 1], [1, 2, 1], [1, 5, 1], [0, 0, 2]])
    S, rng = labels.S.toarray(), np.random.default_rng(0)
    L_in = ntp.in_support_logits(labels).toarray()
    dimension = int((labels.support_sizes - 1).sum())
    rows, columns = np.nonzero(S)
    # Jacobian of (log of the restricted softmax) at L_in on a basis of F has full column rank.
    directions = []
    for j in range(labels.m):
        on = np.flatnonzero(S[:, j])
        for z in on[1:]:
            A = np.zeros(S.shape)
            A[z, j], A[on[0], j] = 1, -1
            directions.append(A)
    assert len(directions) == dimension
    step = 1e-6
    base = np.log(restricted_softmax(L_in, S)[rows, columns])
    jacobian = [
        (np.log(restricted_softmax(L_in + step * A, S)[rows, columns]) - base) / step
        for A in directions
    ]
    assert np.linalg.matrix_rank(np.array(jacobian), tol=1e-3) == dimension
    for A in directions:
        moved = restricted_softmax(L_in + rng.normal() * A, S)
        assert np.abs(moved - labels.P.toarray()).max() > 1e-3


def test_L_in_by_hand():
    labels = ntp.SoftLabels.from_counts([[1, 4], [3, 0], [0, 1]])
    expected = np.array([[-np.log(3) / 2, np.log(2)], [np.log(3) / 2, 0], [0, -np.log(2)]])
    np.testing.assert_allclose(ntp.in_support_logits(labels).toarray(), expected, atol=1e-15)


def test_L_in_vanishes_where_tokens_follow_equally_often():
    flat = ntp.SoftLabels.from_counts([[1, 2, 0], [1, 2, 0], [0, 2, 7]])
    assert np.abs(ntp.in_support_logits(flat).toarray()).max() < 1e-15


@given(counts(max_V=9, max_m=9), st.integers(0, 10**6), st.floats(-3, 6))
def test_split_is_the_orthogonal_projection_on_F(N, seed, exponent):
    """P_F is linear, idempotent, self-adjoint; its range is F; L - P_F(L) is orthogonal to F."""
    labels = ntp.SoftLabels.from_counts(N)
    rng, S = np.random.default_rng(seed), labels.S.toarray()
    L, M = 10.0**exponent * rng.normal(size=(2, *S.shape))
    scale = np.abs([L, M]).max()

    def project(A):
        return ntp.split_logits(A, labels).in_support.toarray()

    P_L, P_M = project(L), project(M)
    orthogonal = ntp.split_logits(L, labels).orthogonal
    np.testing.assert_allclose(P_L + orthogonal, L, rtol=0, atol=1e-15 * scale)
    assert in_F(P_L, S, tol=1e-13 * scale)
    np.testing.assert_allclose(project(P_L), P_L, atol=1e-14 * scale)
    np.testing.assert_allclose(project(2 * L - M), 2 * P_L - P_M, atol=1e-13 * scale)
    assert abs((P_L * M).sum() - (L * P_M).sum()) <= 1e-12 * scale**2
    assert abs((P_M * orthogonal).sum()) <= 1e-12 * scale**2
    np.testing.assert_allclose(project(orthogonal), 0, atol=1e-13 * scale)
    # What is left is constant on each support.
    for j in range(labels.m):
        assert np.ptp(orthogonal[S[:, j] > 0, j]) <= 1e-14 * scale


def test_split_with_the_wrong_axis_is_noticed():
    """Mutation: means over rows instead of columns leave F and are not orthogonal."""
    labels = ntp.random_soft_labels(6, 9, 3, seed=0)
    S, L = labels.S.toarray(), np.random.default_rng(0).normal(size=(6, 9))
    counted = np.maximum(S.sum(axis=1, keepdims=True), 1)
    wrong = S * (L - (S * L).sum(axis=1, keepdims=True) / counted)
    assert in_F(ntp.split_logits(L, labels).in_support.toarray(), S)
    assert not in_F(wrong, S)


def test_dimension_of_F_is_the_number_of_free_frequencies():
    """dim F = sum_j (k_j - 1), as the rank of P_F on all unit matrices."""
    labels = ntp.SoftLabels.from_counts([[1, 0, 2, 1], [1, 3, 0, 1], [1, 0, 1, 1]])
    units = np.eye(12).reshape(12, 3, 4)
    images = [ntp.split_logits(A, labels).in_support.toarray().ravel() for A in units]
    expected = int((labels.support_sizes - 1).sum())
    assert expected == 2 + 0 + 1 + 2
    assert np.linalg.matrix_rank(np.array(images)) == expected


def test_in_support_and_max_margin_components_are_orthogonal():
    """<L_in, L_mm> = 0 and P_F(L_mm) = 0: sparse plus low rank is an orthogonal sum."""
    labels = ntp.random_soft_labels(12, 20, 4, seed=1)
    L_in = ntp.in_support_logits(labels).toarray()
    L_mm = ntp.solve_max_margin(labels, tol=1e-8).L

    def orthogonal(A):
        split = ntp.split_logits(A, labels).in_support.toarray()
        size = np.linalg.norm(L_in) * np.linalg.norm(A)
        return abs((L_in * A).sum()) <= 1e-13 * size and np.abs(split).max() <= 1e-13

    assert orthogonal(L_mm)
    assert orthogonal(ntp.centered_support(labels))
    permuted = L_mm[np.random.default_rng(0).permutation(12)]  # mutation: tokens permuted
    assert not orthogonal(permuted)


def test_types_and_shapes():
    labels = ntp.random_soft_labels(5, 8, 2)
    L_in = ntp.in_support_logits(labels)
    assert isinstance(L_in, sparse.csc_array) and L_in.shape == (5, 8)
    split = ntp.split_logits(np.ones((5, 8), dtype=np.float32), labels)
    assert isinstance(split.in_support, sparse.csc_array)
    assert split.orthogonal.dtype == np.float64 and split.orthogonal.shape == (5, 8)
    L = np.random.default_rng(0).normal(size=(5, 8))
    tensor = torch.tensor(L, requires_grad=True)
    assert (ntp.split_logits(tensor, labels).orthogonal == ntp.split_logits(L, labels)[1]).all()


def test_input_is_left_as_it_was():
    labels = ntp.random_soft_labels(5, 8, 2)
    L = np.random.default_rng(0).normal(size=(5, 8))
    before = L.copy()
    ntp.split_logits(L, labels).orthogonal[:] = 7
    np.testing.assert_array_equal(L, before)


@pytest.mark.parametrize("N", [[[3]], [[1, 2, 1]], [[2], [0], [5]], [[1, 1], [0, 0]]])
def test_degenerate_shapes(N):
    labels = ntp.SoftLabels.from_counts(N)
    L = np.random.default_rng(0).normal(size=labels.S.shape)
    split = ntp.split_logits(L, labels)
    assert in_F(split.in_support.toarray(), labels.S.toarray())
    assert in_F(ntp.in_support_logits(labels).toarray(), labels.S.toarray())
