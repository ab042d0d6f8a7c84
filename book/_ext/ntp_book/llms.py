"""Beside the site what programs read: `llms.txt`, and each chapter as plain Markdown.

    python -m ntp_book.llms [--site _build/html]

`llms.txt` lists the pages with one line each; a chapter's text stands beside its page as
`max_margin.html.md`, made from the exported notebook.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup

from .addresses import notebook_name
from .numbering import read_chapters

TREE = Path(__file__).resolve().parents[3]


def markdown(notebook: nbformat.NotebookNode) -> str:
    """Return the text and the code of a notebook, without the set-up cell for Colab."""
    parts = []
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif place != 1:
            parts.append(f"```python\n{cell.source}\n```")
    return "\n\n".join(parts) + "\n"


def heading_and_description(page: Path) -> tuple[str, str]:
    """Return the title of a built page, and what its head says it is about."""
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    heading = soup.find("h1")
    title = "" if heading is None else heading.get_text().strip().removesuffix("#")
    meta = soup.find("meta", attrs={"name": "description"})
    return title, "" if meta is None else " ".join(str(meta["content"]).split())


def write(site: Path, root: Path = TREE) -> list[Path]:
    """Write all files into the site; return their paths."""
    title, description = heading_and_description(site / "book" / "intro.html")
    lines = [f"# {title}", "", f"> {description}", "", "## Chapters", ""]
    written = []
    for docname in read_chapters(root):
        notebook = root / "book" / "notebooks" / notebook_name(docname)
        target = site / f"{docname}.html.md"
        text = markdown(nbformat.read(notebook, as_version=4))
        target.write_text(text, encoding="utf-8")
        written.append(target)
        name, about = heading_and_description(site / f"{docname}.html")
        lines.append(f"- [{name}]({docname}.html.md): {about}")
    lines += [
        "",
        "## The package",
        "",
        "- [API](book/api.html): every public function, with its mathematics",
    ]
    written.append(site / "llms.txt")
    written[-1].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Write llms.txt and the chapters as Markdown.")
    parser.add_argument("--site", type=Path, default=TREE / "_build" / "html")
    site = parser.parse_args(arguments).site
    if not (site / "book" / "intro.html").exists():
        print(f"There is no site in {site}; run make book first.", file=sys.stderr)
        return 1
    print(f"{len(write(site))} files in {site}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
