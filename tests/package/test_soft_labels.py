from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference import brute_force_counts, conditional_entropy
from scipy import sparse

import ntp_lite as ntp
from ntp_lite.loss import support_block


def same_as_brute_force(labels, ids, context_length, V):
    contexts, counters = brute_force_counts(ids, context_length)
    if (labels.V, labels.m, labels.n) != (V, len(contexts), len(ids) - context_length):
        return False
    if labels.contexts.tolist() != [list(context) for context in contexts]:
        return False
    found = [
        dict(zip(labels.N[:, [j]].indices.tolist(), labels.N[:, [j]].data.tolist(), strict=True))
        for j in range(labels.m)
    ]
    return found == [dict(counter) for counter in counters]


@st.composite
def texts(draw):
    """Token ids over small and huge vocabularies; keys of long contexts need more than 63 bits."""
    V = draw(st.sampled_from([1, 2, 3, 7, 300, 50_000, 2**20, 2**33, 2**40]))
    context_length = draw(st.integers(1, 8))
    alphabet = draw(st.lists(st.integers(0, V - 1), min_size=1, max_size=4))
    ids = draw(st.lists(st.sampled_from(alphabet), min_size=context_length + 1, max_size=60))
    return ids, context_length, V


@settings(max_examples=300)
@given(texts())
@example(([0, 0], 1, 1))
@example(([5, 4, 3, 2, 1, 0] * 3, 7, 2**9))  # 8 digits of 9 bits: 72 bits
@example(([1, 0, 1, 1, 0, 1, 1, 0], 3, 2**16))  # 4 digits of 16 bits: 64 bits, one too many
@example(([2**31 - 1, 0, 2**31 - 1, 5], 1, 2**31))  # 62 bits: fits
@example(([2**33 - 1, 0, 2**33 - 1, 5], 1, 2**33))  # 66 bits already for one token
def test_from_tokens_equals_a_brute_force_count(text):
    """Counting windows by sorted integer keys is exact, also when keys exceed 63 bits."""
    ids, context_length, V = text
    labels = ntp.SoftLabels.from_tokens(np.array(ids), context_length, V)
    assert same_as_brute_force(labels, ids, context_length, V)
    if len(ids) > context_length + 1:  # mutation: the last position is forgotten
        shorter = ntp.SoftLabels.from_tokens(np.array(ids[:-1]), context_length, V)
        assert not same_as_brute_force(shorter, ids, context_length, V)


@pytest.mark.parametrize("context_length, V", [(2, 50), (12, 50)])  # 17 and 73 bits
def test_from_tokens_on_a_longer_text(context_length, V):
    ids = np.random.default_rng(0).geometric(0.2, size=3000) % V
    labels = ntp.SoftLabels.from_tokens(ids, context_length, V)
    assert same_as_brute_force(labels, ids, context_length, V)


@pytest.mark.parametrize(
    "kind", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "list"]
)
@pytest.mark.parametrize("V", [3, 2**40])
def test_every_integer_type_counts_the_same_and_is_left_as_it_was(kind, V):
    ids = [0, 1, 2, 1, 0, 1, 2, 2]
    given_ids = ids if kind == "list" else np.array(ids, dtype=kind)
    labels = ntp.SoftLabels.from_tokens(given_ids, 2, V)
    assert same_as_brute_force(labels, ids, 2, V)
    assert list(given_ids) == ids


def test_the_definitions_by_hand():
    # a b a b a c:  after a: b, b, c;  after b: a, a.
    labels = ntp.SoftLabels.from_tokens([0, 1, 0, 1, 0, 2], 1, vocab_size=4)
    assert (labels.V, labels.m, labels.n) == (4, 2, 5)
    assert labels.contexts.tolist() == [[0], [1]]
    assert labels.pi.tolist() == [3 / 5, 2 / 5]
    np.testing.assert_allclose(labels.P.toarray(), [[0, 1], [2 / 3, 0], [1 / 3, 0], [0, 0]])
    np.testing.assert_array_equal(labels.S.toarray(), [[0, 1], [1, 0], [1, 0], [0, 0]])
    assert labels.support_sizes.tolist() == [2, 1]
    assert labels.entropy == pytest.approx(3 / 5 * (np.log(3) - 2 / 3 * np.log(2)), rel=1e-14)


