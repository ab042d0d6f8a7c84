"""Counting next tokens in a token file under a memory limit: DuckDB, Polars, numpy in parts.

python benchmarks/out_of_core.py [--tokens 40000000] [--limit 300]

Each way reads the same file of 32-bit token ids (16 bits are too few for the vocabularies of today,
and wrap without a word) through a memory map, groups the windows of four
tokens, and writes the counts to Parquet (numpy: to .npy). One thread each. "own MB" is the peak of
the memory that belongs to the process alone, over its start: pages of the token file are not in it.
Polars has no documented limit per query; its environment variable for a budget is set.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from harness import fail_unless, isolated, report
from numpy.typing import NDArray

import ntp_lite as ntp

V, C = 2000, 3  # windows of C + 1 tokens; V^(C + 1) < 2^63
NAMES = [f"t{i}" for i in range(C + 1)]
ID = np.uint32


def write_tokens(path: Path, count: int) -> None:
    """A Markov chain on V tokens whose steps follow a power law: many rare windows, as in text."""
    rng = np.random.default_rng(0)
    chains = 4000
    weights = np.arange(1.0, V + 1) ** -1.3
    steps = np.searchsorted(
        np.cumsum(weights / weights.sum()), rng.random((count // chains, chains))
    )
    steps = steps.clip(max=V - 1)
    tokens = np.empty((count // chains, chains), ID)
    state = rng.integers(0, V, chains)
    for i, step in enumerate(steps):
        state = (31 * state + step) % V
        tokens[i] = state
    np.ascontiguousarray(tokens.T).tofile(path)


def windows(path: Path) -> dict[str, NDArray[np.uint32]]:
    """C + 1 shifted views of the file; nothing is read yet."""
    x = np.memmap(path, dtype=ID, mode="r")
    n = len(x) - C
    return {name: np.asarray(x[i : i + n]) for i, name in enumerate(NAMES)}


def counting_query(names: list[str]) -> str:
    """How often each window occurs, in SQL that DuckDB and Spark read alike."""
    columns = ", ".join(names)
    return f"SELECT {columns}, count(*) AS k FROM windows GROUP BY {columns}"


def duckdb_way(path: Path, folder: Path, limit: int) -> None:
    """Group in DuckDB, which spills to disk above the limit."""
    import duckdb

    columns = windows(path)
    config: dict[str, Any] = {
        "threads": 1,
        "memory_limit": f"{limit}MB",
        "temp_directory": str(folder / "spill"),
    }
    with duckdb.connect(config={**config, "preserve_insertion_order": False}) as db:
        db.register("windows", columns)
        db.execute(f"COPY ({counting_query(NAMES)}) TO '{folder / 'counts.parquet'}'")


def polars_way(path: Path, folder: Path, limit: int) -> None:
    """Group in Polars' streaming engine, which spills to disk above the limit."""
    os.environ["POLARS_OOC_MEMORY_BUDGET_MB"] = str(limit)
    os.environ["POLARS_OOC_SPILL_DIR"] = str(folder / "spill")
    os.environ["POLARS_MAX_THREADS"] = "1"
    import polars as pl

    query = pl.LazyFrame(windows(path)).group_by(NAMES).len(name="k")
    query.sink_parquet(folder / "counts.parquet", engine="streaming")


def numpy_way(path: Path, folder: Path, limit: int) -> None:
    """Sort two million windows at a time, merge with what was there: distinct keys in memory."""
    columns = windows(path)
    keys, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    n = len(columns["t0"])
    for a in range(0, n, 2_000_000):
        key = np.zeros(min(2_000_000, n - a), np.int64)
        for name in NAMES:
            key = key * V + columns[name][a : a + len(key)]
        new, number = np.unique(key, return_counts=True)
        keys, counts = np.concatenate([keys, new]), np.concatenate([counts, number])
        order = np.argsort(keys, kind="stable")  # fast: two sorted runs
        keys, counts = keys[order], counts[order]
        first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        keys, counts = keys[first], np.add.reduceat(counts, first)
    np.save(folder / "keys.npy", keys)
    np.save(folder / "counts.npy", counts)


def in_memory_way(path: Path, folder: Path, limit: int) -> None:
    """What the package does with a text that fits."""
    labels = ntp.SoftLabels.from_tokens(np.fromfile(path, ID), C, V)
    assert labels.contexts is not None  # from_tokens names them
    key = np.zeros(labels.m, np.int64)
    for column in labels.contexts.T:
        key = key * V + column
    rows, columns = labels.entries
    np.save(folder / "keys.npy", key[columns] * V + rows)
    np.save(folder / "counts.npy", labels.N.data)


