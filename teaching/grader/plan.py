"""What to do with each of the master's cells, and what a submission has for them."""

from __future__ import annotations

import ast
import base64
import binascii
import re
import symtable
from dataclasses import dataclass, field
from enum import StrEnum

from teaching.cells import RUNS_WITH_ANSWERS, TEXT_STUB, is_test
from teaching.grader.errors import NotGradedError
from teaching.grader.notebook import Cell, Notebook
from teaching.grader.submissions import printable

# What Python's own parser raises for code that it cannot read: also for a hundred thousand signs
# before a number, and for numbers of a million digits. IPython raises RuntimeError for many magics.
UNREADABLE_CODE = (SyntaxError, ValueError, RuntimeError, MemoryError)

_HEADING = re.compile(r"^##+ +(.+?) *$", re.MULTILINE)
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")  # none that can hold a script
PLACEHOLDERS = ("", TEXT_STUB)


class Kind(StrEnum):
    """What a cell of the master is."""

    GIVEN = "given"
    ANSWER = "answer"
    DERIVATION = "derivation"
    TEST = "test"


@dataclass(frozen=True)
class Step:
    """One cell of the master that is run, answered or marked."""

    id: str
    kind: Kind
    title: str  # of its question
    source: str
    points: float
    runs_with_answers: bool = False  # its functions run in the student's process, also for tests

    @property
    def is_by_hand(self) -> bool:
        """Say whether a person marks it."""
        return self.kind is not Kind.TEST and self.points > 0


@dataclass(frozen=True)
class OwnCell:
    """Code of the student's own: in a cell that was added, or in a given cell that was edited."""

    source: str
    edited: str  # the id of the given cell; "" for a cell that was added
    answers_above: frozenset[str] = frozenset()  # those that stand before it, by their ids


@dataclass(frozen=True)
class Answers:
    """What a submission has for the master's steps."""

    sources: dict[str, list[str]]  # for each answer, in the order of the notebook
    pictures: dict[str, list[str]]  # attachments of derivations, as data addresses
    other_text: list[str]  # in cells of the student's own, or of a changed type
    own_code: list[OwnCell]


def make_plan(master: Notebook) -> list[Step]:
    """Return the steps of the master in their order."""
    steps = []
    title = ""
    for number, cell in enumerate(master.cells):
        if cell.kind == "markdown" and not cell.grading.get("solution"):
            title = (_HEADING.findall(cell.source) or [title])[-1]
        kind = _kind(cell)
        if kind is None:
            continue
        points = cell.grading.get("points") or 0 if cell.grading.get("grade") else 0
        identity = cell.grade_id or f"cell-{number}"
        with_answers = RUNS_WITH_ANSWERS in cell.tags
        steps.append(Step(identity, kind, title, cell.source, points, with_answers))
    return steps


def _kind(cell: Cell) -> Kind | None:
    if cell.grading.get("solution"):
        return Kind.ANSWER if cell.kind == "code" else Kind.DERIVATION
    if cell.kind != "code":
        return None
    return Kind.TEST if is_test(cell.grading) else Kind.GIVEN


def find_answers(master: Notebook, steps: list[Step], submission: Notebook) -> Answers:
    """Return what the submission has for the steps; NotGradedError for another assignment."""
    _refuse_another_assignment(master, submission)
    wanted = {
        step.id: "code" if step.kind is Kind.ANSWER else "markdown"
        for step in steps
        if step.kind in (Kind.ANSWER, Kind.DERIVATION)
    }
    found: dict[str, list[Cell]] = {identity: [] for identity in wanted}
    for cell in submission.cells:
        if wanted.get(cell.grade_id) == cell.kind:
            found[cell.grade_id].append(cell)
    if not any(found.values()):
        raise NotGradedError("has none of the cells in which this problem set's answers stand")
    return Answers(
        sources={name: [cell.source for cell in cells] for name, cells in found.items()},
        pictures={
            name: [picture for cell in cells for picture in _pictures(cell)]
            for name, cells in found.items()
        },
        other_text=_other_text(master, set(wanted), submission),
        own_code=_own_code(master, set(wanted), submission),
    )


def _refuse_another_assignment(master: Notebook, submission: Notebook) -> None:
    pairs = (
        ("of", submission.assignment, master.assignment),
        ("with the data of cohort", submission.seed, master.seed),
    )
    for what, theirs, ours in pairs:
        if theirs is not None and theirs != ours:
            raise NotGradedError(f"a notebook {what} {printable(theirs[:40])}, not {ours}")


