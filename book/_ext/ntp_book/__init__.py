"""The Sphinx extension of this book: what it adds to Jupyter Book.

    numbering    which pages are chapters, read from _toc.yml
    addresses    the repository, the published site, a chapter in Colab
    execution    which package a chapter runs, and when it has to run again
    folds        proofs, checks and asides, folded where they stand
    fold_numbers numbers for the story, letters for what is folded
    moving       numbers and captions of the figures that move
    reading_time how many minutes a page takes
    site         theme, buttons, small repairs of what other extensions write
    front_door   the root of the site, the page for a wrong address, the list of pages
    bibliography author-year labels
    api          the API page, from docstrings
    theory_map   theorem, source, functions, tests
    measures     counts on the built pages
    export       every chapter as a notebook of plain CommonMark

Hooks into what other packages keep to themselves, because they offer no public way; each depends
on the versions pinned in constraints.txt and is explained where it stands:

* `myst_nb.core.read.read_myst_markdown_notebook` is wrapped during an export, to put stand-ins in
  the place of figures (export/builder.py);
* `jupyter_book.sphinx.build_sphinx`, Jupyter Book's own entry to Sphinx, runs the export, because
  its command line cannot override a setting for one build (export/builder.py);
* `Sphinx._warncount` tells whether a build had warnings: `statuscode` is set only after the event
  `build-finished` (site.py).
"""

from __future__ import annotations

import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

PARTS = (
    "addresses",
    "execution",
    "reading_time",
    "folds",
    "fold_numbers",
    "moving",
    "site",
    "front_door",
    "bibliography",
    "api",
    "theory_map",
    "export.builder",
)


def sources_version(folder: Path = Path(__file__).parent) -> int:
    """Return a number that changes with this package; what Sphinx remembers depends on it."""
    paths = [path for path in folder.rglob("*") if path.suffix in (".py", ".txt")]
    parts = [path.read_bytes() for path in sorted(paths)]
    return zlib.crc32(b"\0".join(parts))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything with Sphinx."""
    for part in PARTS:  # imported here: who wants one part of this package need not load the others
        import_module(f".{part}", __name__).setup(app)
    return {
        "version": "1",
        "env_version": sources_version(),
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
