"""The theory map: theorem, assumptions, source, functions, tests; and the empirical claims.

Theorems, sources and tests are read off the chapters and the tests; what a statement assumes, and
the claims that rest on experiments, stand in `book/theory_map.toml`.

A test that verifies a statement says so in the first line of its docstring:
`Theorem label: thm-...`. The functions in the map are the names of `ntp_lite` that it uses. The
build fails if a theorem or proposition has no test, a test names a label that does not exist,
or a test uses a name that the package does not have; and if a statement has no assumptions in the
file, or the file names a label that does not exist.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import re
import tomllib
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


class Claim(NamedTuple):
    """What the book says because experiments showed it; `where` is a label."""

    claim: str
    data: str
    seeds: str
    where: str


class Written(NamedTuple):
    """What `book/theory_map.toml` says: assumptions by label, and claims."""

    assumptions: dict[str, str]
    claims: list[Claim]


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


def written(path: Path) -> Written:
    """Read the file of assumptions and claims."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return Written(content["assumptions"], [Claim(**row) for row in content["claims"]])


def unwritten(found: list[Statement], said: Written, pages: Iterable[str]) -> list[str]:
    """Return one sentence for each statement without assumptions, and each label too many."""
    labels = {statement.label for statement in found}
    wrong = [
        f"{label} has no assumptions; write a line in book/theory_map.toml, 'none' if so"
        for label in sorted(labels - set(said.assumptions))
    ]
    wrong += [
        f"book/theory_map.toml: no chapter has the label {label}{did_you_mean(label, labels)}"
        for label in sorted(set(said.assumptions) - labels)
    ]
    texts = list(pages)
    for claim in said.claims:
        places = (f"name: {claim.where}\n", f"({claim.where})", f":label: {claim.where}\n")
        if not any(place in text for text in texts for place in places):
            wrong.append(f"book/theory_map.toml: no chapter has the place {claim.where}")
    return wrong


def claims_table(claims: Iterable[Claim]) -> list[str]:
    """Return the rows of the table of claims, in MyST."""
    lines = ["", "| claim | data | seeds | where |", "|---|---|---|---|"]
    for claim in claims:
        lines.append(f"| {claim.claim} | {claim.data} | {claim.seeds} | {place_of(claim.where)} |")
    return lines


def place_of(label: str) -> str:
    """Return the link to a figure, a formula or a section."""
    kind = label.partition("-")[0]
    role = {"fig": "numref", "tab": "numref", "eq": "eq"}.get(kind, "ref")
    return f"{{{role}}}`{label}`"


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


def table(
    page: str, found: list[Statement], tested: Tests, assumptions: dict[str, str]
) -> list[str]:
    """Return the rows of one chapter's table, in MyST."""
    lines = [
        "",
        f"**{{doc}}`/{page}`**",
        "",
        "| statement | assumes | source | functions | tests |",
    ]
    lines += ["|---|---|---|---|---|"]
    for statement in found:
        if statement.page != page:
            continue
        verifications = tested.by_label.get(statement.label, [])
        functions = sorted(frozenset().union(*(v.functions for v in verifications)))
        cells = (
            f"{{prf:ref}}`{statement.label}` {statement.title}",
            assumptions.get(statement.label, "none"),
            statement.source or "proved here",
            ", ".join(f"`{name}`" for name in functions) or "none",
            ", ".join(f"`{v.test}`" for v in verifications) or "none",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


class _Drawn(SphinxDirective):
    """A directive that writes Markdown."""

    def draw(self, lines: list[str]) -> list[nodes.Node]:
        """Return what the lines become."""
        container = nodes.Element()
        self.state.nested_parse(StringList(lines, "theory-map"), self.content_offset, container)
        children: list[nodes.Node] = container.children
        return children

    def read(self) -> Written:
        """Return what the file says; the page depends on it."""
        path = Path(self.env.srcdir) / "book" / "theory_map.toml"
        self.env.note_dependency(str(path))
        return written(path)


class TheoryMap(_Drawn):
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
        said = self.read()
        texts = [path.read_text(encoding="utf-8") for path in sources]
        wrong = problems(found, tested) + unwritten(found, said, texts)
        if wrong:
            raise self.error("The theory map is wrong.\n" + "\n".join(wrong))
        pages = dict.fromkeys(statement.page for statement in found)
        tables = (table(page, found, tested, said.assumptions) for page in pages)
        return self.draw([line for lines in tables for line in lines])


class EmpiricalClaims(_Drawn):
    """Draw the table of what rests on experiments: `{empirical-claims}`."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        return self.draw(claims_table(self.read().claims))


def setup(app: Sphinx) -> None:
    """Register the directives with Sphinx."""
    app.add_directive("theory-map", TheoryMap)
    app.add_directive("empirical-claims", EmpiricalClaims)
