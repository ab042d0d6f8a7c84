"""Bad input: the right exception, one sentence with offender and remedy, nothing written."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
import torch
from scipy import sparse

import ntp_lite as ntp
from ntp_lite import soft_labels

LABELS = ntp.random_soft_labels(5, 8, 2, seed=0)
L = np.random.default_rng(0).normal(size=(5, 8))
S = LABELS.S.toarray()


@pytest.fixture(autouse=True)
def nothing_written(tmp_path_factory, monkeypatch):
    """Run in an empty folder that must be empty afterwards."""
    folder = tmp_path_factory.mktemp("empty")
    monkeypatch.chdir(folder)
    yield
    assert os.listdir(folder) == []


def assert_refused(call, *words, kind=ValueError):
    """`call` raises `kind` with one sentence that contains all `words`, in any order."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in message and len(message) <= 200, message
    assert message.endswith(".") and not re.search(r"(?<!\.)[.!?] [A-Z]", message), message
    for word in words:
        assert word in message, f"{word!r} is not in {message!r}"


def test_the_judge_of_messages_can_fail():
    def refuse(message, kind=ValueError):
        def call():
            raise kind(message)

        return call

    assert_refused(refuse("tol is 0; use more."), "tol", "use")
    for bad in ("tol is 0", "Tol is 0. Use more.", "tol is 0;\nuse more.", "No."):
        with pytest.raises(AssertionError):
            assert_refused(refuse(bad), "tol is 0")
    with pytest.raises(AssertionError):
        assert_refused(refuse("tol is 0; use more.", UnicodeError), "tol")


# ---------------------------------------------------------------- texts


@pytest.mark.parametrize("content", ["", "\n\n  \n", "\ufeff"])
def test_empty_text(tmp_path, content):
    path = tmp_path / "nothing.txt"
    path.write_text(content, encoding="utf-8")
    assert_refused(lambda: ntp.load_corpus(path), "nothing.txt", "empty", "give a text")


@pytest.mark.parametrize("raw", ["Été".encode("latin-1"), b"abc\xff\xfe", "cat".encode("utf-16")])
def test_text_that_is_not_utf_8(tmp_path, raw):
    path = tmp_path / "old.txt"
    path.write_bytes(raw)
    assert_refused(lambda: ntp.load_corpus(path), "old.txt", "not UTF-8", "byte", "save")
    assert path.read_bytes() == raw


def test_unknown_corpus_lists_the_known_ones():
    for name in ("tale", "Lily"):
        assert_refused(
            lambda name=name: ntp.load_corpus(name), name, "lily", "primer", "tales", "path"
        )


@pytest.mark.parametrize("name", ["missing.txt", "folder/missing", "/nowhere/at/all.txt"])
def test_missing_file(name):
    assert_refused(lambda: ntp.load_corpus(name), name, "check", kind=FileNotFoundError)


@pytest.mark.parametrize("max_vocab", [2, 1, 0, -5])
def test_vocabulary_too_small(max_vocab):
    assert_refused(
        lambda: ntp.load_corpus("lily", max_vocab=max_vocab), "max_vocab", str(max_vocab), "3"
    )


@pytest.mark.parametrize("max_stories", [0, -1])
def test_no_stories(max_stories):
    assert_refused(
        lambda: ntp.load_corpus("lily", max_stories=max_stories), "max_stories", str(max_stories)
    )


def test_token_outside_the_vocabulary():
    assert_refused(lambda: ntp.Vocabulary(("a",)).encode("a b"), "'b'", "not in the vocabulary")


# ---------------------------------------------------------------- tokens and counts


@pytest.mark.parametrize("ids, context_length", [([0, 1, 2], 3), ([0], 1), ([], 1), ([0, 1], 9)])
def test_text_shorter_than_the_context(ids, context_length):
    def call():
        ntp.SoftLabels.from_tokens(np.array(ids, dtype=int), context_length, 5)

    assert_refused(call, f"{len(ids)} tokens", f"context_length {context_length}", "longer text")


@pytest.mark.parametrize("context_length", [0, -1])
def test_context_length_below_one(context_length):
    def call():
        ntp.SoftLabels.from_tokens([0, 1, 2], context_length, 5)

    assert_refused(call, f"context_length is {context_length}", "use 1 or more")


@pytest.mark.parametrize(
    "ids, words",
    [
        ([0, 1, 7], ["7", "0 ... 4", "vocab_size"]),
        ([0, -1, 2], ["-1", "0 ... 4", "vocab_size"]),
        ([0.0, 1.0, 2.0], ["ids", "integers", "float64"]),
        ([0.0, np.nan, 2.0], ["ids", "integers", "float64"]),
        ([True, False, True], ["ids", "integers", "bool"]),
        (["a", "b", "c"], ["ids", "numbers"]),
        ([[0, 1], [1, 0]], ["ids", "1-d", "(2, 2)"]),
        (3, ["ids", "1-d"]),
    ],
)
def test_tokens_that_are_no_tokens(ids, words):
    assert_refused(lambda: ntp.SoftLabels.from_tokens(ids, 1, 5), *words)


