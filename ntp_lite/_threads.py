"""One thread for small problems: several, waiting for each other, are many times slower.

Measured on a machine with two busy cores, V = 104 and m = 403: the max-margin solver took 1.5 s
with one thread and 21.6 s with two (0.23 and 5.2 CPU seconds), the ridge solver 2.0 s and 26.7 s.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

# Of logits. A product of larger matrices takes long enough for a second thread to pay.
SMALL = 2**22


@contextmanager
def one_thread_if_small(entries: int) -> Iterator[None]:
    """Within the block numpy, scipy and torch use one thread if there are few `entries` (V m).

    What was set before holds again afterwards, also after an error; a smaller setting stays.
    """
    if entries >= SMALL:
        yield
        return
    with _libraries("torch" in sys.modules).limit(limits=1):
        yield


@cache
def _libraries(with_torch: bool) -> ThreadpoolController:
    """The linear algebra and OpenMP libraries of this process; found anew once torch came."""
    return ThreadpoolController()
