"""The theory map: theorem, source, functions, tests, read off the chapters and the tests.

A test that verifies a statement says so in the first line of its docstring:
`Theorem label: thm-...`. The functions in the map are the names of `ntp_lite` that it uses. The
build fails if a theorem or proposition has no test, a test names a label that does not exist,
or a test uses a name that the package does not have.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from .numbering import read_chapters

STATEMENT = re.compile(
    r"^:{3,}\{prf:(theorem|proposition|lemma|corollary)\}(.*)\n:label: (\S+)", re.MULTILINE
)
TESTED = re.compile(r"Theorem label: (\S+?)\.?(?:\s|$)")
NEEDS_TEST = ("theorem", "proposition")


class Statement(NamedTuple):
    """A numbered statement of a chapter; `page` as in _toc.yml."""

    kind: str
    title: str
    source: str
    label: str
    page: str


class Verification(NamedTuple):
    """A test of a statement, and the names of `ntp_lite` that it uses."""

    test: str
    functions: frozenset[str]


class Tests(NamedTuple):
    """The tests of statements by label, and complaints about those that could not be read."""

    by_label: dict[str, list[Verification]]
    unreadable: list[str]


def statements(root: Path, chapters: Iterable[str]) -> list[Statement]:
    """Return the statements of the chapters, in reading order."""
    found = []
    for page in chapters:
        text = (root / f"{page}.md").read_text(encoding="utf-8")
        for kind, heading, label in STATEMENT.findall(text):
            title, _, source = heading.strip().partition("[")
            found.append(Statement(kind, title.strip(), source.rstrip("] "), label, page))
    return found


def test_files(folder: Path) -> list[Path]:
    """Return the files of tests in a folder and below, by name."""
    return sorted(folder.rglob("test_*.py"), key=lambda path: path.name)


def tests(folder: Path) -> Tests:
    """Read the tests that name a statement."""
    by_label: dict[str, list[Verification]] = defaultdict(list)
    unreadable = []
    for path in test_files(folder):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            name = f"{path.name}::{node.name}"
            docstring = ast.get_docstring(node) or ""
            label = TESTED.match(docstring)
            if label:
                by_label[label[1]].append(Verification(name, names_used(node)))
            elif docstring.lower().startswith("theorem label"):
                unreadable.append(
                    f"{name}: the docstring begins with {docstring.splitlines()[0]!r}; write "
                    "'Theorem label: ' and the label, as in 'Theorem label: thm-entropy-floor.'"
                )
    return Tests(dict(by_label), unreadable)


def names_used(node: ast.AST) -> frozenset[str]:
    """Return x for every `ntp.x` in the code."""
    return frozenset(
        part.attr
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute)
        and isinstance(part.value, ast.Name)
        and part.value.id == "ntp"
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a complaint that suggests the nearest known name, if one is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def problems(found: list[Statement], tested: Tests) -> list[str]:
    """Return one sentence for everything that makes the map wrong."""
    package = importlib.import_module("ntp_lite")
    labels = {statement.label for statement in found}
    wrong = list(tested.unreadable)
    for statement in found:
        if statement.kind in NEEDS_TEST and statement.label not in tested.by_label:
            wrong.append(
                f"{statement.page}.md: {statement.label} has no test; write one whose docstring "
                f"begins with 'Theorem label: {statement.label}.'"
            )
    for label, verifications in tested.by_label.items():
        for test, functions in verifications:
            if label not in labels:
                wrong.append(
                    f"{test}: no chapter has the label {label}{did_you_mean(label, labels)}"
                )
            wrong += [
                f"{test}: ntp.{name} does not exist{did_you_mean(name, dir(package))}"
                for name in sorted(functions)
                if not hasattr(package, name)
            ]
    return wrong


def table(page: str, found: list[Statement], tested: Tests) -> list[str]:
    """Return the rows of one chapter's table, in MyST."""
    lines = ["", f"**{{doc}}`/{page}`**", "", "| statement | source | functions | tests |"]
    lines += ["|---|---|---|---|"]
    for statement in found:
        if statement.page != page:
            continue
        verifications = tested.by_label.get(statement.label, [])
        functions = sorted(frozenset().union(*(v.functions for v in verifications)))
        cells = (
            f"{{prf:ref}}`{statement.label}` {statement.title}",
            statement.source or "proved here",
            ", ".join(f"`{name}`" for name in functions) or "none",
            ", ".join(f"`{v.test}`" for v in verifications) or "none",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


class TheoryMap(SphinxDirective):
    """Draw the map as one table for each chapter: `{theory-map}`."""

    def run(self) -> list[nodes.Node]:
        """Return the tables; fail on anything that is wrong."""
        root = Path(self.env.srcdir)
        chapters = [page for page in read_chapters(root) if page in self.env.found_docs]
        sources = [root / f"{page}.md" for page in chapters]
        for path in (*sources, *test_files(root / "tests")):
            self.env.note_dependency(str(path))
        found = statements(root, chapters)
        tested = tests(root / "tests")
        wrong = problems(found, tested)
        if wrong:
            raise self.error("The theory map is wrong.\n" + "\n".join(wrong))
        pages = dict.fromkeys(statement.page for statement in found)
        lines = [line for page in pages for line in table(page, found, tested)]
        container = nodes.Element()
        self.state.nested_parse(StringList(lines, "theory-map"), self.content_offset, container)
        children: list[nodes.Node] = container.children
        return children


def setup(app: Sphinx) -> None:
    """Register the directive with Sphinx."""
    app.add_directive("theory-map", TheoryMap)
