"""Soft labels from 5 million tokens: `SoftLabels.from_tokens` against a dict of Counters.

python benchmarks/labels.py
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import Any

import numpy as np
from harness import PeakMemory, fail_unless, isolated, report
from numpy.typing import NDArray

import ntp_lite as ntp

N_TOKENS = 5_000_000


def tokens(kind: str) -> tuple[NDArray[np.int64], int]:
    """`stories`: the bundled tales in random order, repeatedly. `skewed`: independent draws."""
    rng = np.random.default_rng(0)
    if kind == "stories":
        ids, vocab = ntp.load_corpus("tales", max_vocab=300)
        stories = np.split(ids, np.flatnonzero(ids == vocab.index["<sep>"]))
        parts, total = [], 0
        while total < N_TOKENS:
            parts.append(stories[rng.integers(len(stories))])
            total += len(parts[-1])
        return np.concatenate(parts)[:N_TOKENS], len(vocab)
    draws = rng.integers(0, 300, N_TOKENS) * rng.random(N_TOKENS) ** 2
    return draws.astype(np.int64), 300


def dict_of_counters(ids: NDArray[np.int64], c: int) -> dict[tuple[int, ...], Counter[int]]:
    """The obvious way: what follows each window, one position after the other."""
    plain = ids.tolist()  # Python integers: faster here than numpy's
    counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for i in range(len(plain) - c):
        counts[tuple(plain[i : i + c])][plain[i + c]] += 1
    return counts


def ours(kind: str, c: int) -> dict[str, Any]:
    """Time `from_tokens`, the first call apart."""
    ids, V = tokens(kind)
    ntp.SoftLabels.from_tokens(ids[:1000], c, V)
    with PeakMemory() as peak:
        start = time.perf_counter()
        labels = ntp.SoftLabels.from_tokens(ids, c, V)
        times = [time.perf_counter() - start]
    for _ in range(2):
        start = time.perf_counter()
        labels = ntp.SoftLabels.from_tokens(ids, c, V)
        times.append(time.perf_counter() - start)
    return {
        "instance": f"{kind}, context length {c}: m={labels.m}",
        "first s": times[0],
        "best s": min(times),
        "m": labels.m,
        "nnz": int(labels.N.nnz),
        "token array MB": ids.nbytes / 2**20,
        "peak MB": peak.mb,  # of the call, not of making the tokens
    }


def peer(kind: str, c: int) -> dict[str, Any]:
    """Time the dict of Counters, and compare its counts key by key."""
    ids, V = tokens(kind)
    start = time.perf_counter()
    counts = dict_of_counters(ids, c)
    seconds = time.perf_counter() - start
    labels = ntp.SoftLabels.from_tokens(ids, c, V)
    N = labels.N
    assert labels.contexts is not None  # from_tokens names them
    for j in np.random.default_rng(1).integers(0, labels.m, 2000):
        column = slice(N.indptr[j], N.indptr[j + 1])
        same = dict(zip(N.indices[column].tolist(), N.data[column].tolist(), strict=True))
        fail_unless(counts[tuple(labels.contexts[j].tolist())] == same, f"context {j} differs")
    fail_unless(len(counts) == labels.m, "the number of contexts differs")
    fail_unless(sum(map(len, counts.values())) == N.nnz, "the number of entries differs")
    return {"seconds": seconds}


def main() -> None:
    """Measure all rows and write the table."""
    rows = []
    for kind, c in (("stories", 2), ("stories", 3), ("skewed", 3), ("stories", 8)):
        own, other = isolated(ours, kind, c), isolated(peer, kind, c)
        rows.append(
            {
                "instance": own["instance"],
                "ntp_lite s (first call)": own["first s"],
                "ntp_lite s (best of 3)": own["best s"],
                "dict of Counters s": other["seconds"],
                "ratio (best)": f"{other['seconds'] / own['best s']:.0f} x",
                "peak / token array": own["peak MB"] / own["token array MB"],
                "dict peak MB": other["peak MB"],
            }
        )
    report("labels", f"Soft labels from {N_TOKENS:,} tokens, exact", rows)


if __name__ == "__main__":
    main()
