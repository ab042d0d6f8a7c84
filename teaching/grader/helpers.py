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

from teaching.grader.plan import UNREADABLE_CODE, Answers, Kind, Names, Step, names_in

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
    known = set(dir(builtins)) | {"get_ipython", "display", "In", "Out"}
    for step in steps:
        if step.kind is Kind.GIVEN:
            names = _names(step.source, transform)
            known |= {*names.bound, *names.imported}
    given = {step.id: step.source for step in steps}
    own = []
    for cell in answers.own_code:
        names = _names(cell.source, transform)
        known -= set(names.imported) & set(dir(builtins))
        binds = frozenset({*names.bound, *names.imported})
        own.append((Helper(cell.source, binds, given.get(cell.edited, "")), names.used - binds))
    result: dict[str, list[Helper]] = {}
    for step in steps:
        if step.kind is not Kind.ANSWER:
            continue
        names = _names("\n".join(answers.sources.get(step.id, [])), transform)
        known |= {*names.bound, *names.imported}
        needed = _needed(names.used - known, own, known)
        result[step.id] = needed
        for helper in needed:
            known |= helper.binds
    return result


def _needed(missing: set[str], own: list[tuple[Helper, set[str]]], known: set[str]) -> list[Helper]:
    """Return the cells that bind missing names, and those that they need in turn, in order."""
    chosen: set[int] = set()
    while missing:
        name = missing.pop()
        binding = [n for n, (helper, _) in enumerate(own) if name in helper.binds]
        if not binding:
            binding = [n for n, (helper, _) in enumerate(own) if _EVERYTHING in helper.binds]
        for number in set(binding) - chosen:
            chosen.add(number)
            missing |= own[number][1] - known
    return [own[number][0] for number in sorted(chosen)]


def _names(source: str, transform: Transform) -> Names:
    try:
        return names_in(transform(_CELL_MAGIC.sub("", source, count=1)))
    except UNREADABLE_CODE:
        return Names()
