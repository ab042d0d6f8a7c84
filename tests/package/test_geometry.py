from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import all_subsets, mixed_counts

import ntp_lite as ntp


def matrix(V=6, m=9, seed=0):
    return np.random.default_rng(seed).normal(size=(V, m))


# ---------------------------------------------------------------- factors


def are_balanced_factors(W, H, L, tol=1e-10):
    """W H = L, W'W = HH', W W' = (L L')^(1/2) and H'H = (L'L)^(1/2) (compared as squares)."""
    pairs = (
        (W @ H, L),
        (W.T @ W, H @ H.T),
        (W @ W.T @ W @ W.T, L @ L.T),
        (H.T @ H @ H.T @ H, L.T @ L),
    )
    return all(np.abs(left - right).max() <= tol for left, right in pairs)


@pytest.mark.parametrize("V, m", [(6, 9), (9, 6), (1, 4), (4, 1)])
def test_factors_are_balanced_with_the_predicted_gram_matrices(V, m):
    """W = U Sigma^(1/2), H = Sigma^(1/2) V' have Gram matrices (LL')^(1/2) and (L'L)^(1/2)."""
    L = matrix(V, m)
    W, H, s = ntp.word_context_factors(L)
    assert W.shape == (V, len(s)) and H.shape == (len(s), m)
    assert are_balanced_factors(W, H, L)
    assert (np.diff(s) <= 0).all()
    np.testing.assert_allclose(s, np.linalg.svd(L, compute_uv=False))
    assert (W**2).sum() == pytest.approx(s.sum()) and (H**2).sum() == pytest.approx(s.sum())
    if V > 1 and m > 1:  # mutations: all the scale on one side; unequal halves
        assert not are_balanced_factors(W * np.sqrt(s), H / np.sqrt(s)[:, None], L)
        assert not are_balanced_factors(2 * W, H / 2, L)


def test_the_numerical_rank_is_kept():
    L = matrix(6, 2) @ matrix(2, 9, seed=1)
    W, H, s = ntp.word_context_factors(L)
    assert len(s) == 2 and np.abs(W @ H - L).max() <= 1e-12
    assert len(ntp.word_context_factors(L + 1e-9 * matrix(6, 9, seed=2)).singular_values) == 2
    precise = ntp.word_context_factors(L + 1e-9 * matrix(6, 9, seed=2), tol=1e-13)
    assert len(precise.singular_values) == 6


def test_zero_logits_have_no_factors():
    W, H, s = ntp.word_context_factors(np.zeros((3, 5)))
    assert W.shape == (3, 0) and H.shape == (0, 5) and len(s) == 0
    np.testing.assert_array_equal(W @ H, np.zeros((3, 5)))


def test_equal_supports_have_equal_context_vectors_and_equal_rows_equal_words():
    """Equal columns of S give equal columns of H_mm, equal rows equal rows of W_mm."""
    S = (mixed_counts(8, 9, seed=2, largest_support=4) > 0).astype(float)
    S = S[[0, 1, 1, 2, 3, 4, 5, 6, 7]][:, [0, 0, 1, 2, 3, 3, 4, 5, 6, 7]]
    W, H, _ = ntp.word_context_factors(ntp.solve_max_margin(S, tol=1e-8).L)
    np.testing.assert_allclose(H[:, 0], H[:, 1], atol=1e-10)
    np.testing.assert_allclose(H[:, 4], H[:, 5], atol=1e-10)
    np.testing.assert_allclose(W[1], W[2], atol=1e-10)
    assert np.abs(H[:, 1] - H[:, 2]).max() > 0.1


# ---------------------------------------------------------------- cosines


def test_cosines_pair_by_pair():
    X, Y = matrix(4, 5), matrix(4, 3, seed=1)
    expected = [[x @ y / (np.linalg.norm(x) * np.linalg.norm(y)) for y in Y.T] for x in X.T]
    np.testing.assert_allclose(ntp.cosine_similarity(X, Y), expected, atol=1e-14)
    own = ntp.cosine_similarity(X)
    np.testing.assert_allclose(own, ntp.cosine_similarity(X, X), atol=1e-15)
    np.testing.assert_allclose(np.diag(own), 1)
    assert own.shape == (5, 5)  # columns, not rows


def test_cosines_ignore_scale_and_zero_columns():
    X = matrix(4, 5)
    X[:, 2] = 0
    scaled = X * np.array([1, 1e-8, 3, 1e8, 2])
    cosines = ntp.cosine_similarity(X)
    np.testing.assert_allclose(ntp.cosine_similarity(scaled), cosines, atol=1e-14)
    assert (cosines[2] == 0).all() and (cosines[:, 2] == 0).all()
    assert (np.abs(cosines) <= 1 + 1e-12).all()


