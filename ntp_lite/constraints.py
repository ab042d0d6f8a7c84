"""The max-margin constraints, the dual cone, and the projections onto them.

Functions with an underscore take arrays that are right already: a boolean support (V, m) and
finite float64 matrices of the same shape.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from ._validate import as_array, as_number, check_logits
from .soft_labels import SoftLabels

Support: TypeAlias = SoftLabels | ArrayLike | sparse.sparray  # labels, or their matrix S (V, m)
Mask: TypeAlias = NDArray[np.bool_]
Matrix: TypeAlias = NDArray[np.float64]

WORKING_ENTRIES = 2**20  # of a block of contexts, to bound the working memory


def support_mask(S: Support) -> Mask:
    """S as a dense boolean (V, m) array; ValueError unless each column has a token and S is 0/1."""
    if isinstance(S, SoftLabels):
        mask = np.zeros(S.shape, dtype=bool)
        mask[S.entries] = True
        return mask
    dense = as_array(S, "S", dtype=None)
    if dense.ndim != 2:
        raise ValueError(f"S must be a (V, m) matrix, not an array of shape {dense.shape}.")
    if dense.dtype != bool and not ((dense == 0) | (dense == 1)).all():
        raise ValueError("S must hold only 0 and 1; pass labels.S, not counts or probabilities.")
    mask = dense.astype(bool)
    if mask.shape[1] == 0 or not mask.any(axis=0).all():
        raise ValueError("Every column of S needs at least one token; drop contexts without any.")
    return mask


def centered_support(labels: Support) -> Matrix:
    """S_centered = (I - 11'/V) S, (V, m): every margin exactly 1, the cheap proxy of L_mm.

    Accepts SoftLabels or a 0/1 matrix S; ValueError for anything else. Paper: section 5. Book:
    max_margin, closed_forms.
    """
    return _centered_support(support_mask(labels))


def project_margin(L: ArrayLike, S: Support, margin: float = 1.0) -> Matrix:
    """Nearest matrix to L that is constant on each support and at least `margin` smaller off it.

    In a column: with a the mean of the in-support entries and of those off-support entries,
    raised by `margin`, that exceed a, the projection is a on the support and
    min(x, a - margin) off it. One sort of the column finds which entries exceed.

    L : (V, m). S : SoftLabels or a 0/1 matrix (V, m). Raises ValueError for shapes that differ, NaN
    or infinity, or an S that is not a support. Book: max_margin.
    """
    mask = support_mask(S)
    return _project_margin(check_logits(L, mask.shape), mask, as_number(margin, "margin"))


def project_dual(G: ArrayLike, S: Support) -> Matrix:
    """Nearest matrix to G whose columns sum to zero and which is <= 0 off the support.

    This cone is the dual of {A : A constant on each support and nowhere larger off it}, so by
    Moreau's decomposition its projection is G + (projection of -G onto that cone). Arguments and
    errors as those of `project_margin`. Book: max_margin.
    """
    mask = support_mask(S)
    return _project_dual(check_logits(G, mask.shape, "G"), mask)


def _centered_support(mask: Mask) -> Matrix:
    return mask - mask.mean(axis=0)


def _project_margin(
    L: Matrix, mask: Mask, margin: float = 1.0, repeats: Matrix | None = None
) -> Matrix:
    """`project_margin`; repeats (V, 1): how many equal rows each one stands for."""
    result = np.empty(mask.shape)
    width = max(1, WORKING_ENTRIES // len(mask))
    for j in range(0, mask.shape[1], width):
        block = slice(j, j + width)
        result[:, block] = _project_columns(L[:, block], mask[:, block], margin, repeats)
    return result


def _project_columns(x: Matrix, on: Mask, margin: float, repeats: Matrix | None) -> Matrix:
    candidates = np.where(on, -np.inf, x + margin)
    if repeats is None:
        raised = -np.sort(-candidates, axis=0)  # decreasing
        sizes = np.ones((len(x), 1))
        on_sizes = on.astype(float)
    else:
        order = np.argsort(-candidates, axis=0)
        raised = np.take_along_axis(candidates, order, axis=0)
        sizes = repeats[order, 0]
        on_sizes = on * repeats
    on_support = np.where(on, on_sizes * x, 0.0).sum(axis=0)
    sums = np.cumsum(np.vstack([on_support, sizes * raised]), axis=0)
    # means[i] is a with the i largest raised entries; it is right once the next one is <= a.
    taken = np.vstack([np.zeros((1, sizes.shape[1])), np.cumsum(sizes, axis=0)])
    means = sums / (on_sizes.sum(axis=0) + taken)
    next_raised = np.pad(raised, ((0, 1), (0, 0)), constant_values=-np.inf)
    right = (next_raised <= means).argmax(axis=0)
    a = np.take_along_axis(means, right[None], axis=0)
    return np.where(on, a, np.minimum(x, a - margin))


def _project_dual(G: Matrix, mask: Mask, repeats: Matrix | None = None) -> Matrix:
    return G + _project_margin(-G, mask, 0.0, repeats)


def distinct_rows(rows: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """First index, class and multiplicity of the distinct rows of a boolean matrix."""
    packed = np.ascontiguousarray(np.packbits(rows, axis=1))
    keys = packed.view(f"V{packed.shape[1]}").ravel()  # much faster than np.unique(axis=0)
    _, first, which, count = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    return first, which, count
