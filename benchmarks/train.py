"""UFM training: ours against the published optimiser, and the cost of one gradient.

    python benchmarks/train.py            give each other recipe 30 times our time
    python benchmarks/train.py --full     give it the published 50,000 epochs

Time to a goal: CE + (ridge/2)(|W|^2 + |H|^2) - Hc <= 1.01 (v - Hc) at ridge 1e-5, with v certified
by the convex solver and every recipe started from the same factors. The judge is one float64
function of W and H for all, and its time does not count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from harness import RESULTS, fail_unless, isolated, report
from instances import published_scale
from scipy import sparse
from threadpoolctl import threadpool_limits
from torch.nn import functional

import ntp_lite as ntp
from ntp_lite import UFM, TrainConfig, Trainer, fit

RIDGE, D = 1e-5, 128
EPOCHS = 50_000
WAYS = ["ours", "dense", "one-hot", "fused one-hot"]
if not hasattr(functional, "linear_cross_entropy"):  # PyTorch before 2.13
    WAYS.pop()


def optimum() -> dict[str, Any]:
    """Certify the optimal value of the ridge problem."""
    labels = published_scale()
    result = ntp.solve_ridge(labels, RIDGE, tol=1e-6)
    fail_unless(result.converged, result.message)
    return {"value": result.certificate.primal, "bound": result.certificate.dual}


def objective(labels: ntp.SoftLabels, W: torch.Tensor, H: torch.Tensor) -> float:
    """Return the objective of the factors, in float64."""
    W, H = W.detach().double(), H.detach().double()
    squares = float(W.square().sum() + H.square().sum())
    return float(ntp.excess_loss((W @ H).numpy(), labels)) + RIDGE / 2 * squares


def start(labels: ntp.SoftLabels, dtype: torch.dtype) -> UFM:
    """Return the model from which every recipe starts."""
    return UFM(labels.V, labels.m, D, seed=0).to(dtype)


def ours(dtype: str, goal: float) -> dict[str, Any]:
    """The steps of `fit`, judged every ten."""
    labels = published_scale()
    fit(UFM(labels.V, labels.m, 2), labels, TrainConfig(steps=2, tol=None))  # threads, caches
    config = TrainConfig(ridge=RIDGE, device="cpu")
    trainer = Trainer(start(labels, getattr(torch, dtype)), labels, config)
    return race(
        lambda: [trainer.step() for _ in range(10)], 10, trainer.model, labels, goal, np.inf
    )


def race(
    work: Callable[[], Any],
    steps: int,
    model: UFM,
    labels: ntp.SoftLabels,
    goal: float,
    limit: float,
) -> dict[str, Any]:
    """Repeat `work` (of so many steps) up to the goal, the processor time or the epochs given.

    With one thread for all, as `fit` chooses at this size: a second one would only wait.
    """
    cpu, wall, done, value = 0.0, 0.0, 0, np.inf
    with threadpool_limits(1):
        while value > goal and done < EPOCHS and cpu < limit:
            before = time.process_time(), time.perf_counter()
            work()
            cpu += time.process_time() - before[0]
            wall += time.perf_counter() - before[1]
            done += steps
            value = objective(labels, model.W, model.H)
    return {
        "steps": done,
        "CPU s": cpu,
        "wall s": wall,
        "CPU ms per step": 1e3 * cpu / done,
        "objective": value,
        "reached": value <= goal,
    }


def published(rows: str, lr: float, goal: float, limit: float) -> dict[str, Any]:
    """AdamW with step decays, float32, on one-hot rows of all n positions or on m soft rows."""
    labels = published_scale()
    model = start(labels, torch.float32)
    loss_of = losses(labels, "cpu", torch.float32)[rows]
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    decay = torch.optim.lr_scheduler.MultiStepLR(optimizer, [EPOCHS // 2, EPOCHS * 3 // 4], 0.3)

    def work() -> None:
        for _ in range(100):
            optimizer.zero_grad()
            penalty = RIDGE / 2 * (model.W.square().sum() + model.H.square().sum())
            (loss_of(model.W, model.H) + penalty).backward()
            optimizer.step()
            decay.step()

    return race(work, 100, model, labels, goal, limit)


def losses(
    labels: ntp.SoftLabels, device: str, dtype: torch.dtype
) -> dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]:
    """The same loss, up to a constant, in the ways of others."""
    N = labels.N.tocoo()
    token, context = (
        torch.as_tensor(np.repeat(x, N.data), dtype=torch.int64, device=device)
        for x in (N.row, N.col)
    )
    # (m, V), as `functional.cross_entropy` reads probabilities.
    soft = torch.as_tensor(labels.P.toarray().T, dtype=dtype, device=device)
    pi = torch.tensor(labels.pi, dtype=dtype, device=device)  # a copy: labels are read-only

    def dense(W: torch.Tensor, H: torch.Tensor) -> torch.Tensor:
        return pi @ functional.cross_entropy((W @ H).T, soft, reduction="none")

    def one_hot(W: torch.Tensor, H: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(H.T[context] @ W.T, token)

    def fused(W: torch.Tensor, H: torch.Tensor) -> torch.Tensor:
        # PyTorch's chunked path takes whole-number targets alone, so it too needs n rows.
        options = torch.nn.LinearCrossEntropyOptions()
        return functional.linear_cross_entropy(H.T[context], W, token, options=options)

    return {
        "dense": dense,
        "one-hot": one_hot,
        "fused one-hot": fused,
    }


def large_labels(V: int, m: int, k: int = 5) -> ntp.SoftLabels:
    """About k tokens after each context, without a V x m array on the way."""
    rng = np.random.default_rng(0)
    counts, rows = rng.integers(1, 9, m * k), rng.integers(0, V, m * k)
    return ntp.SoftLabels.from_counts(
        sparse.coo_array((counts, (rows, np.repeat(np.arange(m), k))), shape=(V, m))
    )


def gradient(way: str, sizes: tuple[int, int, int], device: str) -> dict[str, Any]:
    """Milliseconds of one loss with its gradient, the matrix products' share of it, memory."""
    V, m, d = sizes
    labels = published_scale() if (V, m) == (104, 403) else large_labels(V, m)
    model = UFM(V, m, d, dtype=torch.float32).to(device)
    W, H = model.W, model.H
    trainer = Trainer(model, labels, TrainConfig(ridge=0, optimizer="adam", device=device))

    def clock(work: Callable[[], Any]) -> float:
        wait = torch.cuda.synchronize if device == "cuda" else lambda: None
        best = np.inf
        for _ in range(9):
            wait()
            before = time.perf_counter()
            work()
            wait()
            best = min(best, time.perf_counter() - before)
        return best

    def step_of_others() -> float:
        model.zero_grad()
        loss = loss_of(W, H)
        loss.backward()
        return float(loss.detach())

    reference = trainer.loss_and_gradients() + labels.entropy
    step, floor = trainer.loss_and_gradients, labels.entropy
    if way != "ours":
        loss_of = losses(labels, device, torch.float32)[way]
        step, floor = step_of_others, 0.0
    value = step() + floor
    fail_unless(abs(value - reference) < 1e-4 * reference, f"{way} gives {value}, not {reference}")
    seconds = clock(step)
    # The matrix rate of this machine: the same three products and nothing else, block by block.
    width = trainer.block_columns
    with torch.no_grad():
        part = H[:, :width].contiguous()
        L = W @ part
        products = clock(lambda: (torch.mm(W, part), torch.mm(L, part.T), torch.mm(W.T, L)))
    bound = products * m / part.shape[1]
    return {"ms": 1e3 * seconds, "products alone, ms": 1e3 * bound, "share": bound / seconds}


