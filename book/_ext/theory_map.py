"""The theory map: theorem, source, functions, tests, read off the chapters and the tests.

A test that verifies a statement says so in the first line of its docstring:
`Theorem label: thm-...`. The functions in the map are the names of `ntp_lite` that it uses. The
build fails if a theorem or proposition has no test, a test names a label that does not exist,
or a test uses a name that the package does not have.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

STATEMENT = re.compile(
    r"^:{3,}\{prf:(theorem|proposition|lemma|corollary)\}(.*)\n:label: (\S+)", re.MULTILINE
)
TESTED = re.compile(r"Theorem label: (\S+)")
NEEDS_TEST = ("theorem", "proposition")


class Statement(NamedTuple):
    """A numbered statement of a chapter."""

    kind: str
    title: str
    source: str
    label: str
    page: str


def statements(book: Path) -> list[Statement]:
    """Return the statements of all chapters, in reading order."""
    found = []
    for page in sorted(book.glob("[0-9][0-9]_*.md")):
        for kind, heading, label in STATEMENT.findall(page.read_text("utf-8")):
            title, _, source = heading.strip().partition("[")
            found.append(Statement(kind, title.strip(), source.rstrip("] "), label, page.stem))
    return found


def tests(folder: Path) -> dict[str, list[tuple[str, set[str]]]]:
    """Return for each label its tests: their names and the names of `ntp_lite` that they use."""
    found: dict[str, list[tuple[str, set[str]]]] = defaultdict(list)
    for path in sorted(folder.glob("test_*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            label = TESTED.match(ast.get_docstring(node) or "")
            if label:
                found[label[1]].append((f"{path.name}::{node.name}", names_used(node)))
    return found


def names_used(node: ast.AST) -> set[str]:
    """Return x for every `ntp.x` in the code."""
    return {
        part.attr
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute)
        and isinstance(part.value, ast.Name)
        and part.value.id == "ntp"
    }


def problems(found: list[Statement], tested: dict[str, list[tuple[str, set[str]]]]) -> list[str]:
    """Return one sentence for everything that makes the map wrong."""
    package = importlib.import_module("ntp_lite")
    labels = {statement.label for statement in found}
    wrong = [
        f"{statement.page}: {statement.label} has no test; begin the docstring of one with "
        f"'Theorem label: {statement.label}'"
        for statement in found
        if statement.kind in NEEDS_TEST and statement.label not in tested
    ]
    for label, entries in tested.items():
        wrong += [] if label in labels else [f"{entries[0][0]}: no chapter has the label {label}"]
        for test, names in entries:
            wrong += [f"{test}: ntp.{name} does not exist" for name in sorted(names)
                      if not hasattr(package, name)]  # fmt: skip
    return wrong


class TheoryMap(SphinxDirective):
    """Draw the map as one table for each chapter: `{theory-map}`."""

    def run(self) -> list[nodes.Node]:
        """Return the tables; fail on anything that is wrong."""
        root = Path(self.env.srcdir)
        for path in (*root.glob("book/[0-9]*.md"), *root.glob("tests/**/test_*.py")):
            self.env.note_dependency(str(path))
        built = [s for s in statements(root / "book") if f"book/{s.page}" in self.env.found_docs]
        tested = tests(root / "tests")
        wrong = problems(built, tested)
        if wrong:
            raise self.error("The theory map is wrong.\n" + "\n".join(wrong))
        lines = []
        for page in dict.fromkeys(statement.page for statement in built):
            lines += ["", f"**{{doc}}`{page}`**", "", "| statement | source | functions | tests |"]
            lines += ["|---|---|---|---|"]
            for s in (s for s in built if s.page == page):
                functions = sorted(set().union(*(names for _, names in tested.get(s.label, []))))
                lines.append(
                    f"| {{prf:ref}}`{s.label}` {s.title} | {s.source or 'this book'} "
                    f"| {', '.join(f'`{name}`' for name in functions) or 'none'} "
                    f"| {', '.join(f'`{test}`' for test, _ in tested.get(s.label, [])) or 'none'} |"
                )
        container = nodes.Element()
        self.state.nested_parse(StringList(lines, "theory-map"), self.content_offset, container)
        return container.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.add_directive("theory-map", TheoryMap)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
