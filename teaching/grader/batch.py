"""Many submissions side by side, each in a process of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from tqdm import tqdm

from teaching.grader.marking import Failed, Reported, WantsToBeAlone, mark
from teaching.grader.notebook import Notebook
from teaching.grader.plan import libraries_of, make_plan
from teaching.grader.records import Record, make_record
from teaching.grader.sandbox import Sandbox, process_environment
from teaching.grader.student import Limits
from teaching.grader.submissions import printable

_GRACE_SECONDS = 60


@dataclass
class Active:
    """A submission that is being marked."""

    name: str
    process: ForkServerProcess
    started: float
    reports: list[Reported] = field(default_factory=list)


class Batch:
    """Marks submissions, `jobs` at a time.

    One whose time was over because others took the processor waits, and goes on alone when all
    others are finished.
    """

    def __init__(self, master: Notebook, sandbox: Sandbox, limits: Limits, jobs: int) -> None:
        self.master = master
        self.steps = make_plan(master)
        self.sandbox = sandbox
        self.limits = limits
        self.jobs = jobs
        self.active: dict[Connection, Active] = {}
        self.waiting: dict[Connection, Active] = {}
        self.context = multiprocessing.get_context("forkserver")
        self._preload()

    def _preload(self) -> None:
        """Load the libraries that the set imports once, for all processes."""
        threads = {k: v for k, v in process_environment("").items() if k.endswith("_THREADS")}
        os.environ.update(threads, MPLBACKEND="agg")  # before the fork server loads numpy
        libraries = libraries_of(self.master)
        self.context.set_forkserver_preload(["teaching.grader.marking", *libraries])

    def mark_all(
        self, todo: dict[str, Path], done: int, keep: Callable[[Record], None], what: str
    ) -> None:
        """Mark what is left to do, and keep each record as soon as it is there."""
        queue = list(todo.items())
        bar: Any = tqdm(total=len(todo) + done, initial=done, unit="notebook", desc=what)
        shown = ""
        with bar:
            try:
                while queue or self.active or self.waiting:
                    while queue and len(self.active) < self.jobs:
                        self._start(*queue.pop(0))
                    if not self.active:
                        self._go_on_alone()
                    if (names := self._names()) != shown:
                        bar.set_postfix_str(names)
                        shown = names
                    for record in self._collect():
                        keep(record)
                        bar.update()
            finally:
                for active in (self.active | self.waiting).values():
                    _stop(active.process)
                self.active.clear()
                self.waiting.clear()

    def _names(self) -> str:
        return ", ".join(printable(active.name) for active in self.active.values())

    def _start(self, name: str, path: Path) -> None:
        ours, theirs = self.context.Pipe()
        task = (theirs, str(path), self.master, self.sandbox, self.limits)
        process = self.context.Process(target=mark, args=task)
        process.start()
        theirs.close()
        self.active[ours] = Active(name, process, time.monotonic())

    def _go_on_alone(self) -> None:
        pipe, active = self.waiting.popitem()
        active.started = time.monotonic()
        self.active[pipe] = active
        with contextlib.suppress(OSError):  # one that has ended is collected as such
            pipe.send("go on")

    def _collect(self) -> list[Record]:
        """Wait for a moment, and return the records of those that are finished."""
        ready = wait(list(self.active), timeout=1)
        records = []
        for pipe, active in list(self.active.items()):
            is_over = pipe in ready and not self._receive(pipe, active)
            if pipe in self.waiting:
                continue
            seconds = time.monotonic() - active.started
            # It is run twice, and each time may take so long.
            if not is_over and seconds < 2 * self.limits.notebook_seconds + _GRACE_SECONDS:
                continue
            _stop(active.process)  # where it has not ended: held in code that no alarm can leave
            del self.active[pipe]
            if is_over and active.process.exitcode != 0:
                active.reports.append(Failed("the grader's own process ended early"))
            records.append(make_record(active.name, self.steps, active.reports, seconds))
        return records

    def _receive(self, pipe: Connection, active: Active) -> bool:
        """Take one report; say whether there may be more."""
        try:
            report = pipe.recv()
        except (EOFError, OSError):
            return False
        if isinstance(report, WantsToBeAlone):
            self.waiting[pipe] = self.active.pop(pipe)
        else:
            active.reports.append(report)
        return True


def _stop(process: ForkServerProcess) -> None:
    """End a worker: first gently, so that it takes its student's process along."""
    process.join(0.5)
    for end in (process.terminate, process.kill):
        if process.is_alive():
            end()
            process.join(2)
