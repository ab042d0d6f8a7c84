"""How long processors worked for processes, and how long the processes waited for one.

One that waits is ready to run while others run in its place; one that sleeps wants no processor.
Linux counts both times for each thread.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import psutil

_NANOSECONDS = 1e-9


@dataclass(frozen=True)
class ProcessorTime:
    """Seconds of work by processors, and of waiting for one; None where nobody counts waiting."""

    work: float = 0.0
    waiting: float | None = 0.0

    def __add__(self, other: ProcessorTime) -> ProcessorTime:
        if self.waiting is None or other.waiting is None:
            return ProcessorTime(self.work + other.work, None)
        return ProcessorTime(self.work + other.work, self.waiting + other.waiting)

    def waiting_since(self, before: ProcessorTime, elapsed: float) -> float:
        """Return how much of the elapsed seconds was spent waiting for a processor.

        Where nobody counts it, all time without work counts: a little too much.
        """
        if self.waiting is None or before.waiting is None:
            return elapsed - (self.work - before.work)
        return self.waiting - before.waiting

    def at_least(self, before: ProcessorTime) -> ProcessorTime:
        """Return the larger times: what a process counted is gone when it ends."""
        if self.waiting is None or before.waiting is None:
            return ProcessorTime(max(self.work, before.work), None)
        return ProcessorTime(max(self.work, before.work), max(self.waiting, before.waiting))


def processor_time(processes: list[psutil.Process]) -> ProcessorTime:
    """Return the time of processes, of those that they have ended, and of all their threads."""
    total = ProcessorTime()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            work = times.user + times.system + times.children_user + times.children_system
            total += ProcessorTime(work, _waiting(process.pid))
    return total


def _waiting(process: int) -> float | None:
    """Return the seconds for which the threads of a process waited; None where they are unknown."""
    threads = list(Path(f"/proc/{process}/task").glob("*/schedstat"))
    if not threads:
        return None
    seconds = 0.0
    for thread in threads:
        with contextlib.suppress(OSError):  # it has ended
            seconds += int(thread.read_text().split()[1]) * _NANOSECONDS
    return seconds