@pytest.mark.parametrize("form", [np.array, sparse.csr_array, sparse.csc_array, sparse.coo_array])
@pytest.mark.parametrize(
    "value, words",
    [
        (-1, ["-1", "negative", "counts are"]),
        (0.5, ["0.5", "whole number", "not frequencies"]),
        (np.nan, ["nan", "not finite"]),
        (np.inf, ["inf", "not finite"]),
        (1e19, ["1e+19"]),
        (1e300, ["1e+300"]),
    ],
)
def test_counts_that_are_no_counts(form, value, words):
    N = np.array([[1.0, value, 0.0], [2.0, 1.0, 3.0]])
    assert_refused(lambda: ntp.SoftLabels.from_counts(form(N)), *words)


@pytest.mark.parametrize("form", [np.array, sparse.csc_array])
def test_context_without_counts(form):
    N = np.array([[1, 0, 2], [0, 0, 1]])
    assert_refused(lambda: ntp.SoftLabels.from_counts(form(N)), "column", "1", "no counts", "drop")


@pytest.mark.parametrize("N", [np.zeros((3, 0)), np.zeros((0, 3)), np.zeros((2, 2))])
def test_no_counts_at_all(N):
    assert_refused(lambda: ntp.SoftLabels.from_counts(N), "no counts", "drop")


@pytest.mark.parametrize("N", [[1, 2], 3, np.ones((2, 2, 2))])
def test_counts_of_another_dimension(N):
    assert_refused(lambda: ntp.SoftLabels.from_counts(N), "(V, m)", str(np.shape(N)))


def test_contexts_that_do_not_match_the_counts():
    def call():
        ntp.SoftLabels.from_counts(np.ones((2, 3)), contexts=[[0], [1]])

    assert_refused(call, "2 contexts", "3 columns", "one each")


@pytest.mark.parametrize("columns", [[], np.zeros(8, dtype=bool)])
def test_selecting_nothing(columns):
    assert_refused(lambda: LABELS.select(columns), "no context", "choose")


@pytest.mark.parametrize("columns", [[8], [-9], [0, 99]])
def test_selecting_a_context_that_is_not_there(columns):
    with pytest.raises(IndexError, match="out of bounds"):
        LABELS.select(columns)


@pytest.mark.parametrize(
    "arguments, word",
    [((4, 5, 0), "support_size"), ((4, 5, 6), "support_size"), ((4, 0, 2), "m is 0")],
)
def test_random_labels(arguments, word):
    assert_refused(lambda: ntp.random_soft_labels(*arguments), word, "use")
    assert_refused(lambda: ntp.random_soft_labels(4, 5, 2, n=9), "n is 9", "10")


# ---------------------------------------------------------------- logits

TAKES_LOGITS = {
    "cross_entropy": lambda A: ntp.cross_entropy(A, LABELS),
    "excess_loss": lambda A: ntp.excess_loss(A, LABELS),
    "split_logits": lambda A: ntp.split_logits(A, LABELS),
    "certify_ridge": lambda A: ntp.certify_ridge(A, LABELS, 0.1),
    "certify_ridge without ridge": lambda A: ntp.certify_ridge(A, LABELS),
    "certify_margin": lambda A: ntp.certify_margin(A, L, S),
}
takes_logits = pytest.mark.parametrize("call", TAKES_LOGITS.values(), ids=TAKES_LOGITS)


@takes_logits
@pytest.mark.parametrize("shape", [(8, 5), (5, 7), (5,), (5, 8, 1), ()])
def test_logits_of_another_shape(call, shape):
    assert_refused(lambda: call(np.zeros(shape)), str(shape), "(5, 8)", "columns are contexts")


@takes_logits
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_with_nan_or_infinity(call, value):
    bad = L.copy()
    bad[2, 3] = value
    assert_refused(lambda: call(bad), "L has entries", "NaN or infinite", "check")


@pytest.mark.parametrize("loss", [ntp.cross_entropy, ntp.excess_loss])
def test_torch_logits_of_another_shape(loss):
    assert_refused(
        lambda: loss(torch.zeros(8, 5), LABELS), "(8, 5)", "(5, 8)", "columns are contexts"
    )


def test_dual_matrices():
    assert_refused(lambda: ntp.certify_margin(L, L.T, S), "dual", "(8, 5)", "(5, 8)")
    bad = L.copy()
    bad[0, 0] = np.nan
    assert_refused(lambda: ntp.certify_margin(L, bad, S), "dual", "NaN or infinite")


TAKES_SUPPORT = {
    "solve_max_margin": ntp.solve_max_margin,
    "centered_support": ntp.centered_support,
    "proxy_bounds": ntp.proxy_bounds,
    "certify_margin": lambda A: ntp.certify_margin(L, L, A),
    "project_margin": lambda A: ntp.project_margin(L, A),
    "project_dual": lambda A: ntp.project_dual(L, A),
}


