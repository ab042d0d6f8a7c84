"""The problem sets as notebooks: shared by the tests of the sets and of their release."""

from __future__ import annotations

import re
from functools import cache

import nbformat
import pytest

from teaching.cells import is_by_hand
from teaching.paths import PROBLEM_SETS
from teaching.release.master import read_master
from teaching.release.rules import grading
from teaching.release.versions import student_version

SETS = sorted(path.stem for path in PROBLEM_SETS.glob("ps*.md"))
SEED, OTHER_SEED = 2027, 2028
REGION = r"^ *### BEGIN {0}\n(.*?)^ *### END {0}$"

every_set = pytest.mark.parametrize("name", SETS)


@cache
def master(name: str, seed: int = SEED) -> nbformat.NotebookNode:
    return read_master(PROBLEM_SETS / f"{name}.md", seed)


@cache
def student(name: str) -> nbformat.NotebookNode:
    return student_version(master(name))


def regions(source: str, mark: str) -> str:
    return "".join(re.findall(REGION.format(mark), source, re.MULTILINE | re.DOTALL))


def strings(value) -> list[str]:
    """All texts of a JSON value, keys included; lists of lines joined."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.items() for part in item for text in strings(part)]
    if isinstance(value, list):
        if value and all(isinstance(item, str) for item in value):
            return ["".join(value)]
        return [text for item in value for text in strings(item)]
    return [str(value)]


def numbers(value) -> list[float]:
    if isinstance(value, dict):
        return [x for item in value.values() for x in numbers(item)]
    if isinstance(value, list):
        return [x for item in value for x in numbers(item)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def secrets(notebook: nbformat.NotebookNode) -> set[str]:
    """Lines of solutions, hidden tests, model answers and rubrics that stand nowhere else."""
    hidden, public = [], []
    for cell in notebook.cells:
        if is_by_hand(grading(cell)):
            hidden += cell.source.split("\n")
            continue
        inside = "".join(regions(cell.source, mark) for mark in ("SOLUTION", "HIDDEN TESTS"))
        outside = cell.source
        for mark in ("SOLUTION", "HIDDEN TESTS"):
            pattern = re.compile(REGION.format(mark), re.MULTILINE | re.DOTALL)
            outside = pattern.sub("", outside)
        hidden += inside.split("\n")
        public += outside.split("\n")
    known = "\n".join(public)
    lines = {line.strip() for line in hidden}
    return {x for x in lines if len(x) >= 12 and re.search(r"[a-z]", x) and x not in known}


def value_patterns(values) -> list[re.Pattern]:
    """An expected value to five digits, rounded or cut, where it is long enough to be told."""
    found = []
    for value in numbers(values):
        digits = f"{abs(value):.5g}" if isinstance(value, float) else str(abs(value))
        if len(re.sub(r"^[0.]+|\.|e.*$", "", digits)) >= (5 if isinstance(value, float) else 4):
            rounded = digits.split("e")[0]
            cut = f"{abs(value):.12g}"[: len(rounded)] if isinstance(value, float) else rounded
            tail = r"\b" if isinstance(value, int) else ""
            either = "|".join(map(re.escape, sorted({rounded, cut})))
            found.append(re.compile(rf"(?<![\d.])(?:{either}){tail}"))
    return found


def leaks(texts: list[str], notebook: nbformat.NotebookNode, values) -> list[str]:
    """Whatever in the texts belongs to the instructor."""
    text = "\n".join(texts)
    found = re.findall(r"(?:BEGIN|END) (?:SOLUTION|HIDDEN)|HIDDEN TESTS|[Rr]ubric|Model ans", text)
    found += [line for line in secrets(notebook) if line in text]
    return found + [p.pattern for p in value_patterns(values) if p.search(text)]
