"""One thread for small problems: several, waiting for each other, are many times slower.

Measured on a machine with two busy cores, V = 104 and m = 403: the max-margin solver took 1.5 s
with one thread and 21.6 s with two (0.23 and 5.2 CPU seconds), the ridge solver 2.0 s and 26.7 s.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")
# Of logits. numpy and torch have pools of their own, which wait for each other: on two idle cores
# the max-margin solver, while it used both, was slower with two threads at 10 million logits.
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


class Workers:
    """Calls a function for many blocks of a problem, by as many threads as torch would use.

    Blocks side by side, each with libraries of one thread, do not wait for each other after every
    operation, as the threads of one operation do. numpy and torch release Python's lock.
    """

    def __init__(self, count: int = 1, pool: ThreadPoolExecutor | None = None) -> None:
        self.count = count
        self._pool = pool

    def map(self, function: Callable[[T], R], blocks: Sequence[T]) -> list[R]:
        """The function's values at all blocks, in their order.

        After an error, or Ctrl-C, nothing of it runs any more.
        """
        if self._pool is None or len(blocks) == 1:
            return [function(block) for block in blocks]
        running = [self._pool.submit(function, block) for block in blocks]
        try:
            return [value.result() for value in running]
        except BaseException:
            for value in running:
                value.cancel()
            wait(running)
            raise


@contextmanager
def workers() -> Iterator[Workers]:
    """Within the block the libraries use one thread, and what is mapped uses all.

    What was set before holds again afterwards, also after an error.
    """
    import torch  # here: the ridge solver does without

    count = torch.get_num_threads()
    with _libraries("torch" in sys.modules).limit(limits=1):
        torch.set_num_threads(1)  # the libraries' limit is this thread's; this is also the workers'
        try:
            if count == 1:
                yield Workers()
                return
            with ThreadPoolExecutor(count) as pool:
                yield Workers(count, pool)
        finally:
            torch.set_num_threads(count)


@cache
def _libraries(with_torch: bool) -> ThreadpoolController:
    """The linear algebra and OpenMP libraries of this process; found anew once torch came."""
    return ThreadpoolController()