@pytest.mark.parametrize("call", TAKES_SUPPORT.values(), ids=TAKES_SUPPORT)
def test_supports_that_are_no_supports(call):
    empty = S.copy()
    empty[:, 3] = 0
    nan = S.copy()
    nan[0, 0] = np.nan
    assert_refused(lambda: call(2 * S), "0 and 1", "labels.S", "not counts")
    assert_refused(lambda: call(LABELS.P), "0 and 1", "labels.S", "not counts")
    assert_refused(lambda: call(nan), "0 and 1")
    assert_refused(lambda: call(empty), "column", "drop")
    assert_refused(lambda: call(np.ones(5)), "(V, m)", "(5,)")
    assert_refused(lambda: call(np.zeros((5, 0))), "column", "drop")


def test_projections_check_that_shapes_match():
    for project in (ntp.project_margin, ntp.project_dual):
        assert_refused(lambda project=project: project(L.T, S), "(8, 5)", "(5, 8)")


# ---------------------------------------------------------------- ridges, tolerances, limits


@pytest.mark.parametrize("ridge", [0, 0.0, -1e-3, np.nan, np.inf])
def test_ridge_that_is_not_positive(ridge):
    for call in (
        lambda: ntp.certify_ridge(L, LABELS, ridge),
        lambda: ntp.solve_ridge(LABELS, ridge),
        lambda: ntp.ridge_path(LABELS, [ridge]),
    ):
        assert_refused(call, f"ridge is {ridge}", "positive")


def test_a_bad_ridge_anywhere_stops_before_the_work_begins():
    seen = []
    with pytest.raises(ValueError, match="ridge is -1"):
        ntp.ridge_path(LABELS, [0.1, 0.01, -1], callback=seen.append)
    assert seen == []


@pytest.mark.parametrize("tol", [0, -1e-6, np.nan])
def test_tol_that_is_not_positive(tol):
    for call in (
        lambda: ntp.solve_max_margin(S, tol=tol),
        lambda: ntp.solve_ridge(LABELS, 0.1, tol=tol),
        lambda: ntp.ridge_path(LABELS, [0.1], tol=tol),
    ):
        assert_refused(call, f"tol is {tol}", "positive")


@pytest.mark.parametrize("max_iter", [0, -3])
def test_no_iterations(max_iter):
    for call in (
        lambda: ntp.solve_max_margin(S, max_iter=max_iter),
        lambda: ntp.solve_ridge(LABELS, 0.1, max_iter=max_iter),
        lambda: ntp.ridge_path(LABELS, [0.1], max_iter=max_iter),
    ):
        assert_refused(call, f"max_iter is {max_iter}", "1 or more")


def test_a_warm_start_of_another_problem():
    other = ntp.solve_ridge(ntp.random_soft_labels(4, 6, 2), 0.05)
    assert_refused(
        lambda: ntp.solve_ridge(LABELS, 0.01, warm_start=other), "warm_start", "(4, 6)", "(5, 8)"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda")])
def test_cuda_asked_for_and_absent(device):
    assert_refused(lambda: ntp.solve_max_margin(S, device=device), "cuda", "cpu")


# ---------------------------------------------------------------- geometry


@pytest.mark.parametrize("shape", [(8, 3), (3, 7), (8,), (3, 8, 1)])
def test_collapse_needs_one_column_per_context(shape):
    assert_refused(lambda: ntp.support_collapse(np.zeros(shape), LABELS), "m = 8", str(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_diverged_run_does_not_read_as_perfectly_collapsed(value):
    X = np.ones((2, 6))
    X[0, 0] = value
    with np.errstate(invalid="ignore"):
        result = ntp.support_collapse(X, ntp.SoftLabels.from_counts(np.ones((3, 6))))
    assert np.isnan(result.several_tokens) and np.isnan(result.permuted_several_tokens)


@pytest.mark.parametrize("n_concepts", [0, -1, 6])
def test_concepts_outside_the_rank(n_concepts):
    assert_refused(lambda: ntp.orthants(L, n_concepts), f"n_concepts is {n_concepts}", "1 ... 5")


def test_a_folder_is_not_a_text(tmp_path):
    with pytest.raises(ValueError, match="is a folder; give the path of a text file"):
        ntp.load_corpus(tmp_path)


def test_geometry_of_what_is_no_pair_of_matrices():
    assert_refused(lambda: ntp.cosine_similarity(L, np.ones((3, 2))), "5 rows", "Y 3", "dimension")
    for call in (ntp.cosine_similarity, ntp.seriation):
        assert_refused(lambda call=call: call(np.ones(4)), "X has shape (4,)", "one vector per")


def test_columns_and_contexts_of_another_kind():
    assert_refused(lambda: LABELS.select([0.5]), "columns are of type float64", "indices")
    assert_refused(lambda: ntp.SoftLabels.from_counts(S, 3), "No contexts", "8 columns")


def test_more_tokens_than_are_counted_at_once(monkeypatch):
    class TooMany:
        ndim, size, dtype = 1, 2**31, np.dtype(np.int64)

        def __len__(self):
            return self.size

    monkeypatch.setattr(soft_labels, "as_array", lambda *args, **kwargs: TooMany())
    assert_refused(
        lambda: ntp.SoftLabels.from_tokens([0, 1, 2], 1, 3), "2147483648 tokens", "count parts"
    )
