"""The book's chapters in reading order: what `_toc.yml` says, read for the tests in one place."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def contents(root: Path = ROOT) -> dict:
    return yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))


def pages(root: Path = ROOT) -> list[str]:
    """Every page of the site as `book/max_margin`, the landing page first."""
    toc = contents(root)
    return [toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])]


def chapters(root: Path = ROOT) -> list[str]:
    """The names of the chapters' files, without appendices: `["soft_labels", ...]`."""
    return [
        Path(page["file"]).name
        for part in contents(root)["parts"]
        if part.get("numbered") and part.get("style") != "alphaupper"
        for page in part["chapters"]
    ]
