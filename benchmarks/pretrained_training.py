"""Further training of a pretrained model on `primer`, and the same from other starts.

All runs have the same soft labels: contexts of four of the pretrained model's own tokens that occur
at least five times. Called by pretrained.py; each run stores its history when it ends, and goes on
from its checkpoint where it was stopped.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import machine
from numpy.typing import NDArray
from pretrained_model import (
    FOLDER,
    LastLayer,
    Pretrained,
    contexts_of,
    frequent,
    load,
    read,
)

import ntp_lite as ntp

STORED = Path(ntp.__file__).parent / "data" / "measured" / "pretrained"
CHECKPOINTS = FOLDER.parent / "checkpoints"  # git ignores them
CONTEXT_LENGTH, LEAST = 4, 5
BATCH = 117  # a quarter of the contexts
ADAM: dict[str, Any] = {
    "ridge": 0.0,
    "optimizer": "adamw",
    "schedule": "cosine",
    "tol": None,
    "device": "cpu",
}
FULL = ADAM | {"lr": 1e-3, "steps": 200, "evaluate": (0, 1, 2, 5, 10, 20, 50, 100, 200)}
BATCHES = ADAM | {"lr": 1e-3, "steps": 400, "batch_size": BATCH}
BATCHES["evaluate"] = (0, 2, 5, 10, 20, 50, 100, 200, 400)
SMALL = ADAM | {"lr": 1e-2, "steps": 400, "evaluate": (0, 1, 2, 5, 10, 20, 50, 100, 200, 400)}
# Name -> start, training, seed. A full batch without dropout has no randomness but its start.
RUNS: dict[str, tuple[str, dict[str, Any], int]] = {
    "decoder_seed0": ("decoder", SMALL, 0),
    "decoder_seed1": ("decoder", SMALL, 1),
    "free_seed0": ("free vectors", SMALL, 0),
    "free_seed1": ("free vectors", SMALL, 1),
    "pretrained_batches_seed0": ("pretrained", BATCHES, 0),
    "pretrained_batches_seed1": ("pretrained", BATCHES, 1),
    "random_batches_seed0": ("random last layer", BATCHES, 0),
    "random_batches_seed1": ("random last layer", BATCHES, 1),
    "pretrained_full": ("pretrained", FULL, 0),
    "free_from_pretrained": ("free vectors from the pretrained ones", BATCHES, 0),
    "free_from_pretrained_fast": (
        "free vectors from the pretrained ones",
        BATCHES | {"lr": 1e-2},
        0,
    ),
    "free_large_seed0": ("free vectors as long as the pretrained ones", BATCHES, 0),
    "free_large_seed1": ("free vectors as long as the pretrained ones", BATCHES, 1),
}
NEURAL_COLLAPSE = ("nc1", "cdnv", "self_duality", "agreement")
METRICS = (
    "in_support_error", "cosine_mm", "cosine_proxy", "operator_norm", "alignment", "collapse",
    "norm_efficiency_lower", "norm_efficiency_upper", "effective_rank", "effective_rank_H",
    "norm_W", "norm_H", "gram_words", "gram_contexts", *NEURAL_COLLAPSE,
    *(f"support_{name}" for name in NEURAL_COLLAPSE),
)  # fmt: skip


def kinds_of_pairs(labels: ntp.SoftLabels) -> tuple[NDArray[np.intp], dict[str, NDArray[np.bool_]]]:
    """Contexts with several next words, and which pairs j < j' of them are of which kind."""
    several = np.flatnonzero(labels.support_sizes >= 2)
    first, second = np.triu_indices(len(several), 1)
    S = labels.S[:, several]
    in_common = np.asarray((S.T @ S).todense())[first, second]
    classes, last = labels.support_classes[several], contexts_of(labels)[several, -1]
    same_support = classes[first] == classes[second]
    same_last = last[first] == last[second]
    return several, {
        "same support, same last": same_support & same_last,
        "same support, other last": same_support & ~same_last,
        "other support, same last": ~same_support & same_last,
        "none in common, same last": (in_common == 0) & same_last,
        "other support, other last": ~same_support & ~same_last,
    }


def cosines_of_pairs(H: NDArray[np.float64], several: NDArray[np.intp]) -> NDArray[np.float64]:
    """Cosines of the centred context vectors, for the pairs of `kinds_of_pairs`."""
    centred = H - H.mean(axis=1, keepdims=True)
    cosines = ntp.cosine_similarity(centred[:, several])
    return cosines[np.triu_indices(len(several), 1)]


def all_metrics(labels: ntp.SoftLabels, L_mm: NDArray[np.float64]) -> dict[str, Any]:
    """What each history holds, as functions of (L, W, H)."""
    metrics: dict[str, Any] = dict(ntp.standard_metrics(labels, *METRICS, L_mm=L_mm))
    several, kinds = kinds_of_pairs(labels)
    for kind, chosen in kinds.items():
        metrics[kind] = lambda L, W, H, chosen=chosen: cosines_of_pairs(H, several)[chosen].mean()
    last = contexts_of(labels)[:, -1]
    for k, several_tokens in (("k=1", False), ("k>=2", True)):
        for dealt, groups in (("among all", None), ("same last", last)):
            for field in ("value", "permuted", "p_value", "movable", "contexts"):

                def measure(
                    L: Any, W: Any, H: Any, groups: Any = groups,
                    several_tokens: bool = several_tokens, field: str = field,
                ) -> float:  # fmt: skip
                    test = ntp.collapse_test(H, labels, groups, several_tokens, shuffles=199)
                    return getattr(test, field)

                metrics[f"collapse {k}, dealt {dealt}: {field}"] = measure
    return metrics


