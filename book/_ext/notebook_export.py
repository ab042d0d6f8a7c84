"""Export every chapter as a notebook of plain CommonMark, with the numbers that the site shows.

The chapters are read by Sphinx exactly as for the site, with one difference: nothing is executed.
A cell that makes a numbered figure gets a stand-in picture, so that figure numbers come out as on
the site. The resolved document trees are then written as Markdown and code cells.

    python book/_ext/notebook_export.py            # write book/notebooks/NN_slug.ipynb
    python book/_ext/notebook_export.py --refresh  # and run every chapter with compared output
    python book/_ext/notebook_export.py --check    # write nothing; fail if one is out of date

Stored output. Notebooks hold no output, but for cells tagged `nbval-check-output`: their text is
stored, and `make test` fails when a run prints something else. Output is kept while the chapter's
code is what it was; when code changed, or output is missing, the notebook is executed once and the
text stored anew. A change in `ntp_lite` is noticed by nbval, not here; `--refresh` accepts the new
numbers.

A construct without a clean CommonMark form stops the export with its place in the source.
"""

from __future__ import annotations

import argparse
import base64
import copy
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.errors import SphinxError
from sphinx.util.osutil import relative_uri

sys.path.insert(0, str(Path(__file__).parent))

from ntp_book import chapter_number, repository

CHECKED = "nbval-check-output"
# A one-pixel picture: stands in for a figure, which the exporter numbers but never shows.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5E"
    "rkJggg=="
)
SETUP = """\
# @title Set-up: nothing to do on your own machine; in Colab this installs the companion package.
import importlib.util
import subprocess
import sys
from importlib.metadata import version

REPOSITORY = "{url}"
REF = "{ref}"

if "google.colab" in sys.modules and importlib.util.find_spec("ntp_lite") is None:
    if "_" in REPOSITORY.split("/")[-2]:
        raise SystemExit(
            "This copy of the book has no published address yet: set REPOSITORY in this cell to "
            "the GitHub repository that you opened the notebook from, and run the cell again."
        )
    # Name the torch and numpy that are already here, so that neither is replaced.
    keep = [f"{{name}}=={{version(name)}}" for name in ("torch", "numpy")]
    package = f"ntp_lite[chapters] @ git+{{REPOSITORY}}@{{REF}}"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package, *keep], check=True)
if importlib.util.find_spec("ntp_lite") is None:
    raise SystemExit("Install the package first: `pip install -e .[chapters]` in the repository.")

import torch

print("ntp_lite is ready; device:", "cuda" if torch.cuda.is_available() else "cpu")
"""


class ExportError(SphinxError):
    """A construct that has no clean CommonMark form, or a document that cannot be exported."""

    category = "Notebook export"


# --- Document tree to CommonMark ---


def escape(text: str) -> str:
    """Protect what Markdown or a notebook's mathematics would otherwise read as markup."""
    text = re.sub(r"([\\`*_<$~])", r"\\\1", text)
    text = re.sub(r"&(?=#?\w+;)", r"\&", text)
    return re.sub(r"\](?=[(\[])", r"]\\", text)


def quote(markdown: str) -> str:
    """Put `> ` before every line."""
    return "\n".join(f"> {line}" if line else ">" for line in markdown.split("\n"))


