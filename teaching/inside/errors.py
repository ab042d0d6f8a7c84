"""Errors that cross the socket: described in plain words there, raised again here."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Any

import numpy as np

from teaching.inside.shell import cell_of

LONGEST_MESSAGE = 2000
_LONGEST_NAME = 100


class StoppedError(BaseException):
    """The submission's process is of no more use.

    It is no Exception, so that no `except Exception` of a test swallows it.
    """


class SubmissionError(Exception):
    """An error in a submission whose type the grader does not know."""


@dataclass(frozen=True)
class Report:
    """What a submission says about its error. Every word of it may be forged."""

    kind: str  # the name of a built-in exception, or of the nearest built-in base class
    message: str
    cell: str
    line: int


def _known_errors() -> dict[str, type[Exception]]:
    known = {
        name: kind
        for name, kind in vars(builtins).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }
    return known | {"LinAlgError": np.linalg.LinAlgError}


KNOWN_ERRORS = _known_errors()
_OTHER_NAMES = ("BaseException", "SystemExit", "KeyboardInterrupt", "GeneratorExit")


def describe(error: BaseException) -> dict[str, Any]:
    """Return an error's type, message, and the innermost place in a cell of the notebook."""
    try:
        message = str(error)[:LONGEST_MESSAGE]
    except Exception:
        message = ""
    names = [kind.__name__ for kind in type(error).__mro__]
    kind = next(name for name in names if name in KNOWN_ERRORS or name in _OTHER_NAMES)
    cell, line = "", 0
    trace = error.__traceback__
    while trace:
        if name := cell_of(trace.tb_frame.f_code.co_filename):
            cell, line = name, trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and cell_of(error.filename):
        cell, line = cell_of(error.filename), error.lineno or 0
        message = str(error.msg)
    return {"kind": kind, "message": message, "cell": cell, "line": line}


def raise_again(described: dict[str, Any]) -> Exception:
    """Return the exception to raise here for an error there."""
    kind = str(described["kind"])
    if kind not in KNOWN_ERRORS and kind not in _OTHER_NAMES:
        kind = "Exception"
    report = Report(
        kind=kind,
        message=str(described["message"])[:LONGEST_MESSAGE],
        cell=str(described["cell"])[:_LONGEST_NAME],
        line=int(described["line"]),
    )
    try:
        error = KNOWN_ERRORS.get(kind, SubmissionError)(report.message)
    except TypeError:  # the few that want more arguments
        error = SubmissionError(f"{kind}: {report.message}")
    error.submission_report = report  # type: ignore[attr-defined]
    return error


def submission_report(error: BaseException) -> Report | None:
    """Return what the submission says about an error, where it comes from there."""
    report: Report | None = getattr(error, "submission_report", None)
    return report
