"""Ctrl-C and SIGTERM as a request to stop after the work in hand, not in the middle of it."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """`with Interrupts() as interrupts:` notes Ctrl-C and SIGTERM in `interrupts.received`.

    Whoever loops inside asks for it after each step. The same signal a second time does what it
    would have done without us. What is ignored stays ignored (nohup, jobs in the background of a
    script), and outside the main thread, where Python allows no handlers, nothing is installed.
    """

    def __init__(self) -> None:
        self.received = False
        self._handlers: dict[int, Any] = {}  # what was installed before us

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):  # None: not from Python, nor to be restored
                self._handlers[number] = handler
                signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        signal.signal(number, self._handlers[number])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
