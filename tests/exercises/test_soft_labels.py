"""Checkers of "From text to soft labels": right answers pass, mistakes are named."""

from itertools import combinations

import numpy as np
import pytest

import ntp_lite as ntp
from ntp_lite.exercises import soft_labels
from ntp_lite.exercises.soft_labels import solution_mean_support_sizes, solution_rewrite
from ntp_lite.exercises.soft_labels import solution_soft_labels_from_counts as split


def split_by_package(N):
    labels = ntp.SoftLabels.from_counts(N)
    return labels.pi, labels.P, labels.S


def mean_sizes_by_package(N):
    labels = ntp.SoftLabels.from_counts(N)
    return labels.support_sizes.mean(), labels.pi @ labels.support_sizes


def merge(N, contexts, kept, add=True):
    distinct, where = np.unique(contexts[:, kept], axis=0, return_inverse=True)
    shorter = np.zeros((len(N), len(distinct)))
    for j, target in enumerate(where.reshape(-1)):
        shorter[:, target] = N[:, j] + (shorter[:, target] if add else 0)
    return shorter


def exchange_a_stretch(ids, c):
    """Two stretches between the same two contexts change places, when there are such."""
    text = ids.tolist()
    windows = [tuple(text[t : t + c]) for t in range(len(text) - c + 1)]
    for a, b, d, e in combinations(range(len(windows)), 4):
        same_ends = windows[a] == windows[d] and windows[b] == windows[e]
        if same_ends and text[a : b + c] != text[d : e + c]:
            return text[:a] + text[d:e] + text[b:d] + text[a:b] + text[e:]
    raise AssertionError("the checker's text has no two such stretches")


def walk_until_stuck(ids, c, rng):
    """The pairs in a random order, without the loops that are left when the walk is stuck."""
    text = ids.tolist()
    unused = {}
    for t in range(len(text) - c):
        unused.setdefault(tuple(text[t : t + c]), []).append(text[t + c])
    for choices in unused.values():
        rng.shuffle(choices)
    walk = text[:c]
    while unused.get(tuple(walk[-c:])):
        walk.append(unused[tuple(walk[-c:])].pop())
    return walk


RIGHT = [
    (soft_labels.two_token_contexts, (38, 14)),
    (soft_labels.soft_labels_from_counts, (split,)),
    (soft_labels.soft_labels_from_counts, (lambda N: [*split(N)[:2], N > 0],)),
    (soft_labels.mean_support_sizes, (solution_mean_support_sizes,)),
    (soft_labels.mean_support_sizes, (mean_sizes_by_package,)),
    (soft_labels.soft_labels_from_counts, (split_by_package,)),
    (soft_labels.forget_oldest, (lambda N, c: merge(N, c, slice(1, None)),)),
    (soft_labels.rewrite, (solution_rewrite,)),
    (soft_labels.rewrite, (lambda ids, c, rng: solution_rewrite(ids, c, rng).tolist(),)),
    (soft_labels.rewrite, (lambda ids, c, rng: exchange_a_stretch(ids, c),)),
]

