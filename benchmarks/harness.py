"""What the benchmarks share: isolated measurement, one table, one JSON file, one Markdown table."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import resource
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, str]:
    """What the numbers were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "cpu": f"{model}, {os.cpu_count()} cores",
        "gpu": gpu,
        "threads": str(torch.get_num_threads()),
        "software": f"Python {platform.python_version()}, numpy {np.__version__}, "
        f"scipy {scipy.__version__}, torch {torch.__version__}",
    }


class PeakMemory:
    """Within the block: by how much resident memory rises at most; `.mb` afterwards.

    Sampled where the kernel reports it: the peak since the start of a process would count what came
    before the block, which may have been larger.
    """

    def __enter__(self) -> PeakMemory:
        self.mb = 0.0
        self._before = _resident_mb()
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._done.wait(0.002):
            self.mb = max(self.mb, _resident_mb() - self._before)


def isolated(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Run a module-level function in a fresh process; adds its peak memory over the start, MB.

    A function that measures a part of its work as "peak MB" keeps that number.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measured, function, arguments).result()


def _measured(
    function: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]
) -> dict[str, Any]:
    with PeakMemory() as peak:
        row = function(*arguments)
    return {"peak MB": round(peak.mb, 1), **row}


def _resident_mb() -> float:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def report(name: str, title: str, rows: list[dict[str, Any]], notes: str = "") -> None:
    """Print the rows as a table; write results/NAME.json and NAME.md, which the book shows."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_text(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]

    def line(values: list[str]) -> str:
        padded = (value.ljust(width) for value, width in zip(values, widths, strict=True))
        return "| " + " | ".join(padded) + " |"

    table = [line(columns), line(["-" * width for width in widths]), *map(line, cells)]
    facts = machine()
    where = f"Measured on {facts['cpu']} ({facts['threads']} threads), GPU: {facts['gpu']}; "
    where += f"{facts['software']}."
    print(f"\n{title}\n" + "\n".join(table) + f"\n{where}")
    if notes:
        print(notes)
    RESULTS.mkdir(exist_ok=True)
    data = {"title": title, "machine": facts, "rows": rows, "notes": notes}
    (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    page = "\n".join([*table, "", where, "", notes]).rstrip() + "\n"
    (RESULTS / f"{name}.md").write_text(page, "utf-8")


def fail_unless(right: bool, message: str) -> None:
    """A benchmark of a wrong result is worth nothing: stop with a non-zero exit code."""
    if not right:
        sys.exit(f"WRONG RESULT: {message}")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)
