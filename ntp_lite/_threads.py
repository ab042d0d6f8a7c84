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

# Of logits. On two idle cores the max-margin solver was still faster with one thread at 10 million:
# V = 300 and m = 33,000 took 3.9 s with one and 7.9 s with two, V = 1,000 and m = 10,000 38.5 s and
# 41.3 s. numpy and torch have pools of their own, which wait for each other.
SMALL = 2**25
SMALL_FOR_TORCH = 2**22  # torch alone: from here on a product takes long enough for two threads


@contextmanager
def one_thread_if_small(entries: int, small: int = SMALL) -> Iterator[None]:
    """Within the block numpy, scipy and torch use one thread if `entries` (V m) are below `small`.

    What was set before holds again afterwards, also after an error; a smaller setting stays.
    """
    if entries >= small:
        yield
        return
    with _libraries("torch" in sys.modules).limit(limits=1):
        yield


@cache
def _libraries(with_torch: bool) -> ThreadpoolController:
    """The linear algebra and OpenMP libraries of this process; found anew once torch came."""
    return ThreadpoolController()