def test_types_are_as_pinned():
    labels = ntp.random_soft_labels(7, 11, 3)
    for matrix in (labels.P, labels.S):
        assert isinstance(matrix, sparse.csc_array)
        assert matrix.dtype == np.float64
        assert matrix.shape == (labels.V, labels.m) == (7, 11)
    assert labels.pi.shape == labels.support_sizes.shape == (11,)
    assert labels.pi.dtype == np.float64
    assert labels.contexts is None
    assert "V=7" in repr(labels) and "m=11" in repr(labels)


@settings(max_examples=100)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_from_counts_dense_and_sparse_agree_with_the_formulas(V, m, seed):
    rng = np.random.default_rng(seed)
    N = rng.integers(0, 4, size=(V, m))
    N[rng.integers(V, size=m), np.arange(m)] += 1
    labels = ntp.SoftLabels.from_counts(N)
    np.testing.assert_array_equal(labels.N.toarray(), N)
    np.testing.assert_allclose(labels.P.toarray(), N / N.sum(axis=0), rtol=1e-15)
    np.testing.assert_allclose(labels.pi, N.sum(axis=0) / N.sum(), rtol=1e-15)
    np.testing.assert_array_equal(labels.S.toarray(), N > 0)
    assert labels.entropy == pytest.approx(
        conditional_entropy(N / N.sum(axis=0), N.sum(axis=0) / N.sum()), rel=1e-12, abs=1e-14
    )
    for form in (sparse.coo_array, sparse.csr_array, sparse.csc_array, sparse.csc_matrix):
        again = ntp.SoftLabels.from_counts(form(N.astype(float)))
        np.testing.assert_array_equal(again.P.toarray(), labels.P.toarray())
        np.testing.assert_array_equal(again.N.toarray(), N)


def test_from_counts_adds_duplicates_and_drops_stored_zeros():
    rows, columns, data = [0, 0, 1, 1], [0, 0, 0, 1], [1, 2, 0, 4]
    labels = ntp.SoftLabels.from_counts(sparse.coo_array((data, (rows, columns)), shape=(2, 2)))
    np.testing.assert_array_equal(labels.N.toarray(), [[3, 0], [0, 4]])
    assert labels.support_sizes.tolist() == [1, 1]


def test_scaling_all_counts_changes_only_n():
    N = np.array([[2, 0, 1], [1, 3, 1]])
    one, five = ntp.SoftLabels.from_counts(N), ntp.SoftLabels.from_counts(5 * N)
    assert five.n == 5 * one.n
    np.testing.assert_allclose(five.pi, one.pi, rtol=1e-15)
    np.testing.assert_allclose(five.P.toarray(), one.P.toarray(), rtol=1e-15)
    assert five.entropy == pytest.approx(one.entropy, rel=1e-14)


def test_duplicated_contexts_merge():
    """A text read twice has the contexts of one reading, with doubled counts."""
    text = [0, 1, 2, 0, 2, 1, 1, 0, 3]
    once = ntp.SoftLabels.from_tokens(text, 2, 4)
    # A token that is nowhere else keeps the windows over the seam apart: drop those afterwards.
    twice = ntp.SoftLabels.from_tokens([*text, 4, 4, *text], 2, 5)
    inside = (twice.contexts != 4).all(axis=1) & (twice.N[[4]].toarray()[0] == 0)
    seam = twice.N[[4]].toarray()[0] > 0
    assert seam.sum() > 0
    np.testing.assert_array_equal(twice.contexts[inside], once.contexts)
    np.testing.assert_array_equal(twice.select(inside).N.toarray()[:4], 2 * once.N.toarray())


