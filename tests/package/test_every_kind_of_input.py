"""Every public function takes every kind of input: as tables, functions beside kinds.

A function is one line in the table of the argument that it takes. Its result for each kind must be
the one for a plain float64 array, Python int or float. Where nothing safe can be done, it raises a
ValueError of one sentence, named in `REFUSED`.
"""

from __future__ import annotations

import dataclasses
import enum

import numpy as np
import pandas as pd
import pytest
import torch
from kinds import ARRAYS, NUMBERS, SEQUENCES, SIZES
from scipy import sparse

import ntp_lite as ntp

V, M = 5, 8
LABELS = ntp.random_soft_labels(V, M, 2, seed=0)
N = np.minimum(LABELS.N.toarray(), 12.0)
S = (N > 0).astype(float)
# Small whole numbers: exact in every kind, from int8 to bfloat16.
L = np.random.default_rng(0).integers(0, 4, size=(V, M)).astype(float)
IDS = np.random.default_rng(1).integers(0, V, size=40)

pytestmark = pytest.mark.filterwarnings(
    "ignore:the matrix subclass:PendingDeprecationWarning", "ignore:Sparse CSR tensor:UserWarning"
)

# ---------------------------------------------------------------- the functions, by argument

OF_LOGITS = {
    "cross_entropy": lambda A: ntp.cross_entropy(A, LABELS),
    "excess_loss": lambda A: ntp.excess_loss(A, LABELS),
    "split_logits": lambda A: ntp.split_logits(A, LABELS),
    "certify_ridge": lambda A: ntp.certify_ridge(A, LABELS, 0.1),
    "certify_margin, L": lambda A: ntp.certify_margin(A, np.zeros((V, M)), S),
    "certify_margin, dual": lambda A: ntp.certify_margin(np.zeros((V, M)), A, S),
    "project_margin": lambda A: ntp.project_margin(A, S),
    "project_dual": lambda A: ntp.project_dual(A, S),
    "balanced_factors": lambda A: ntp.balanced_factors(A),
    "effective_rank": lambda A: ntp.effective_rank(A),
    "word_context_factors": lambda A: ntp.word_context_factors(A),
    "cosine_similarity": lambda A: ntp.cosine_similarity(A),
    "cosine_similarity, Y": lambda A: ntp.cosine_similarity(np.eye(V), A),
    "support_collapse": lambda A: ntp.support_collapse(A, LABELS),
    "orthants": lambda A: ntp.orthants(A, 2),
    "seriation": lambda A: ntp.seriation(A),
    "norm_efficiency": lambda A: ntp.norm_efficiency(A, LABELS, max_solves=0),
    "stable_rank": lambda A: ntp.stable_rank(A),
    "spectral_exponent": lambda A: ntp.spectral_exponent(A, 1, 3),
    "collapse_test": lambda A: ntp.collapse_test(A, LABELS, shuffles=5),
    "gradient_bottleneck, L": lambda A: ntp.gradient_bottleneck(np.eye(V)[:, :3], A, LABELS),
    "gradient_bottleneck, W": lambda A: ntp.gradient_bottleneck(A, L, LABELS),
    "neural_collapse, W": lambda A: ntp.neural_collapse(A, np.eye(M), LABELS),
    "neural_collapse, H": lambda A: ntp.neural_collapse(np.eye(V), A, LABELS),
    "soft_self_duality, W": lambda A: ntp.soft_self_duality(A, np.eye(M), LABELS),
    "soft_self_duality, H": lambda A: ntp.soft_self_duality(np.eye(V), A, LABELS),
    "standard_metrics, L_mm": lambda A: ntp.standard_metrics(LABELS, "cosine_mm", L_mm=A)[
        "cosine_mm"
    ](L, L, L),
}
OF_SUPPORTS = {
    "solve_max_margin": lambda A: ntp.solve_max_margin(A),
    "proxy_bounds": lambda A: ntp.proxy_bounds(A),
    "centered_support": lambda A: ntp.centered_support(A),
    "certify_margin, S": lambda A: ntp.certify_margin(L, L, A),
    "project_margin, S": lambda A: ntp.project_margin(L, A),
    "project_dual, S": lambda A: ntp.project_dual(L, A),
}
OF_COUNTS = {
    "from_counts": lambda A: ntp.SoftLabels.from_counts(A).N,
}
OF_IDS = {
    "from_tokens": lambda ids: ntp.SoftLabels.from_tokens(ids, 2, V).N,
}
OF_SIZES = {  # argument -> the size that is tried
    "from_tokens, context_length": (2, lambda n: ntp.SoftLabels.from_tokens(IDS, n, V).N),
    "from_tokens, vocab_size": (100, lambda n: ntp.SoftLabels.from_tokens(IDS, 9, n).N),
    "random_soft_labels, V": (100, lambda n: ntp.random_soft_labels(n, 9, 3).N),
    "random_soft_labels, m": (100, lambda n: ntp.random_soft_labels(9, n, 3).N),
    "random_soft_labels, support_size": (7, lambda n: ntp.random_soft_labels(9, 90, n).N),
    "random_soft_labels, n": (100, lambda n: ntp.random_soft_labels(9, 20, 2, n).N),
    "random_soft_labels, seed": (100, lambda n: ntp.random_soft_labels(9, 20, 2, seed=n).N),
    "solve_max_margin, max_iter": (30, lambda n: ntp.solve_max_margin(S, 1e-12, n)),
    "solve_ridge, max_iter": (20, lambda n: ntp.solve_ridge(LABELS, 0.01, 1e-14, max_iter=n)),
    "ridge_path, max_iter": (20, lambda n: ntp.ridge_path(LABELS, [0.01], 1e-14, max_iter=n)),
    "balanced_factors, d": (3, lambda n: ntp.balanced_factors(L, n)),
    "orthants, n_concepts": (3, lambda n: ntp.orthants(L, n)),
    "support_collapse, seed": (100, lambda n: ntp.support_collapse(L, LABELS, n)),
}
OF_NUMBERS = {
    "certify_ridge, ridge": lambda x: ntp.certify_ridge(L, LABELS, x),
    "solve_ridge, ridge": lambda x: ntp.solve_ridge(LABELS, x),
    "solve_ridge, tol": lambda x: ntp.solve_ridge(LABELS, 0.01, x),
    "ridge_path, tol": lambda x: ntp.ridge_path(LABELS, [0.01], x),
    "solve_max_margin, tol": lambda x: ntp.solve_max_margin(S, x),
    "project_margin, margin": lambda x: ntp.project_margin(L, S, x),
    "word_context_factors, tol": lambda x: ntp.word_context_factors(L, x),
    "orthants, tol": lambda x: ntp.orthants(L, 2, x),
}
OF_SEQUENCES = {  # argument -> the list that is tried
    "ridge_path, ridges": ([0.03125, 0.0078125], lambda x: ntp.ridge_path(LABELS, x)),
    "select, columns": ([4, 0, -1], lambda x: LABELS.select(x).N),
    "from_tokens, ids": (IDS.tolist(), lambda x: ntp.SoftLabels.from_tokens(x, 1, V).N),
    "from_counts, contexts": (
        list(range(M)),
        lambda x: ntp.SoftLabels.from_counts(N, x).contexts,
    ),
}
SCALE_FREE = {
    "cosine_similarity": lambda A: ntp.cosine_similarity(A),
    "support_collapse": lambda A: ntp.support_collapse(A, LABELS),
    "effective_rank": lambda A: ntp.effective_rank(A),
    "spectral_exponent": lambda A: ntp.spectral_exponent(A, 1, 3),
    "orthants": lambda A: ntp.orthants(A, 2)[:2],
    "word_context_factors": lambda A: len(ntp.word_context_factors(A)[2]),
    "seriation": lambda A: ntp.seriation(A),
    "project_dual": lambda A: np.sign(np.round(ntp.project_dual(A, S) / np.abs(A).max(), 9)),
}

