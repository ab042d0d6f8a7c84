"""Speed on a GPU beside what its matrix rate and memory allow; where there is none, a prediction.

    python benchmarks/gpu.py                 on a GPU: measure, write results/gpu.json and .md
    python benchmarks/gpu.py --predict       anywhere: what a device should reach, written down
    python benchmarks/gpu.py --moonshot      on a GPU: V = 2,000 and a million contexts, too

The model of the prediction (a roofline): a piece of work takes at least its operations divided by
the rate of a large matrix product, and at least its bytes divided by the bandwidth of a copy. Work
that does not overlap takes their sum. A later run refutes or confirms it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from harness import fail_unless, isolated, report
from instances import published_scale
from margin import power_law_supports, solve_and_judge
from train import gradient

import ntp_lite as ntp

# What the prediction assumes of a device: float32 products without tensor cores, and a copy.
ASSUMED_RATE = 5e13  # operations a second
ASSUMED_BANDWIDTH = 3e12  # bytes a second
STEP = (10_000, 100_000, 512)  # V, m, d
MOONSHOT = (2_000, 1_000_000)
STEP_PASSES = 10  # over the V x m logits: product, softmax, exponential, sum, scaling, two products
MARGIN_PASSES = 25  # over the V x m matrices in one iteration of the max-margin solver
MARGIN_ITERATIONS = 40  # to a gap of 1e-4, what the checks cost included


def step_bounds(rate: float, bandwidth: float) -> tuple[float, float]:
    """Seconds of the products, and of the memory traffic, of one training step."""
    V, m, d = STEP
    return 6.0 * V * m * d / rate, 4.0 * STEP_PASSES * V * m / bandwidth


def moonshot_bounds(rate: float, bandwidth: float) -> tuple[float, float]:
    """The same of the max-margin problem with a million contexts."""
    V, m = MOONSHOT
    products = 4.0 * V * V * m * MARGIN_ITERATIONS
    return products / rate, 4.0 * MARGIN_PASSES * V * m * MARGIN_ITERATIONS / bandwidth


def predict() -> None:
    """Write down what is expected before anybody has measured it."""
    rows = []
    for name, bounds in (
        ("training step, V=10,000, m=100,000, d=512", step_bounds),
        ("max-margin iterations to 1e-4, V=2,000, m=1,000,000", moonshot_bounds),
    ):
        products, memory = bounds(ASSUMED_RATE, ASSUMED_BANDWIDTH)
        rows.append(
            {
                "work": name,
                "products, s": products,
                "memory traffic, s": memory,
                "predicted at most, s": (products + memory) / 0.6,
            }
        )
    report(
        "gpu_prediction",
        "A prediction, not a measurement",
        rows,
        f"For a device with {ASSUMED_RATE:.0e} operations a second (float32) and "
        f"{ASSUMED_BANDWIDTH:.0e} bytes a second. No GPU was there to measure: "
        "`benchmarks/gpu.py` measures rate, bandwidth and work on one, and would refute this where "
        "it takes longer than predicted. The last projection and the judge, in float64 on the "
        "processor, are not in it. The machine named above is the one that computed the table.",
    )


def best_of(work: Callable[[], Any], times: int = 5) -> float:
    """Least seconds of several runs, the device waited for."""
    seconds = []
    for _ in range(times):
        torch.cuda.synchronize()
        before = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - before)
    return min(seconds)


def device_rates() -> dict[str, Any]:
    """Operations a second of a large float32 product, bytes a second of a copy."""
    A = torch.randn(8192, 8192, device="cuda")
    rate = 2 * 8192**3 / best_of(lambda: A @ A)
    large = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    copy = torch.empty_like(large)
    return {"rate": rate, "bandwidth": 2 * large.numel() / best_of(lambda: copy.copy_(large))}


def path_on(device: str) -> dict[str, Any]:
    """The ridge path is solved in numpy, on the processor, whatever the device."""
    start = time.perf_counter()
    results = ntp.ridge_path(published_scale(), [10.0**-k for k in range(3, 13)], tol=1e-5)
    fail_unless(all(r.converged for r in results), "the path is not certified")
    return {"seconds": time.perf_counter() - start}


def margin_on(device: str, V: int, m: int, tol: float) -> dict[str, Any]:
    """The max-margin solver on this device, judged by code of the benchmarks' own."""
    result, seconds, _, _ = solve_and_judge(power_law_supports(V, m), tol, device)
    return {"seconds": seconds, "iterations": result.n_iter}


def measure(moonshot: bool) -> None:
    """Everything on the GPU, beside the bounds that its own rates give."""
    rates = isolated(device_rates)
    rate, bandwidth = rates["rate"], rates["bandwidth"]
    rows = []
    for way in ("ours", "dense"):
        row = isolated(gradient, way, STEP, "cuda")
        bound = sum(step_bounds(rate, bandwidth))
        rows.append(
            {
                "work": f"training step ({way}), V, m, d = {STEP}",
                "seconds": row["ms"] / 1e3,
                "roofline, s": bound,
                "share": bound / (row["ms"] / 1e3),
            }
        )
    sizes = [(1_000, 10_000), MOONSHOT] if moonshot else [(1_000, 10_000)]
    for V, m in sizes:
        for device in ("cuda", "cpu") if (V, m) != MOONSHOT else ("cuda",):
            row = isolated(margin_on, device, V, m, 1e-4)
            rows.append({"work": f"max-margin on {device}, V={V}, m={m}", **row})
    rows.append({"work": "ridge path, ten decades, V=104, m=403", **isolated(path_on, "cpu")})
    notes = f"Product {rate:.2e} operations a second, copy {bandwidth:.2e} bytes a second."
    report("gpu", "On a GPU", rows, notes)


def main() -> None:
    """Measure where there is a GPU; predict where asked, or where there is none."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--predict", action="store_true", help="write the prediction")
    parser.add_argument("--moonshot", action="store_true", help="a million contexts, too")
    options = parser.parse_args()
    if options.predict or not torch.cuda.is_available():
        print("No measurement: this is the prediction.")
        predict()
    else:
        measure(options.moonshot)


if __name__ == "__main__":
    main()
