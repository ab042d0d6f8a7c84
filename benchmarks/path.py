"""The regularisation path, ten decades: certified ADMM against L-BFGS on the factors.

    python benchmarks/path.py           ours at ten ridges, L-BFGS at three of them
    python benchmarks/path.py --full    L-BFGS at all ten

Both are judged by `certify_ridge` from the logits alone; CVXPY with Clarabel checks a small case.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import cvxpy as cp
from harness import fail_unless, isolated, report
from instances import published_scale

import ntp_lite as ntp

RIDGES = [10.0**-k for k in range(3, 13)]


def ours() -> dict[str, Any]:
    """Time the package's path; every point must be certified."""
    labels = published_scale()
    ntp.ridge_path(ntp.random_soft_labels(10, 20, 3), [1e-3])  # start threads before the clock
    start = time.perf_counter()
    results = ntp.ridge_path(labels, RIDGES, tol=1e-5)
    seconds = time.perf_counter() - start
    for result in results:
        fail_unless(result.converged, f"ridge {result.ridge:g}: {result.message}")
    return {
        "seconds": seconds,
        "each": [(r.ridge, r.seconds, r.n_iter, r.certificate.relative_gap) for r in results],
    }


def lbfgs(ridge: float, steps: int) -> dict[str, Any]:
    """Time L-BFGS on the factors at one ridge."""
    labels = published_scale()
    model = ntp.UFM(labels.V, labels.m, d=128, seed=0)
    config = ntp.TrainConfig(ridge=ridge, steps=steps, dtype="float64", tol=1e-5)  # L-BFGS
    start = time.perf_counter()
    result = ntp.fit(model, labels, config)
    assert result.certificate is not None  # tol was given
    return {"seconds": time.perf_counter() - start, "gap": result.certificate.relative_gap}


def small_reference() -> dict[str, Any]:
    """Our value and Clarabel's on a small instance: they must agree within both tolerances."""
    labels, ridge = ntp.random_soft_labels(8, 12, 3, seed=0), 1e-2
    result = ntp.solve_ridge(labels, ridge, tol=1e-8)
    L = cp.Variable((labels.V, labels.m))
    losses = [
        labels.pi[j] * (cp.log_sum_exp(L[:, j]) - labels.P.toarray()[:, j] @ L[:, j])
        for j in range(labels.m)
    ]
    problem = cp.Problem(cp.Minimize(sum(losses) + ridge * cp.normNuc(L)))
    reference = problem.solve(solver="CLARABEL") - labels.entropy
    fail_unless(abs(reference - result.certificate.primal) < 1e-6, "Clarabel disagrees")
    return {"difference": abs(reference - result.certificate.primal)}


def main() -> None:
    """Measure all rows and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--full", action="store_true", help="L-BFGS at every ridge")
    full = parser.parse_args().full
    check = isolated(small_reference)
    own = isolated(ours)
    rows: list[dict[str, Any]] = []
    for ridge, seconds, n_iter, gap in own["each"]:
        row = {"ridge": f"{ridge:.0e}", "seconds": seconds, "iterations": n_iter, "gap": gap}
        if full or ridge in (RIDGES[0], RIDGES[2], RIDGES[4]):
            other = isolated(lbfgs, ridge, 3000)
            row |= {
                "L-BFGS on W, H: seconds": other["seconds"],
                "its gap": other["gap"],
                "its seconds / ours": other["seconds"] / seconds,
            }
        rows.append(row)
    rows.append({"ridge": "all ten", "seconds": own["seconds"]})
    notes = (
        f"Peak memory of the path: {own['peak MB']:.0f} MB above the start. "
        f"Against CVXPY with Clarabel on V=8, m=12: values differ by {check['difference']:.1e}."
    )
    report("path", "Regularisation path, V=104, m=403, each relative gap <= 1e-5", rows, notes)


if __name__ == "__main__":
    main()