# ---------------------------------------------------------------- the comparison


def numbers_of(result):
    """All numbers in a result, in order; clocks and what a solver remembers are left out."""
    if isinstance(result, enum.Enum) or result is None or isinstance(result, str):
        return []
    if sparse.issparse(result):
        result = result.toarray()
    if isinstance(result, torch.Tensor):
        result = result.detach().numpy()
    if dataclasses.is_dataclass(result):
        names = [f.name for f in dataclasses.fields(result)]
        result = [getattr(result, n) for n in names if n not in ("seconds", "history", "state")]
    if isinstance(result, (list, tuple)):
        return [number for part in result for number in numbers_of(part)]
    return np.asarray(result, dtype=float).ravel().tolist()


def same(found, expected, tol=1e-9):
    one, two = numbers_of(found), numbers_of(expected)
    return len(one) == len(two) > 0 and np.allclose(one, two, rtol=tol, atol=tol, equal_nan=True)


def test_the_comparison_can_fail():
    assert same(ntp.split_logits(L, LABELS), ntp.split_logits(L, LABELS))
    assert not same(ntp.split_logits(L, LABELS), ntp.split_logits(2 * L, LABELS))
    assert not same(None, None) and not same([1.0], [1.0, 2.0])


def check(call, kind, plain):
    """The same result from `kind(plain)` as from `plain`, which is left as it was."""
    value = kind(plain)
    # float32 results of torch logits in half precision have six digits.
    tol = 1e-5 if isinstance(value, torch.Tensor) else 1e-9
    assert same(call(value), call(plain), tol)
    if not isinstance(value, (sparse.sparray, sparse.spmatrix)) and hasattr(value, "shape"):
        assert str(value) == str(kind(plain))


