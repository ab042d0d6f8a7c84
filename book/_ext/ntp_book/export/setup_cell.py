"""The set-up cell with which every notebook begins: `setup_cell.txt`, filled in.

In Colab it installs the package and what the notebook needs besides; it replaces nothing that is
there. Elsewhere it installs nothing, and says what to run if something is missing. The problem sets
use it with messages of their own.
"""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from packaging.requirements import Requirement

TEMPLATE = Path(__file__).with_name("setup_cell.txt")
# The extras of pyproject.toml that hold what chapters import.
EXTRAS = ("chapters", "pretrained")
IMPORT = re.compile(r"(?m)^\s*(?:import|from) (\w+)")
DURATION = re.compile(r"cells run in about (\d+) (second|minute)s?\b")


@dataclass(frozen=True)
class Messages:
    """What the cell says when it cannot go on.

    no_address : in Colab, when the repository's address is a placeholder.
    not_installed : elsewhere, when the package is not installed; the cell writes the line to run
        below it, with ADDRESS in the place of a placeholder.
    """

    no_address: str
    not_installed: str


READER = Messages(
    no_address="This copy of the book has no published address yet: set REPOSITORY in this cell to "
    "the GitHub repository that you opened the notebook from, and run the cell again.",
    not_installed="ntp_lite is not installed here. Run the line below in a cell of its own, and "
    "then this cell again (ADDRESS, if it says so, is the book's repository). In a clone of the "
    "repository run `pip install -e .[chapters]`.",
)


def setup_cell(
    repository: str,
    ref: str,
    *,
    requirements: Sequence[str] = (),
    seconds: int | None = None,
    messages: Messages = READER,
) -> str:
    """Return the source of the set-up cell of one notebook.

    repository : the address from which Colab installs the package, https://github.com/owner/name.
    ref : the tag or branch there.
    requirements : what the notebook needs besides the package, as pip writes it: "duckdb>=2.0".
    seconds : how long the notebook's cells run, if it is known.
    messages : what the cell says when it cannot go on.
    """
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    duration = "" if seconds is None else f" The cells below run in about {seconds} seconds."
    return template.substitute(
        repository=json.dumps(repository),
        ref=json.dumps(ref),
        requirements=json.dumps(list(requirements)),
        no_address=literal(messages.no_address, indent=12),
        not_installed=literal(messages.not_installed, indent=12),
        duration=duration,
    ).rstrip()


def literal(text: str, indent: int, width: int = 100) -> str:
    """Return Python's literal for a text, cut into lines that stand below each other."""
    lines = textwrap.wrap(
        text,
        width - indent - 4,
        drop_whitespace=False,
        replace_whitespace=False,
        break_on_hyphens=False,
    ) or [""]
    return "\n".join(" " * indent + json.dumps(line, ensure_ascii=False) for line in lines)


def requirements_of(code: str, project: Path) -> list[str]:
    """Return what this code imports of the extras for chapters that pyproject.toml declares.

    Not what the package needs itself: that is there, and a PyTorch is never replaced by a notebook.
    """
    if not project.is_file():
        return []
    table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    extras = table["optional-dependencies"]
    own = {Requirement(line).name for line in table.get("dependencies", [])}
    imported = set(IMPORT.findall(code))
    declared = sorted({line for extra in EXTRAS for line in extras.get(extra, [])})
    return [
        line
        for line in declared
        if (name := Requirement(line).name) not in own and name.replace("-", "_") in imported
    ]


def seconds_of(text: str) -> int | None:
    """Return the running time that a chapter announces: "the cells run in about 20 seconds"."""
    found = DURATION.search(" ".join(text.split()))
    if found is None:
        return None
    return int(found[1]) * (60 if found[2] == "minute" else 1)
