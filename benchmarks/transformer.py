"""A decoder as published, and a UFM, on the same 403 contexts of five tokens: against the theory.

    python benchmarks/transformer.py              run what is not stored yet, then print the table
    python benchmarks/transformer.py NAME ...     only these runs (names in RUNS)

Each run stores its history as transformer_runs/NAME.json at its end, so a stopped script goes on
where it was. The book reads those files. Delete one to run it again.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from harness import fail_unless, machine, report
from instances import published_scale

import ntp_lite as ntp
from ntp_lite.metrics import standard_metrics
from ntp_lite.models import UFM, Transformer, TransformerConfig
from ntp_lite.train import TrainConfig, fit

FOLDER = Path(__file__).parent / "transformer_runs"
LENGTH = 5
LONG = {"ridge": 0.0, "optimizer": "adamw", "lr": 3e-3, "schedule": "cosine", "steps": 1600}
SHORT = LONG | {"lr": 1e-2, "steps": 400}
# Name -> sizes of the model (None: UFM with d=128), training, seed.
RUNS: dict[str, tuple[dict[str, Any] | None, dict[str, Any], int]] = {
    **{f"decoder_2x64_seed{s}": ({"layers": 2, "d": 64}, SHORT, s) for s in range(3)},
    "decoder_2x64_ridge": ({"layers": 2, "d": 64}, SHORT | {"ridge": 1e-5}, 0),
    **{f"decoder_4x128_seed{s}": ({"layers": 4, "d": 128}, LONG, s) for s in range(3)},
    **{f"ufm_adamw_seed{s}": (None, LONG | {"lr": 1e-2}, s) for s in range(3)},
    "ufm_lbfgs_ridge": (None, {"ridge": 1e-5, "steps": 4000}, 0),
}


def run(name: str) -> dict[str, Any]:
    """Train one model and return what is stored of it."""
    sizes, options, seed = RUNS[name]
    labels = published_scale(LENGTH)
    model: Any = UFM(labels.V, labels.m, 128, seed=seed)
    if sizes is not None:
        model = Transformer(TransformerConfig(labels.V, LENGTH, heads=4, seed=seed, **sizes))
    metrics = standard_metrics(labels, L_mm=ntp.solve_max_margin(labels).L)
    before = time.process_time()
    config = TrainConfig(seed=seed, evaluate=40, **options)
    result = fit(model, labels, config, metrics, progress=True)
    return {
        "name": name,
        "sizes": sizes,
        "training": options,
        "seed": seed,
        "labels": repr(labels),
        "machine": machine(),
        "seconds": result.seconds,
        "cpu_seconds": time.process_time() - before,
        "message": result.message,
        "history": result.history,
    }


def row(stored: dict[str, Any]) -> dict[str, Any]:
    """Return the table's row of one stored run."""
    history = stored["history"]
    shown = ("in_support_error", "cosine_mm", "cosine_proxy", "gram_words", "gram_contexts")
    return {
        "run": stored["name"],
        "steps": history["step"][-1],
        "CPU s": stored["cpu_seconds"],
        "best excess": min(history["excess_loss"]),
        "final excess": history["excess_loss"][-1],
        **{name: history[name][-1] for name in shown},
        "collapse": history["collapse"][-1],
        "operator_norm": history["operator_norm"][-1],
        "alignment": history["alignment"][-1],
    }


def main(names: list[str]) -> None:
    """Run what is not stored yet, then write the table."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or RUNS:
        path = FOLDER / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps(run(name), indent=1) + "\n", "utf-8")
    stored = [json.loads((FOLDER / f"{n}.json").read_text("utf-8")) for n in names or RUNS]
    rows = [row(one) for one in stored]
    labels = published_scale(LENGTH)
    report(
        "transformer",
        "Decoders and UFMs on the same soft labels, against the max-margin prediction",
        rows,
        f"{labels!r}. collapse: within over total variability of L - P_F(L) in support classes "
        "with k >= 2 and at least two members. CPU s: processor time of one thread, evaluations "
        "included, because the machine was busy with other work.",
    )
    for one, line in zip(stored, rows, strict=True):
        if one["name"].startswith("decoder_4x128"):
            fail_unless(line["final excess"] <= 1e-3, f"{one['name']} ends above 1e-3")
            fail_unless(one["cpu_seconds"] <= 900, f"{one['name']} took more than 15 minutes")
        if one["name"].startswith("decoder_2x64_seed"):
            fail_unless(line["final excess"] <= 1e-2, f"{one['name']} ends above 1e-2")


if __name__ == "__main__":
    main(sys.argv[1:])