WAYS: dict[str, Callable[[Path, Path, int], None]] = {
    "SoftLabels.from_tokens": in_memory_way,
    "numpy, parts merged": numpy_way,
    "Polars": polars_way,
    "DuckDB": duckdb_way,
}
# In this order, the first being what the others are compared with.
LIMITS = {way: [False] for way in WAYS} | {way: [False, True] for way in ("Polars", "DuckDB")}


def measured(way: str, path: Path, folder: Path, limit: int) -> dict[str, Any]:
    """Run one way, and watch the memory of its process."""
    peak, done, before = [0.0], threading.Event(), own_mb()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], own_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        WAYS[way](path, folder, limit)
    finally:
        done.set()
        watcher.join()
    return {"seconds": time.perf_counter() - start, "own": peak[0] - before}


def own_mb() -> float:
    """Resident memory that is backed by no file (Linux)."""
    pages = Path("/proc/self/statm").read_text().split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGESIZE") / 2**20


def sorted_counts(folder: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys in order, and their counts, of what a way has written."""
    if (folder / "keys.npy").exists():
        return np.load(folder / "keys.npy"), np.load(folder / "counts.npy")
    import duckdb

    key = "0"
    for name in NAMES:
        key = f"({key} * {V} + {name}::BIGINT)"
    query = f"SELECT {key} AS key, k::BIGINT AS k FROM '{folder / 'counts.parquet'}'"
    relation = duckdb.sql(query)
    assert relation is not None  # a SELECT has a result
    found = relation.fetchnumpy()
    order = np.argsort(found["key"], kind="stable")
    return found["key"][order], found["k"][order]


def check(folder: Path, other: Path) -> dict[str, Any]:
    """Are two results the same, key by key and count by count?"""
    (keys, counts), (keys2, counts2) = sorted_counts(folder), sorted_counts(other)
    same = np.array_equal(keys, keys2) and np.array_equal(counts, counts2)
    return {"same": same, "rows": len(keys), "positions": int(counts.sum())}


def main() -> None:
    """Measure all ways and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=40_000_000)
    parser.add_argument("--limit", type=int, default=300, help="MB")
    o = parser.parse_args()
    rows: list[dict[str, Any]] = []
    runs = [(way, limited) for way in WAYS for limited in LIMITS[way]]
    missing = [name for name in ("polars", "duckdb") if not find_spec(name)]
    fail_unless("duckdb" not in missing, "duckdb is not installed")
    engines = f"DuckDB {version('duckdb')}, "
    engines += "Polars not installed." if missing else f"Polars {version('polars')}."
    if missing:
        runs = [(way, limited) for way, limited in runs if not way.startswith("Polars")]
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch, "tokens.bin")
        write_tokens(text, o.tokens)
        size = text.stat().st_size
        ids = size // np.dtype(ID).itemsize
        reference = Path(scratch, "0")
        for i, (way, limited) in enumerate(runs):
            folder = Path(scratch, str(i))
            folder.mkdir()
            run = isolated(measured, way, text, folder, o.limit if limited else 8000)
            judged = isolated(check, folder, reference)
            fail_unless(judged["same"], f"{way}: the counts differ")
            fail_unless(judged["positions"] == ids - C, f"{way}: positions")
            written = sum(f.stat().st_size for f in folder.glob("*.*"))
            rows.append(
                {
                    "way": way,
                    "limit, MB": o.limit if limited else "none",
                    "s": run["seconds"],
                    "tokens/s": o.tokens / run["seconds"],
                    "own MB, peak": run["own"],
                    "written, MB": written / 2**20,
                }
            )
            if i:  # the first one is what the others are compared with
                for file in folder.glob("*.*"):
                    file.unlink()
    distinct = f"{judged['rows']:,} distinct windows of {C + 1} tokens, V = {V}"
    notes = (
        f"Token file: {size / 2**20:.0f} MB. All counts equal, key by key; one thread. "
        "Other programs may run on the machine at the same time. Times include writing the "
        "result, as Parquet by DuckDB and Polars. " + engines
    )
    report("out_of_core", f"Counting {o.tokens:,} tokens: {distinct}", rows, notes)


if __name__ == "__main__":
    main()