def main() -> None:
    """Measure all recipes and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the published 50,000 epochs")
    full = parser.parse_args().full

    best = optimum()
    goal = 1.01 * best["bound"]  # 1.01 times a lower bound of v: nothing is given away
    rows, first = [], isolated(ours, "float64", goal)
    limit = np.inf if full else 30 * first["CPU s"]
    found = {
        "ours: L-BFGS, float64": first,
        "ours: L-BFGS, float32": isolated(ours, "float32", goal),
        "AdamW 1e-4, one-hot rows (published)": isolated(published, "one-hot", 1e-4, goal, limit),
        "AdamW 1e-4, dense soft rows": isolated(published, "dense", 1e-4, goal, limit),
        "AdamW 1e-2, dense soft rows": isolated(published, "dense", 1e-2, goal, limit),
    }
    for name, one in found.items():
        reached = one.pop("reached")
        fail_unless(reached or not name.startswith("ours"), f"{name} misses the goal")
        fail_unless(one["objective"] >= best["bound"] * (1 - 1e-6), f"{name} is below the bound")
        ratio = f"{one['CPU s'] / first['CPU s']:.3g}"
        quotient = one.pop("objective") / best["value"]
        rows.append(
            {"recipe": name, **one, "objective / v": f"{quotient:.4f}",
             "CPU / ours": ratio if reached else f"> {ratio}"}
        )  # fmt: skip
    report(
        "train",
        f"UFM training to 1.01 (v - Hc), ridge {RIDGE:g}, {published_scale()!r}, d={D}",
        rows,
        "A '>' marks a recipe that had not arrived when its time or its 50,000 epochs were over. "
        "CPU s: processor time of one thread, which other work on the machine disturbs least.",
    )
    slow = found["AdamW 1e-4, one-hot rows (published)"]["CPU s"]
    fail_unless(slow >= 10 * first["CPU s"], "less than 10 times faster than as published")

    table = []
    for sizes in ((104, 403, 128), (2000, 5000, 256)):
        for way in WAYS:
            row = {"V, m, d": ", ".join(map(str, sizes)), "way": way, "device": "cpu"}
            table.append(row | isolated(gradient, way, sizes, "cpu"))
    notes = "GPU (V=10,000, m=100,000, d=512): not yet measured."
    if torch.cuda.is_available():
        notes = ""
        for way in ("ours", "dense", "fused one-hot"):  # one-hot rows do not fit
            row = {"V, m, d": "10000, 100000, 512", "way": way, "device": "cuda"}
            table.append(row | isolated(gradient, way, (10_000, 100_000, 512), "cuda"))
    report(
        "train_gradient",
        "One loss and gradient of the UFM, float32, best of 9; share: products alone / all",
        table,
        notes,
    )
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