def test_permuting_tokens_permutes_rows_and_contexts():
    rng = np.random.default_rng(3)
    ids, renamed = rng.integers(0, 6, size=200), rng.permutation(6)
    labels = ntp.SoftLabels.from_tokens(ids, 2, 6)
    other = ntp.SoftLabels.from_tokens(renamed[ids], 2, 6)
    order = np.lexsort(renamed[labels.contexts].T[::-1])
    np.testing.assert_array_equal(other.contexts, renamed[labels.contexts][order])
    np.testing.assert_array_equal(other.N.toarray()[renamed], labels.N.toarray()[:, order])
    assert other.entropy == pytest.approx(labels.entropy, rel=1e-14)


@pytest.mark.parametrize("columns", [[4, 0, 2], [-1], np.array([True] + 5 * [False] + [True])])
def test_select_keeps_the_chosen_contexts(columns):
    labels = ntp.SoftLabels.from_tokens([0, 1, 2, 3, 4, 5, 6, 0, 2, 4, 6, 1, 3, 5], 1, 8)
    assert labels.m == 7
    chosen = labels.select(columns)
    kept = np.arange(7)[columns]
    np.testing.assert_array_equal(chosen.N.toarray(), labels.N.toarray()[:, kept])
    np.testing.assert_array_equal(chosen.contexts, labels.contexts[kept])
    np.testing.assert_allclose(chosen.pi, labels.pi[kept] / labels.pi[kept].sum(), rtol=1e-15)
    assert chosen.pi.sum() == pytest.approx(1, rel=1e-15)
    assert chosen.V == 8


def test_support_classes_are_equal_exactly_for_equal_supports():
    N = np.array([[1, 9, 0, 2, 0], [2, 1, 1, 0, 3], [0, 0, 1, 0, 1]])
    classes = ntp.SoftLabels.from_counts(N).support_classes
    equal = classes[:, None] == classes[None, :]
    S = (N > 0).T
    np.testing.assert_array_equal(equal, (S[:, None] == S[None, :]).all(axis=2))


def test_support_classes_do_not_depend_on_the_stored_order_of_rows():
    N = sparse.csc_array((np.ones(4), np.array([0, 1, 1, 0]), np.array([0, 2, 4])), shape=(3, 2))
    assert len(set(ntp.SoftLabels.from_counts(N).support_classes)) == 1


