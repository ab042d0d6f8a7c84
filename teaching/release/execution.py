"""Run notebooks, and see what their tests give."""

from __future__ import annotations

import copy
import json
import logging
import tempfile
from types import TracebackType
from typing import Any, NamedTuple

import nbformat
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbgrader.utils import determine_grade

from teaching.cells import is_test
from teaching.release.errors import AssignmentError
from teaching.release.rules import answer_names, grading

_PRINT_VALUES = """
def plain(value):
    import numpy

    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    array = numpy.asarray(value)
    if array.size > 100:
        return {"shape": array.shape, "sum": array.sum().item(), "norm": numpy.linalg.norm(array)}
    return array.tolist()


print(__import__("json").dumps({name: plain(globals()[name]) for name in NAMES}))
"""


class Grade(NamedTuple):
    """What one test cell gave."""

    points: float
    most: float
    message: str


class Kernel:
    """Runs notebooks one after another, each in an emptied namespace; errors do not stop them."""

    def __init__(self, timeout: int = 300) -> None:
        self.timeout = timeout
        self.manager: Any = None

    def __enter__(self) -> Kernel:
        self.folder = tempfile.TemporaryDirectory()
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.manager is not None:
            run_sync(self.manager.shutdown_kernel)(now=True)
        self.folder.cleanup()

    def run(self, notebook: NotebookNode) -> tuple[NotebookNode, dict[str, Any]]:
        """Return the notebook with its outputs, and the values of its named answers."""
        executed = copy.deepcopy(notebook)
        names = f"NAMES = {answer_names(notebook)!r}\n"
        print_values = nbformat.v4.new_code_cell(names + _PRINT_VALUES)
        reset = nbformat.v4.new_code_cell("%reset -f")
        executed.cells = [reset, *executed.cells, print_values]
        client = NotebookClient(
            executed,
            km=self.manager,
            kernel_name="python3",
            timeout=self.timeout,
            allow_errors=True,
            resources={"metadata": {"path": self.folder.name}},
            extra_arguments=["--IPKernelApp.log_level=40"],
            # On a busy machine a cell's output comes long after its end; without it an error would
            # not be seen, and a failed test would count as passed.
            iopub_timeout=self.timeout,
            raise_on_iopub_timeout=True,
        )
        if self.manager is None:
            self.manager = client.create_kernel_manager()
            client.owns_km = False
        client.execute()
        executed.cells = executed.cells[1:-1]
        printed = [o.text for o in print_values.outputs if o.output_type == "stream"]
        return executed, json.loads(printed[0]) if printed else {}


def grades(notebook: NotebookNode) -> dict[str, Grade]:
    """Return the grade of every test cell of an executed notebook."""
    quiet = logging.getLogger("nbgrader")
    result = {}
    for cell in notebook.cells:
        if not is_test(grading(cell)):
            continue
        points, most = determine_grade(cell, quiet)
        errors = [f"{o.ename}: {o.evalue}" for o in cell.outputs if o.output_type == "error"]
        streams = [o.text for o in cell.outputs if o.get("name") == "stderr"]
        message = "\n".join(errors + streams)
        result[grading(cell)["grade_id"]] = Grade(points or 0.0, most, message)
    return result


def require_full_marks(executed: NotebookNode) -> None:
    """Raise AssignmentError, with the error's message, if a solution does not earn its points."""
    for grade_id, (points, most, message) in grades(executed).items():
        if points != most:
            raise AssignmentError(
                f"{grade_id}: the solution earns {points:g} of {most:g}.\n{message}"
            )
