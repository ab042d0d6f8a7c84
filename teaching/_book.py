"""What the problem sets share with the chapters: addresses, notebooks as text, the set-up cell.

This is the one module that knows of the exporter of the chapters, the package `ntp_book` in
`book/_ext`, which must be on the path (the Makefile and pytest put it there).
"""

from __future__ import annotations

from pathlib import Path

import yaml
from nbformat import NotebookNode
from ntp_book.addresses import Addresses, addresses_of
from ntp_book.export.cells import code_cell, dump, name_cells
from ntp_book.export.setup_cell import Messages
from ntp_book.export.setup_cell import setup_cell as chapters_setup_cell
from ntp_book.numbering import numbers

from teaching.paths import ROOT

__all__ = [
    "Addresses",
    "addresses",
    "addresses_of",
    "chapter_numbers",
    "dump",
    "name_cells",
    "setup_cell",
]

# What the set-up cell says to a student, whose cell is locked.
STUDENT = Messages(
    no_address="This notebook does not know the course's repository. Ask your instructor for its "
    "address, install the package in a cell of your own above this one, with "
    '`%pip install "ntp_lite[chapters] @ git+ADDRESS"`, and run this cell again. '
    "(Instructors: `make notebooks REPOSITORY=owner/name`, then `make assignments` again.)",
    not_installed="ntp_lite is not installed here. Run the line below in a cell of your own above "
    "this one (your instructor knows the address, if the line says ADDRESS), and restart the "
    "kernel.",
)


def addresses(config: Path = ROOT / "_config.yml") -> Addresses:
    """Return the course's addresses, as `_config.yml` has them."""
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))["repository"]
    return addresses_of(settings["url"], settings["branch"])


def chapter_numbers() -> dict[str, str]:
    """Return the number of each chapter by its page: `{"book/max_margin": "7", ...}`."""
    return numbers(ROOT)


def setup_cell(url: str, ref: str) -> NotebookNode:
    """Return the set-up cell, with advice for a student, who cannot edit it."""
    return code_cell(chapters_setup_cell(url, ref, messages=STUDENT), ["hide-input"], {})
