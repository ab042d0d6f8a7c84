"""How long a run takes: a bar where somebody can see it, a warning where nobody can."""

from __future__ import annotations

import sys
import time
import warnings

from tqdm import tqdm

LONG_RUN = 600.0  # seconds; of a longer run nobody should have to guess


def progress_bar(total: int, done: int, wanted: bool) -> tqdm:
    """A bar of so many steps, with the time left: in a notebook or a terminal, and nowhere else.

    In a pipe or a log file it would leave a line for every refresh, and without a standard error
    stream (`2>&-`, pythonw) there is nowhere to write.
    """
    if not wanted or sys.stderr is None or sys.stderr.closed:
        return tqdm(total=total, initial=done, disable=True)
    # Only here: without ipywidgets this import warns in a notebook.
    from tqdm.auto import tqdm as automatic
    from tqdm.notebook import tqdm_notebook

    # None: shown if the stream is a terminal. A notebook's streams are none.
    hidden = False if issubclass(automatic, tqdm_notebook) else None
    return automatic(total=total, initial=done, disable=hidden)


class LongRunWarning:
    """Warns once of a run that will take long, where no progress bar says it."""

    def __init__(self, steps: int, silent: bool) -> None:
        self.steps = steps
        self.silent = silent
        self.done = 0
        self.start = time.perf_counter()

    def tick(self) -> None:
        """After each step; the first seconds may be slower than the rest."""
        self.done += 1
        passed = time.perf_counter() - self.start
        if self.silent or passed < LONG_RUN / 60:
            return
        self.silent = True
        total = passed / self.done * self.steps
        if total > LONG_RUN:
            warnings.warn(
                f"At this pace {self.steps} steps take {total / 60:.0f} minutes, unless `tol` is "
                "reached before. progress=True shows a bar; Ctrl-C ends the run and returns what "
                "there is; fewer `steps`, or solve_ridge on fewer contexts, may do.",
                stacklevel=4,
            )
