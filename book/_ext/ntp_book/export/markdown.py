"""From Sphinx's document tree to plain CommonMark.

Every `block_*` and `inline_*` method is named after a class of nodes and returns Markdown. A node
without a method is an error that names its place: nothing is left out silently.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.builders import Builder
from sphinx.errors import SphinxError

from ..addresses import addresses

# What only Sphinx understands: directives and roles.
MYST = re.compile(r"(?m)^\s*(?:```+|:::+)\{|\{[a-z]+(?::[a-z]+)*\}`")
IGNORED = {
    "comment", "target", "index", "meta", "substitution_definition", "docinfo", "field_list",
    "toctree", "bibliography", "system_message",
}  # fmt: skip


class ExportError(SphinxError):
    """A construct that has no clean CommonMark form, or a document that cannot be exported."""

    category = "Notebook export"


def myst_leftover(markdown: str) -> str | None:
    """Return the place where Markdown contains a directive or a role of MyST, or None."""
    found = MYST.search(markdown)
    return markdown[found.start() : found.start() + 80].strip() if found else None


def escape(text: str) -> str:
    """Protect what Markdown or a notebook's mathematics would otherwise read as markup."""
    text = re.sub(r"([\\`*_<$~])", r"\\\1", text)
    text = re.sub(r"&(?=#?\w+;)", r"\&", text)
    return re.sub(r"\](?=[(\[])", r"]\\", text)


def quote(markdown: str) -> str:
    """Put `> ` before every line."""
    return "\n".join(f"> {line}" if line else ">" for line in markdown.split("\n"))


def folded(summary: str, body: str) -> str:
    """Return a folded section: HTML that CommonMark renderers let pass, Markdown inside."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def html_text(markdown: str) -> str:
    """Turn inline Markdown into the HTML that a <summary> needs."""
    html = re.sub(r"\\([\\`*_<$~&\[\](])", lambda m: m[1].replace("<", "&lt;"), markdown)
    html = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html)
    return re.sub(r"\*(.+?)\*", r"<i>\1</i>", html)


def paragraphs(*parts: str) -> str:
    """Join the parts that are not empty, with blank lines between them."""
    return "\n\n".join(filter(None, parts))


def longest_run(character: str, text: str) -> int:
    """Return the length of the longest run of a character: a fence or a span must be longer."""
    return max(map(len, re.findall(f"{re.escape(character)}+", text)), default=0)


class InlineWriter:
    """Write what stands within a paragraph."""

    def __init__(self, builder: Builder, docname: str) -> None:
        self.builder = builder
        self.docname = docname
        self.env = builder.env
        self.in_table = False
        self.one_line = 0  # > 0: display mathematics must stay on one line
        self.attachments: dict[str, dict[str, str]] = {}

    def error(self, message: str) -> ExportError:
        """Return an error that names the page."""
        return ExportError(f"{self.docname}.md: {message}")

    def unsupported(self, node: nodes.Node) -> ExportError:
        """Return the error for a node that has no CommonMark form."""
        text = node.astext()[:60].replace("\n", " ")
        line = f":{node.line}" if getattr(node, "line", None) else ""
        return ExportError(
            f"{self.docname}.md{line}: `{type(node).__name__}` has no CommonMark form here "
            f"({text!r}); write it in another way, or teach it to ntp_book/export/markdown.py."
        )

    def inlines(self, children: Iterable[nodes.Node], links: bool = True) -> str:
        """Write inline nodes one after the other; without links only their texts."""
        out = ""
        for node in children:
            part = self.text(node) if isinstance(node, nodes.Text) else self.inline(node, links)
            # After a literal "]" a "(" would make a link.
            out += f"\\{part}" if part.startswith("(") and out.endswith("]") else part
        return out

    def text(self, node: nodes.Text) -> str:
        """Write plain text, each run of white space as one space."""
        text = escape(re.sub(r"\s+", " ", node.astext()))
        return text.replace("|", r"\|") if self.in_table else text

    def inline(self, node: nodes.Element, links: bool) -> str:
        """Write one inline node; "" for those that show nothing."""
        if node.tagname in IGNORED:
            return ""
        if isinstance(node, nodes.reference) and not links:
            return self.inlines(node.children)
        method: Callable[[Any], str] | None = getattr(self, f"inline_{type(node).__name__}", None)
        if method is None:
            raise self.unsupported(node)
        return method(node)

    def inline_emphasis(self, node: nodes.Element) -> str:
        """Write emphasised text."""
        return f"*{self.inlines(node.children)}*"

    inline_title_reference = inline_emphasis

    def inline_strong(self, node: nodes.Element) -> str:
        """Write strong text."""
        return f"**{self.inlines(node.children)}**"

    def inline_inline(self, node: nodes.Element) -> str:
        """Write text that only has a class."""
        return self.inlines(node.children)

    inline_target = inline_inline

    def inline_literal(self, node: nodes.Element) -> str:
        """Write code; a cross-reference's text is marked as literal, and is none."""
        classes = node["classes"]
        if "std-numref" in classes or ("xref" in classes and "py" not in classes):
            return self.inlines(node.children)
        text = node.astext()
        if self.in_table and "|" in text:
            raise self.unsupported(node)
        ticks = "`" * (1 + longest_run("`", text))
        pad = " " if text.startswith("`") or text.endswith("`") else ""
        return f"{ticks}{pad}{text}{pad}{ticks}"

    def inline_math(self, node: nodes.Element) -> str:
        """Write mathematics within a line."""
        tex = " ".join(node.astext().split())
        if self.in_table and "|" in tex:
            raise self.error(f"${tex}$ stands in a table; write \\vert or \\Vert for bars.")
        return f"${tex}$"

    def inline_abbreviation(self, node: nodes.Element) -> str:
        """Write an abbreviation with its meaning."""
        meaning = node.get("explanation", "")
        return f'<abbr title="{meaning}">{self.inlines(node.children)}</abbr>'

    def inline_footnote_reference(self, node: nodes.Element) -> str:
        """Write a footnote's mark."""
        return f"<sup>[{node.astext()}]</sup>"

    def inline_reference(self, node: nodes.Element) -> str:
        """Write a link; where the book's site has no address, its text alone."""
        text = self.inlines(node.children)
        uri = f"#{node['refid']}" if node.get("refid") else node.get("refuri", "")
        if "://" not in uri and not uri.startswith("mailto:"):
            uri = self.on_the_site(uri)
        return f"[{text}]({uri})" if uri else text

    inline_number_reference = inline_reference

    def on_the_site(self, uri: str) -> str:
        """Return the published address of a page's link to the book, "" while there is none.

        Links to places in a notebook do nothing in Colab, so these lead to the site, too.
        """
        found = addresses(self.builder.config)
        if not found.real:
            return ""
        page, hash_mark, anchor = uri.partition("#")
        docname = self.docname
        if page:
            docname = (Path(self.docname).parent / page.removesuffix(".html")).as_posix()
        return f"{found.site}{docname}.html{hash_mark}{anchor}"

    def number(self, node: nodes.Element, kind: str) -> str:
        """Return the number of a figure, table, theorem, exercise or equation; "" without one."""
        numbers = self.env.toc_fignumbers.get(self.docname, {}).get(kind, {})
        found = next((numbers[i] for i in node["ids"] if i in numbers), ())
        return ".".join(map(str, found))