# ---------------------------------------------------------------- collapse


def collapse_labels():
    """Nine contexts: classes {0,1,2} and {3,4} with k = 1, {5,6} and {7,8} with k = 2, V = 5."""
    S = np.zeros((5, 9))
    S[0, :3] = S[1, 3:5] = 1
    S[np.ix_([0, 2], [5, 6])] = S[np.ix_([3, 4], [7, 8])] = 1
    return ntp.SoftLabels.from_counts(S * np.arange(1, 10))


def test_collapse_by_the_formula():
    labels, X = collapse_labels(), matrix(4, 9)
    classes = {"one": [[0, 1, 2], [3, 4]], "several": [[5, 6], [7, 8]]}
    expected = {}
    for name, groups in classes.items():
        within = sum(((X[:, g] - X[:, g].mean(axis=1, keepdims=True)) ** 2).sum() for g in groups)
        chosen = X[:, [j for group in groups for j in group]]
        total = ((chosen - chosen.mean(axis=1, keepdims=True)) ** 2).sum()
        expected[name] = within / total
    result = ntp.support_collapse(X, labels)
    assert result.one_token == pytest.approx(expected["one"], rel=1e-12)
    assert result.several_tokens == pytest.approx(expected["several"], rel=1e-12)
    assert result.message == ""


def test_collapsed_columns_give_zero_and_the_permuted_baseline_does_not():
    """Equal supports with equal columns: 0. Dealt to random classes of the same sizes: not 0."""
    labels = collapse_labels()
    centres = matrix(4, labels.support_classes.max() + 1)
    X = centres[:, labels.support_classes]

    def collapsed(one, several):
        return max(one, several) <= 1e-12

    results = [ntp.support_collapse(X, labels, seed=seed) for seed in range(20)]
    assert all(collapsed(r.one_token, r.several_tokens) for r in results)
    permuted = [(r.permuted_one_token, r.permuted_several_tokens) for r in results]
    assert np.mean([not collapsed(*pair) for pair in permuted]) > 0.5
    rolled = ntp.support_collapse(np.roll(X, 1, axis=1), labels)  # mutation: contexts shifted
    assert not collapsed(rolled.one_token, rolled.several_tokens)


def test_the_permuted_baseline_is_what_chance_gives():
    """For columns without structure the statistic and its permuted baseline agree."""
    labels = ntp.random_soft_labels(8, 400, 2, seed=0)
    result = ntp.support_collapse(matrix(20, 400), labels)
    chance = 1 - (len(np.unique(labels.support_classes)) - 1) / 399
    assert result.several_tokens == pytest.approx(chance, abs=0.02)
    assert result.permuted_several_tokens == pytest.approx(chance, abs=0.02)


def test_collapse_depends_on_its_seed_alone():
    labels, X = collapse_labels(), matrix(4, 9)
    np.random.seed(0)  # noqa: NPY002 - the global generator must not matter
    first = ntp.support_collapse(X, labels, seed=3)
    np.random.seed(1)  # noqa: NPY002
    assert ntp.support_collapse(X, labels, seed=3) == first


def test_collapse_is_invariant_under_rotation_shift_and_scale():
    labels, X = collapse_labels(), matrix(4, 9)
    rotation, _ = np.linalg.qr(matrix(4, 4, seed=5))
    moved = 7 * rotation @ X + matrix(4, 1, seed=6)
    np.testing.assert_allclose(
        ntp.support_collapse(moved, labels)[:4], ntp.support_collapse(X, labels)[:4], rtol=1e-10
    )


@pytest.mark.parametrize(
    "S, missing",
    [
        (np.array([[1, 1, 0], [0, 0, 1]]), "k >= 2"),
        (np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]]), "k = 1"),
        (np.array([[1, 0, 1], [0, 1, 1], [0, 0, 1]]), "k = 1 and k >= 2"),
    ],
)
def test_collapse_is_nan_with_a_message_where_no_class_has_two_members(S, missing):
    labels = ntp.SoftLabels.from_counts(S)
    result = ntp.support_collapse(matrix(2, 3), labels)
    assert missing in result.message and result.message.count("k =") == missing.count("k =")
    assert np.isnan(result.one_token) == ("k = 1" in missing)
    assert np.isnan(result.several_tokens) == ("k >= 2" in missing)
    assert np.isnan(result.permuted_one_token) == ("k = 1" in missing)
    assert np.isnan(result.permuted_several_tokens) == ("k >= 2" in missing)


