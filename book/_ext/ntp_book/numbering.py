"""Which pages are chapters, and in which order: `_toc.yml` alone says so.

A chapter is a page of a numbered part. Its number is made by Jupyter Book from that order
(`use_multitoc_numbering: true`, numbers run on over the parts), and with it the numbers of its
theorems, equations, figures and exercises. A part with `style: alphaupper` holds appendices: their
numbers are A, B, C, ... To add a chapter, write its file and one line in `_toc.yml`.

No file name and no text of a page holds a chapter's number: texts write
``{numref}`Chapter {number} <ch-label>` `` (`tests/book/test_links.py` looks after it).
"""

from __future__ import annotations

from pathlib import Path
from string import ascii_uppercase

from sphinx.config import Config
from sphinx_external_toc.api import SiteMap
from sphinx_external_toc.parsing import parse_toc_yaml


def chapters(site_map: SiteMap) -> list[str]:
    """Return the pages of all numbered parts, in reading order, as `book/max_margin`."""
    return [page for part in site_map.root.subtrees if part.numbered for page in part.files()]


def read_chapters(root: Path) -> list[str]:
    """Return the chapters of the book in the folder `root`, without Sphinx."""
    return chapters(parse_toc_yaml(root / "_toc.yml"))


def numbers(root: Path) -> dict[str, str]:
    """Return each chapter's number, for what Sphinx does not write: "1", "2", ..., "A", "B", ..."""
    found: dict[str, str] = {}
    letters = iter(ascii_uppercase)
    for part in parse_toc_yaml(root / "_toc.yml").root.subtrees:
        for page in part.files() if part.numbered else ():
            lettered = part.style == "alphaupper"
            found[page] = next(letters) if lettered else str(len(found) + 1)
    return found


def is_chapter(config: Config, page: str) -> bool:
    """Say whether a page of the book that is being built is a chapter."""
    # Set by sphinx_external_toc when it has read _toc.yml.
    return page in chapters(config.external_site_map)
