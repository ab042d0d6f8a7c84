"""The Sphinx builder that writes notebooks, and the two things one does with it.

The chapters are read by Sphinx exactly as for the site, with one difference: nothing is executed.
A cell that makes a numbered figure gets a stand-in picture, so that figure numbers come out as on
the site. The resolved document trees are then written as Markdown and code cells.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import myst_nb.core.read as reader
import nbformat
from docutils import nodes
from jupyter_book.sphinx import build_sphinx
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.util.osutil import relative_uri

from ..addresses import addresses, notebook_name
from ..numbering import is_chapter
from .cells import TAGS, ChapterWriter, code_cell, dump, name_cells
from .markdown import ExportError, myst_leftover
from .outputs import store_outputs
from .setup_cell import requirements_of, seconds_of, setup_cell

# A one-pixel picture: stands in for a figure, which the exporter numbers but never shows.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5E"
    "rkJggg=="
)
# Settings that set aside where the book is being built.
CONFIGURED = {"ntp_building_repository": "", "ntp_building_tag": ""}


class NotebookBuilder(Builder):
    """Write chapters as notebooks into the output folder; see the module's docstring."""

    name = "notebooks"
    format = "notebook"
    supported_image_types = ["image/png"]  # noqa: RUF012  (Sphinx declares it so)

    def init(self) -> None:
        """Do nothing: there is no template to prepare."""

    def get_outdated_docs(self) -> Iterator[str]:
        """Write every chapter: it takes a second."""
        yield from (name for name in sorted(self.env.found_docs) if is_chapter(self.config, name))

    def get_target_uri(self, docname: str, typ: str | None = None) -> str:
        """Return the page on the site: links lead there."""
        return f"{docname}.html"

    def get_relative_uri(self, from_: str, to: str, typ: str | None = None) -> str:
        """Return the site's relative link."""
        if from_ == to:
            return ""
        return relative_uri(self.get_target_uri(from_), self.get_target_uri(to))

    def prepare_writing(self, docnames: set[str]) -> None:
        """Do nothing: chapters are independent."""

    def write_doc(self, docname: str, doctree: nodes.document) -> None:
        """Write one chapter."""
        if not is_chapter(self.config, docname):
            return
        cells = ChapterWriter(self, docname, doctree).cells
        cells.insert(1, self.first_cell(cells))  # below the title
        for cell in cells:
            leftover = myst_leftover(cell.source)
            if leftover:
                raise ExportError(f"{docname}.md: markup is left in the notebook: {leftover!r}")
        name_cells(cells)
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "colab": {"provenance": [], "toc_visible": True},
        }
        (Path(self.outdir) / notebook_name(docname)).write_text(dump(notebook), encoding="utf-8")

    def first_cell(self, cells: list[NotebookNode]) -> NotebookNode:
        """Return the set-up cell of the notebook with these cells."""
        found = addresses(self.config)
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        source = setup_cell(
            found.repository,
            found.ref,
            requirements=requirements_of(code, Path(self.srcdir) / "pyproject.toml"),
            seconds=seconds_of(text),
        )
        return code_cell(source, ["hide-input"], {})

    def finish(self) -> None:
        """Do nothing: there are no shared files."""


def stand_in_figures(notebook: NotebookNode) -> NotebookNode:
    """Prepare a chapter's cells for reading without execution.

    Every cell must appear in the document tree, so tags that hide or remove are set aside; a cell
    that makes a numbered figure shows the stand-in.
    """
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata[TAGS] = cell.metadata.pop("tags", [])
        cell.outputs = []
        if "figure" in cell.metadata.get("mystnb", {}):
            cell.outputs = [nbformat.v4.new_output("display_data", {"image/png": PIXEL})]
    return notebook


@contextmanager
def reading_without_execution() -> Iterator[None]:
    """Let myst-nb read every chapter with stand-ins for its figures.

    Its public setting `nb_custom_formats` would take all Markdown files for notebooks.
    """
    read = reader.read_myst_markdown_notebook

    def read_with_stand_ins(*args: Any, **kwargs: Any) -> NotebookNode:
        return stand_in_figures(read(*args, **kwargs))

    reader.read_myst_markdown_notebook = read_with_stand_ins
    try:
        yield
    finally:
        reader.read_myst_markdown_notebook = read


def build(root: Path, output: Path, work: Path, settings: Mapping[str, str] | None = None) -> None:
    """Read the book in `root` without executing it, and write its notebooks into `output`.

    `work` holds what Sphinx remembers between two exports; `settings` replace those of _config.yml.
    """
    with reading_without_execution():
        status = build_sphinx(
            str(root),
            str(output),
            noconfig=True,
            path_config=root / "_config.yml",
            doctreedir=str(work),
            builder=NotebookBuilder.name,
            confoverrides={
                "external_toc_path": str(root / "_toc.yml"),
                "latex_individualpages": False,
                "nb_execution_mode": "off",
                # Pages that are no notebooks may show values of their cells; nothing computes them.
                "suppress_warnings": ["myst.domains", "mystnb.glue"],
                "nb_mime_priority_overrides": [(NotebookBuilder.name, "image/png", 1)],
                **(settings or {}),
            },
            warningiserror=True,
            keep_going=True,
            quiet=True,
        )
    if status:
        raise ExportError("the notebooks were not exported: see the message above.")


def export(root: Path, target: Path, work: Path | None = None, refresh: bool = False) -> list[Path]:
    """Write the notebooks of the book in `root` into `target`; return their paths."""
    failures = []
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "build" / "notebooks"
        build(root, fresh, work or Path(scratch) / "doctrees")
        target.mkdir(parents=True, exist_ok=True)
        paths = []
        for path in sorted(fresh.glob("*.ipynb")):
            paths.append(target / path.name)
            try:
                store_outputs(path, paths[-1], execute=True, refresh=refresh)
            except ExportError as error:
                failures.append(str(error))  # the other chapters are exported all the same
                continue
            if not paths[-1].exists() or paths[-1].read_bytes() != path.read_bytes():
                paths[-1].write_bytes(path.read_bytes())
                print(f"wrote {paths[-1].name}")
    for other in set(target.glob("*.ipynb")) - set(paths):
        other.unlink()
        print(f"removed {other.name}, which belongs to no chapter")
    if failures:
        raise ExportError("\n".join(failures))
    return paths


def stale(root: Path, target: Path) -> list[str]:
    """Return the names of the notebooks in `target` that differ from a fresh export.

    They are compared with what _config.yml says, wherever the comparison is made.
    """
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "build" / "notebooks"
        build(root, fresh, Path(scratch) / "doctrees", CONFIGURED)
        names = {path.name for folder in (fresh, target) for path in folder.glob("*.ipynb")}
        return [name for name in sorted(names) if differs(fresh / name, target / name)]


def differs(fresh: Path, committed: Path) -> bool:
    """Say whether a committed notebook is not what an export would write."""
    if not fresh.exists() or not committed.exists():
        return True
    store_outputs(fresh, committed, execute=False)
    return fresh.read_bytes() != committed.read_bytes()


def setup(app: Sphinx) -> None:
    """Register the builder with Sphinx."""
    app.add_builder(NotebookBuilder)
