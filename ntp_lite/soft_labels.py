"""Token ids to soft labels: distinct contexts, priors, next-token distributions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from ._validate import as_array, as_size

LARGEST_COUNT = 2**53  # every whole number up to here is a float64
LARGEST_TOTAL = 2**62  # sums of counts stay within int64, with room for a rounded check
BLOCK = 2**15  # positions whose numerals are made at a time


@dataclass(frozen=True, eq=False, repr=False)
class SoftLabels:
    """Next-token data as classification of m distinct contexts with soft labels.

    Built by `from_tokens` or `from_counts`. With the count matrix N (V x m; column j counts the
    tokens that follow context j) and n = sum of N:

        pi_j = sum_z N[z,j] / n,   P[z,j] = N[z,j] / sum_z N[z,j],   S[z,j] = 1 if N[z,j] > 0.

    contexts : (m, c) int64, the token ids of each context, oldest first; None where only counts
        were given.

    Nothing can be changed in place: every array that is handed out is read-only (`.copy()` one to
    work on it), and every array that came in was copied. Paper: section 2. Book: soft_labels,
    entropy_floor.
    """

    # The count matrix column by column (scipy's CSC form), all read-only and owned.
    _counts: NDArray[np.int64]  # (entries,) the counts, none of them zero
    _tokens: NDArray[np.integer]  # (entries,) the row of each, ascending within a column
    _starts: NDArray[np.integer]  # (m + 1,) where each column begins; the last is the end
    shape: tuple[int, int]  # (V, m)
    contexts: NDArray[Any] | None = None

    @classmethod
    def from_tokens(cls, ids: ArrayLike, context_length: int, vocab_size: int) -> SoftLabels:
        """Count what follows each distinct window of `context_length` consecutive ids.

        Every window that is followed by an id is one position: n = len(ids) - context_length.
        Contexts stand in lexicographic order of their ids. Exact: windows become integers, which
        are counted in a table where that is small and sorted otherwise.

        ids : whole numbers in [0, vocab_size), of any integer type; fewer than 2^31 of them.

        Raises ValueError for sizes below 1, too short a text, or ids of another kind or range.
        """
        c = as_size(context_length, "context_length")
        V = as_size(vocab_size, "vocab_size", maximum=2**62)
        tokens = _token_ids(ids, c, V)
        distinct: NDArray[np.int64] | None = None
        digits = V  # how many values a token can take
        if V * len(tokens) >= 2**63:  # the rank of a prefix and a token may not fit one integer
            distinct, tokens = np.unique(tokens, return_inverse=True)
            digits = len(distinct)
        windows, ranked = _window_keys(tokens, c, digits)
        keys, counts = _count(windows, _table_size(len(tokens) - c))
        del windows  # may be as large as the text
        prefix = keys // digits
        rows = keys - prefix * digits
        del keys
        pointer = np.append(_run_starts(prefix), len(rows)).astype(np.int32)  # below 2^31 tokens
        prefix = prefix[pointer[:-1]]
        contexts = np.empty((len(prefix), c), dtype=np.int64)
        for k in range(c, 0, -1):
            if k in ranked:
                prefix = ranked[k][prefix]
            prefix, contexts[:, k - 1] = np.divmod(prefix, digits)
        if distinct is not None:
            rows, contexts = distinct[rows], distinct[contexts]
        elif digits < 2**31:
            rows = rows.astype(np.int32)  # what scipy would make of it, without a copy in between
        return cls._owning(sparse.csc_array((counts, rows, pointer), (V, len(contexts))), contexts)

    @classmethod
    def from_counts(
        cls, N: ArrayLike | sparse.sparray, contexts: ArrayLike | None = None
    ) -> SoftLabels:
        """Soft labels from a (V, m) count matrix, dense or scipy sparse, of any numeric type.

        Entries that a sparse matrix stores twice are added up. `contexts` are the m names of the
        columns: (m, c) token ids where a model shall read them.

        Raises ValueError for counts that are not whole numbers from 0 to 2^53 or add up to more
        than 2^62, a matrix that is not 2-d, a context (column) without counts, or `contexts` of
        another length than m.
        """
        stored: Any = N if sparse.issparse(N) else as_array(N, "N", dtype=None)
        if stored.ndim != 2:
            raise ValueError(f"N must be a (V, m) matrix, not an array of shape {stored.shape}.")
        if stored.dtype == np.float16:
            stored = stored.astype(np.float32)  # scipy has no sparse matrix of half precision
        entries = sparse.coo_array(stored)
        data = _whole_counts(as_array(entries.data, "N", dtype=None))
        # Built from int64: in their own type, two uint8 counts of the same entry would wrap.
        matrix = sparse.coo_array((data, (entries.row, entries.col)), entries.shape).tocsc()
        _whole_counts(matrix.data)
        matrix.eliminate_zeros()
        m = matrix.shape[1]
        empty = np.flatnonzero(np.diff(matrix.indptr) == 0)
        if m == 0 or len(empty):
            where = f"Context (column) {empty[0]}" if m else "The matrix N"
            raise ValueError(f"{where} has no counts; drop contexts that never occur.")
        return cls._owning(matrix, None if contexts is None else _context_names(contexts, m))

    @classmethod
    def _owning(cls, matrix: sparse.csc_array, contexts: NDArray[Any] | None) -> SoftLabels:
        """From a matrix (and contexts) that nobody else holds: its arrays become read-only."""
        matrix.sum_duplicates()  # sorts rows within columns
        parts = (matrix.data, matrix.indices, matrix.indptr)
        for array in parts if contexts is None else (*parts, contexts):
            array.setflags(write=False)
        return cls(*parts, matrix.shape, contexts)

    def __repr__(self) -> str:
        sizes, mean = f"V={self.V}, m={self.m}, n={self.n}", self.support_sizes.mean()
        return f"SoftLabels({sizes}, entropy={self.entropy:.4f} nats, mean support={mean:.2f})"

    @property
    def V(self) -> int:
        """Number of tokens (rows)."""
        return self.shape[0]

    @property
    def m(self) -> int:
        """Number of distinct contexts (columns)."""
        return self.shape[1]

    @cached_property
    def n(self) -> int:
        """Number of training positions, the sum of all counts."""
        return int(self._counts.sum())

    @property
    def N(self) -> sparse.csc_array:
        """(V, m) int64 counts, read-only."""
        return self._read_only_matrix(self._counts)

    @property
    def P(self) -> sparse.csc_array:
        """(V, m) next-token distributions, read-only; columns sum to one."""
        return self._read_only_matrix(self.probabilities)

    @property
    def S(self) -> sparse.csc_array:
        """(V, m) support matrix, read-only: ones where a token follows a context."""
        return self._read_only_matrix(self._ones)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """P at the `entries`, read-only."""
        return _frozen(self._counts / self.support_sums(self._counts)[self.entries[1]])

    @cached_property
    def _ones(self) -> NDArray[np.float64]:
        return _frozen(np.ones(len(self._counts)))

    @cached_property
    def support_sizes(self) -> NDArray[np.int64]:
        """(m,) k_j = |S_j|, how many different tokens follow context j."""
        return _frozen(np.diff(self._starts).astype(np.int64))

    @cached_property
    def entries(self) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
        """(tokens, contexts) of the support entries, column by column: `L[labels.entries]`."""
        return self._tokens, _frozen(np.repeat(np.arange(self.m), self.support_sizes))

    def on_support(self, values: NDArray) -> sparse.csc_array:
        """A new (V, m) matrix with these values at `entries`, and zeros elsewhere."""
        return sparse.csc_array((values, self._tokens.copy(), self._starts.copy()), self.shape)

    def support_sums(self, values: NDArray) -> NDArray:
        """(m,) sums over each support of values at `entries`."""
        return np.add.reduceat(values, self._starts[:-1])

    @cached_property
    def pi(self) -> NDArray[np.float64]:
        """(m,) prior of each context, read-only."""
        return _frozen(self.support_sums(self._counts) / self.n)

    @cached_property
    def entropy(self) -> float:
        """The floor Hc = sum_j pi_j H(P_j) of the cross-entropy, in nats. Book: entropy_floor."""
        return abs(float((self._counts * np.log(self.probabilities)).sum())) / self.n

    @cached_property
    def support_classes(self) -> NDArray[np.int64]:
        """(m,) class number of each context, from 0; equal numbers = equal supports S_j."""
        seen: dict[bytes, int] = {}
        supports = np.split(self._tokens, self._starts[1:-1])
        classes = [seen.setdefault(support.tobytes(), len(seen)) for support in supports]
        return _frozen(np.array(classes))

    def select(self, columns: ArrayLike) -> SoftLabels:
        """The chosen contexts (indices or a boolean mask); pi is renormalised over them.

        Raises ValueError for no context at all, IndexError for one that is not there.
        """
        index = as_array(columns, "columns", dtype=None)
        if index.size == 0 or (index.dtype == bool and not index.any()):
            raise ValueError("select was given no context; choose at least one column.")
        if index.dtype.kind not in "biu":
            raise ValueError(f"columns are of type {index.dtype}; give indices or a boolean mask.")
        chosen = np.atleast_1d(np.arange(self.m)[index])
        contexts = None if self.contexts is None else self.contexts[chosen]
        return SoftLabels._owning(sparse.csc_array(self.N[:, chosen]), contexts)

    def _read_only_matrix(self, values: NDArray) -> sparse.csc_array:
        """A wrapper of its own each time: its arrays cannot be written, its attributes may."""
        matrix = sparse.csc_array((values, self._tokens, self._starts), self.shape)
        matrix.has_canonical_format = True
        return matrix


def random_soft_labels(
    V: int, m: int, support_size: int, n: int | None = None, seed: int = 0
) -> SoftLabels:
    """Synthetic soft labels: supports drawn uniformly among the subsets of `support_size` tokens.

    Each support entry is counted once; the other n - m * support_size positions (default n =
    4 m * support_size) fall on support entries with skewed probabilities. The same `seed` gives
    the same labels. Raises ValueError for sizes that do not fit together.
    """
    V, m = as_size(V, "V"), as_size(m, "m")
    support_size = as_size(support_size, "support_size")
    if support_size > V:
        raise ValueError(f"support_size is {support_size}; use 1 ... V = {V}.")
    entries = m * support_size
    positions = 4 * entries if n is None else as_size(n, "n")
    if positions < entries:
        raise ValueError(f"n is {positions}; use n >= m * support_size = {entries}.")
    rng = np.random.default_rng(as_size(seed, "seed", minimum=0))
    rows = np.argsort(rng.random((m, V)), axis=1)[:, :support_size]
    weight = rng.exponential(size=entries) ** 2
    counts = 1 + rng.multinomial(positions - entries, weight / weight.sum())
    columns = np.repeat(np.arange(m), support_size)
    return SoftLabels.from_counts(sparse.coo_array((counts, (rows.ravel(), columns)), shape=(V, m)))


def as_labels(labels: SoftLabels) -> SoftLabels:
    """`labels` itself; ValueError where something else was given, such as logits."""
    if not isinstance(labels, SoftLabels):
        what = type(labels).__name__
        raise ValueError(f"labels are no SoftLabels but {what}; build them by from_counts, say.")
    return labels


# ---------------------------------------------------------------- counting


def _token_ids(ids: ArrayLike, c: int, V: int) -> NDArray[np.integer]:
    """`ids` as a 1-d integer array that computes with int64, checked against c and V."""
    tokens = as_array(ids, "ids", dtype=None)
    if tokens.ndim != 1 or (tokens.size and tokens.dtype.kind not in "iu"):
        raise ValueError(f"ids must be 1-d integers, not {tokens.dtype} {tokens.shape}.")
    if len(tokens) <= c:
        found = f"{len(tokens)} tokens: too few for context_length {c}"
        raise ValueError(f"{found}; use a longer text.")
    if len(tokens) >= 2**31:
        raise ValueError(f"{len(tokens)} tokens are too many at once; count parts, add their N.")
    for extreme in (int(tokens.min()), int(tokens.max())):
        if not 0 <= extreme < V:
            raise ValueError(f"Token id {extreme} is outside 0 ... {V - 1}; check vocab_size.")
    if tokens.dtype == np.uint64:  # would turn sums with int64 into floats
        tokens = tokens.astype(np.int64)
    return tokens


def _table_size(n: int) -> int:
    """Keys below this are counted in a table, others by sorting."""
    return max(2**20, 4 * n)


def _window_keys(
    tokens: NDArray[np.integer], c: int, digits: int
) -> tuple[NDArray[np.int64], dict[int, NDArray]]:
    """A number for each window of c + 1 tokens, in lexicographic order of windows.

    The number is a numeral with base `digits`. Where the whole window would not fit 63 bits, the
    prefix so far is replaced by its rank, which keeps the order; `ranked[k]` holds the prefix of k
    tokens of each rank. That is done at the last token where it is cheap (a table), or where no
    further token would fit. Where all fits, to sort the numbers takes less time than to rank them.
    """
    n = len(tokens) - c
    table = _table_size(n)
    key: NDArray = tokens[:n]
    bound = digits  # all keys are smaller
    ranked: dict[int, NDArray] = {}
    waiting: list[int] = []  # tokens that are still to be appended
    for k in range(1, c + 1):
        window_fits = bound * digits ** (c + 1 - k) < 2**63
        last_cheap = bound <= table < bound * digits
        too_long = bound * digits >= 2**63
        if too_long or (last_cheap and not window_fits):
            key, ranked[k] = _rank(_with_tokens(key, tokens, waiting, digits), bound, table)
            bound = len(ranked[k])
            waiting = []
        waiting.append(k)
        bound *= digits
    return _with_tokens(key, tokens, waiting, digits), ranked


def _with_tokens(
    key: NDArray, tokens: NDArray[np.integer], places: list[int], digits: int
) -> NDArray[np.int64]:
    """The numerals `key` with the tokens at these places behind each position appended.

    Block by block, so that all digits are appended while a block is in the processor's cache.
    """
    result = np.empty(len(key), dtype=np.int64)
    for start in range(0, len(key), BLOCK):
        part = result[start : start + BLOCK]
        part[:] = key[start : start + BLOCK]
        for k in places:
            part *= digits
            part += tokens[start + k : start + k + len(part)]
    return result


def _count(keys: NDArray[np.int64], table: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct keys in ascending order, and how often each occurs; may sort `keys` in place."""
    if keys.max() < table:
        counts = np.bincount(keys)
        distinct = np.flatnonzero(counts)
        return distinct, counts[distinct]
    keys.sort()
    starts = _run_starts(keys)
    return keys[starts], np.diff(starts, append=len(keys))