class BlockWriter(InlineWriter):
    """Write paragraphs, lists, tables, mathematics, boxes and pictures."""

    def block(self, node: nodes.Node) -> str:
        """Write one node; "" for those that show nothing."""
        if isinstance(node, nodes.Element) and node.tagname in IGNORED:
            return ""
        if "realtype" in getattr(node, "attributes", {}):
            return self.theorem(node)
        name = f"block_{type(node).__name__}"
        method: Callable[[Any], str] | None = getattr(self, name, None)
        if method is None and isinstance(node, nodes.Admonition):
            method = self.block_admonition
        if method is None:
            raise self.unsupported(node)
        return method(node)

    def blocks(self, children: Iterable[nodes.Node]) -> str:
        """Write nodes one below the other."""
        return paragraphs(*(self.block(child) for child in children))

    @contextmanager
    def lines_joined(self) -> Iterator[None]:
        """Keep display mathematics on one line: notebooks cut it out before they read Markdown."""
        self.one_line += 1
        yield
        self.one_line -= 1

    def block_paragraph(self, node: nodes.Element) -> str:
        """Write a paragraph."""
        text = self.inlines(node.children)
        # At the start of a line these would begin a heading, a quotation or a list.
        text = re.sub(r"^([#>+-])", r"\\\1", text)
        return re.sub(r"^(\d+)([.)])(?= )", r"\1\\\2", text)

    def block_fold(self, node: nodes.Element) -> str:
        """Write a fold that holds no code cell."""
        summary = html_text(self.inlines(node[0].children, links=False))
        return folded(summary, self.blocks(node.children[1:]))

    def block_compound(self, node: nodes.Element) -> str:
        """Write what only groups its content."""
        return self.blocks(node.children)

    def block_bullet_list(self, node: nodes.Element) -> str:
        """Write a list with bullets."""
        return self.list_items(node, lambda i: "- ")

    def block_enumerated_list(self, node: nodes.Element) -> str:
        """Write a list with numbers."""
        if node.get("enumtype", "arabic") != "arabic":
            raise self.unsupported(node)
        start = node.get("start", 1)
        return self.list_items(node, lambda i: f"{start + i}. ")

    def list_items(self, node: nodes.Element, marker: Callable[[int], str]) -> str:
        """Write the items of a list, each indented below its marker."""
        items = []
        for i, item in enumerate(node.children):
            with self.lines_joined():
                body = self.blocks(item.children) or " "
            indent = " " * len(marker(i))
            lines = [f"{indent}{line}" if line else "" for line in body.split("\n")]
            items.append(marker(i) + "\n".join(lines)[len(indent) :])
        loose = any(len(item.children) > 1 for item in node.children)
        return ("\n\n" if loose else "\n").join(items)

    def block_definition_list(self, node: nodes.Element) -> str:
        """Write terms with their definitions, as a list."""
        items = []
        for item in node.children:
            terms = ", ".join(f"**{self.inlines(t.children)}**" for t in item.findall(nodes.term))
            body = self.blocks(next(item.findall(nodes.definition)).children)
            items.append("- " + f"{terms}: {body}".replace("\n", "\n  "))
        return "\n".join(items)

    def block_block_quote(self, node: nodes.Element) -> str:
        """Write a quotation."""
        with self.lines_joined():
            return quote(self.blocks(node.children))

    def block_literal_block(self, node: nodes.Element) -> str:
        """Write code that is shown, not run."""
        text = node.astext().rstrip("\n")
        fence = "`" * max(3, 1 + longest_run("`", text))
        language = node.get("language", "")
        return f"{fence}{'' if language in ('none', 'default') else language}\n{text}\n{fence}"

    def block_math_block(self, node: nodes.Element) -> str:
        """Write displayed mathematics, with its number."""
        number = self.number(node, "displaymath") if node.get("label") else ""
        tex = node.astext().strip()
        tag = rf" \tag{{{number}}}" if number else ""
        if not self.one_line:
            return f"$$\n{tex}{tag}\n$$"
        if re.search(r"(?<!\\)%", tex):
            raise self.error(f"a TeX comment in {tex[:40]!r}: remove it.")
        return f"$$ {' '.join(tex.split())}{tag} $$"

    def inline_math_block(self, node: nodes.Element) -> str:
        """Write displayed mathematics that stands within a paragraph."""
        return f"\n\n{self.block_math_block(node)}\n\n"

    def block_transition(self, node: nodes.Element) -> str:
        """Write a horizontal rule."""
        return "---"

    def block_table(self, node: nodes.Element) -> str:
        """Write a table; it needs a head, and cells of one line."""
        self.in_table = True
        rows = [
            "| " + " | ".join(self.blocks(entry.children) for entry in row.children) + " |"
            for row in node.findall(nodes.row)
        ]
        self.in_table = False
        if any("\n" in row for row in rows) or not list(node.findall(nodes.thead)):
            raise self.unsupported(node)
        width = len(next(node.findall(nodes.row)).children)
        rows.insert(1, "|" + " --- |" * width)
        caption = ""
        if isinstance(node[0], nodes.title):
            number = self.number(node, "table")
            caption = f"**Table {number}.** {self.inlines(node[0].children)}"
        return paragraphs(caption, "\n".join(rows))

    def block_figure(self, node: nodes.Element) -> str:
        """Write a picture with its caption."""
        image = next(node.findall(nodes.image))
        return paragraphs(self.block_image(image), self.caption(node))

    def block_image(self, node: nodes.Element) -> str:
        """Write a picture, and put it into the notebook."""
        path = Path(self.builder.srcdir) / node["uri"]
        if path.suffix != ".png":
            raise self.error(f"{node['uri']}: static pictures must be PNG.")
        if not path.is_file():
            raise self.error(f"there is no picture {node['uri']}.")
        data = base64.b64encode(path.read_bytes()).decode()
        self.attachments[path.name] = {"image/png": data}
        return f"![{escape(node.get('alt', ''))}](attachment:{path.name})"

    inline_image = block_image

    def caption(self, figure: nodes.Element) -> str:
        """Write a figure's number, caption and legend."""
        number = self.number(figure, "figure")
        label = f"**Figure {number}.** " if number else ""
        texts = [self.inlines(c.children) for c in figure.findall(nodes.caption)]
        legends = [self.blocks(c.children) for c in figure.findall(nodes.legend)]
        return paragraphs(label + " ".join(texts), *legends)

    def theorem(self, node: nodes.Element) -> str:
        """Write a theorem, lemma, definition or the like as a quotation."""
        number = self.number(node, node["countertype"])
        with self.lines_joined():
            title = self.inlines(node[0].children).strip()
            heading = " ".join(filter(None, [node["realtype"].title(), number, title]))
            body = paragraphs(*(self.blocks(child.children) for child in node.children[1:]))
        return quote(f"**{heading}.**\n\n{body}")

    def block_proof_node(self, node: nodes.Element) -> str:
        """Write a proof."""
        body = self.blocks(node[0].children)
        return body + ("\n\n∎" if body.endswith(("$$", "```", "|")) else " ∎")

    def block_admonition(self, node: nodes.Element) -> str:
        """Write a box as a quotation, a box that opens as a folded section."""
        children = list(node.children)
        is_folded = "dropdown" in node["classes"]
        if children and isinstance(children[0], nodes.title):
            title = self.inlines(children.pop(0).children, links=not is_folded)
        else:
            title = {"seealso": "See also"}.get(node.tagname, node.tagname.title())
        if is_folded:
            return folded(html_text(title), self.blocks(children))
        with self.lines_joined():
            body = self.blocks(children)
        return quote(f"**{title}**\n\n{body}")

    def block_footnote(self, node: nodes.Element) -> str:
        """Write a footnote."""
        label, *rest = node.children
        return f"<sup>[{label.astext()}]</sup> {self.blocks(rest)}"
