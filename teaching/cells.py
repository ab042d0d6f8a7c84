"""The kinds of cells of a problem set, told by the metadata that nbgrader writes and reads.

A student writes *answers*. *Tests* earn points by running to their end. An answer in Markdown that
has points is graded *by hand*. All other cells are *given*.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

UNANSWERED = "Not answered yet: replace this line with your code."
CODE_STUB = f'# Your code here.\nraise NotImplementedError("{UNANSWERED}")'
TEXT_STUB = "Your derivation here."

# A given function with this tag runs where the answers run, even when a test calls it: so it can
# measure them.
RUNS_WITH_ANSWERS = "runs-with-answers"

_SOLUTION = re.compile(
    r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION$", re.MULTILINE | re.DOTALL
)
_HIDDEN_TESTS = re.compile(
    r"^ *### BEGIN HIDDEN TESTS\n.*?^ *### END HIDDEN TESTS$", re.MULTILINE | re.DOTALL
)


def is_test(grading: Mapping[str, Any]) -> bool:
    """Say whether running the cell with this nbgrader metadata earns points."""
    return bool(grading.get("grade") and not grading.get("solution"))


def is_answer(grading: Mapping[str, Any]) -> bool:
    """Say whether a student writes the cell with this nbgrader metadata."""
    return bool(grading.get("solution"))


def is_by_hand(grading: Mapping[str, Any]) -> bool:
    """Say whether a person grades the cell with this nbgrader metadata."""
    return bool(grading.get("grade") and grading.get("solution"))


def hidden_lines(source: str) -> set[int]:
    """Return the numbers of the lines, from 1, that lie in hidden tests."""
    lines: set[int] = set()
    for found in _HIDDEN_TESTS.finditer(source):
        first, last = (source.count("\n", 0, position) + 1 for position in found.span())
        lines |= set(range(first, last + 1))
    return lines


def without_hidden_tests(source: str) -> str:
    """Return a test cell as a student sees it."""
    return _HIDDEN_TESTS.sub("", source)


def without_solution(source: str) -> str:
    """Return an answer cell as nobody answered it; a cell without a marked solution becomes a stub.

    nbgrader does the same for the release; this is for the grader, which must not depend on it.
    """
    stub = 'raise NotImplementedError("' + UNANSWERED + '")'
    if "### BEGIN SOLUTION" not in source:
        return stub
    return _SOLUTION.sub(lambda found: found[1] + stub, source)
