"""The comparison that hidden tests use. The release copies `agrees` into every problem set.

`np.allclose` and `.all()` are true of empty arrays, and of anything that broadcasts: an answer that
returns nothing at all would pass. `agrees` compares what kind of thing it was given first.
"""

import numpy as np


def agrees(answer: object, expected: object, rtol: float = 1e-5, atol: float = 1e-8) -> bool:
    """Say whether an answer has the shape of what is expected, is numbers, and is as large.

    Everything counts that holds the same numbers: an array of another type or layout, a tensor, a
    list. An answer that is not finite counts only where the expected number is the same infinity.
    With rtol=0 and atol=0 the numbers must be equal.
    """
    if hasattr(answer, "detach"):  # a tensor, which may want a gradient
        answer = answer.detach().cpu()
    if hasattr(answer, "toarray"):  # a sparse matrix
        answer = answer.toarray()
    try:
        got, wanted = np.asarray(answer), np.asarray(expected)
    except (TypeError, ValueError):  # rows of different lengths
        return False
    if got.dtype.kind not in "biuf" or got.shape != wanted.shape:
        return False
    return bool(np.allclose(got, wanted, rtol=rtol, atol=atol))
