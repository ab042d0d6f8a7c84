"""The set-up cell with which every notebook begins: `setup_cell.txt`, filled in.

The chapters use it, and the problem sets with messages of their own.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from string import Template

TEMPLATE = Path(__file__).with_name("setup_cell.txt")


@dataclass(frozen=True)
class Messages:
    """What the cell says when it cannot go on.

    no_address : in Colab, when the repository's address is a placeholder.
    not_installed : elsewhere, when the package is not installed.
    """

    no_address: str
    not_installed: str


READER = Messages(
    no_address="This copy of the book has no published address yet: set REPOSITORY in this cell to "
    "the GitHub repository that you opened the notebook from, and run the cell again.",
    not_installed="Install the package first: `pip install -e .[chapters]` in the repository.",
)


def setup_cell(repository: str, ref: str, messages: Messages = READER) -> str:
    """Return the source of the set-up cell of one notebook.

    repository : the address from which Colab installs the package, https://github.com/owner/name.
    ref : the tag or branch there.
    messages : what the cell says when it cannot go on.
    """
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(
        repository=json.dumps(repository),
        ref=json.dumps(ref),
        no_address=literal(messages.no_address, indent=12),
        not_installed=literal(messages.not_installed, indent=8),
    ).rstrip()


def literal(text: str, indent: int, width: int = 100) -> str:
    """Return Python's literal for a text, cut into lines that stand below each other."""
    lines = textwrap.wrap(
        text, width - indent - 4, drop_whitespace=False, break_on_hyphens=False
    ) or [""]
    return "\n".join(" " * indent + json.dumps(line, ensure_ascii=False) for line in lines)
