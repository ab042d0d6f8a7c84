"""ntp_lite: the geometry of next-token prediction, computed and certified.

Every public name stands in `ROOMS`, under the module where it is at home. The modules are in import
order: each imports only from those above it. One is imported when a name of it is first used, so
that `import ntp_lite` waits neither for torch nor for a plotting library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # the same names, for type checkers and editors
    from . import plots
    from ._checkpoint import Checkpoint, load
    from .certificate import (
        Certificate,
        MarginCertificate,
        RidgeCertificate,
        certify_margin,
        certify_ridge,
    )
    from .complementarity import StrictComplementarity, strict_complementarity
    from .config import TrainConfig
    from .constraints import centered_support, project_dual, project_margin
    from .corpus import Vocabulary, load_corpus, tokenize
    from .efficiency import NormEfficiency, norm_efficiency
    from .geometry import (
        CollapseResult,
        Factors,
        Orthants,
        cosine_similarity,
        orthants,
        seriation,
        support_collapse,
        word_context_factors,
    )
    from .in_support import SplitLogits, in_support_logits, split_logits
    from .linalg import balanced_factors, effective_rank
    from .loss import cross_entropy, excess_loss
    from .margin import MarginProgress, MaxMarginResult, ProxyBounds, proxy_bounds, solve_max_margin
    from .metrics import (
        CollapseTest,
        NeuralCollapse,
        SpectralExponent,
        collapse_test,
        gradient_bottleneck,
        neural_collapse,
        soft_self_duality,
        spectral_exponent,
        stable_rank,
        standard_metrics,
    )
    from .models import UFM, Model, Transformer, TransformerConfig
    from .optimizers import OPTIMIZERS, Optimizer
    from .path import RidgeProgress, RidgeResult, ridge_max, ridge_path, solve_ridge
    from .reports import Report, report
    from .soft_labels import SoftLabels, random_soft_labels
    from .status import Status
    from .train import FitResult, Trainer, fit, resume

ROOMS: dict[str, tuple[str, ...]] = {
    "status": ("Status",),
    "_validate": (),
    "_threads": (),
    "_interrupts": (),
    "_output": (),
    "_progress": (),
    "corpus": ("Vocabulary", "load_corpus", "tokenize"),
    "_token_files": (),
    "soft_labels": ("SoftLabels", "random_soft_labels"),
    "loss": ("cross_entropy", "excess_loss"),
    "linalg": ("balanced_factors", "effective_rank"),
    "constraints": ("centered_support", "project_dual", "project_margin"),
    "in_support": ("SplitLogits", "in_support_logits", "split_logits"),
    "certificate": (
        "Certificate",
        "MarginCertificate",
        "RidgeCertificate",
        "certify_margin",
        "certify_ridge",
    ),
    "_admm": (),
    "margin": (
        "MarginProgress",
        "MaxMarginResult",
        "ProxyBounds",
        "proxy_bounds",
        "solve_max_margin",
    ),
    "complementarity": ("StrictComplementarity", "strict_complementarity"),
    "path": ("RidgeProgress", "RidgeResult", "ridge_max", "ridge_path", "solve_ridge"),
    "efficiency": ("NormEfficiency", "norm_efficiency"),
    "geometry": (
        "CollapseResult",
        "Factors",
        "Orthants",
        "cosine_similarity",
        "orthants",
        "seriation",
        "support_collapse",
        "word_context_factors",
    ),
    "models": ("Model", "Transformer", "TransformerConfig", "UFM"),
    "metrics": (
        "CollapseTest",
        "NeuralCollapse",
        "SpectralExponent",
        "collapse_test",
        "gradient_bottleneck",
        "neural_collapse",
        "soft_self_duality",
        "spectral_exponent",
        "stable_rank",
        "standard_metrics",
    ),
    "optimizers": ("OPTIMIZERS", "Optimizer"),
    "config": ("TrainConfig",),
    "_checkpoint": ("Checkpoint", "load"),
    "_batches": (),
    "_processes": (),
    "_objective": (),
    "train": ("FitResult", "Trainer", "fit", "resume"),
    "style": (),
    "plots": (),
    "reports": ("Report", "report"),
    "cli": (),
}
_HOME = {name: room for room, names in ROOMS.items() for name in names}
# `plots` is used as a module: ntp_lite.plots.heat_map.
__all__ = sorted([*_HOME, "plots"])


def __getattr__(name: str) -> Any:
    """Import the module of a public name on its first use."""
    if name == "plots":
        return import_module(".plots", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}.")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value  # the next use finds it at once
    return value


def __dir__() -> list[str]:
    """What editors offer."""
    return [*__all__, "__version__"]