# ---------------------------------------------------------------- the tables


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("name", OF_LOGITS)
def test_matrices(name, kind):
    check(OF_LOGITS[name], ARRAYS[kind], L)


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("name", OF_SUPPORTS)
def test_supports(name, kind):
    check(OF_SUPPORTS[name], ARRAYS[kind], S)


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("name", OF_COUNTS)
def test_counts(name, kind):
    check(OF_COUNTS[name], ARRAYS[kind], N)


@pytest.mark.parametrize("kind", ["big endian ids", "tensor ids", *SEQUENCES])
@pytest.mark.parametrize("name", OF_IDS)
def test_ids(name, kind):
    more = {"big endian ids": lambda x: x.astype(">i8"), "tensor ids": torch.tensor}
    check(OF_IDS[name], {**SEQUENCES, **more}[kind], IDS)


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("name", OF_SIZES)
def test_sizes(name, kind):
    size, call = OF_SIZES[name]
    check(call, SIZES[kind], size)


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("name", OF_NUMBERS)
def test_numbers(name, kind):
    check(OF_NUMBERS[name], NUMBERS[kind], 0.0078125)


@pytest.mark.parametrize("kind", SEQUENCES)
@pytest.mark.parametrize("name", OF_SEQUENCES)
def test_sequences(name, kind):
    plain, call = OF_SEQUENCES[name]
    assert same(call(SEQUENCES[kind](plain)), call(plain))


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-8, 1e8, 1e160, 1e200])
@pytest.mark.parametrize("name", SCALE_FREE)
def test_scales(name, scale):
    A = np.random.default_rng(0).normal(size=(V, M))  # no ties, which rounding would break
    assert same(SCALE_FREE[name](scale * A), SCALE_FREE[name](A), 1e-6)


