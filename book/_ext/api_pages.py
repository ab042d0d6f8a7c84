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
    found = {
        f"{scope.__name__}.{key}": inspect.getsourcelines(value)[1]
        for key, value in vars(scope).items()
        if key[0] != "_" and getattr(value, "__module__", "") == name and callable(value)
    }
    return sorted(found, key=found.__getitem__)


class ModuleApi(SphinxDirective):
    """Document the public names of one module: `{module-api} margin`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return what autodoc makes of each name."""
        lines = ["```{eval-rst}"]
        for name in public_names(self.arguments[0]):
            scope, _, last = name.rpartition(".")
            value = getattr(importlib.import_module(scope), last)
            kind = inspect.isclass(value)
            lines += [f".. auto{'class' if kind else 'function'}:: {name}"]
            lines += ["   :members:"] if kind else []
            # Its docstring tells the fields; Python's "Alias for field number 0" would not.
            fields = getattr(value, "_fields", ())
            lines += [f"   :exclude-members: {', '.join(fields)}"] if fields else []
            lines += [""]
        if len(lines) == 1:
            raise self.error(f"ntp_lite exports nothing from its module {self.arguments[0]!r}")
        container = nodes.Element()
        self.state.nested_parse(StringList([*lines, "```"], "api"), self.content_offset, container)
        return container.children


def escape(text: str) -> str:
    """Escape mathematics in plain text; turn `code` into reStructuredText's ``code``."""
    parts = re.split(r"(`+[^`]+`+)", text)
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = f"``{part.strip('`')}``"
        else:
            parts[i] = re.sub(r"([\\*|]|_(?!\w))", r"\\\1", part)
    return "".join(parts)


def to_restructured_text(lines: list[str]) -> list[str]:
    """Translate one docstring: prose, indented displays, doctests, underlined sections."""
    out: list[str] = []
    state, section = "prose", False
    for i, line in enumerate(lines):
        following = lines[i + 1] if i + 1 < len(lines) else ""
        if UNDERLINE.match(line):
            continue
        if UNDERLINE.match(following):
            out += ["", f".. rubric:: {line}", ""]
            state, section = "prose", True
        elif not line.strip():
            out.append("")
            state = "prose" if state in ("doctest", "entry") else state
        elif line.startswith(">>>") or state == "doctest":
            out.append(line)
            state = "doctest"
        elif section and line[0] != " ":
            name, colon, text = line.partition(" : ")
            out.append(f"* **{name}** : {escape(text)}" if colon else f"* {escape(line)}")
        elif section:
            out.append(f"  {escape(line.strip())}")
        elif entry := ENTRY.match(line):
            out += [] if state == "entry" else [""]
            out.append(f"* **{entry[1]}** : {escape(line[entry.end() :])}")
            state = "entry"
        elif state == "entry" and line.startswith("    "):
            out.append(f"  {escape(line.strip())}")
        elif line.startswith("    "):
            out += [] if state == "display" else ["", "::", ""]
            out.append(line)
            state = "display"
        else:
            out += [""] if state in ("display", "entry") else []
            out.append(escape(line))
            state = "prose"
    return [*out, ""]


def process_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Hand the translation to autodoc."""
    lines[:] = to_restructured_text(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.add_directive("module-api", ModuleApi)
    app.connect("autodoc-process-docstring", process_docstring)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