def test_a_block_holds_the_support(device, dtype):
    labels = ntp.random_soft_labels(5, 9, 2)
    block = support_block(labels, device, dtype)
    rows, columns, weights, pi = block.rows, block.columns, block.weights, block.pi
    assert weights.dtype == pi.dtype == dtype and weights.device.type == device
    dense = torch.zeros(5, 9, dtype=dtype, device=device)
    dense[rows, columns] = weights
    expected = labels.P.toarray() * labels.pi
    np.testing.assert_allclose(dense.cpu().numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(pi.cpu().numpy(), labels.pi, rtol=1e-6)


@pytest.mark.parametrize(
    "V, m, k, n", [(6, 11, 3, None), (6, 11, 3, 33), (4, 7, 4, 100), (1, 1, 1, 5)]
)
def test_random_soft_labels_are_as_asked(V, m, k, n):
    labels = ntp.random_soft_labels(V, m, k, n=n, seed=5)
    assert (labels.V, labels.m) == (V, m)
    assert labels.n == (4 * m * k if n is None else n)
    assert (labels.support_sizes == k).all()


def test_random_soft_labels_depend_on_the_seed_alone():
    np.random.seed(1)  # noqa: NPY002 - the global generator must not matter
    first = ntp.random_soft_labels(9, 20, 3, seed=4)
    np.random.seed(2)  # noqa: NPY002
    again = ntp.random_soft_labels(9, 20, 3, seed=4)
    other = ntp.random_soft_labels(9, 20, 3, seed=5)
    np.testing.assert_array_equal(first.N.toarray(), again.N.toarray())
    assert (first.N.toarray() != other.N.toarray()).any()


def test_random_supports_are_uniform_subsets():
    S = ntp.random_soft_labels(5, 4000, 2, seed=0).S.toarray()
    # Each of the 10 pairs is expected 400 times; 5 standard deviations are about 95.
    together = (S @ S.T)[np.triu_indices(5, 1)]
    assert np.abs(together - 400).max() < 95


def test_soft_labels_cannot_be_reassigned():
    labels = ntp.random_soft_labels(5, 9, 2)
    with pytest.raises(AttributeError):
        labels.N = None


# ---------------------------------------------------------------- nothing leaks in or out

ATTRIBUTES = ["N", "P", "S", "pi", "entries", "contexts", "support_sizes", "support_classes"]


def arrays_of(value):
    """Every numpy array in an attribute of SoftLabels."""
    if isinstance(value, sparse.sparray):
        return [value.data, value.indices, value.indptr]
    return list(value) if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.parametrize("made", ["from_tokens", "from_counts", "select"])
def test_what_is_handed_out_cannot_change_the_labels(name, made):
    labels = ntp.SoftLabels.from_tokens([0, 1, 2, 0, 2, 1, 1, 0, 3], 1, 4)
    if made == "from_counts":
        labels = ntp.SoftLabels.from_counts(labels.N, labels.contexts)
    if made == "select":
        labels = labels.select([0, 2])
    before = (labels.N.toarray(), labels.P.toarray(), labels.S.toarray(), labels.pi.copy())
    for array in arrays_of(getattr(labels, name)):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
        array.copy()[...] = 0
    for matrix in (labels.P, labels.N, labels.S):
        matrix.data = np.zeros_like(matrix.data)  # an attribute of this wrapper, not the labels'
        matrix.indices = matrix.indices[::-1]
    after = (labels.N.toarray(), labels.P.toarray(), labels.S.toarray(), labels.pi)
    for one, two in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, two)


def test_pruning_a_copy_of_P_leaves_the_counts():
    labels = ntp.SoftLabels.from_counts([[3, 1], [1, 0], [0, 2]])
    P = labels.P.copy()
    P.data[P.data < 0.5] = 0
    P.eliminate_zeros()
    np.testing.assert_array_equal(labels.N.toarray(), [[3, 1], [1, 0], [0, 2]])


def test_a_matrix_on_the_support_owns_its_arrays():
    labels = ntp.SoftLabels.from_counts([[3, 1], [1, 0], [0, 2]])
    L_in = labels.on_support(np.arange(4.0))
    L_in.eliminate_zeros()
    assert L_in.nnz == 3 and labels.N.nnz == 4


def unsorted_with_duplicates():
    data, rows = np.array([1, 2, 3, 4]), np.array([1, 0, 0, 1])
    return sparse.csc_array((data, rows, np.array([0, 3, 4])), shape=(2, 2))


@pytest.mark.parametrize("read_only", [False, True])
def test_the_given_counts_are_left_as_they_were(read_only):
    N, contexts = unsorted_with_duplicates(), np.array([[0], [1]])
    if read_only:  # as from a memory map
        for array in (N.data, N.indices, N.indptr):
            array.setflags(write=False)
    labels = ntp.SoftLabels.from_counts(N, contexts)
    np.testing.assert_array_equal(labels.N.toarray(), [[5, 0], [1, 4]])
    assert N.data.tolist() == [1, 2, 3, 4] and N.indices.tolist() == [1, 0, 0, 1]
    contexts[0] = 9  # still the caller's, and no longer the labels'
    assert labels.contexts.tolist() == [[0], [1]]
    if not read_only:
        N.data[:] = 7
    np.testing.assert_array_equal(labels.N.toarray(), [[5, 0], [1, 4]])


