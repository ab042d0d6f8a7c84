"""Checkers of the exercises of "From text to soft labels"."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from ..soft_labels import SoftLabels
from ._common import NoAnswerError, compare, say, value_of

# More rows than columns, no two axes alike, supports of sizes 1, 3 and 2.
COUNTS = np.array([[0, 1, 0], [4, 0, 1], [0, 2, 0], [0, 3, 5], [0, 0, 0]])


def two_token_contexts(n: Any, m: Any) -> bool:
    """Accepts the numbers of positions and of distinct contexts of the ten sentences at c = 2."""
    if n is ... or m is ...:
        return say(False, "replace both ... by your counts, then run the cell again.")
    return compare(
        [n, m],
        [38, 14],
        "38 positions and 14 contexts.",
        {
            "'slept !' ends the text: nothing follows it, so it is no context.": [
                38,
                15,
            ],
            "the first position needs two tokens before it, so n is not 39.": [39, 14],
            "two slips: n is not 39, and 'slept !' is followed by nothing.": [39, 15],
            "n counts positions, not tokens; the first two tokens have no full context.": [40, 14],
            "n comes first, then m.": [14, 38],
            "n is right, m is not; sort the windows by their first token.": [38, m],
            "m is right, n is not; a position needs two tokens before it.": [n, 14],
        },
    )


def solution_soft_labels_from_counts(N: Any) -> tuple[Any, Any, Any]:
    """Priors (m,), soft labels (V, m) and supports (V, m) of counts N (V, m)."""
    return N.sum(axis=0) / N.sum(), N / N.sum(axis=0), (N > 0).astype(float)


def soft_labels_from_counts(answer: Any) -> bool:
    """Accepts a function of dense N (V, m) that returns (pi, P, S), S as numbers or booleans."""
    N = COUNTS
    V, m = N.shape
    shapes = ((m,), (V, m), (V, m))
    try:
        parts = value_of(answer, N)
    except NoAnswerError as reason:
        return say(False, str(reason))
    if not isinstance(parts, (tuple, list)) or len(parts) != 3:
        return say(False, "return three arrays: return pi, P, S.")
    try:
        arrays = [np.asarray(value_of(part), dtype=float) for part in parts]
    except NoAnswerError as reason:
        return say(False, str(reason))
    except (TypeError, ValueError):
        return say(False, "pi, P and S should be numpy arrays of numbers.")
    for name, array, shape in zip(("pi", "P", "S"), arrays, shapes, strict=True):
        if array.shape != shape:
            hint = " Did you sum over the wrong axis?" if array.shape == (V,) else ""
            return say(False, f"{name} has shape {array.shape}, expected {shape}.{hint}")
    column_sums = N.sum(axis=0)
    pi, P, S = solution_soft_labels_from_counts(N)
    row_sums = np.maximum(N.sum(axis=1, keepdims=True), 1)

    def packed(pi: Any, P: Any, S: Any) -> Any:
        return np.concatenate([np.ravel(part) for part in (pi, P, S)])

    # Dividing by row sums meets 0 / 0 in the empty row; the hint below shall match all the same.
    empty_row = N.sum(axis=1, keepdims=True) == 0
    arrays[1] = np.where(np.isnan(arrays[1]) & empty_row, 0.0, arrays[1])
    return compare(
        packed(*arrays),
        packed(pi, P, S),
        "pi, P and S are right; the columns of P sum to one.",
        {
            "P has rows that sum to one; divide each column by its sum (axis=0).": packed(
                pi, N / row_sums, S
            ),
            "P is N / n, the joint table; divide each column by its own sum.": packed(
                pi, N / N.sum(), S
            ),
            "pi holds counts; divide by n so that it sums to one.": packed(column_sums, P, S),
            "pi should weigh contexts by how often they occur, not alike.": packed(
                np.full(m, 1 / m), P, S
            ),
            "S holds ones, not counts: it only says whether a token follows.": packed(pi, P, N),
        },
    )


def solution_mean_support_sizes(N: Any) -> list[float]:
    """The mean support size over contexts, and over positions."""
    sizes = (N > 0).sum(axis=0)
    return [sizes.mean(), N.sum(axis=0) / N.sum() @ sizes]


def mean_support_sizes(answer: Any) -> bool:
    """Accepts a function of dense N that returns (mean over contexts, mean over positions)."""
    N = COUNTS
    pi, k = N.sum(axis=0) / N.sum(), (N > 0).sum(axis=0)
    right = solution_mean_support_sizes(N)
    rows = (N > 0).sum(axis=1)
    row_weights = N.sum(axis=1) / N.sum()
    return compare(
        answer,
        right,
        "the mean over contexts weighs them alike, that over positions by pi.",
        {
            "the two averages are swapped.": right[::-1],
            "both are averages over contexts; weigh the second by pi.": [right[0], right[0]],
            "you counted along rows; the support of a context is in its column (axis=0).": [
                rows.mean(),
                row_weights @ rows,
            ],
            "the support size counts the non-zero entries; you summed the counts.": [
                N.sum(axis=0).mean(),
                pi @ N.sum(axis=0),
            ],
            "the second value should be divided by n (or use pi, which sums to one).": [
                right[0],
                N.sum(axis=0) @ k,
            ],
        },
        arguments=(N,),
    )


def forget_oldest(answer: Any) -> bool:
    """Accepts a function of (N, contexts) that returns the dense counts for length c - 1."""
    ids = np.random.default_rng(1).integers(0, 4, size=90)
    longer = SoftLabels.from_tokens(ids, context_length=3, vocab_size=5)
    shorter = SoftLabels.from_tokens(ids[1:], context_length=2, vocab_size=5)
    N, contexts = longer.N.toarray(), np.asarray(longer.contexts)

    def merged(kept: Any, counts: Any) -> Any:
        distinct, where = np.unique(kept, axis=0, return_inverse=True)
        total = np.zeros((len(counts), len(distinct)))
        np.add.at(total.T, where.reshape(-1), counts.T)
        return total

    oldest_gone, newest_gone = contexts[:, 1:], contexts[:, :-1]
    first_seen = np.unique(oldest_gone, axis=0, return_index=True)[1]
    return compare(
        answer,
        shorter.N.toarray(),
        "merged contexts add their counts, and the text is not needed.",
        {
            "you dropped the newest token; the oldest stands first in a context.": merged(
                newest_gone, N
            ),
            "you merged the supports; add the counts of the merged columns.": (
                merged(oldest_gone, N) > 0
            ),
            "several old columns go to one new column; add them (+=), do not overwrite.": (
                _overwritten(oldest_gone, N)
            ),
            "the columns stand in order of first appearance; sort the shorter contexts.": (
                merged(oldest_gone, N)[:, np.argsort(first_seen)]
            ),
        },
        arguments=(N, contexts),
    )


def _overwritten(kept: Any, counts: Any) -> Any:
    """What `=` in place of `+=` gives: the last merged column wins."""
    distinct, where = np.unique(kept, axis=0, return_inverse=True)
    total = np.zeros((len(counts), len(distinct)))
    for j, target in enumerate(where.reshape(-1)):
        total[:, target] = counts[:, j]
    return total


def solution_rewrite(ids: Any, context_length: int, rng: Any) -> Any:
    """A text with the same (context, next token) pairs in a random order, by Hierholzer's walk.

    ids : (T,) token ids.  The walk goes on from the last context while an unused pair leads on;
    where none does, that context is finished and takes the last free place from the end.
    """
    tokens = [int(i) for i in ids]
    unused: dict[tuple[int, ...], list[int]] = {}
    for t in range(len(tokens) - context_length):
        context = tuple(tokens[t : t + context_length])
        unused.setdefault(context, []).append(tokens[t + context_length])
    for choices in unused.values():
        rng.shuffle(choices)
    walk, finished = [tuple(tokens[:context_length])], []
    while walk:
        if unused.get(walk[-1]):
            walk.append((*walk[-1][1:], unused[walk[-1]].pop()))
        else:
            finished.append(walk.pop())
    first, *others = reversed(finished)
    return np.array([*first, *(context[-1] for context in others)])


def rewrite(answer: Any) -> bool:
    """Accepts a function of (ids, context_length, rng) that returns another text, same counts."""
    ids = np.random.default_rng(2).integers(0, 4, size=80)
    # Four tries: a walk that stops where it is stuck may be lucky once.
    for context_length, seed in [(1, 0), (2, 0), (2, 1), (2, 2)]:
        try:
            text = value_of(answer, ids.copy(), context_length, np.random.default_rng(seed))
        except NoAnswerError as reason:
            return say(False, str(reason))
        complaint = _wrong_rewriting(ids, context_length, text)
        if complaint:
            return say(False, f"with context length {context_length}: {complaint}")
    return say(True, "another text, and the same table.")


def _wrong_rewriting(ids: Any, context_length: int, text: Any) -> str:
    """What keeps `text` from being another text with the table of `ids`; empty if nothing does."""
    try:
        got = np.asarray(text, dtype=float)
    except (TypeError, ValueError):
        return "return the token ids of the new text as one array of numbers."
    if got.ndim != 1:
        return f"return one row of token ids, shape (T,), not {got.shape}."
    if len(got) < len(ids):
        return (
            f"your text has {len(got)} tokens of {len(ids)}: the walk was stuck before all pairs "
            "were used. Loops that it left out must be put in."
        )
    if len(got) > len(ids):
        return f"your text has {len(got)} tokens, not {len(ids)}; each pair is used once."
    if np.array_equal(got, ids):
        return "that is the same text again; use the pairs in another order."
    if not np.array_equal(np.sort(got), np.sort(ids)):
        return "the tokens are not those of the text; each must occur as often as before."
    if _windows(got, context_length) != _windows(ids, context_length):
        return "the tokens are right, but other pairs of context and next token stand side by side."
    return ""


def _windows(ids: Any, context_length: int) -> Counter[tuple[int, ...]]:
    tokens = [int(i) for i in ids]
    size = context_length + 1
    return Counter(tuple(tokens[t : t + size]) for t in range(len(tokens) - context_length))
