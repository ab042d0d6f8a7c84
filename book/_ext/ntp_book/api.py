"""The API page: every public name of a module of `ntp_lite`, from its docstring.

The docstrings are written to be read in a terminal: they state programs in plain text, such as
`min |L|_* s.t. <G, S> <= 1`, which reStructuredText would take for markup. It is made from them
here.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

EXPORTED_MODULES = ("plots",)
UNDERLINE = re.compile(r"^\s*-{3,}\s*$")
ENTRY = re.compile(r"^([a-z_]\w*(?:, \w+)*) : ")  # an argument or a field, and what it is


def public_names(module: str) -> list[str]:
    """Return what a module offers, in source order.

    That is what `ntp_lite` exports of it; of a module that is itself exported (plots), all.
    """
    package = importlib.import_module("ntp_lite")
    name = f"ntp_lite.{module}"
    scope = getattr(package, module) if module in EXPORTED_MODULES else package
    # The package imports a module when a name of it is used: what it offers is its `__all__`.
    offered = {key: getattr(scope, key) for key in getattr(scope, "__all__", vars(scope))}
    found = {
        f"{scope.__name__}.{key}": inspect.getsourcelines(value)[1]
        for key, value in offered.items()
        if key[0] != "_" and getattr(value, "__module__", "") == name and callable(value)
    }
    return sorted(found, key=found.__getitem__)


class ModuleApi(SphinxDirective):
    """Document the public names of one module: `{module-api} margin`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return what autodoc makes of each name."""
        names = public_names(self.arguments[0])
        if not names:
            raise self.error(f"ntp_lite exports nothing from its module {self.arguments[0]!r}")
        lines = ["```{eval-rst}", *(line for name in names for line in autodoc(name)), "```"]
        container = nodes.Element()
        self.state.nested_parse(StringList(lines, "api"), self.content_offset, container)
        children: list[nodes.Node] = container.children
        return children


def autodoc(name: str) -> list[str]:
    """Return the directive that documents one public name."""
    scope, _, last = name.rpartition(".")
    value = getattr(importlib.import_module(scope), last)
    if not inspect.isclass(value):
        return [f".. autofunction:: {name}", ""]
    lines = [f".. autoclass:: {name}", "   :members:"]
    # A NamedTuple's docstring tells the fields; Python's "Alias for field number 0" would not.
    fields = getattr(value, "_fields", ())
    if fields:
        lines.append(f"   :exclude-members: {', '.join(fields)}")
    return [*lines, ""]


def escape(text: str) -> str:
    """Escape mathematics in plain text; turn `code` into reStructuredText's ``code``."""
    parts = re.split(r"(`+[^`]+`+)", text)
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = f"``{part.strip('`')}``"
        else:
            parts[i] = re.sub(r"([\\*|]|_(?!\w))", r"\\\1", part)
    return "".join(parts)


class Translation:
    """Translate one docstring, line by line; `state` is what the line before was part of."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.state = "prose"
        self.in_section = False

    def kind(self, line: str, following: str) -> str:
        """Say what a line is; each answer is the name of a method below."""
        if UNDERLINE.match(line):
            return "underline"
        if UNDERLINE.match(following):
            return "heading"
        if not line.strip():
            return "blank"
        if line.startswith(">>>") or self.state == "doctest":
            return "doctest"
        if self.in_section:
            return "field_text" if line.startswith(" ") else "field"
        if ENTRY.match(line):
            return "entry"
        if line.startswith("    "):
            return "entry_text" if self.state == "entry" else "display"
        return "prose"

    def underline(self, line: str) -> None:
        """Drop the line under a heading, which was recognised by it."""

    def heading(self, line: str) -> None:
        """Begin a section, such as Parameters or Fields."""
        self.out += ["", f".. rubric:: {line}", ""]
        self.state = "prose"
        self.in_section = True

    def blank(self, line: str) -> None:
        """Keep a blank line; it ends a doctest and a list of entries."""
        self.out.append("")
        if self.state in ("doctest", "entry"):
            self.state = "prose"

    def doctest(self, line: str) -> None:
        """Keep a doctest as it is."""
        self.out.append(line)
        self.state = "doctest"

    def field(self, line: str) -> None:
        """Make a list item of a section's `name : what it is`, or of free text."""
        name, colon, text = line.partition(" : ")
        self.out.append(f"* **{name}** : {escape(text)}" if colon else f"* {escape(line)}")

    def field_text(self, line: str) -> None:
        """Continue the list item."""
        self.out.append(f"  {escape(line.strip())}")

    def entry(self, line: str) -> None:
        """Make a list item of an argument that stands outside a section."""
        if self.state != "entry":
            self.out.append("")
        name, _, text = line.partition(" : ")
        self.out.append(f"* **{name}** : {escape(text)}")
        self.state = "entry"

    entry_text = field_text

    def display(self, line: str) -> None:
        """Show an indented line as it is."""
        if self.state != "display":
            self.out += ["", "::", ""]
        self.out.append(line)
        self.state = "display"

    def prose(self, line: str) -> None:
        """Escape a line of text."""
        if self.state in ("display", "entry"):
            self.out.append("")
        self.out.append(escape(line))
        self.state = "prose"


def to_restructured_text(lines: list[str]) -> list[str]:
    """Translate one docstring: prose, indented displays, doctests, underlined sections."""
    translation = Translation()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        getattr(translation, translation.kind(line, following))(line)
    return [*translation.out, ""]


def process_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Hand the translation to autodoc."""
    lines[:] = to_restructured_text(lines)


def setup(app: Sphinx) -> None:
    """Register the directive and the translation with Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.add_directive("module-api", ModuleApi)
    app.connect("autodoc-process-docstring", process_docstring)