def fold(summary: str, body: str) -> str:
    """Return a folded section: HTML that CommonMark renderers let pass, Markdown inside."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def html_text(markdown: str) -> str:
    """Turn inline Markdown into the HTML that a <summary> needs."""
    html = re.sub(r"\\([\\`*_<$~&\[\](])", lambda m: m[1].replace("<", "&lt;"), markdown)
    html = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html)
    return re.sub(r"\*(.+?)\*", r"<i>\1</i>", html)


def code_cell(source: str, metadata: dict[str, Any]) -> nbformat.NotebookNode:
    """Return a code cell with the metadata by which interfaces fold its input or output."""
    tags = metadata.pop("export_tags", [])
    metadata = {k: v for k, v in metadata.items() if k not in ("mystnb", "tags")}
    if {"hide-input", "hide-cell", "remove-input", "remove-cell"} & set(tags):
        metadata["jupyter"] = {"source_hidden": True}
        metadata["cellView"] = "form"  # Colab's name for the same
    if {"hide-output", "hide-cell"} & set(tags):
        metadata.setdefault("jupyter", {})["outputs_hidden"] = True
    if tags:
        metadata["tags"] = tags
    cell = nbformat.v4.new_code_cell(source, metadata=metadata)
    return cell


class ChapterWriter:
    """Write one resolved document tree as a list of cells.

    Every `block_*` and `inline_*` method is named after a node class and returns Markdown; a node
    without a method is an error. Code cells cut the Markdown into cells, as does every heading.
    """

    def __init__(self, builder: NotebookBuilder, docname: str, doctree: nodes.document) -> None:
        self.builder, self.docname, self.env = builder, docname, builder.env
        self.cells: list[nbformat.NotebookNode] = []
        self.pending: list[str] = []
        self.level = 0
        self.folding: str | None = None  # the summary of the folded solution we are in
        self.in_table = False
        self.one_line = 0  # > 0: display mathematics must stay on one line
        self.attachments: dict[str, Any] = {}
        self.local = {
            uri[1:]
            for node in doctree.findall(nodes.reference)
            if (
                uri := f"#{node['refid']}" if node.get("refid") else node.get("refuri", "")
            ).startswith("#")
        }
        self.write(doctree)
        self.flush()

    # Cells

    def write(self, parent: nodes.Element) -> None:
        for node in parent.children:
            if isinstance(node, nodes.container) and node.get("nb_element") == "cell_code":
                self.write_code(node)
            elif type(node).__name__ in ("exercise_node", "exercise_enumerable_node"):
                self.write_exercise(node)
            elif type(node).__name__ == "solution_node":
                self.write_solution(node)
            elif isinstance(node, nodes.section):
                self.write_section(node)
            elif markdown := self.block(node):
                self.pending.append(markdown)

    def flush(self) -> None:
        if self.pending:
            source = "\n\n".join(self.pending)
            cell = nbformat.v4.new_markdown_cell(source)
            if self.attachments:
                cell["attachments"] = self.attachments
            self.cells.append(cell)
        self.pending, self.attachments = [], {}

    def write_section(self, node: nodes.section) -> None:
        self.flush()
        self.level += 1
        self.pending.append(self.anchors(node))
        self.pending = [text for text in self.pending if text]
        self.write(node)
        self.level -= 1

    def write_code(self, node: nodes.container) -> None:
        if self.folding is not None and self.pending:
            self.pending = [fold(self.folding, "\n\n".join(self.pending))]
            self.folding = self.folding.removesuffix(", continued") + ", continued"
        self.flush()
        metadata = copy.deepcopy(dict(node["cell_metadata"]))
        if self.folding is not None:
            metadata["export_tags"] = sorted({*metadata.get("export_tags", []), "hide-input"})
        source = next(node.findall(nodes.literal_block)).astext().rstrip("\n")
        self.cells.append(code_cell(source, metadata))
        for figure in node.findall(nodes.figure):
            self.pending.append(self.caption(figure))
        if self.folding is not None:
            self.flush()

    def write_exercise(self, node: nodes.Element) -> None:
        self.flush()
        number = self.number(node, "exercise")
        _, *subtitle = node[0].children[0:] if node.get("nonumber") else (None, *node[0].children)
        title = self.inlines(subtitle).strip()
        self.pending += filter(None, [self.anchors(node)])
        heading = " ".join(filter(None, ["Exercise", number, title]))
        self.pending.append(f"{'#' * min(self.level + 1, 6)} {heading}")
        for part in node.children[1:]:
            self.write(part)
        self.flush()

    def write_solution(self, node: nodes.Element) -> None:
        self.flush()
        self.folding = html_text(self.inlines(node[0].children, links=False))
        for part in node.children[1:]:
            self.write(part if isinstance(part, nodes.section) else wrap(part))
        if self.pending:
            self.pending = [fold(self.folding, "\n\n".join(self.pending))]
        self.folding = None
        self.flush()

    # Blocks

    def block(self, node: nodes.Node) -> str:
        if isinstance(node, nodes.Element) and node.tagname in IGNORED:
            return ""
        name = type(node).__name__
        if "realtype" in getattr(node, "attributes", {}):
            return self.theorem(node)
        method: Callable[[Any], str] | None = getattr(self, f"block_{name}", None)
        if method is None and isinstance(node, nodes.Admonition):
            method = self.block_admonition
        if method is None:
            raise self.unsupported(node)
        return method(node)

    def blocks(self, parent: nodes.Element) -> str:
        return "\n\n".join(filter(None, (self.block(child) for child in parent.children)))

    def unsupported(self, node: nodes.Node) -> ExportError:
        text = node.astext()[:60].replace("\n", " ")
        line = f":{node.line}" if getattr(node, "line", None) else ""
        return ExportError(
            f"{self.docname}.md{line}: `{type(node).__name__}` has no CommonMark form here "
            f"({text!r}); write it in another way, or teach it to notebook_export.py."
        )

    def block_title(self, node: nodes.title) -> str:
        numbers = self.env.toc_secnumbers.get(self.docname, {})
        section = node.parent
        anchor = "" if self.level == 1 else f"#{section['ids'][0]}"
        number = ".".join(map(str, numbers.get(anchor) or ()))
        return f"{'#' * self.level} {f'{number}. ' if number else ''}{self.inlines(node.children)}"

    def block_paragraph(self, node: nodes.Element) -> str:
        text = self.inlines(node.children)
        # At the start of a line these would begin a heading, a quotation or a list.
        text = re.sub(r"^([#>+-])", r"\\\1", text)
        return re.sub(r"^(\d+)([.)])(?= )", r"\1\\\2", text)

    def block_bullet_list(self, node: nodes.Element) -> str:
        return self.list_items(node, lambda i: "- ")

    def block_enumerated_list(self, node: nodes.Element) -> str:
        if node.get("enumtype", "arabic") != "arabic":
            raise self.unsupported(node)
        start = node.get("start", 1)
        return self.list_items(node, lambda i: f"{start + i}. ")

    def list_items(self, node: nodes.Element, marker: Callable[[int], str]) -> str:
        items = []
        for i, item in enumerate(node.children):
            mark = marker(i)
            with self.lines_joined():
                body = self.blocks(item) or " "
            items.append(
                mark
                + body.replace("\n", "\n" + " " * len(mark)).replace(
                    "\n" + " " * len(mark) + "\n", "\n\n"
                )
            )
        loose = any(len(item.children) > 1 for item in node.children)
        return ("\n\n" if loose else "\n").join(items)

    def block_definition_list(self, node: nodes.Element) -> str:
        items = []
        for item in node.children:
            terms = ", ".join(f"**{self.inlines(t.children)}**" for t in item.findall(nodes.term))
            body = self.blocks(next(item.findall(nodes.definition)))
            items.append("- " + f"{terms}: {body}".replace("\n", "\n  "))
        return "\n".join(items)

    def block_block_quote(self, node: nodes.Element) -> str:
        with self.lines_joined():
            return quote(self.blocks(node))

    def block_literal_block(self, node: nodes.Element) -> str:
        text = node.astext().rstrip("\n")
        fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
        language = node.get("language", "")
        return f"{fence}{'' if language in ('none', 'default') else language}\n{text}\n{fence}"

    def block_math_block(self, node: nodes.Element) -> str:
        number = self.number(node, "displaymath") if node.get("label") else ""
        tex = node.astext().strip()
        tag = rf" \tag{{{number}}}" if number else ""
        anchors = self.anchors(node)
        if self.one_line:
            if re.search(r"(?<!\\)%", tex):
                raise ExportError(f"{self.docname}.md: a TeX comment in {tex[:40]!r}: remove it.")
            mathematics = f"$$ {' '.join(tex.split())}{tag} $$"
        else:
            mathematics = f"$$\n{tex}{tag}\n$$"
        return "\n\n".join(filter(None, [anchors, mathematics]))

    def block_transition(self, node: nodes.Element) -> str:
        return "---"

    def block_table(self, node: nodes.Element) -> str:
        rows = []
        self.in_table = True
        for row in node.findall(nodes.row):
            rows.append("| " + " | ".join(self.blocks(entry) for entry in row.children) + " |")
        self.in_table = False
        if any("\n" in row for row in rows) or not list(node.findall(nodes.thead)):
            raise self.unsupported(node)
        width = len(next(node.findall(nodes.row)).children)
        rows.insert(1, "|" + " --- |" * width)
        caption = ""
        if isinstance(node[0], nodes.title):
            number = self.number(node, "table")
            caption = f"**Table {number}.** {self.inlines(node[0].children)}"
        return "\n\n".join(filter(None, [self.anchors(node), caption, "\n".join(rows)]))

    def block_figure(self, node: nodes.Element) -> str:
        image = next(node.findall(nodes.image))
        return "\n\n".join(filter(None, [self.block_image(image), self.caption(node)]))

    def block_image(self, node: nodes.Element) -> str:
        path = Path(self.builder.srcdir) / node["uri"]
        if path.suffix != ".png":
            raise ExportError(f"{self.docname}.md: {node['uri']}: static pictures must be PNG.")
        data = base64.b64encode(path.read_bytes()).decode()
        self.attachments[path.name] = {"image/png": data}
        return f"![{escape(node.get('alt', ''))}](attachment:{path.name})"

    def caption(self, figure: nodes.Element) -> str:
        number = self.number(figure, "figure")
        label = f"**Figure {number}.** " if number else ""
        texts = [self.inlines(c.children) for c in figure.findall(nodes.caption)]
        legends = [self.blocks(c) for c in figure.findall(nodes.legend)]
        return "\n\n".join(filter(None, [self.anchors(figure), label + " ".join(texts), *legends]))

    def theorem(self, node: nodes.Element) -> str:
        number = self.number(node, node["countertype"])
        with self.lines_joined():
            title = self.inlines(node[0].children).strip()
            heading = " ".join(filter(None, [node["realtype"].title(), number, title]))
            body = "\n\n".join(filter(None, (self.blocks(c) for c in node.children[1:])))
        return "\n\n".join(filter(None, [self.anchors(node), quote(f"**{heading}.**\n\n{body}")]))

    def block_proof_node(self, node: nodes.Element) -> str:
        body = self.blocks(node[0])
        return body + ("\n\n∎" if body.endswith(("$$", "```", "|")) else " ∎")

    def block_admonition(self, node: nodes.Element) -> str:
        children = list(node.children)
        if children and isinstance(children[0], nodes.title):
            title = self.inlines(children.pop(0).children)
        else:
            title = {"seealso": "See also"}.get(node.tagname, node.tagname.title())
        dropdown = "dropdown" in node["classes"]
        with self.lines_joined(not dropdown):
            body = "\n\n".join(filter(None, (self.block(c) for c in children)))
        if dropdown:
            return fold(html_text(title), body)
        return quote(f"**{title}**\n\n{body}")

    def block_footnote(self, node: nodes.Element) -> str:
        label, *rest = node.children
        body = "\n\n".join(self.block(child) for child in rest)
        return f"<sup>[{label.astext()}]</sup> {body}"

    def block_compound(self, node: nodes.Element) -> str:
        return self.blocks(node)

    # Inline

    def inlines(self, children: Any, links: bool = True) -> str:
        out = ""
        for node in children:
            if isinstance(node, nodes.Text):
                text = escape(re.sub(r"\s+", " ", node.astext()))
                if self.in_table:
                    text = text.replace("|", r"\|")
                # After a literal "]" a "(" would make a link.
                out += ("\\" if text.startswith("(") and out.endswith("]") else "") + text
                continue
            if node.tagname in IGNORED:
                continue
            method = getattr(self, f"inline_{type(node).__name__}", None)
            if method is None:
                raise self.unsupported(node)
            if isinstance(node, nodes.reference) and not links:
                out += self.inlines(node.children)
            else:
                out += method(node)
        return out

    def inline_emphasis(self, node: nodes.Element) -> str:
        return f"*{self.inlines(node.children)}*"

    def inline_strong(self, node: nodes.Element) -> str:
        return f"**{self.inlines(node.children)}**"

    def inline_inline(self, node: nodes.Element) -> str:
        return self.inlines(node.children)

    inline_title_reference = inline_emphasis

    def inline_literal(self, node: nodes.Element) -> str:
        if "std-numref" in node["classes"] or (
            "xref" in node["classes"] and "py" not in node["classes"]
        ):
            return self.inlines(node.children)  # a label's text, not code
        text = node.astext()
        ticks = "`" * (1 + max(map(len, re.findall(r"`+", text)), default=0))
        pad = " " if text.startswith("`") or text.endswith("`") else ""
        if self.in_table and "|" in text:
            raise self.unsupported(node)
        return f"{ticks}{pad}{text}{pad}{ticks}"

    def inline_math(self, node: nodes.Element) -> str:
        tex = " ".join(node.astext().split())
        if self.in_table and "|" in tex:
            raise ExportError(
                f"{self.docname}.md: ${tex}$ stands in a table; write \\vert or \\Vert for bars."
            )
        return f"${tex}$"

    def inline_math_block(self, node: nodes.Element) -> str:
        return f"\n\n{self.block_math_block(node)}\n\n"

    def inline_abbreviation(self, node: nodes.Element) -> str:
        meaning = node.get("explanation", "")
        return f'<abbr title="{meaning}">{self.inlines(node.children)}</abbr>'

    def inline_footnote_reference(self, node: nodes.Element) -> str:
        return f"<sup>[{node.astext()}]</sup>"

    def inline_reference(self, node: nodes.Element) -> str:
        text = self.inlines(node.children)
        if node.get("refid"):
            return f"[{text}](#{node['refid']})"
        uri = node.get("refuri", "")
        if uri.startswith("#"):
            return f"[{text}]({uri})"
        return f"[{text}]({uri if '://' in uri or uri.startswith('mailto:') else self.site(uri)})"

    inline_number_reference = inline_reference

    def inline_image(self, node: nodes.Element) -> str:
        return self.block_image(node)

    def inline_target(self, node: nodes.Element) -> str:
        return self.inlines(node.children)

    # Numbers, anchors, addresses

    def number(self, node: nodes.Element, kind: str) -> str:
        numbers = self.env.toc_fignumbers.get(self.docname, {}).get(kind, {})
        found = next((numbers[i] for i in node["ids"] if i in numbers), ())
        return ".".join(map(str, found))

    def anchors(self, node: nodes.Element) -> str:
        """Return targets for links within this notebook, where there are any."""
        return "".join(f'<a id="{i}"></a>' for i in node["ids"] if i in self.local)

    def site(self, uri: str) -> str:
        """Return the address of another page: on the published site, else in this repository."""
        page, _, anchor = uri.partition("#")
        docname = str(Path(self.docname).parent / page) if page else self.docname
        docname = re.sub(r"\.html$", "", docname)
        _, site, real = repository(self.builder.config)
        if real:
            return f"{site}{docname}.html{'#' + anchor if anchor else ''}"
        name = Path(docname).name
        return f"{name}.ipynb" if chapter_number(docname) else f"../{name}.md"

    @contextmanager
    def lines_joined(self, joined: bool = True) -> Iterator[None]:
        """Keep display mathematics on one line: notebooks cut it out before they read Markdown."""
        self.one_line += joined
        yield
        self.one_line -= joined


IGNORED = {
    "comment", "target", "index", "meta", "substitution_definition", "docinfo", "field_list",
    "toctree", "bibliography", "system_message",
}  # fmt: skip


def wrap(node: nodes.Node) -> nodes.Element:
    """Return a parent for one node, for functions that write the children of theirs."""
    parent = nodes.Element()
    parent.children = [node]
    return parent


# --- The builder ---


class NotebookBuilder(Builder):
    """Write chapters as notebooks into the output folder; see the module's docstring."""

    name = "notebooks"
    format = "notebook"
    supported_image_types = ["image/png"]  # noqa: RUF012  (Sphinx declares it so)

    def init(self) -> None:
        """Do nothing: there is no template to prepare."""

    def get_outdated_docs(self) -> Iterator[str]:
        """Write every chapter: it takes a second."""
        yield from (name for name in sorted(self.env.found_docs) if chapter_number(name))

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
        if chapter_number(docname) is None:
            return
        url, _, _ = repository(self.config)
        setup = SETUP.format(url=url, ref=self.config.html_theme_options["repository_branch"])
        cells = ChapterWriter(self, docname, doctree).cells
        first = code_cell(setup.rstrip(), {"export_tags": ["hide-input"]})
        cells.insert(1, first)  # below the title
        for cell in cells:
            if re.search(r"^\s*(```+|:::+)\{|\{[a-z]+(:[a-z]+)*\}`", cell.source, re.MULTILINE):
                raise ExportError(
                    f"{docname}.md: markup is left in the notebook: {cell.source[:80]!r}"
                )
        name_cells(cells)
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "colab": {"provenance": [], "toc_visible": True},
        }
        target = Path(self.outdir) / f"{Path(docname).name}.ipynb"
        target.write_text(dump(notebook), encoding="utf-8")

    def finish(self) -> None:
        """Do nothing: there are no shared files."""