def _run_starts(ordered: NDArray) -> NDArray[np.intp]:
    """Where each run of equal values of an ascending array begins."""
    is_start = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_start[1:])
    return np.flatnonzero(is_start)


def _rank(key: NDArray, bound: int, table: int) -> tuple[NDArray, NDArray]:
    """The rank of each key among the distinct keys, and the distinct keys in order."""
    if bound > table:
        distinct, rank = np.unique(key, return_inverse=True)
        return rank, distinct
    seen = np.zeros(bound, dtype=bool)
    seen[key] = True
    distinct = np.flatnonzero(seen)
    rank_of = np.empty(bound, dtype=np.int32)  # fewer than 2^31 tokens: enough
    rank_of[distinct] = np.arange(len(distinct), dtype=np.int32)
    return rank_of[key], distinct


def _whole_counts(data: NDArray) -> NDArray[np.int64]:
    """Counts as int64; ValueError unless all are whole numbers whose sum fits."""
    if data.dtype.kind == "f":
        data = data.astype(np.float64, copy=False)  # half precision cannot hold the limits below
    problems = {
        "not finite": ~np.isfinite(data),
        "negative": data < 0,
        "too large to be exact": data > LARGEST_COUNT,
        "not whole": data != np.floor(data),
    }
    for why, bad in problems.items():
        if bad.any():
            remedy = "counts are whole numbers, not frequencies"
            raise ValueError(f"The count {data[bad][0]} is {why}; {remedy}.")
    total = float(data.sum(dtype=np.float64))
    if total > LARGEST_TOTAL:
        raise ValueError(f"The counts add up to {total:.3g}, more than 2^62; divide them.")
    return data.astype(np.int64)


def _context_names(contexts: ArrayLike, m: int) -> NDArray[Any]:
    """A copy of what names the m columns: token ids, or texts."""
    try:
        names = np.array(as_array(contexts, "contexts", dtype=None))
    except ValueError:
        names = np.array(contexts)  # texts
    if names.ndim == 0 or len(names) != m:
        found = len(names) if names.ndim else "No"
        raise ValueError(f"{found} contexts for {m} columns of N; give one each.")
    return names


def _frozen(array: NDArray) -> NDArray:
    """The same array, read-only from now on."""
    array.setflags(write=False)
    return array
