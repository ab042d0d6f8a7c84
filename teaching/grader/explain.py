"""Errors in words.

An error of a submission carries words of the submission. So nothing is explained once a hidden test
has run: see marking.py.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from teaching.inside.errors import LONGEST_MESSAGE, Report, submission_report
from teaching.inside.shell import cell_of


@dataclass
class Explainer:
    """Knows the test cells and the student's answers, by their ids."""

    own_names: set[str]  # bound in cells of the student's own that are not run
    tests: dict[str, str] = field(default_factory=dict)
    answer_lines: dict[str, int] = field(default_factory=dict)  # how many lines each answer has

    def explain(self, error: BaseException) -> str:
        """Put an error into words; there are always some."""
        test, line = self._place_in_test(error)
        report = submission_report(error)
        if report is not None:
            said = self._raised_there(report)
        elif isinstance(error, AssertionError):
            said = str(error) or self._condition(test, line)
        else:
            said = f"{type(error).__name__}: {error}"
        return said[:LONGEST_MESSAGE]

    def _place_in_test(self, error: BaseException) -> tuple[str, int]:
        """Return the innermost line of a test cell that the error came through."""
        place = "", 0
        trace = error.__traceback__
        while trace:
            name = cell_of(trace.tb_frame.f_code.co_filename)
            if name in self.tests:
                place = name, trace.tb_lineno
            trace = trace.tb_next
        return place

    def _raised_there(self, report: Report) -> str:
        place = ""
        if 0 < report.line <= self.answer_lines.get(report.cell, 0):
            place = f" (line {report.line} of {report.cell})"
        said = f"{report.kind}: {report.message}".rstrip(": ")
        advice = ""
        for name in self.own_names if report.kind == "NameError" else ():
            if f"'{name}'" in report.message:
                advice = f" `{name}` stands in a cell of yours that is not run: move it here."
        return f"Your code raised {said}{place}{advice}"

    def _condition(self, test: str, line: int) -> str:
        """Return what an assertion without words of its own asks for."""
        for node in ast.walk(ast.parse(self.tests.get(test, ""))):
            if isinstance(node, ast.Assert) and node.lineno <= line <= (node.end_lineno or 0):
                return f"this does not hold: {ast.unparse(node.test)}"
        return "The test failed."
