"""The in-support component: the sparse part of the logits that carries frequencies (chapter 06)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from ._validate import check_logits
from .soft_labels import SoftLabels


class SplitLogits(NamedTuple):
    """`in_support` = P_F(L), sparse (V, m); `orthogonal` = L - P_F(L), dense (V, m)."""

    in_support: sparse.csc_array
    orthogonal: NDArray[np.float64]


def in_support_logits(labels: SoftLabels) -> sparse.csc_array:
    """L_in[z,j] = S[z,j] (log P[z,j] - mean of log P[.,j] over S_j), (V, m), in nats.

    The only element of F = {A : zero off the support, columns sum to zero} whose softmax,
    restricted to each support S_j, is P_j. Paper: Definition 2. Book: chapter 06.
    """
    return labels.on_support(_centred(np.log(labels.P.data), labels))


def split_logits(L: ArrayLike, labels: SoftLabels) -> SplitLogits:
    """Orthogonal split of logits (V, m) into P_F(L) and the rest.

    P_F(L)[z,j] = S[z,j] (L[z,j] - mean of L[.,j] over S_j). Raises ValueError for a wrong shape,
    NaN or infinity. Paper: section 4. Book: chapter 06.
    """
    orthogonal = check_logits(L, labels.N.shape).copy()
    in_support = _centred(orthogonal[labels.entries], labels)
    orthogonal[labels.entries] -= in_support
    return SplitLogits(labels.on_support(in_support), orthogonal)


def _centred(values: NDArray[np.float64], labels: SoftLabels) -> NDArray[np.float64]:
    """Values at the support entries minus their mean over each support."""
    means = labels.support_sums(values) / labels.support_sizes
    return values - means[labels.entries[1]]