def normalise(text: str) -> str:
    """Replace what a fork's address changes: the set-up cell's address and links to the site."""
    text = re.sub(r'(REPOSITORY|REF) = \\?"[^"]*"', r"\1", text)
    text = re.sub(r"https://[\w.-]+\.github\.io/[\w.-]+/book/(\w+)\.html(#[\w.-]+)?", r"\1", text)
    return re.sub(r"\]\((?:\.\./)?(\w+)\.(?:ipynb|md)\)", r"](\1)", text)


def name_cells(cells: list[nbformat.NotebookNode]) -> None:
    """Give each cell an id that depends on its text alone, so that an edit changes few of them."""
    seen: dict[str, int] = {}
    for cell in cells:
        text = f"{cell.cell_type}\0{normalise(cell.source)}"
        name = hashlib.sha1(text.encode()).hexdigest()[:12]
        seen[name] = seen.get(name, 0) + 1
        cell["id"] = name if seen[name] == 1 else f"{name}-{seen[name]}"


def dump(notebook: nbformat.NotebookNode) -> str:
    """Return a notebook as text, the same bytes for the same content."""
    nbformat.validate(notebook)
    lines = nbformat.v4.rwbase.split_lines(copy.deepcopy(notebook))
    return json.dumps(lines, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def stand_in_figures(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Prepare a chapter's cells for reading without execution.

    Every cell must appear in the document tree, so tags that hide or remove are set aside; a cell
    that makes a numbered figure shows the stand-in.
    """
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata["export_tags"] = cell.metadata.pop("tags", [])
        cell.outputs = []
        if "figure" in cell.metadata.get("mystnb", {}):
            cell.outputs = [nbformat.v4.new_output("display_data", {"image/png": PIXEL})]
    return notebook


def build(root: Path, output: Path, work: Path) -> None:
    """Read the book in `root` without executing it, and write its notebooks into `output`.

    `work` holds what Sphinx remembers between two exports.
    """
    import myst_nb.core.read as reader
    from jupyter_book.sphinx import build_sphinx

    read = reader.read_myst_markdown_notebook
    reader.read_myst_markdown_notebook = lambda *args, **kwargs: stand_in_figures(
        read(*args, **kwargs)
    )
    try:
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
                "nb_mime_priority_overrides": [(NotebookBuilder.name, "image/png", 1)],
            },
            warningiserror=True,
            keep_going=True,
            quiet=True,
        )
    finally:
        reader.read_myst_markdown_notebook = read
    if status:
        raise ExportError("the notebooks were not exported: see the message above.")


def code_of(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the code of a notebook but for the set-up cell, which only names an address."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"][1:]


def checked_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return the cells whose printed text is stored and compared."""
    return [cell for cell in notebook.cells if CHECKED in cell.metadata.get("tags", [])]


def store_outputs(path: Path, old: Path, execute: bool, refresh: bool = False) -> None:
    """Fill in the text of the compared cells: from `old` while the code is the same, else run."""
    notebook = nbformat.read(path, as_version=4)
    cells = checked_cells(notebook)
    if not cells:
        return
    source = nbformat.read(old, as_version=4) if old.exists() else None
    kept = source is not None and code_of(source) == code_of(notebook)
    if source is None or not kept or refresh:
        if not execute:
            return
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError

        print(f"running {path.name} for its compared output", flush=True)
        source = copy.deepcopy(notebook)
        folder = {"metadata": {"path": str(old.parent)}}
        client = NotebookClient(source, timeout=600, kernel_name="python3", resources=folder)
        try:
            client.execute()
        except CellExecutionError as error:
            raise ExportError(f"{path.name} fails:\n{error}") from None
    for cell, ran in zip(cells, checked_cells(source), strict=True):
        if any(o.output_type != "stream" or o.name != "stdout" for o in ran.outputs):
            raise ExportError(f"{path.name}: a cell tagged {CHECKED} must only print text.")
        text = "".join(o.text for o in ran.outputs)
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)] if text else []
        cell.execution_count = 1  # nbval takes a cell without a count for one that never ran
    path.write_text(dump(notebook), encoding="utf-8")