def _pictures(cell: Cell) -> list[str]:
    pictures = []
    for bundle in cell.attachments.values():
        for kind, data in bundle.items() if isinstance(bundle, dict) else ():
            if kind not in _PICTURES or not isinstance(data, str):
                continue
            try:
                content = base64.b64decode(data.encode())
            except (ValueError, binascii.Error):
                continue
            if not content:
                continue
            pictures.append(f"data:{kind};base64,{base64.b64encode(content).decode()}")
    return pictures


def _words(text: str) -> str:
    return " ".join(text.split())


def _other_text(master: Notebook, answers: set[str], submission: Notebook) -> list[str]:
    """Return the texts in cells of the student's own, or in answers of a changed type."""
    given = {_words(cell.source) for cell in master.cells if not cell.grading.get("solution")}
    given |= set(PLACEHOLDERS)
    known = {cell.grade_id: cell.kind for cell in master.cells}
    texts = []
    for cell in submission.cells:
        changed = cell.grade_id in answers and known[cell.grade_id] != cell.kind
        own = cell.kind != "code" and (not cell.grade_id or cell.grade_id not in known)
        if (own or changed) and _words(cell.source) not in given:
            texts.append(cell.source)
    return texts


def _own_code(master: Notebook, answers: set[str], submission: Notebook) -> list[OwnCell]:
    """Return the code that stands neither in an answer, nor in a test, nor in the master."""
    originals = {cell.source.strip() for cell in master.cells} | {""}
    tests = {cell.grade_id for cell in master.cells if is_test(cell.grading)}
    given = {cell.grade_id for cell in master.cells} - answers - tests
    own = []
    above: set[str] = set()
    for cell in submission.cells:
        if cell.grade_id in answers:
            above.add(cell.grade_id)
        if cell.kind != "code" or cell.grade_id in answers | tests:
            continue
        if cell.source.strip() not in originals:
            edited = cell.grade_id if cell.grade_id in given else ""
            own.append(OwnCell(cell.source, edited, frozenset(above)))
    return own


def libraries_of(master: Notebook) -> list[str]:
    """Return the libraries that the master's code imports."""
    source = "\n".join(cell.source for cell in master.cells if cell.kind == "code")
    return sorted(set(re.findall(r"^\s*(?:import|from) (\w+)", source, re.MULTILINE)))


# --- Names in code ---


@dataclass
class Names:
    """The names that a cell binds at its top level, and those of the notebook that it uses."""

    bound: list[str] = field(default_factory=list)
    imported: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)


_OWN_SCOPE = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def names_in(source: str) -> Names:
    """Return the names of a cell of plain Python (magics transformed); SyntaxError."""
    tree = ast.parse(source)
    names = Names()
    _collect_bound(tree, names)
    names.bound = list(dict.fromkeys(names.bound))
    names.used = _used_names(symtable.symtable(source, "cell", "exec"))
    return names


def _used_names(scope: symtable.SymbolTable) -> set[str]:
    """Return the names that a scope, and those within it, look up in the notebook."""
    used = set()
    for symbol in scope.get_symbols():
        in_notebook = scope.get_type() == "module" or symbol.is_global()
        if in_notebook and symbol.is_referenced():
            used.add(symbol.get_name())
    return used.union(*(_used_names(inner) for inner in scope.get_children()))


def _collect_bound(node: ast.AST, names: Names) -> None:
    if isinstance(node, _DEFINITIONS):
        names.bound.append(node.name)
    elif isinstance(node, ast.Name | ast.Subscript | ast.Attribute):
        _collect_target(node, names)
    elif isinstance(node, ast.Import | ast.ImportFrom):
        names.imported += [(item.asname or item.name).split(".")[0] for item in node.names]
    elif not isinstance(node, _OWN_SCOPE):
        for child in ast.iter_child_nodes(node):
            _collect_bound(child, names)


def _collect_target(node: ast.Name | ast.Subscript | ast.Attribute, names: Names) -> None:
    if not isinstance(node.ctx, ast.Store):
        return
    target: ast.expr = node
    while isinstance(target, ast.Subscript | ast.Attribute):  # table["a"] = ... changes `table`
        target = target.value
    if isinstance(target, ast.Name):
        names.bound.append(target.id)
