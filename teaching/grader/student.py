"""A submission's process, the socket to it, and the watch over it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import psutil

from teaching.grader.processors import ProcessorTime, processor_time
from teaching.grader.sandbox import Sandbox, process_environment
from teaching.inside.channel import TestsEnd

MOST_PROCESSES = 128  # processes and threads of one submission
_WATCH_SECONDS = 0.1


@dataclass(frozen=True)
class Limits:
    """What one submission may use."""

    cell_seconds: float
    notebook_seconds: float
    memory_mebibytes: int  # all its processes together


class StartError(Exception):
    """The process of a submission did not start."""


class Student:
    """A submission's process: it runs the given cells and the answers."""

    def __init__(self, sandbox: Sandbox, limits: Limits, scratch: str) -> None:
        self.sandbox = sandbox
        self.limits = limits
        self.scratch = scratch
        self.process: subprocess.Popen[bytes] | None = None
        self.group = ""
        self.reason_to_stop = ""
        self.starts = 0
        self.time = ProcessorTime()  # of all its processes so far, as the watch has seen it

    def is_alive(self) -> bool:
        """Say whether the process can still be asked."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        ours, theirs = socket.socketpair()
        home = "/tmp" if self.sandbox.is_closed else self.scratch
        arguments = (
            theirs.fileno(),
            self.limits.memory_mebibytes,
            int(self.limits.notebook_seconds) + 60,
            MOST_PROCESSES + _other_threads_of_this_user(),
        )
        self.starts += 1
        self.group = f"{os.getpid()}-{self.starts}"
        self.process = subprocess.Popen(
            [
                *self._memory_group(),
                *self.sandbox.command,
                *(sys.executable, "-P", "-s", "-m", "teaching.inside"),
                *map(str, arguments),
            ],
            pass_fds=[theirs.fileno()],
            cwd=self.scratch,
            env=process_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        theirs.close()
        self.reason_to_stop = ""
        self.channel = TestsEnd(Connection(ours.detach()))
        watched = (self.process, self.group)
        threading.Thread(target=self.watch, args=watched, daemon=True).start()
        try:
            self.channel.receive()
        except (EOFError, OSError, ValueError):
            said = b"" if self.process.stderr is None else self.process.stderr.read()
            lines = said.decode(errors="replace").strip().splitlines() or ["no message"]
            raise StartError(f"the sandbox did not start: {lines[-1]}") from None

    def watch(self, process: subprocess.Popen[bytes], group: str) -> None:
        """End the process where it and its children together use too much."""
        most = self.limits.memory_mebibytes
        before = self.time
        seen = ProcessorTime()
        while process.poll() is None:
            family = _family(process.pid)
            seen = processor_time(family).at_least(seen)
            if process is self.process:
                self.time = before + seen
            if len(family) > MOST_PROCESSES:
                self.reason_to_stop = f"started more than {MOST_PROCESSES} processes"
                self._end(process, group)
            elif _memory_bytes(family) > most * 2**20:
                self.reason_to_stop = f"used more than {most} MiB of memory"
                self._end(process, group)
            time.sleep(_WATCH_SECONDS)

    def kill(self) -> None:
        """End the process with its children; the whole sandbox falls with its first process."""
        if self.process is not None:
            self._end(self.process, self.group)

    def _end(self, process: subprocess.Popen[bytes], group: str) -> None:
        """End a process and remove its group.

        Both are named, because the watch may still be here when the next process starts.
        """
        if process.poll() is None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except OSError:
                process.kill()
            process.wait()
        if self.sandbox.memory:
            if process is self.process and self.sandbox.memory.ran_out(group):
                self.reason_to_stop = f"used more than {self.limits.memory_mebibytes} MiB of memory"
            self.sandbox.memory.leave(group)

    def _memory_group(self) -> list[str]:
        """Return what puts the process into a group; the watch is there in any case."""
        if self.sandbox.memory is None:
            return []
        return self.sandbox.memory.enter(self.group, self.limits.memory_mebibytes)


def _other_threads_of_this_user() -> int:
    """Return how many threads count against the limit on processes, on older kernels.

    As root nothing does: the limit does not hold for root, and the watch is what is left.
    """
    if not os.getuid():
        return 0
    threads = 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        identities = process.info["uids"]
        if identities and identities.real == os.getuid():
            threads += process.info["num_threads"] or 0
    return threads


def _family(process: int) -> list[psutil.Process]:
    try:
        first = psutil.Process(process)
        return [first, *first.children(recursive=True)]
    except psutil.Error:
        return []


def _memory_bytes(family: list[psutil.Process]) -> int:
    total = 0
    for member in family:
        with contextlib.suppress(psutil.Error):
            total += member.memory_info().rss
    return total
