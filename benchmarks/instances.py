"""The problem instances that several benchmarks and chapters share."""

from __future__ import annotations

import numpy as np

import ntp_lite as ntp


def published_scale(context_length: int = 4, m: int = 403) -> ntp.SoftLabels:
    """Soft labels at the size of the published experiments: V = 104, m = 403, mean support 4 to 5.

    From the bundled `primer`: of all contexts of `context_length` tokens, the `m` with the most
    different continuations; among equals those that occur more often come first, then those
    that come first in lexicographic order. The chosen ones keep that lexicographic order.
    """
    ids, vocab = ntp.load_corpus("primer")
    labels = ntp.SoftLabels.from_tokens(ids, context_length, len(vocab))
    order = np.lexsort((-labels.pi, -labels.support_sizes))  # stable: ties keep their order
    return labels.select(np.sort(order[:m]))


if __name__ == "__main__":
    for length in (3, 4, 5):
        print(length, published_scale(length))