def build(start: str, seed: int, labels: ntp.SoftLabels, model: Pretrained) -> Any:
    """A model with the given start."""
    if start == "decoder":
        sizes: dict[str, Any] = {
            "V": labels.V,
            "context_length": CONTEXT_LENGTH,
            "d": 64,
            "layers": 2,
            "heads": 4,
        }
        return ntp.Transformer(ntp.TransformerConfig(**sizes, seed=seed))
    if start == "free vectors":
        return ntp.UFM(labels.V, labels.m, d=64, seed=seed)
    if start.startswith("free vectors "):
        return free_vectors_like(model, labels, seed, own_directions="from" in start)
    last = LastLayer(model, contexts_of(labels))
    if start == "random last layer":
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for parameter in last.parameters():
                if parameter.ndim == 2:  # the spread that such a model is born with
                    torch.nn.init.normal_(parameter, std=0.02)
                else:
                    torch.nn.init.ones_(parameter)
    return last


def free_vectors_like(
    model: Pretrained, labels: ntp.SoftLabels, seed: int, own_directions: bool
) -> ntp.UFM:
    """Free vectors that start at the pretrained W and H, or at random ones of the same lengths."""
    with torch.no_grad():
        W, H = model.W, model.embeddings(contexts_of(labels))
        free = ntp.UFM(labels.V, labels.m, W.shape[1], seed=seed, dtype=torch.float32)
        for own, start in ((free.W, W), (free.H, H)):
            scale = start.norm() / own.norm()
            own.copy_(start if own_directions else own * scale)
    return free


def run(name: str, labels: ntp.SoftLabels, metrics: dict[str, Any]) -> dict[str, Any]:
    """Train from one start, or go on with it, and return what is stored."""
    start, options, seed = RUNS[name]
    tokenizer, lm = load()  # anew: training changes it
    model = build(start, seed, labels, Pretrained(lm, read(tokenizer, "primer")[0]))
    checkpoint = CHECKPOINTS / f"{name}.safetensors"
    CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    config = ntp.TrainConfig(
        **options, seed=seed, checkpoint=str(checkpoint), checkpoint_every=100, overwrite=True
    )
    before = time.process_time()
    if checkpoint.exists():
        result = ntp.resume(checkpoint, model, labels, metrics, progress=True)
    else:
        result = ntp.fit(model, labels, config, metrics, progress=True)
    with torch.no_grad():
        columns = slice(0, labels.m) if not hasattr(model, "tokens") else contexts_of(labels)
        H = model.embeddings(columns).double().numpy()
        W = model.W.detach().double().numpy()
    np.savez(CHECKPOINTS / f"{name}.npz", W=W, H=H)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {
        "name": name,
        "start": start,
        "training": options,
        "seed": seed,
        "trained": "last of 30 layers, last norm, W" if isinstance(model, LastLayer) else "all",
        "parameters trained": trained,
        "labels": repr(labels),
        "machine": machine(),
        "seconds": result.seconds,
        "cpu_seconds of the last part": time.process_time() - before,
        "steps done": result.history["step"][-1],
        "status": result.status.name,
        "history": result.history,
    }


def path_at_loss_of(
    name: str, labels: ntp.SoftLabels, metrics: dict[str, Any]
) -> dict[str, Any] | None:
    """The point of the regularisation path with the excess loss with which a run ended."""
    trained = CHECKPOINTS / f"{name}.npz"
    if not trained.exists():
        return None
    with np.load(trained) as factors:
        L = factors["W"] @ factors["H"]
    found = ntp.norm_efficiency(L, labels, tol=1e-2)
    point = ntp.solve_ridge(labels, found.ridge, 1e-3, found.path[-1] if found.path else None)
    W, H, _ = ntp.word_context_factors(point.L)
    history: dict[str, list[float]] = {
        "step": [0],
        "excess_loss": [float(ntp.excess_loss(point.L, labels))],
    }
    for measure, function in metrics.items():
        history[measure] = [float(function(point.L, W, H))]
    return {"name": f"path at the loss of {name}", "ridge": found.ridge, "history": history}


def labels_of_primer(length: int = CONTEXT_LENGTH, least: int = LEAST) -> ntp.SoftLabels:
    """The soft labels of all runs, or those of other contexts."""
    tokenizer, _ = load()
    tokens, numbers = read(tokenizer, "primer")
    return frequent(numbers, len(tokens), length, least)


def max_margin(labels: ntp.SoftLabels) -> NDArray[np.float64]:
    """L_mm, solved once."""
    path = CHECKPOINTS / "max_margin.npy"
    if not path.exists():
        CHECKPOINTS.mkdir(parents=True, exist_ok=True)
        np.save(path, ntp.solve_max_margin(labels).L)
    return np.load(path)


def main(names: list[str]) -> None:
    """Run what is not stored yet."""
    STORED.mkdir(exist_ok=True)
    missing = [name for name in names or RUNS if not (STORED / f"{name}.json").exists()]
    if not missing and len(list(STORED.glob("path_*.json"))) == 2:
        return
    labels = labels_of_primer()
    metrics = all_metrics(labels, max_margin(labels))
    for name in missing:
        print(name, flush=True)
        stored = run(name, labels, metrics)
        if stored["status"] == "INTERRUPTED":
            return
        (STORED / f"{name}.json").write_text(json.dumps(stored, indent=1) + "\n", "utf-8")
    for name in ("pretrained_batches_seed0", "decoder_seed0"):
        path = STORED / f"path_{name}.json"
        point = None if path.exists() else path_at_loss_of(name, labels, metrics)
        if point:
            path.write_text(json.dumps(point, indent=1) + "\n", "utf-8")
