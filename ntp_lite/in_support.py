"""The in-support component: the sparse part of the logits that carries frequencies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from ._validate import check_logits
from .soft_labels import SoftLabels, as_labels


class SplitLogits(NamedTuple):
    """`in_support` = P_F(L), sparse (V, m); `orthogonal` = L - P_F(L), dense (V, m)."""

    in_support: sparse.csc_array
    orthogonal: NDArray[np.float64]


def in_support_logits(labels: SoftLabels) -> sparse.csc_array:
    """L_in[z,j] = S[z,j] (log P[z,j] - mean of log P[.,j] over S_j), (V, m), in nats.

    The only element of F = {A : zero off the support, columns sum to zero} whose softmax,
    restricted to each support S_j, is P_j. Paper: Definition 2. Book: in_support.
    """
    as_labels(labels)
    return labels.on_support(center_on_support(np.log(labels.probabilities), labels))


def split_logits(L: ArrayLike, labels: SoftLabels) -> SplitLogits:
    """Orthogonal split of logits (V, m) into P_F(L) and the rest.

    P_F(L)[z,j] = S[z,j] (L[z,j] - mean of L[.,j] over S_j). Raises ValueError for a wrong shape,
    NaN or infinity. Paper: section 4. Book: in_support.
    """
    as_labels(labels)
    orthogonal = check_logits(L, labels.shape).copy()
    in_support = center_on_support(orthogonal[labels.entries], labels)
    orthogonal[labels.entries] -= in_support
    return SplitLogits(labels.on_support(in_support), orthogonal)


def center_on_support(values: NDArray[np.float64], labels: SoftLabels) -> NDArray[np.float64]:
    """Values at the support entries minus their mean over each support: P_F, entry by entry."""
    means = labels.support_sums(values) / labels.support_sizes
    return values - means[labels.entries[1]]
