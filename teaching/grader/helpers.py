"""Cells of a student's own that an answer needs.

Students put a helper or an import into a cell of their own, or into a given cell. The cell is run
if, and only if, it binds a name that an answer uses and nothing else binds. It runs before the
first answer that needs it; after a given cell that was edited the original runs again, which
restores what is given.

A name of Python itself, such as `sum`, counts as bound by nobody where a cell of their own imports
another one of that name. A name that no cell binds may come from an import of everything,
`from ... import *`.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable
from dataclasses import dataclass

from teaching.grader.plan import (
    UNREADABLE_CODE,
    Answers,
    Kind,
    Names,
    OwnCell,
    Step,
    names_in,
)

Transform = Callable[[str], str]  # from a cell with magics to plain Python
# What IPython runs as Python, and hands on as a text in which no name is seen.
_CELL_MAGIC = re.compile(r"\A\s*%%(time|timeit|capture|prun)\b.*\n")
_EVERYTHING = "*"


@dataclass(frozen=True)
class Helper:
    """A cell of the student's own, and the names that it binds."""

    source: str
    binds: frozenset[str]
    original: str = ""  # of a given cell that was edited: runs after it, and restores what is given


def helper_sources(helpers: list[Helper]) -> list[str]:
    """Return what to run before an answer."""
    sources = [helper.source for helper in helpers]
    return sources + [helper.original for helper in helpers if helper.original]


def find_helpers(
    steps: list[Step], answers: Answers, transform: Transform
) -> dict[str, list[Helper]]:
    """Return the helpers to run before each answer, by the answer's id."""
    finder = _Finder([_read(cell, steps, transform) for cell in answers.own_code])
    for step in steps:
        if step.kind is Kind.GIVEN:
            names = _names(step.source, transform)
            finder.given |= {*names.bound, *names.imported}
    result: dict[str, list[Helper]] = {}
    for step in steps:
        if step.kind is Kind.ANSWER:
            names = _names("\n".join(answers.sources.get(step.id, [])), transform)
            result[step.id] = finder.helpers_of(step.id, names)
    return result


@dataclass(frozen=True)
class _Own:
    """A cell of the student's own, read."""

    helper: Helper
    imports: frozenset[str]
    uses: frozenset[str]
    answers_above: frozenset[str]


def _read(cell: OwnCell, steps: list[Step], transform: Transform) -> _Own:
    names = _names(cell.source, transform)
    binds = frozenset({*names.bound, *names.imported})
    original = next((step.source for step in steps if step.id == cell.edited), "")
    return _Own(
        helper=Helper(cell.source, binds, original if cell.edited else ""),
        imports=frozenset(names.imported),
        uses=frozenset(names.used - binds),
        answers_above=cell.answers_above,
    )


class _Finder:
    """Finds the helpers of one answer after the other, in the order in which they run."""

    def __init__(self, own: list[_Own]) -> None:
        self.own = own
        imported = frozenset[str]().union(*(cell.imports for cell in own))
        # What is there without the student; a builtin's name that is imported is the student's.
        self.given = set(dir(builtins)) - imported | {"get_ipython", "display", "In", "Out"}
        self.bound_in: dict[str, set[str]] = {}  # a name: the answers that bind it
        self.has_run: set[int] = set()  # numbers of own cells

    def helpers_of(self, answer: str, names: Names) -> list[Helper]:
        """Return the cells that bind what an answer uses, and what they need, in their order."""
        bound = {*names.bound, *names.imported}
        missing = names.used - bound
        seen = set(bound)
        chosen: set[int] = set()
        while missing:
            name = missing.pop()
            seen.add(name)
            new = set(self._binding(name, answer)) - chosen
            chosen |= new
            for number in new:
                missing |= self.own[number].uses - seen
        for name in bound:
            self.bound_in.setdefault(name, set()).add(answer)
        chosen -= self.has_run
        self.has_run |= chosen
        return [self.own[number].helper for number in sorted(chosen)]

    def _binding(self, name: str, answer: str) -> list[int]:
        """Return the numbers of the cells whose binding of a name an answer sees.

        As in Jupyter the last one above counts: a cell's, or an earlier answer's. Where there is
        none above, one below serves: the author ran it first.
        """
        if name in self.given:
            return []
        binding = [n for n, cell in enumerate(self.own) if name in cell.helper.binds]
        if not binding:
            binding = [n for n, cell in enumerate(self.own) if _EVERYTHING in cell.helper.binds]
        earlier = self.bound_in.get(name, set())
        above = [
            number
            for number in binding
            if answer not in self.own[number].answers_above
            and earlier <= self.own[number].answers_above
        ]
        return above if above or earlier else binding


def _names(source: str, transform: Transform) -> Names:
    try:
        return names_in(transform(_CELL_MAGIC.sub("", source, count=1)))
    except UNREADABLE_CODE:
        return Names()
