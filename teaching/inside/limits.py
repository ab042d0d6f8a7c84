"""The operating system's limits on a process and its children."""

from __future__ import annotations

import contextlib
import os
import resource

from teaching.inside.kernel_keys import take_kernel_keys_away

MEBIBYTE = 2**20


def limit(resource_name: str, value: int) -> None:
    """Lower one limit of this process and its children, where the system has it."""
    which = getattr(resource, f"RLIMIT_{resource_name}", None)
    if which is None:
        return
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses some
        resource.setrlimit(which, (value, value))


def confine(memory_mebibytes: int, cpu_seconds: int, processes: int) -> None:
    """Give up output and resources before the first line of a submission runs."""
    silence()
    # The address space is larger than the memory: libraries map more than they use, and
    # the grader watches the memory in use of all processes together.
    limit("AS", (memory_mebibytes + 2048) * MEBIBYTE)
    limit("CPU", cpu_seconds)
    limit("FSIZE", 256 * MEBIBYTE)
    limit("NOFILE", 256)
    limit("CORE", 0)
    limit("NPROC", processes)
    take_kernel_keys_away()


def silence() -> None:
    """Keep nothing of what is printed: it can fill nothing."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
