"""What the problem sets share with the chapters: notebooks as text, cell ids, the set-up cell.

This is the one module that knows where the exporter of the chapters lives.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from string import Template
from types import ModuleType
from typing import NamedTuple

import nbformat
import yaml
from nbformat import NotebookNode

from teaching.paths import ROOT

_EXPORTER = ROOT / "book" / "_ext" / "notebook_export.py"
_SETUP_CELL = Path(__file__).parent / "release" / "setup_cell.txt"


class Repository(NamedTuple):
    """Where the course is published."""

    url: str
    branch: str
    site: str  # the address of the published book, ending in a slash
    is_real: bool  # False while `_config.yml` holds the placeholder


@cache
def _exporter() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebook_export", _EXPORTER)
    if spec is None or spec.loader is None:
        raise ImportError(f"the exporter of the chapters is missing: {_EXPORTER}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def notebook_text(notebook: NotebookNode) -> str:
    """Return a notebook as text, the same bytes for the same content."""
    return str(_exporter().dump(notebook))


def name_cells(cells: list[NotebookNode]) -> None:
    """Give each cell an id that depends on its text alone."""
    _exporter().name_cells(cells)


def repository(config: Path = ROOT / "_config.yml") -> Repository:
    """Return the course's addresses, as `_config.yml` has them."""
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))["repository"]
    url = settings["url"].rstrip("/")
    owner, name = url.split("/")[-2:]
    site = f"https://{owner.lower()}.github.io/{name}/"
    return Repository(url, settings["branch"], site, "_" not in owner)


def setup_cell(url: str, branch: str) -> NotebookNode:
    """Return the set-up cell, with advice for a student, who cannot edit it."""
    template = Template(_SETUP_CELL.read_text(encoding="utf-8"))
    source = template.substitute(url=url, ref=branch).rstrip()
    folded = {"jupyter": {"source_hidden": True}, "cellView": "form", "tags": ["hide-input"]}
    return nbformat.v4.new_code_cell(source, metadata=folded)
