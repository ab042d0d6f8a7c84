"""The max-margin constraints, the dual cone, and the projections onto them (chapter 07)."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from ._validate import as_array, check_logits
from .soft_labels import SoftLabels

Support: TypeAlias = SoftLabels | ArrayLike | sparse.sparray  # labels, or their matrix S (V, m)


def centered_support(labels: Support) -> NDArray[np.float64]:
    """S_centered = (I - 11'/V) S, (V, m): every margin exactly 1, the cheap proxy of L_mm.

    Accepts SoftLabels or a 0/1 matrix S. Paper: section 5. Book: chapters 07 and 11.
    """
    S = support_mask(labels)
    return S - S.mean(axis=0)


def project_margin(L: NDArray[np.float64], S: Support, margin: float = 1.0) -> NDArray[np.float64]:
    """Nearest matrix to L that is constant on each support and at least `margin` smaller off it.

    In a column: with a the mean of the in-support entries and of those off-support entries,
    raised by `margin`, that exceed a, the projection is a on the support and
    min(x, a - margin) off it. One sort of the column finds which entries exceed.
    """
    support = support_mask(S)
    L = check_logits(L, support.shape)
    result = np.empty(support.shape)
    width = max(1, 2**20 // len(support))  # columns at a time, to bound the working memory
    for j in range(0, support.shape[1], width):
        x, on = L[:, j : j + width], support[:, j : j + width]
        raised = -np.sort(-np.where(on, -np.inf, x + margin), axis=0)
        sums = np.cumsum(np.vstack([np.where(on, x, 0.0).sum(axis=0), raised]), axis=0)
        # means[i] is a with the i largest raised entries; it is right once the next one is <= a.
        means = sums / (on.sum(axis=0) + np.arange(len(sums))[:, None])
        right = (np.pad(raised, ((0, 1), (0, 0)), constant_values=-np.inf) <= means).argmax(axis=0)
        a = np.take_along_axis(means, right[None], axis=0)
        result[:, j : j + width] = np.where(on, a, np.minimum(x, a - margin))
    return result


def project_dual(G: NDArray[np.float64], S: Support) -> NDArray[np.float64]:
    """Nearest matrix to G whose columns sum to zero and which is <= 0 off the support.

    This cone is the dual of {A : A constant on each support and nowhere larger off it}, so by
    Moreau's decomposition its projection is G + (projection of -G onto that cone).
    """
    return G + project_margin(-G, S, margin=0.0)


def support_mask(S: Support) -> NDArray[np.bool_]:
    """S as a dense boolean (V, m) array; ValueError unless each column has a token and S is 0/1."""
    dense = as_array(S.S if isinstance(S, SoftLabels) else S)
    if dense.ndim != 2:
        raise ValueError(f"S must be a (V, m) matrix, not an array of shape {dense.shape}.")
    if dense.dtype != bool and not np.isin(dense, (0, 1)).all():
        raise ValueError("S must hold only 0 and 1; pass labels.S, not counts or probabilities.")
    mask = dense.astype(bool)
    if mask.shape[1] == 0 or not mask.any(axis=0).all():
        raise ValueError("Every column of S needs at least one token; drop contexts without any.")
    return mask
