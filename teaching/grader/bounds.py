"""Bounds on the time and memory of what the grader itself does with a submission."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import psutil

from teaching.inside.errors import StoppedError

_RINGS_AGAIN_SECONDS = 1.0


class OutOfTimeError(StoppedError):
    """The time for something is over."""


@contextmanager
def stopped_after(seconds: float, message: str, own_time: bool = False) -> Iterator[None]:
    """Raise OutOfTimeError with the message when so many seconds are over.

    The seconds pass on the wall; with `own_time` only while a processor works for this process, so
    that no neighbour can use them up. Python drops what is raised where nobody can receive it, as
    in a callback of the collector of garbage. So the alarm rings again until it was heard.
    """
    timer = signal.ITIMER_PROF if own_time else signal.ITIMER_REAL
    alarm = signal.SIGPROF if own_time else signal.SIGALRM

    def ring(number: int | None = None, frame: FrameType | None = None) -> None:
        raise OutOfTimeError(message)

    if seconds <= 0:
        ring()
    signal.signal(alarm, ring)
    signal.setitimer(timer, seconds, _RINGS_AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(timer, 0)


@contextmanager
def extra_memory(mebibytes: int) -> Iterator[None]:
    """Let this process map so much more than it has now; a MemoryError says that it is too much.

    The limit is lifted afterwards. Where the system has no such limit, nothing is bounded.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = psutil.Process().memory_info().vms + mebibytes * 2**20
    bounds = [bound for bound in (most, soft, hard) if bound != resource.RLIM_INFINITY]
    with contextlib.suppress(ValueError, OSError):  # macOS refuses
        resource.setrlimit(resource.RLIMIT_AS, (min(bounds), hard))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
