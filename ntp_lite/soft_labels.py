"""Token ids to soft labels: distinct contexts, priors, next-token distributions (ch. 01)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse


@dataclass(frozen=True, eq=False, repr=False)
class SoftLabels:
    """Next-token data as classification of m distinct contexts with soft labels.

    Built by `from_tokens` or `from_counts`. With the count matrix N (V x m; column j counts the
    tokens that follow context j) and n = sum of N:

        pi_j = sum_z N[z,j] / n,   P[z,j] = N[z,j] / sum_z N[z,j],   S[z,j] = 1 if N[z,j] > 0.

    Paper: section 2. Book: chapters 01 and 02.
    """

    N: sparse.csc_array
    contexts: NDArray[np.int64] | None = None

    @classmethod
    def from_tokens(cls, ids: ArrayLike, context_length: int, vocab_size: int) -> SoftLabels:
        """Count what follows each distinct window of `context_length` consecutive ids.

        Every window that is followed by an id is one position: n = len(ids) - context_length.
        Contexts stand in lexicographic order of their ids. Exact: windows become integers, which
        are counted in a table where that is small and sorted otherwise. Raises ValueError for
        context_length < 1, too short a text, or ids that are not whole numbers in [0, vocab_size).
        """
        tokens, c, V = np.asarray(ids), context_length, vocab_size
        if c < 1:
            raise ValueError(f"context_length is {c}; use 1 or more.")
        if tokens.ndim != 1 or (tokens.size and tokens.dtype.kind not in "iu"):
            raise ValueError(f"ids must be 1-d integers, not {tokens.dtype} {tokens.shape}.")
        n = len(tokens) - c
        if n < 1:
            raise ValueError(f"{n + c} tokens: too few for context_length {c}; use a longer text.")
        for extreme in (tokens.min(), tokens.max()):
            if not 0 <= extreme < V:
                raise ValueError(f"Token id {extreme} is outside 0 ... {V - 1}; check vocab_size.")
        if tokens.dtype == np.uint64:  # would turn sums with int64 into floats
            tokens = tokens.astype(np.int64)
        table = max(2**20, 4 * n)  # keys below this are counted in a table, others by sorting
        key, bound = tokens[:n].astype(np.int64), V
        ranked: dict[int, NDArray] = {}  # prefix length: the prefix of each rank
        for k in range(1, c + 1):
            # Ranks keep the order. Rank while it is cheap, or when V digits would not fit 63 bits.
            if bound * V > table and (bound <= table or bound * V >= 2**63):
                key, ranked[k] = _rank(key, bound, table)
                bound = len(ranked[k])
            key = np.multiply(key, V, dtype=np.int64) + tokens[k : k + n]
            bound *= V
        if bound <= table:
            counts = np.bincount(key)
            keys = np.flatnonzero(counts)
            counts = counts[keys]
        else:
            keys, counts = np.unique(key, return_counts=True)
        prefix, rows = np.divmod(keys, V)
        prefix, pointer = np.unique(prefix, return_index=True)
        contexts = np.empty((len(prefix), c), dtype=np.int64)
        for k in range(c, 0, -1):
            prefix = ranked[k][prefix] if k in ranked else prefix
            prefix, contexts[:, k - 1] = np.divmod(prefix, V)
        pointer = np.append(pointer, len(rows))
        return cls(sparse.csc_array((counts, rows, pointer), shape=(V, len(contexts))), contexts)

    @classmethod
    def from_counts(
        cls, N: ArrayLike | sparse.sparray, contexts: ArrayLike | None = None
    ) -> SoftLabels:
        """Soft labels from a (V, m) count matrix, dense or scipy sparse.

        Raises ValueError for counts that are not whole numbers from 0 to 2^53, a matrix that is
        not 2-d, a context (column) without counts, or `contexts` of another length than m.
        """
        if not sparse.issparse(N) and np.ndim(N) != 2:
            raise ValueError(f"N must be a (V, m) matrix, not an array of shape {np.shape(N)}.")
        counts = sparse.csc_array(N)
        counts.sum_duplicates()
        data, m = counts.data, counts.shape[1]
        problems = {
            "not finite": ~np.isfinite(data), "negative": data < 0,
            "too large to be exact": data > 2**53, "not whole": data != np.floor(data),
        }  # fmt: skip
        for why, bad in problems.items():
            if bad.any():
                remedy = "counts are whole numbers, not frequencies"
                raise ValueError(f"The count {data[bad][0]} is {why}; {remedy}.")
        counts = counts.astype(np.int64)
        counts.eliminate_zeros()
        empty = np.flatnonzero(np.diff(counts.indptr) == 0)
        if m == 0 or len(empty):
            where = f"Context (column) {empty[0]}" if m else "The matrix N"
            raise ValueError(f"{where} has no counts; drop contexts that never occur.")
        names = None if contexts is None else np.asarray(contexts)
        if names is not None and len(names) != m:
            raise ValueError(f"{len(names)} contexts for {m} columns of N; give one each.")
        return cls(counts, names)

    def __repr__(self) -> str:
        sizes, mean = f"V={self.V}, m={self.m}, n={self.n}", self.support_sizes.mean()
        return f"SoftLabels({sizes}, entropy={self.entropy:.4f} nats, mean support={mean:.2f})"

    @property
    def V(self) -> int:
        """Number of tokens (rows)."""
        return int(self.N.shape[0])

    @property
    def m(self) -> int:
        """Number of distinct contexts (columns)."""
        return int(self.N.shape[1])

    @cached_property
    def n(self) -> int:
        """Number of training positions, the sum of all counts."""
        return int(self.N.data.sum())

    @cached_property
    def support_sizes(self) -> NDArray[np.int64]:
        """(m,) k_j = |S_j|, how many different tokens follow context j."""
        return np.diff(self.N.indptr).astype(np.int64)

    @cached_property
    def entries(self) -> tuple[NDArray, NDArray]:
        """(tokens, contexts) of the support entries, column by column: `L[labels.entries]`."""
        return self.N.indices, np.repeat(np.arange(self.m), self.support_sizes)

    def on_support(self, values: NDArray) -> sparse.csc_array:
        """The (V, m) matrix with these values at `entries`, and zeros elsewhere."""
        return sparse.csc_array((values, self.N.indices, self.N.indptr), shape=self.N.shape)

    def support_sums(self, values: NDArray) -> NDArray:
        """(m,) sums over each support of values at `entries`."""
        return np.add.reduceat(values, self.N.indptr[:-1])

    @cached_property
    def pi(self) -> NDArray[np.float64]:
        """(m,) prior of each context."""
        return self.support_sums(self.N.data) / self.n

    @cached_property
    def P(self) -> sparse.csc_array:
        """(V, m) next-token distributions; columns sum to one."""
        return self.on_support(self.N.data / self.support_sums(self.N.data)[self.entries[1]])

    @cached_property
    def S(self) -> sparse.csc_array:
        """(V, m) support matrix: ones where a token follows a context."""
        return self.on_support(np.ones(self.N.nnz))

    @cached_property
    def entropy(self) -> float:
        """The floor Hc = sum_j pi_j H(P_j) of the cross-entropy, in nats (ch. 02)."""
        return abs(float((self.N.data * np.log(self.P.data)).sum())) / self.n

    @cached_property
    def support_classes(self) -> NDArray[np.int64]:
        """(m,) class number of each context; equal numbers = equal supports S_j."""
        S, seen = self.S.sorted_indices(), dict[bytes, int]()
        columns = np.split(S.indices, S.indptr[1:-1])
        return np.array([seen.setdefault(column.tobytes(), len(seen)) for column in columns])

    def select(self, columns: ArrayLike) -> SoftLabels:
        """The chosen contexts (indices or a boolean mask); pi is renormalised over them."""
        chosen = np.arange(self.m)[np.asarray(columns)] if np.size(columns) else np.empty(0)
        if chosen.size == 0:
            raise ValueError("select was given no context; choose at least one column.")
        contexts = None if self.contexts is None else self.contexts[chosen]
        return SoftLabels(sparse.csc_array(self.N[:, chosen]), contexts)

    def tensors(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64
    ) -> tuple[torch.Tensor, ...]:
        """`(rows, columns, P, pi)` on a device: `entries`, the probability of each, and the (m,)
        priors. Kept for the next call with the same arguments."""
        cache, key = self.__dict__.setdefault("_tensors", {}), (str(device), dtype)
        if key not in cache:
            index = [torch.as_tensor(x, dtype=torch.int64) for x in self.entries]
            value = [torch.as_tensor(x, dtype=dtype) for x in (self.P.data, self.pi)]
            cache[key] = tuple(x.to(device) for x in (*index, *value))
        return cache[key]


def random_soft_labels(
    V: int, m: int, support_size: int, n: int | None = None, seed: int = 0
) -> SoftLabels:
    """Synthetic soft labels: supports drawn uniformly among the subsets of `support_size` tokens.

    Each support entry is counted once; the other n - m * support_size positions (default n =
    4 m * support_size) fall on support entries with skewed probabilities.
    """
    entries = m * support_size
    extra = (4 * entries if n is None else n) - entries
    if not 1 <= support_size <= V:
        raise ValueError(f"support_size is {support_size}; use 1 ... V = {V}.")
    if m < 1 or extra < 0:
        raise ValueError(f"m={m}, n={n}: use m >= 1 and n >= m * support_size = {entries}.")
    rng = np.random.default_rng(seed)
    rows = np.argsort(rng.random((m, V)), axis=1)[:, :support_size]
    weight = rng.exponential(size=entries) ** 2
    counts = 1 + rng.multinomial(extra, weight / weight.sum())
    columns = np.repeat(np.arange(m), support_size)
    return SoftLabels.from_counts(sparse.coo_array((counts, (rows.ravel(), columns)), shape=(V, m)))


def _rank(key: NDArray, bound: int, table: int) -> tuple[NDArray, NDArray]:
    """The rank of each key among the distinct keys, and the distinct keys in order."""
    if bound > table:
        return np.unique(key, return_inverse=True)[::-1]
    seen = np.zeros(bound, dtype=bool)
    seen[key] = True
    distinct = np.flatnonzero(seen)
    rank_of = np.empty(bound, dtype=np.int32)
    rank_of[distinct] = np.arange(len(distinct), dtype=np.int32)
    return rank_of[key], distinct
