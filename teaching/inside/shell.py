"""Run the cells of a notebook as Jupyter would, without a screen."""

from __future__ import annotations

import ast
import asyncio
import inspect
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

_CELL_FILE = "<cell {}>"


class Shell(InteractiveShell):
    """An IPython shell whose cells may use magics; there is no window to draw in."""

    event_loop: asyncio.AbstractEventLoop

    def enable_gui(self, gui: str | None = None) -> None:
        """Start no window system."""


def new_shell() -> Shell:
    """Return the shell of this process; it keeps no history."""
    shell: Shell = Shell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.user_ns["__name__"] = "__main__"
    # Pictures go nowhere, so it does not matter how they would be shown.
    shell.magics_manager.register_function(_draw_nowhere, "line", "matplotlib")
    shell.event_loop = asyncio.new_event_loop()  # one for all cells, as in Jupyter
    return shell


def _draw_nowhere(line: str) -> None:
    """Stand in for %matplotlib."""


def execute(shell: Any, name: str, source: str) -> None:
    """Run one cell under a file name that error messages can point to."""
    file = _CELL_FILE.format(name)
    tree = ast.parse(shell.transform_cell(source), file)
    code = compile(tree, file, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        shell.event_loop.run_until_complete(eval(code, shell.user_ns))
    else:
        exec(code, shell.user_ns)


def cell_of(file: str | None) -> str:
    """Return the cell's name for the file name of a frame, or "" where it is no cell."""
    before, after = _CELL_FILE.split("{}")
    if not file or not file.startswith(before):
        return ""
    return file.removeprefix(before).removesuffix(after)
