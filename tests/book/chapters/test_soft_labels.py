"""The statements of "From text to soft labels", each by an independent truth."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

import ntp_lite as ntp

TEN = [
    "the",
    "cat",
    "sat",
    ".",
    "the",
    "dog",
    "ran",
    ".",
    "the",
    "cat",
    "slept",
    ".",
    "the",
    "hen",
    "sat",
    ".",
    "the",
    "dog",
    "sat",
    ".",
    "the",
    "cat",
    "ran",
    ".",
    "the",
    "cat",
    "sat",
    ".",
    "the",
    "dog",
    "ran",
    ".",
    "the",
    "hen",
    "ran",
    ".",
    "the",
    "cat",
    "slept",
    "!",
]


def _ten_sentences(context_length):
    names = list(dict.fromkeys(TEN))
    ids = np.array([names.index(token) for token in TEN])
    return names, ids, ntp.SoftLabels.from_tokens(ids, context_length, len(names))


def _is_split(pi, P, joint):
    """Exact fractions of the text against the arrays: the joint table, its columns and its rows."""
    sums = np.allclose(P.sum(axis=0), 1, atol=1e-14) and np.isclose(pi.sum(), 1, atol=1e-14)
    return bool(sums and np.allclose(P * pi, joint, atol=1e-14))


@pytest.mark.parametrize(
    "mutation", [None, "rows normalised", "uniform priors", "permuted contexts", "joint table"]
)
def test_split_into_priors_and_soft_labels(mutation):
    """Theorem label: prop-soft-labels-split

    Truth: exact fractions counted from the ten sentences, read as text."""
    names, ids, labels = _ten_sentences(context_length=1)
    pairs = Counter(pairwise(TEN))
    joint = np.zeros((labels.V, labels.m))
    for (context, following), count in pairs.items():
        joint[names.index(following), names.index(context)] = Fraction(count, 39)
    pi, P = labels.pi, labels.P.toarray()
    if mutation == "rows normalised":
        P = joint / joint.sum(axis=1, keepdims=True)
    elif mutation == "uniform priors":
        pi = np.full(labels.m, 1 / labels.m)
    elif mutation == "permuted contexts":
        P = np.roll(P, 1, axis=1)
    elif mutation == "joint table":
        P = joint
    assert _is_split(pi, P, joint) is (mutation is None)
    shares = np.bincount(ids[1:], minlength=labels.V) / 39
    assert np.allclose(P @ pi, shares, atol=1e-14) is (mutation is None)


def test_split_is_unique():
    """Theorem label: prop-soft-labels-split

    Part 4: the column sums of N / n are pi, and any other weights break the columns of P."""
    _, _, labels = _ten_sentences(context_length=2)
    joint = labels.N.toarray() / labels.n
    assert np.allclose(joint.sum(axis=0), labels.pi, atol=1e-15)
    other = np.roll(labels.pi, 1)
    assert not np.allclose((joint / other).sum(axis=0), 1, atol=1e-3)


@pytest.mark.parametrize("mutation", [None, "base too small", "digits reversed", "int64 overflow"])
def test_windows_are_numbers(mutation):
    """Theorem label: prop-soft-labels-key

    Truth: Python tuples, which compare lexicographically."""
    V, c = (65_536, 4) if mutation == "int64 overflow" else (7, 3)
    windows = np.random.default_rng(0).integers(0, V, size=(400, c + 1))
    if mutation == "int64 overflow":
        windows[1::2, 1:] = windows[::2, 1:]
    base = V - 2 if mutation == "base too small" else V
    digits = windows[:, ::-1] if mutation == "digits reversed" else windows
    keys = np.zeros(len(windows), dtype=np.int64)
    for place in range(c + 1):
        keys = keys * base + digits[:, place]
    tuples = [tuple(window) for window in windows.tolist()]
    distinct = len(np.unique(keys)) == len(set(tuples))
    ordered = [tuples[i] for i in np.argsort(keys, kind="stable")] == sorted(tuples)
    assert (distinct and ordered) is (mutation is None)


@pytest.mark.parametrize(("V", "c"), [(9, 1), (9, 2), (300, 7), (65_536, 4)])
def test_package_counts_like_a_dict(V, c):
    """Theorem label: prop-soft-labels-key

    The package's counts against a dictionary of tuples, with and without keys that overflow."""
    rng = np.random.default_rng(5)
    ids = rng.integers(0, 3, size=200) + (V - 3) * rng.integers(0, 2, size=200)
    pairs = Counter((tuple(ids[t : t + c].tolist()), int(ids[t + c])) for t in range(len(ids) - c))
    labels = ntp.SoftLabels.from_tokens(ids, c, V)
    contexts = sorted({context for context, _ in pairs})
    assert labels.contexts.tolist() == [list(context) for context in contexts]
    counted = {
        (tuple(labels.contexts[j].tolist()), int(z)): int(count)
        for j in range(labels.m)
        for z, count in zip(
            labels.N.indices[labels.N.indptr[j] : labels.N.indptr[j + 1]],
            labels.N.data[labels.N.indptr[j] : labels.N.indptr[j + 1]],
            strict=True,
        )
    }
    assert counted == dict(pairs)
