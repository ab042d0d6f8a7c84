"""UFM training: ours against the published optimiser, and the cost of one gradient.

    python benchmarks/train.py            give the published optimiser 15 times our time
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
from torch.nn import functional

import ntp_lite as ntp
from ntp_lite import train
from ntp_lite.train import TrainConfig, fit
from ntp_lite.ufm import UFM

RIDGE, D = 1e-5, 128
EPOCHS = 50_000


def optimum() -> dict[str, Any]:
    labels = published_scale()
    result = ntp.solve_ridge(labels, RIDGE, tol=1e-6)
    fail_unless(result.converged, result.message)
    return {"value": result.certificate.primal, "bound": result.certificate.dual}


def objective(labels: ntp.SoftLabels, W: torch.Tensor, H: torch.Tensor) -> float:
    W, H = W.detach().double(), H.detach().double()
    squares = float(W.square().sum() + H.square().sum())
    return float(ntp.excess_loss((W @ H).numpy(), labels)) + RIDGE / 2 * squares


def start(labels: ntp.SoftLabels, dtype: torch.dtype) -> UFM:
    return UFM(labels.V, labels.m, D, seed=0).to(dtype)


def ours(dtype: str, goal: float) -> dict[str, Any]:
    """`fit` as it is; time is read from its history, which leaves evaluations out."""
    labels = published_scale()
    fit(UFM(labels.V, labels.m, 2), labels, TrainConfig(steps=2, tol=None))  # threads, caches
    model = start(labels, getattr(torch, dtype))
    steps = range(10, 2000, 10)
    config = TrainConfig(ridge=RIDGE, steps=2000, evaluate=list(steps), tol=None, device="cpu")
    judged = {"judge": lambda L, W, H: objective(labels, *map(torch.from_numpy, (W, H)))}
    history = fit(model, labels, config, judged).history
    hit = int(np.argmax(np.array(history["judge"]) <= goal))
    fail_unless(history["judge"][hit] <= goal, f"ours, {dtype}, misses the goal in 2000 steps")
    return {
        "steps": history["step"][hit],
        "seconds": history["seconds"][hit],
        "ms per step": 1e3 * history["seconds"][-1] / 2000,
        "objective": history["judge"][hit],
    }


def published(rows: str, lr: float, goal: float, seconds: float) -> dict[str, Any]:
    """AdamW with step decays, float32, on one-hot rows of all n positions or on m soft rows."""
    labels = published_scale()
    model = start(labels, torch.float32)
    loss_of = losses(labels, "cpu", torch.float32)[rows]
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    decay = torch.optim.lr_scheduler.MultiStepLR(optimizer, [EPOCHS // 2, EPOCHS * 3 // 4], 0.3)
    spent, epoch, value = 0.0, 0, np.inf
    while epoch < EPOCHS and spent < seconds:
        before = time.perf_counter()
        for _ in range(100):
            optimizer.zero_grad()
            penalty = RIDGE / 2 * (model.W.square().sum() + model.H.square().sum())
            (loss_of(model.W, model.H) + penalty).backward()
            optimizer.step()
            decay.step()
        spent += time.perf_counter() - before
        epoch += 100
        value = objective(labels, model.W, model.H)
        if value <= goal:
            break
    return {
        "steps": epoch,
        "seconds": spent,
        "ms per step": 1e3 * spent / epoch,
        "objective": value,
        "reached": value <= goal,
    }


def losses(
    labels: ntp.SoftLabels, device: str, dtype: torch.dtype
) -> dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]:
    """The same loss, up to a constant, in four ways."""
    N = labels.N.tocoo()
    token, context = (
        torch.as_tensor(np.repeat(x, N.data), dtype=torch.int64, device=device)
        for x in (N.row, N.col)
    )
    joint = torch.as_tensor((labels.P * labels.pi).toarray().T, dtype=dtype, device=device)
    soft = joint / joint.sum(dim=1, keepdim=True)
    pi = torch.as_tensor(labels.pi, dtype=dtype, device=device)
    made = train._Run(
        UFM(labels.V, labels.m, 1).to(dtype), labels, TrainConfig(device=device), {}
    ).blocks

    def dense(W: torch.Tensor, H: torch.Tensor) -> torch.Tensor:
        return pi @ functional.cross_entropy((W @ H).T, soft, reduction="none")

    def one_hot(W: torch.Tensor, H: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(H.T[context] @ W.T, token)

    def fused(W: torch.Tensor, H: torch.Tensor) -> torch.Tensor:
        options = torch.nn.LinearCrossEntropyOptions()
        call = functional.linear_cross_entropy
        return call(H.T.contiguous(), W, joint, reduction="sum", options=options)

    every = {
        "ours": lambda W, H: train.FactoredExcess.apply(W, H, made),
        "dense": dense,
        "one-hot": one_hot,
        "fused": fused,
    }
    if not hasattr(functional, "linear_cross_entropy"):
        del every["fused"]
    return every


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
    loss_of = losses(labels, device, torch.float32)[way]

    def clock(work: Callable[[], Any]) -> float:
        best = np.inf
        for _ in range(7):
            if device == "cuda":
                torch.cuda.synchronize()
            before = time.perf_counter()
            work()
            if device == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - before)
        return best

    def step() -> float:
        model.zero_grad()
        loss = loss_of(W, H)
        loss.backward()
        return float(loss.detach())

    reference = losses(labels, device, torch.float32)["ours"](W, H).item() + labels.entropy
    value = step() + (labels.entropy if way == "ours" else 0.0)
    fail_unless(abs(value - reference) < 1e-4 * reference, f"{way} gives {value}, not {reference}")
    seconds = clock(step)
    # The matrix rate of this machine: the same three products and nothing else, block by block.
    width = max(1, train.BLOCK // V)
    with torch.no_grad():
        part = H[:, :width].contiguous()
        L = W @ part
        products = clock(lambda: (torch.mm(W, part), torch.mm(L, part.T), torch.mm(W.T, L)))
    bound = products * m / part.shape[1]
    return {"ms": 1e3 * seconds, "products alone, ms": 1e3 * bound, "share": bound / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the published 50,000 epochs")
    full = parser.parse_args().full

    best = optimum()
    goal = 1.01 * best["bound"]  # 1.01 times a lower bound of v: nothing is given away
    rows, first = [], isolated(ours, "float64", goal)
    limit = 1e9 if full else 15 * first["seconds"]
    found = {
        "ours: L-BFGS, float64": first,
        "ours: L-BFGS, float32": isolated(ours, "float32", goal),
        "AdamW 1e-4, one-hot rows (published)": isolated(published, "one-hot", 1e-4, goal, limit),
        "AdamW 1e-4, dense soft rows": isolated(published, "dense", 1e-4, goal, limit),
        "AdamW 1e-2, dense soft rows": isolated(published, "dense", 1e-2, goal, limit),
    }
    for name, one in found.items():
        reached = one.pop("reached", True)
        fail_unless(one["objective"] >= best["bound"] * (1 - 1e-6), f"{name} is below the bound")
        ratio = f"{one['seconds'] / first['seconds']:.3g}"
        quotient = one.pop("objective") / best["value"]
        rows.append(
            {"recipe": name, **one, "objective / v": f"{quotient:.4f}",
             "time / ours": ratio if reached else f"> {ratio}"}
        )  # fmt: skip
    report(
        "train",
        f"UFM training to 1.01 (v - Hc), ridge {RIDGE:g}, {published_scale()!r}, d={D}",
        rows,
        "A '>' marks a recipe that had not arrived when its time or its 50,000 epochs were over.",
    )
    slow = found["AdamW 1e-4, one-hot rows (published)"]["seconds"]
    fail_unless(slow >= 10 * first["seconds"], "less than 10 times faster than as published")

    table = []
    for sizes in ((104, 403, 128), (2000, 5000, 256)):
        for way in ("ours", "dense", "one-hot", "fused"):
            if way == "fused" and not hasattr(functional, "linear_cross_entropy"):
                continue
            name = {"V, m, d": ", ".join(map(str, sizes)), "way": way, "device": "cpu"}
            table.append(name | isolated(gradient, way, sizes, "cpu"))
    notes = "GPU (V=10,000, m=100,000, d=512): not yet measured."
    if torch.cuda.is_available():
        notes = ""
        for way in ("ours", "dense", "fused"):
            name = {"V, m, d": "10000, 100000, 512", "way": way, "device": "cuda"}
            table.append(name | isolated(gradient, way, (10_000, 100_000, 512), "cuda"))
    report(
        "train_gradient",
        "One loss and gradient of the UFM, float32, best of 7; share: products alone / all",
        table,
        notes,
    )
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
