"""A progress bar where somebody can see it."""

from __future__ import annotations

import sys

from tqdm import tqdm


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