def export(root: Path, target: Path, work: Path | None = None, refresh: bool = False) -> list[Path]:
    """Write the notebooks of the book in `root` into `target`; return their paths."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "build" / "notebooks"
        build(root, fresh, work or Path(scratch) / "doctrees")
        target.mkdir(parents=True, exist_ok=True)
        paths, failures = [], []
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
    """Return the names of the notebooks in `target` that differ from a fresh export."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "build" / "notebooks"
        build(root, fresh, Path(scratch) / "doctrees")
        names = {p.name for p in fresh.glob("*.ipynb")} | {p.name for p in target.glob("*.ipynb")}
        different = []
        for name in sorted(names):
            if (fresh / name).exists() and (target / name).exists():
                store_outputs(fresh / name, target / name, execute=False)
                texts = [(folder / name).read_text(encoding="utf-8") for folder in (fresh, target)]
                if normalise(texts[0]) == normalise(texts[1]):
                    continue
            different.append(name)
    return different


def set_repository(config: Path, name: str) -> None:
    """Write the GitHub repository `owner/name` into `_config.yml`, the one place that holds it."""
    if not re.fullmatch(r"[A-Za-z0-9](?:-?[A-Za-z0-9])*/[\w.-]+", name):
        raise ExportError(f"{name!r} is not a GitHub repository; write REPOSITORY=owner/name.")
    text = config.read_text(encoding="utf-8")
    text, found = re.subn(r"(?m)^(  url: https://github\.com/).+$", rf"\g<1>{name}", text)
    if found != 1:
        raise ExportError(
            f"{config.name} must hold one line `  url: https://github.com/owner/name`."
        )
    config.write_text(text, encoding="utf-8")


def main() -> int:
    """Run from the command line."""
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description="Export the chapters as notebooks.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if one is stale")
    parser.add_argument("--refresh", action="store_true", help="run chapters with compared output")
    parser.add_argument(
        "--repository", metavar="OWNER/NAME", help="write this into _config.yml first"
    )
    arguments = parser.parse_args()
    target = root / "book" / "notebooks"
    try:
        if arguments.repository:
            set_repository(root / "_config.yml", arguments.repository)
        if arguments.check:
            names = stale(root, target)
            print(
                "\n".join(f"out of date: {n}; run `make notebooks`" for n in names) or "up to date"
            )
            return 1 if names else 0
        paths = export(root, target, root / "_build" / ".doctrees-notebooks", arguments.refresh)
        print(f"{len(paths)} notebooks in {target.relative_to(root)}")
    except ExportError as error:
        print(f"notebook export: {error}", file=sys.stderr)
        return 1
    return 0


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the builder with Sphinx."""
    app.add_builder(NotebookBuilder)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    sys.exit(main())