@pytest.mark.parametrize(
    "values, dtype",
    [([200, 100], np.uint8), ([2**24, 1], np.float32), ([2 * 10**9, 2 * 10**9], np.int32)],
)
def test_duplicates_of_a_narrow_type_are_added_exactly(values, dtype):
    N = sparse.coo_array((np.array(values, dtype), ([0, 0], [0, 0])), shape=(1, 1))
    assert ntp.SoftLabels.from_counts(N).N.toarray().tolist() == [[sum(values)]]


def test_counts_that_add_up_beyond_int64_are_refused():
    with pytest.raises(ValueError, match=r"add up to .*, more than 2\^62"):
        ntp.SoftLabels.from_counts(np.full((2, 1025), 2**52))
    assert ntp.SoftLabels.from_counts(np.full((2, 500), 2**52)).n == 1000 * 2**52


def test_an_entry_stored_too_often_is_refused():
    N = sparse.coo_array((np.full(3, 2**53), ([0, 0, 0], [0, 0, 0])), shape=(1, 1))
    with pytest.raises(ValueError, match="too large to be exact"):
        ntp.SoftLabels.from_counts(N)


# ---------------------------------------------------------------- sizes and ids of every kind

KINDS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@pytest.mark.parametrize("make", ["numpy scalar", "0-d array", "0-d tensor"])
@pytest.mark.parametrize("kind", KINDS)
def test_sizes_of_every_integer_kind_count_the_same(kind, make):
    """V = 100 and c = 8 make keys of 53 bits: they wrap in the sizes' own type."""
    ids = np.random.default_rng(0).integers(0, 100, size=400)
    wrap = {
        "numpy scalar": lambda x: np.dtype(kind).type(x),
        "0-d array": lambda x: np.array(x, dtype=kind),
        "0-d tensor": lambda x: torch.tensor(x, dtype=getattr(torch, kind)),
    }[make]
    V, c = wrap(100), wrap(8)
    labels = ntp.SoftLabels.from_tokens(ids.astype(kind), c, V)
    assert same_as_brute_force(labels, ids, 8, 100)
    assert int(V) == 100 and int(c) == 8
    other = ntp.random_soft_labels(wrap(100), wrap(7), wrap(3), n=wrap(90), seed=wrap(1))
    same = ntp.random_soft_labels(100, 7, 3, n=90, seed=1)
    np.testing.assert_array_equal(other.N.toarray(), same.N.toarray())


@pytest.mark.parametrize("V", [2**40, 2**62])
def test_a_huge_vocabulary_with_many_prefixes(V):
    """rank x V beyond 63 bits: tokens are ranked as well."""
    assert same_as_brute_force(
        ntp.SoftLabels.from_tokens([0, V // 2, 1, V // 2, 1], 1, V), [0, V // 2, 1, V // 2, 1], 1, V
    )
    ids = (np.random.default_rng(0).integers(0, 50, size=500) * (V // 64)).tolist()
    for c in (1, 3, 9):
        assert same_as_brute_force(ntp.SoftLabels.from_tokens(ids, c, V), ids, c, V)


def test_many_distinct_hashed_ids_fill_more_than_63_bits():
    """2^40 x (number of prefixes) > 2^63 with few tokens is out of reach; 2^55 x 2^9 is not."""
    V = 2**55
    ids = (np.arange(1200) * 7919 % 1201 * (V // 1300)).tolist()
    assert same_as_brute_force(ntp.SoftLabels.from_tokens(ids, 2, V), ids, 2, V)


def test_masked_ids_and_counts_are_refused():
    with pytest.raises(ValueError, match="ids has 1 masked"):
        ntp.SoftLabels.from_tokens(np.ma.array([0, 1, 2, 1], mask=[0, 0, 1, 0]), 1, 3)
    with pytest.raises(ValueError, match="N has 1 masked"):
        ntp.SoftLabels.from_counts(np.ma.array([[1, 2]], mask=[[0, 1]]))


def test_contexts_may_be_texts():
    labels = ntp.SoftLabels.from_counts([[1, 2]], contexts=["the cat", "a dog"])
    assert labels.select([1]).contexts.tolist() == ["a dog"]