def test_the_solution_is_collapsed_and_L_in_is_what_keeps_logits_apart():
    """Subspace collapse: P_perp(L) collapses for L_mm + L_in, the raw logits do not."""
    S = (mixed_counts(7, 6, seed=3, largest_support=3) > 0)[:, np.arange(18) % 6]
    rng = np.random.default_rng(0)
    labels = ntp.SoftLabels.from_counts(S * rng.geometric(0.2, size=S.shape))
    L = 10 * ntp.solve_max_margin(labels, tol=1e-8).L + ntp.in_support_logits(labels).toarray()
    orthogonal = ntp.split_logits(L, labels).orthogonal
    assert ntp.support_collapse(orthogonal, labels).several_tokens <= 1e-12
    assert ntp.support_collapse(L, labels).several_tokens > 1e-4


# ---------------------------------------------------------------- orthants and order


def test_orthants_are_the_signs_of_the_singular_vectors():
    L = matrix(6, 9)
    result = ntp.orthants(L, 3)
    assert result.words.shape == (6, 3) and result.contexts.shape == (3, 9)
    assert set(np.unique(result.words)) <= {-1, 0, 1}
    U, s, Vt = np.linalg.svd(L, full_matrices=False)
    np.testing.assert_allclose(result.singular_values, s[:3])
    for i in range(3):
        largest = np.abs(U[:, i]).argmax()
        assert result.words[largest, i] == 1
        flip = np.sign(U[largest, i])
        np.testing.assert_array_equal(result.words[:, i], np.sign(U[:, i] * flip))
        np.testing.assert_array_equal(result.contexts[i], np.sign(Vt[i] * flip))
        # Both sides flip together: the pair still rebuilds its part of L.
        assert (result.words[:, i] @ L @ result.contexts[i]) > 0


def test_orthants_do_not_depend_on_the_sign_of_the_decomposition():
    L = matrix(6, 9)
    rows = np.random.default_rng(1).permutation(6)
    plain, permuted = ntp.orthants(L, 4), ntp.orthants(L[rows], 4)
    np.testing.assert_array_equal(permuted.words, plain.words[rows])
    np.testing.assert_array_equal(permuted.contexts, plain.contexts)


def test_orthants_of_two_clusters_separate_them():
    S = np.kron(np.eye(2), np.ones((3, 4)))
    result = ntp.orthants(ntp.centered_support(S), 1)
    assert len(set(result.words[:3, 0])) == len(set(result.words[3:, 0])) == 1
    assert result.words[0, 0] == -result.words[5, 0] != 0
    assert (result.contexts[0, :4] == result.words[0, 0]).all()
    assert (result.contexts[0, 4:] == result.words[5, 0]).all()


def test_a_word_that_does_not_load_has_sign_zero():
    L = np.zeros((4, 5))
    L[:2] = matrix(2, 5)
    np.testing.assert_array_equal(ntp.orthants(L, 2).words[2:], 0)


@given(st.integers(1, 30), st.integers(0, 10**6))
def test_seriation_is_a_permutation(m, seed):
    order = ntp.seriation(matrix(3, m, seed))
    assert sorted(order.tolist()) == list(range(m))


def test_seriation_finds_a_line():
    positions = np.random.default_rng(0).permutation(12)
    ordered = positions[ntp.seriation(np.outer([1.0, 2.0], positions))]
    assert (np.diff(ordered) == 1).all() or (np.diff(ordered) == -1).all()


def test_seriation_puts_equal_columns_together():
    classes = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    ordered = classes[ntp.seriation(10 * np.eye(3)[:, classes] + 0.01 * matrix(3, 8))]
    assert (np.diff(ordered) != 0).sum() == 2


def test_closed_form_of_context_cosines():
    """All k-subsets: cos(h_i, h_j) = (|S_i n S_j| - k^2/V) / (k - k^2/V)."""
    V, k = 6, 2
    S = all_subsets(V, k)
    H = ntp.word_context_factors(ntp.centered_support(S)).H
    expected = (S.T @ S - k**2 / V) / (k - k**2 / V)

    def holds(cosines):
        return np.abs(cosines - expected).max() <= 1e-10

    assert holds(ntp.cosine_similarity(H))
    assert not holds(ntp.cosine_similarity(S))  # mutation: not centred
    assert not holds(ntp.cosine_similarity(H[:, ::-1] + H))  # mutation: contexts mixed
