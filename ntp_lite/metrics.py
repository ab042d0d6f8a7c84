"""What can be measured of a model while it trains, by name (chapters 13 and 14)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.linalg import norm
from numpy.typing import ArrayLike, NDArray

from .certificate import certify_ridge
from .constraints import centered_support
from .geometry import support_collapse, word_context_factors
from .in_support import in_support_logits, split_logits
from .soft_labels import SoftLabels

Array: TypeAlias = NDArray[np.float64]
Metrics: TypeAlias = dict[str, Callable[[Array, Array, Array], Any]]  # of L, W, H; numbers


def standard_metrics(
    labels: SoftLabels, *names: str, L_mm: ArrayLike | None = None, ridge: float | None = None
) -> Metrics:
    """Metrics for `fit` by name; only those named are computed. Without names: all there are.

    "norm_W", "norm_H"; "in_support_error" |P_F(L) - L_in|; "cosine_proxy" and, given `L_mm`,
    "cosine_mm" (of L with centred columns); "gram_words", "gram_contexts" (Frobenius distance of
    the normalised W W' and H'H from those of L_mm); "collapse", within / total over support classes
    with k >= 2, of L - P_F(L); "operator_norm" |G|_op, "alignment"; "relative_gap" at `ridge`.
    Raises ValueError for a name that is not known or needs L_mm or ridge. Chapters 13 and 14.
    """
    split, certify = partial(split_logits, labels=labels), partial(certify_ridge, labels=labels)
    L_in, proxy = in_support_logits(labels), _unit(centered_support(labels))
    found: Metrics = {
        "norm_W": lambda L, W, H: norm(W),
        "norm_H": lambda L, W, H: norm(H),
        "in_support_error": lambda L, W, H: norm((split(L).in_support - L_in).data),
        "collapse": lambda L, W, H: support_collapse(split(L).orthogonal, labels).several_tokens,
        "operator_norm": lambda L, W, H: certify(L).operator_norm,
        "alignment": lambda L, W, H: certify(L).alignment,
        "cosine_proxy": lambda L, W, H: np.vdot(_unit(L - L.mean(axis=0)), proxy),
    }
    if ridge is not None:
        found["relative_gap"] = lambda L, W, H: certify(L, ridge=ridge).relative_gap
    if L_mm is not None:
        target, factors = _unit(np.asarray(L_mm)), word_context_factors(L_mm)
        words, contexts = _unit(factors.W @ factors.W.T), _unit(factors.H.T @ factors.H)
        found["cosine_mm"] = lambda L, W, H: np.vdot(_unit(L - L.mean(axis=0)), target)
        found["gram_words"] = lambda L, W, H: norm(_unit(W @ W.T) - words)
        found["gram_contexts"] = lambda L, W, H: norm(_unit(H.T @ H) - contexts)
    unknown = set(names) - set(found)
    if unknown:
        raise ValueError(f"No metric {sorted(unknown)} (without L_mm, ridge?); have {list(found)}.")
    return {name: found[name] for name in names or found}


def _unit(A: Array) -> Array:
    return A / (norm(A) or 1.0)