WRONG = [
    (soft_labels.two_token_contexts, (38, 15), "nothing follows it"),
    (soft_labels.two_token_contexts, (39, 14), "two tokens before it"),
    (soft_labels.two_token_contexts, (39, 15), "two slips"),
    (soft_labels.two_token_contexts, (40, 14), "not tokens"),
    (soft_labels.two_token_contexts, (14, 38), "n comes first"),
    (soft_labels.two_token_contexts, (38, 13), "m is not"),
    (soft_labels.two_token_contexts, (37, 14), "n is not"),
    (
        soft_labels.soft_labels_from_counts,
        (lambda N: (split(N)[0], N / np.maximum(N.sum(1, keepdims=True), 1), N > 0),),
        "rows that sum to one",
    ),
    (
        soft_labels.soft_labels_from_counts,
        (lambda N: (split(N)[0], _nan_rows(N), N > 0),),
        "rows that sum to one",
    ),
    (
        soft_labels.soft_labels_from_counts,
        (lambda N: (split(N)[0], N / N.sum(), N > 0),),
        "the joint table",
    ),
    (
        soft_labels.soft_labels_from_counts,
        (lambda N: (N.sum(0), *split(N)[1:]),),
        "divide by n",
    ),
    (
        soft_labels.soft_labels_from_counts,
        (lambda N: (np.full(3, 1 / 3), *split(N)[1:]),),
        "not alike",
    ),
    (soft_labels.soft_labels_from_counts, (lambda N: (*split(N)[:2], N),), "not counts"),
    (
        soft_labels.soft_labels_from_counts,
        (lambda N: (N.sum(1) / N.sum(), *split(N)[1:]),),
        "wrong axis",
    ),
    (soft_labels.soft_labels_from_counts, (lambda N: N / N.sum(0),), "three arrays"),
    (soft_labels.soft_labels_from_counts, (lambda N: (..., 1, 2),), "replace the ..."),
    (
        soft_labels.mean_support_sizes,
        (lambda N: (N.sum(0) / N.sum() @ (N > 0).sum(0), (N > 0).sum(0).mean()),),
        "swapped",
    ),
    (
        soft_labels.mean_support_sizes,
        (lambda N: ((N > 0).sum(0).mean(),) * 2,),
        "both are averages",
    ),
    (
        soft_labels.mean_support_sizes,
        (lambda N: ((N > 0).sum(1).mean(), N.sum(1) / N.sum() @ (N > 0).sum(1)),),
        "along rows",
    ),
    (
        soft_labels.mean_support_sizes,
        (lambda N: (N.sum(0).mean(), N.sum(0) / N.sum() @ N.sum(0)),),
        "summed the counts",
    ),
    (
        soft_labels.mean_support_sizes,
        (lambda N: ((N > 0).sum(0).mean(), N.sum(0) @ (N > 0).sum(0)),),
        "divided by n",
    ),
    (soft_labels.forget_oldest, (lambda N, c: merge(N, c, slice(None, -1)),), "dropped the newest"),
    (
        soft_labels.forget_oldest,
        (lambda N, c: merge(N, c, slice(1, None)) > 0,),
        "merged the supports",
    ),
    (
        soft_labels.forget_oldest,
        (lambda N, c: merge(N, c, slice(1, None), add=False),),
        "do not overwrite",
    ),
    (soft_labels.forget_oldest, (lambda N, c: _first_seen_order(N, c),), "first appearance"),
    (soft_labels.rewrite, (lambda ids, c, rng: ids,), "same text again"),
    (soft_labels.rewrite, (lambda ids, c, rng: rng.permutation(ids),), "other pairs"),
    (soft_labels.rewrite, (lambda ids, c, rng: ids[::-1],), "other pairs"),
    (soft_labels.rewrite, (walk_until_stuck,), "stuck before"),
    (soft_labels.rewrite, (lambda ids, c, rng: [*ids, ids[0]],), "used once"),
    (soft_labels.rewrite, (lambda ids, c, rng: (ids + 1) % 4,), "not those of the text"),
    (soft_labels.rewrite, (lambda ids, c, rng: ids[None],), "one row"),
    (soft_labels.rewrite, (lambda ids, c, rng: "dog",), "array of numbers"),
    (
        soft_labels.rewrite,
        (lambda ids, c, rng: solution_rewrite(ids, 1, rng),),
        "with context length 2",
    ),
]


def _first_seen_order(N, contexts):
    short = [tuple(context) for context in contexts[:, 1:].tolist()]
    seen = list(dict.fromkeys(short))
    merged = np.zeros((len(N), len(seen)))
    for j, context in enumerate(short):
        merged[:, seen.index(context)] += N[:, j]
    return merged


def _nan_rows(N):
    with np.errstate(invalid="ignore"):
        return N / N.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("checker", "answer"), RIGHT)
def test_right_answers_pass(checker, answer, capsys):
    assert checker(*answer)
    assert capsys.readouterr().out.startswith("Right:")


@pytest.mark.parametrize(("checker", "answer", "hint"), WRONG)
def test_likely_mistakes_get_their_hint(checker, answer, hint, capsys):
    assert not checker(*answer)
    assert hint in capsys.readouterr().out


def test_a_stub_of_two_numbers_is_reminded(capsys):
    """The one checker that takes two answers, which test_every_checker.py leaves out."""
    assert not soft_labels.two_token_contexts(..., ...)
    assert "replace" in capsys.readouterr().out
