"""From a page to the cells of a notebook: headings, code cells, exercises, folded solutions."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from typing import Any

import nbformat
from docutils import nodes
from nbformat import NotebookNode
from sphinx.builders import Builder

from ..folds import code_cells
from ..folds import fold as fold_node
from ..reading_time import cell_tags
from .markdown import BlockWriter, folded, html_text

HIDDEN_INPUT = {"hide-input", "hide-cell", "remove-input", "remove-cell", "checks"}
HIDDEN_OUTPUT = {"hide-output", "hide-cell", "answer", "checks"}
# Where builder.py puts a cell's tags while Sphinx reads it, so that no cell is hidden from it.
TAGS = "export_tags"
TITLE = "# @title "


def code_cell(source: str, tags: Sequence[str], metadata: dict[str, Any]) -> NotebookNode:
    """Return a code cell with the metadata by which interfaces fold its input or output."""
    metadata = copy.deepcopy(metadata)
    if HIDDEN_INPUT & set(tags):
        metadata["jupyter"] = {"source_hidden": True}
        metadata["cellView"] = "form"  # Colab's name for the same
    if HIDDEN_OUTPUT & set(tags):
        metadata.setdefault("jupyter", {})["outputs_hidden"] = True
    if tags:
        metadata["tags"] = list(tags)
    return nbformat.v4.new_code_cell(source, metadata=metadata)


def titled(source: str, title: str) -> str:
    """Put a title above the code of a folded cell: it is all that Colab shows of it."""
    return source if source.startswith("%%") else f"{TITLE}{title}\n{source}"


def untitled(source: str) -> str:
    """Return the code of a folded cell without its title."""
    first, _, rest = source.partition("\n")
    return rest if first.startswith(TITLE) else source


def name_cells(cells: list[NotebookNode]) -> None:
    """Give each cell an id that depends on its text alone, so that an edit changes few of them."""
    seen: dict[str, int] = {}
    for cell in cells:
        text = f"{cell.cell_type}\0{cell.source}"
        name = hashlib.sha1(text.encode()).hexdigest()[:12]
        seen[name] = seen.get(name, 0) + 1
        cell["id"] = name if seen[name] == 1 else f"{name}-{seen[name]}"


def dump(notebook: NotebookNode) -> str:
    """Return a notebook as text, the same bytes for the same content."""
    nbformat.validate(notebook)
    return f"{nbformat.writes(notebook)}\n"


class ChapterWriter(BlockWriter):
    """Write one resolved document tree as a list of cells.

    Code cells cut the Markdown into cells, as does every heading.
    """

    def __init__(self, builder: Builder, docname: str, doctree: nodes.document) -> None:
        super().__init__(builder, docname)
        self.cells: list[NotebookNode] = []
        self.pending: list[str] = []  # Markdown of the cell that is being written
        self.level = 0
        self.folding: str | None = None  # the summary of the fold or solution we are in
        self.fold_name = ""  # its name, as the title of its cells
        self.write(doctree.children)
        self.flush()

    def write(self, children: Sequence[nodes.Node]) -> None:
        """Write nodes that may begin new cells."""
        for node in children:
            name = type(node).__name__
            if isinstance(node, nodes.container) and node.get("nb_element") == "cell_code":
                self.write_code(node)
            elif name in ("exercise_node", "exercise_enumerable_node"):
                self.write_exercise(node)
            elif name == "solution_node":
                self.write_solution(node)
            elif isinstance(node, fold_node):
                self.write_fold(node)
            elif isinstance(node, nodes.section):
                self.write_section(node)
            elif markdown := self.block(node):
                self.pending.append(markdown)

    def flush(self, open_text: bool = False) -> None:
        """End the Markdown cell that is being written; within a fold it is folded, if not open."""
        if self.pending and self.folding is not None and not open_text:
            self.pending = [folded(self.folding, "\n\n".join(self.pending))]
            self.folding = self.folding.removesuffix(", continued") + ", continued"
        if self.pending:
            cell = nbformat.v4.new_markdown_cell("\n\n".join(self.pending))
            if self.attachments:
                cell["attachments"] = self.attachments
            self.cells.append(cell)
        self.pending = []
        self.attachments = {}

    def write_section(self, node: nodes.section) -> None:
        """Begin a cell with a heading."""
        if self.folding is None:
            self.flush()
        self.level += 1
        self.write(node.children)
        self.level -= 1

    def block_title(self, node: nodes.title) -> str:
        """Write a heading with its number."""
        numbers = self.env.toc_secnumbers.get(self.docname, {})
        anchor = "" if self.level == 1 else f"#{node.parent['ids'][0]}"
        number = ".".join(map(str, numbers.get(anchor) or ()))
        heading = f"{f'{number}. ' if number else ''}{self.inlines(node.children)}"
        return f"{'#' * self.level} {heading}" if self.folding is None else f"**{heading}**"

    def write_code(self, node: nodes.container) -> None:
        """Write a code cell, and the captions of its figures below it."""
        self.flush()
        metadata = {key: value for key, value in node["cell_metadata"].items() if key != "mystnb"}
        tags = metadata.pop(TAGS, [])
        if self.folding is not None:
            tags = sorted({*tags, "hide-input"})
        source = next(node.findall(nodes.literal_block)).astext().rstrip("\n")
        if HIDDEN_INPUT & set(tags):
            source = titled(source, self.title_of_cell(node))
        self.cells.append(code_cell(source, tags, metadata))
        self.pending += [self.caption(figure) for figure in node.findall(nodes.figure)]
        if self.folding is not None:
            self.flush(open_text=True)  # captions stay with their figures

    def title_of_cell(self, node: nodes.container) -> str:
        """Return what a folded cell is called: checks, the figures that it draws, or its fold."""
        if "checks" in cell_tags(node):
            return "Checks"
        if self.folding is not None:
            return self.fold_name
        numbers = [self.number(figure, "figure") for figure in node.findall(nodes.figure)]
        return ", ".join(f"Figure {number}" for number in numbers if number) or "Code"

    def write_exercise(self, node: nodes.Element) -> None:
        """Write an exercise below a heading of its own."""
        self.flush()
        number = self.number(node, "exercise")
        subtitle = node[0].children[1:] if node.get("nonumber") else node[0].children
        title = self.inlines(subtitle).strip()
        heading = " ".join(filter(None, ["Exercise", number, title]))
        self.pending.append(f"{'#' * min(self.level + 1, 6)} {heading}")
        for part in node.children[1:]:
            self.write(part.children)
        self.flush()

    def write_fold(self, node: nodes.Element) -> None:
        """Write a fold: folded text, code cells whose code is folded. Checks are such a cell."""
        content = node.children[1:]
        if self.folding is not None or node["kind"] == "checks":
            self.write(content)
        elif any(code_cells(node)) or any(node.findall(nodes.section)):
            self.flush()
            self.folding = html_text(self.inlines(node[0].children, links=False))
            self.fold_name = node[0].astext()
            self.write(content)
            self.end_fold()
        else:
            self.pending.append(self.block_fold(node))

    def end_fold(self) -> None:
        """End the fold or solution that is being written."""
        self.flush()
        self.folding = None

    def write_solution(self, node: nodes.Element) -> None:
        """Write a solution: folded text, folded code cells."""
        self.flush()
        self.folding = html_text(self.inlines(node[0].children, links=False))
        # "Solution to Exercise 7.2", without the exercise's own title.
        self.fold_name = node[0].astext().partition(" (")[0]
        for part in node.children[1:]:
            self.write(part.children if isinstance(part, nodes.section) else [part])
        self.end_fold()
