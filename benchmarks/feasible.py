"""What the max-margin solver can do in a second, a minute, an hour: a map over V and m.

    python benchmarks/feasible.py [--limit 60]

Supports of skewed sizes, tokens drawn by a power law (`margin.power_law_supports`), to a relative
gap of 1e-4, judged by code of the benchmarks' own. What is expected to take longer than the limit
(seconds) is not run: those cells are scaled from smaller ones that were, by m min(V, m) V (the
products of a step) with as many steps; the least of these times stands, with a question mark.
"""

from __future__ import annotations

import argparse
from typing import Any

from harness import isolated, report
from margin import power_law_supports, solve_and_judge

V_SIZES = (100, 300, 1_000, 3_000, 10_000)
M_SIZES = (100, 1_000, 3_000, 10_000, 30_000, 100_000)
TOL = 1e-4
NAMES = ((1.0, "a second"), (60.0, "a minute"), (3600.0, "an hour"))


def measured(V: int, m: int) -> dict[str, Any]:
    """Seconds to a certified solution."""
    return {"seconds": solve_and_judge(power_law_supports(V, m), TOL)[1]}


def work(V: int, m: int) -> float:
    """Operations of a step, up to a factor."""
    return float(V) * m * min(V, m)


def main() -> None:
    """Measure what is fast enough, scale the rest, write the map."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--limit", type=float, default=60, help="seconds that a cell may take")
    limit = parser.parse_args().limit
    known: dict[tuple[int, int], float] = {}
    rows = []
    for V in V_SIZES:
        row: dict[str, Any] = {"V": f"{V:,}"}
        for m in M_SIZES:
            smaller = [size for size in known if size[0] <= V and size[1] <= m]
            scaled = [known[size] * work(V, m) / work(*size) for size in smaller]
            guess = min(scaled, default=0.0)
            if guess <= limit:
                known[V, m] = isolated(measured, V, m)["seconds"]
            row[f"m = {m:,}"] = cell(known.get((V, m)), guess)
        rows.append(row)
    note = (
        "Seconds of one run; <= 1 s, <= 1 min, <= 1 h and beyond are named. '?': not run, scaled "
        "from smaller ones by the operations of a step, the least of which stands: read it as a "
        "lower bound. Memory: nine numbers of 8 bytes "
        "for each entry of the V x m matrix, so that the last cells do not fit this machine."
    )
    report("feasible", f"Max-margin logits to a relative gap of {TOL:g}", rows, note)


def cell(seconds: float | None, guess: float) -> str:
    """What stands in the map: the time, and the name of its size."""
    time_taken = guess if seconds is None else seconds
    name = next((name for bound, name in NAMES if time_taken <= bound), "longer")
    return f"{time_taken:.2g} s{'?' if seconds is None else ''} ({name})"


if __name__ == "__main__":
    main()
