"""Errors in words that give nothing away.

An error of a submission carries words of the submission. Once a hidden test has run, they may carry
the hidden test's data. So each explanation comes in two versions: in full, and with nothing but
fixed words, the name of a built-in exception and a line of the submission.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from teaching.cells import hidden_lines
from teaching.inside.errors import LONGEST_MESSAGE, Report, submission_report
from teaching.inside.shell import cell_of


@dataclass(frozen=True)
class Explanation:
    """What a student is told of an error; both texts are empty where all is well."""

    full: str = ""
    safe: str = ""  # holds no word of the submission


ALL_IS_WELL = Explanation()


@dataclass
class Explainer:
    """Knows the test cells and the student's answers, by their ids."""

    own_names: set[str]  # bound in cells of the student's own that are not run
    tests: dict[str, str] = field(default_factory=dict)
    answer_lines: dict[str, int] = field(default_factory=dict)  # how many lines each answer has

    def explain(self, error: BaseException) -> Explanation:
        """Put an error into words."""
        test, line = self._place_in_test(error)
        hidden = line in hidden_lines(self.tests.get(test, ""))
        report = submission_report(error)
        if report is not None:
            explanation = self._raised_there(report)
        elif isinstance(error, AssertionError) or hidden:
            explanation = self._failed_assertion(error, test, line)
        else:
            explanation = Explanation(f"{type(error).__name__}: {error}", type(error).__name__)
        if hidden:
            safe = f"Hidden test: {explanation.safe}"
            return Explanation(safe, safe)
        return Explanation(explanation.full[:LONGEST_MESSAGE], explanation.safe)

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

    def _raised_there(self, report: Report) -> Explanation:
        place = ""
        if 0 < report.line <= self.answer_lines.get(report.cell, 0):
            place = f" (line {report.line} of {report.cell})"
        said = f"{report.kind}: {report.message}".rstrip(": ")
        advice = ""
        for name in self.own_names if report.kind == "NameError" else ():
            if f"'{name}'" in report.message:
                advice = f" `{name}` stands in a cell of yours that is not run: move it here."
        return Explanation(
            f"Your code raised {said}{place}{advice}", f"Your code raised {report.kind}{place}"
        )

    def _failed_assertion(self, error: BaseException, test: str, line: int) -> Explanation:
        tree = ast.parse(self.tests.get(test, ""))
        asserted = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Assert) and node.lineno <= line <= (node.end_lineno or 0)
        ]
        if not asserted:
            return Explanation(str(error) or "The test failed.", "wrong on other data")
        condition = f"this does not hold: {ast.unparse(asserted[0].test)}"
        fixed = fixed_text(asserted[0].msg)
        if line in hidden_lines(self.tests.get(test, "")):
            condition = "wrong on other data"
        return Explanation(str(error) or condition, fixed or condition)


def fixed_text(message: ast.expr | None) -> str:
    """Return what an assertion's message says without the values that it would fill in."""
    if isinstance(message, ast.JoinedStr):
        parts = message.values
    else:
        parts = [] if message is None else [message]
    return "".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in parts)