OWN_RESULTS = {
    "in_support_logits": lambda: ntp.in_support_logits(LABELS),
    "split_logits, sparse": lambda: ntp.split_logits(L, LABELS).in_support,
    "labels.P": lambda: LABELS.P,
    "labels.S": lambda: LABELS.S,
    "labels.N": lambda: LABELS.N,
    "centered_support": lambda: ntp.centered_support(LABELS),
    "solve_max_margin": lambda: ntp.solve_max_margin(LABELS).L,
    "UFM, with its gradient": lambda: ntp.UFM(V, M, 3).logits(),
}


@pytest.mark.parametrize("result", OWN_RESULTS)
@pytest.mark.parametrize("name", OF_LOGITS)
def test_what_the_package_returns_it_takes(name, result):
    value = OWN_RESULTS[result]()
    plain = value.detach().numpy() if isinstance(value, torch.Tensor) else value
    plain = plain.toarray() if sparse.issparse(plain) else plain
    assert same(OF_LOGITS[name](value), OF_LOGITS[name](plain), 1e-5)


SHIFT_FREE = {
    "cross_entropy": lambda A: ntp.cross_entropy(A, LABELS),
    "excess_loss": lambda A: ntp.excess_loss(A, LABELS),
    "certify_ridge, centred": lambda A: ntp.certify_ridge(A, LABELS, 0.01, center=True),
    "certify_ridge, no ridge, centred": lambda A: ntp.certify_ridge(A, LABELS, center=True),
    "certify_margin": lambda A: ntp.certify_margin(A, L, S).primal,
}


@pytest.mark.parametrize("name", SHIFT_FREE)
def test_logits_that_are_not_centred(name):
    centred = L - L.mean(axis=0)
    shifted = centred + 7 * np.arange(M)
    assert same(SHIFT_FREE[name](shifted), SHIFT_FREE[name](centred), 1e-7)


# ---------------------------------------------------------------- what is refused

REFUSED = {
    "masked": (lambda A: np.ma.MaskedArray(A, A.flat[0] == A), "masked"),
    "complex": (lambda A: A + 0j, "complex"),
    "complex tensor": (lambda A: torch.tensor(A + 0j), "complex"),
    "texts": (lambda A: A.astype(str), "numbers"),
    "missing": (lambda A: pd.DataFrame(A).astype(object).mask(A.flat[0] == A, None), "numbers"),
    "ragged": (lambda A: [A[0].tolist(), A[1].tolist()[:-1]], "rows of equal length"),
    "None": (lambda A: None, "NoneType"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("name", [*OF_LOGITS, *OF_SUPPORTS, *OF_COUNTS])
def test_what_holds_no_numbers(name, kind):
    call = {**OF_LOGITS, **OF_SUPPORTS, **OF_COUNTS}[name]
    plain = L if name in OF_LOGITS else S if name in OF_SUPPORTS else N
    make, word = REFUSED[kind]
    if name in ("cosine_similarity, Y", "standard_metrics, L_mm") and kind == "None":
        pytest.skip("None is the default")
    assert_one_sentence(lambda: call(make(plain)), word)


@pytest.mark.parametrize("value", [3.0, True, "3", None, np.array([1, 2]), torch.tensor(3.0)])
@pytest.mark.parametrize("name", OF_SIZES)
def test_what_is_no_size(name, value):
    if value is None and name in ("random_soft_labels, n", "balanced_factors, d"):
        pytest.skip("None is the default")
    assert_one_sentence(lambda: OF_SIZES[name][1](value), "use a whole number")


@pytest.mark.parametrize("value", ["0.1", True, [0.1], 1j, np.array([0.1, 0.2])])
@pytest.mark.parametrize("name", OF_NUMBERS)
def test_what_is_no_number(name, value):
    assert_one_sentence(lambda: OF_NUMBERS[name](value), "use|give")


def assert_one_sentence(call, word):
    with pytest.raises(ValueError, match=word) as caught:
        call()
    message = str(caught.value)
    assert type(caught.value) is ValueError
    assert message.endswith(".") and "\n" not in message and len(message) <= 200
