"""Stored outputs: what a chapter prints is compared wherever a cell is tagged for it.

Notebooks hold no output, but for cells tagged `nbval-check-output`: their text is stored, and
`make test` fails when a run prints something else. Output is kept while the chapter's code is what
it was; when code changed, or output is missing, the notebook is executed once and the text stored
anew. A change in `ntp_lite` is noticed by nbval, not here; `--refresh` accepts the new numbers.
"""

from __future__ import annotations

import copy
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from ..execution import ExecutionError, kernel_python, refuse_foreign_package
from .cells import dump, untitled
from .markdown import ExportError

CHECKED = "nbval-check-output"


def code_of(notebook: NotebookNode) -> list[str]:
    """Return the code of a notebook but for the set-up cell and the titles of folded cells."""
    return [untitled(cell.source) for cell in notebook.cells if cell.cell_type == "code"][1:]


def checked_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells whose printed text is stored and compared."""
    return [cell for cell in notebook.cells if CHECKED in cell.metadata.get("tags", [])]


def run(notebook: NotebookNode, name: str, folder: Path) -> NotebookNode:
    """Return an executed copy of a notebook.

    Raises ExportError if a cell fails, takes too long or ends its kernel, or if the kernel would
    import another tree's package.
    """
    print(f"running {name} for its compared output", flush=True)
    executed = copy.deepcopy(notebook)
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(executed, timeout=600, kernel_name="python3", resources=resources)
    try:
        refuse_foreign_package(kernel_python())
        client.execute()
    except DeadKernelError:
        reason = "its kernel died, as it does when memory runs out."
        raise ExportError(f"{name}: {reason}") from None
    except (CellExecutionError, CellTimeoutError, ExecutionError) as error:
        raise ExportError(f"{name} fails:\n{error}") from None
    return executed


def printed_text(cell: NotebookNode, name: str) -> str:
    """Return what an executed cell printed; it must have done nothing else."""
    if any(o.output_type != "stream" or o.name != "stdout" for o in cell.outputs):
        raise ExportError(f"{name}: a cell tagged {CHECKED} must only print text.")
    return "".join(output.text for output in cell.outputs)


def store_outputs(path: Path, old: Path, execute: bool, refresh: bool = False) -> None:
    """Fill in the text of the compared cells: from `old` while the code is the same, else run.

    With `execute=False` nothing is run; the cells stay empty where `old` does not serve.
    """
    notebook = nbformat.read(path, as_version=4)
    cells = checked_cells(notebook)
    if not cells:
        return
    source = nbformat.read(old, as_version=4) if old.exists() else None
    if source is None or refresh or code_of(source) != code_of(notebook):
        if not execute:
            return
        source = run(notebook, path.name, old.parent)
    for cell, executed in zip(cells, checked_cells(source), strict=True):
        text = printed_text(executed, path.name)
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)] if text else []
        cell.execution_count = 1  # nbval takes a cell without a count for one that never ran
    path.write_text(dump(notebook), encoding="utf-8")
