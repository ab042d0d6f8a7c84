"""A notebook from top to bottom in a stand-in, as "Run all" runs it in Colab."""

from __future__ import annotations

import copy
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ..export.outputs import checked_cells
from .stand_ins import StandIn

KERNEL = "stand-in"
TIMEOUT = 1800  # seconds for one cell, on a busy machine
REQUIREMENTS = re.compile(r"(?m)^REQUIREMENTS = (\[.*?\])")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of IPython's tracebacks
# The processor time of the kernel and of all that it has started, in seconds.
SECONDS = "import os; print(sum(os.times()[:4]))"


@dataclass
class Run:
    """What became of a notebook.

    failure : "" if all its cells ran, and printed what is stored.
    setup, total : processor seconds of the set-up cell, of the whole notebook.
    changed : packages that were there before and have another version, or none, now.
    needed : those of them that the notebook itself asks for in a newer version.
    """

    notebook: str
    failure: str = ""
    setup: float = 0.0
    total: float = 0.0
    changed: dict[str, str] = field(default_factory=dict)
    needed: set[str] = field(default_factory=set)

    @property
    def good(self) -> bool:
        """Say whether it ran and changed nothing that it does not ask for."""
        return not self.failure and self.changed.keys() <= self.needed


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Return what became of packages that had been there: `1.0 -> 2.0`, `1.0 -> gone`."""
    return {
        name: f"{version} -> {after.get(name, 'gone')}"
        for name, version in before.items()
        if after.get(name) != version
    }


def needed_by(setup_cell: str) -> set[str]:
    """Return the canonical names of what a notebook asks for besides the package."""
    found = REQUIREMENTS.search(setup_cell)
    lines = json.loads(found[1]) if found else []
    return {canonicalize_name(Requirement(line).name) for line in lines}


def disagreement(stored: NotebookNode, executed: NotebookNode) -> str:
    """Return the first printed text that differs from the stored one, "" if none does."""
    pairs = zip(checked_cells(stored), checked_cells(executed), strict=True)
    for before, now in pairs:
        expected = "".join(output.get("text", "") for output in before.outputs)
        printed = "".join(output.get("text", "") for output in now.outputs)
        if printed != expected:
            return f"printed {printed[:60]!r} instead of {expected[:60]!r}"
    return ""


@contextmanager
def kernel_of(stand_in: StandIn, environment: Mapping[str, str]) -> Iterator[Path]:
    """Let notebooks of this process run in the stand-in; yield a folder in which they may."""
    with tempfile.TemporaryDirectory() as scratch:
        kernel = Path(scratch) / "kernels" / KERNEL
        kernel.mkdir(parents=True)
        command = [stand_in.python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        # In Colab nothing of another environment is on the path.
        variables = {"PYTHONPATH": "", "OMP_NUM_THREADS": "1", **environment}
        variables["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # else old kernels warn of their debugger
        described = {
            "argv": command,
            "display_name": KERNEL,
            "language": "python",
            "env": variables,
        }
        (kernel / "kernel.json").write_text(json.dumps(described), encoding="utf-8")
        former = os.environ.get("JUPYTER_PATH")
        os.environ["JUPYTER_PATH"] = scratch
        try:
            yield Path(tempfile.mkdtemp(dir=scratch))
        finally:
            if former is None:
                del os.environ["JUPYTER_PATH"]
            else:
                os.environ["JUPYTER_PATH"] = former


def execute(notebook: NotebookNode, folder: Path) -> tuple[str, float, float]:
    """Execute a notebook in place; return what failed, and the seconds of set-up and of all."""
    after_setup = 1 + next(k for k, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    probes = [nbformat.v4.new_code_cell(SECONDS) for _ in range(3)]
    clocked = copy.deepcopy(notebook)
    clocked.cells.insert(after_setup, probes[1])
    clocked.cells = [probes[0], *clocked.cells, probes[2]]
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(clocked, timeout=TIMEOUT, kernel_name=KERNEL, resources=resources)
    failure = ""
    try:
        client.execute()
    except DeadKernelError:
        failure = "its kernel died, as it does when memory runs out"
    except (CellExecutionError, CellTimeoutError) as error:
        failure = COLOURS.sub("", str(error)).strip().splitlines()[-1]
    spent = [float(probe.outputs[0]["text"]) if probe.outputs else 0.0 for probe in probes]
    notebook.cells = [cell for cell in clocked.cells if cell not in probes]
    return failure, max(0.0, spent[1] - spent[0]), max(0.0, spent[2] - spent[0])


def run(path: Path, stand_in: StandIn, environment: Mapping[str, str]) -> Run:
    """Run a notebook in a stand-in that is, afterwards, as it was before."""
    stored = nbformat.read(path, as_version=4)
    notebook = nbformat.read(path, as_version=4)
    setup = next(cell.source for cell in stored.cells if cell.cell_type == "code")
    before = stand_in.packages()
    with kernel_of(stand_in, environment) as folder:
        failure, of_setup, in_all = execute(notebook, folder)
    found = Run(path.stem, failure or disagreement(stored, notebook), of_setup, in_all)
    found.changed = changes(before, stand_in.packages())
    found.needed = needed_by(setup)
    stand_in.restore(before)
    return found
