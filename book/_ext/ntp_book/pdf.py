"""The whole book as one PDF, printed by a headless Chromium from the built site.

    python -m ntp_book.pdf [--site _build/html] [--out _build/geometry.pdf]

All pages of `_toc.yml` are put into one page, everything unfolded, each chapter on a fresh sheet.
It is printed twice: the first print says on which sheet each chapter begins, the second has these
numbers in its table of contents. Moving figures show their stills.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from sphinx_external_toc.parsing import parse_toc_yaml

TREE = Path(__file__).resolve().parents[3]
FOOTER = (
    '<div style="width: 100%; text-align: center; font: 9px sans-serif; color: #555">'
    '<span class="pageNumber"></span></div>'
)
MARGINS = {"top": "18mm", "bottom": "18mm", "left": "18mm", "right": "18mm"}
# Only on paper: the sheet is the page, and what has room on the site has it here.
STYLE = """
@page { size: A4; }
html, body { background: #fff; font-size: 11pt; height: auto; }
.bd-article { font-size: 1rem; max-width: none; padding: 0 !important; }
.bd-article section > *, .bd-article .ntp-fold-body > * { max-width: none !important; }
article.bd-article, nav.contents { break-before: page; }
.title-page { padding-top: 40%; text-align: center; }
nav.contents ol { list-style: none; padding: 0; }
nav.contents li { align-items: baseline; display: flex; gap: 0.4rem; }
nav.contents li::after { color: #777; content: attr(data-sheet); order: 3; }
nav.contents li > span { border-bottom: 1px dotted #999; flex: 1; order: 2; }
nav.contents .part { font-weight: 650; margin-top: 0.8rem; }
a.headerlink, .ntp-controls, .ntp-numbers, .copybtn { display: none !important; }
pre { font-size: 8.5pt !important; overflow: visible !important; white-space: pre-wrap !important; }
figure { break-inside: avoid; }
"""
# A formula that is still wider than the sheet shrinks until it is not; how many do not is returned.
FIT = """() => {
  let cut = 0;
  for (const drawn of document.querySelectorAll('mjx-container')) {
    const formula = drawn.querySelector('mjx-math');
    const line = drawn.closest('p, li, dd, td, figcaption, div.math, div');
    for (let k = 0; k < 12; k++) {
      const over = formula.getBoundingClientRect().right - line.getBoundingClientRect().right;
      if (over <= 1) break;
      drawn.style.fontSize = `${0.93 * parseFloat(getComputedStyle(drawn).fontSize)}px`;
    }
    const over = formula.getBoundingClientRect().right - line.getBoundingClientRect().right;
    cut += over > 1;
  }
  return cut;
}"""


class PrintError(Exception):
    """Why there is no PDF."""


def parts(root: Path) -> list[tuple[str, list[str]]]:
    """Return the captions of the parts with their pages, as _toc.yml lists them."""
    site_map = parse_toc_yaml(root / "_toc.yml")
    found = [(part.caption or "", list(part.files())) for part in site_map.root.subtrees]
    return [("", [site_map.root.docname]), *found]


def name_of(page: str, anchor: str = "") -> str:
    """Return the id that a page, or a place in it, has in the single page."""
    return f"{page.replace('/', '-')}--{anchor}" if anchor else page.replace("/", "-")


def own_address(page: str, link: str, pages: Sequence[str]) -> str:
    """Return a link of a page as it must read in the single page, which stands beside the pages."""
    if "://" in link or link.startswith(("mailto:", "data:")):
        return link
    path, _, anchor = link.partition("#")
    target = page if not path else (Path(page).parent / path).as_posix()
    target = target.removesuffix(".html")
    return f"#{name_of(target, anchor)}" if target in pages else link


def article_of(site: Path, page: str, pages: Sequence[str]) -> Tag:
    """Return the text of a page, unfolded, with ids and links that are unique in the book."""
    soup = BeautifulSoup((site / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
    article = soup.find("article")
    if not isinstance(article, Tag):
        raise PrintError(f"{page}.html has no article; build the site with `make book`.")
    for script in article.find_all("script"):
        script.decompose()
    for details in article.find_all("details"):
        details["open"] = ""
    for node in article.find_all(id=True):
        node["id"] = name_of(page, str(node["id"]))
    for link in article.find_all("a", href=True):
        link["href"] = own_address(page, str(link["href"]), pages)
    article["id"] = name_of(page)
    return article


def head_of(site: Path, page: str) -> str:
    """Return the styles of a page, and the scripts that draw and fit formulas."""
    soup = BeautifulSoup((site / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
    styles = [str(link) for link in soup.find_all("link", rel="stylesheet")]
    scripts = [
        str(script)
        for script in soup.find_all("script")
        if "MathJax" in script.get_text() or "mathjax" in str(script.get("src", ""))
    ]
    return "\n".join([*dict.fromkeys(styles), *scripts, f"<style>{STYLE}</style>"])


def contents(
    book: Sequence[tuple[str, list[str]]], titles: Mapping[str, str], sheets: Mapping[str, int]
) -> str:
    """Return the table of contents; before the first print the numbers of sheets are missing."""
    lines = []
    for caption, pages in book:
        if caption:
            lines.append(f'<li class="part">{caption}</li>')
        for page in pages:
            sheet = sheets.get(name_of(page), "")
            lines.append(
                f'<li data-sheet="{sheet}"><a href="#{name_of(page)}">{titles[page]}</a>'
                "<span></span></li>"
            )
    return f'<nav class="contents"><h1>Contents</h1><ol>{"".join(lines)}</ol></nav>'


def title_of(article: Tag) -> str:
    """Return the heading of a page, with its number."""
    heading = article.find("h1")
    return "" if heading is None else heading.get_text().strip().removesuffix("#")


def whole_book(site: Path, root: Path, sheets: Mapping[str, int]) -> str:
    """Return the book as one page of HTML, to be saved in the folder of its first page."""
    book = parts(root)
    pages = [page for _, of_part in book for page in of_part]
    articles = {page: article_of(site, page, pages) for page in pages}
    titles = {page: title_of(article) for page, article in articles.items()}
    first = pages[0]
    # The page with the most styles is one with code and moving figures.
    head = max((head_of(site, page) for page in pages), key=len)
    return (
        f'<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f"<title>{titles[first]}</title>{head}</head><body>"
        f'<div class="title-page bd-article"><h1>{titles[first]}</h1></div>'
        f"{contents(book, titles, sheets)}{''.join(map(str, articles.values()))}</body></html>"
    )


def sheets_of(pdf: bytes) -> dict[str, int]:
    """Return the sheet of each named place in a PDF, counted from 1."""
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(pdf))
    return {
        name.removeprefix("/"): (reader.get_destination_page_number(place) or 0) + 1
        for name, place in reader.named_destinations.items()
    }


def print_page(address: str) -> bytes:
    """Print a page once its formulas are drawn; PrintError where one does not fit."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 660, "height": 1000})  # the sheet's own width
        page.set_default_timeout(0)
        page.emulate_media(media="print")
        page.goto(address)
        page.evaluate("() => window.MathJax?.startup?.promise")
        cut = page.evaluate(FIT)
        if cut:
            raise PrintError(f"{cut} formulas are wider than the sheet.")
        pdf = page.pdf(
            format="A4",
            margin=MARGINS,
            outline=True,
            tagged=True,
            print_background=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
        )
        browser.close()
    return bytes(pdf)


def print_book(site: Path, root: Path = TREE) -> bytes:
    """Return the whole book as a PDF."""
    if not (site / "book").is_dir():
        raise PrintError(f"There is no site in {site}; run make book first.")
    pdf, sheets = b"", dict[str, int]()
    for _ in range(2):
        html = whole_book(site, root, sheets)
        # In the folder of the pages, so that their relative addresses hold.
        with tempfile.NamedTemporaryFile("w", suffix=".html", dir=site / "book") as file:
            file.write(html)
            file.flush()
            pdf = print_page(Path(file.name).as_uri())
        sheets = sheets_of(pdf)
    return pdf


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the book; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Print the built site as one PDF.")
    parser.add_argument("--site", type=Path, default=TREE / "_build" / "html")
    parser.add_argument("--out", type=Path, default=TREE / "_build" / "geometry.pdf")
    options = parser.parse_args(arguments)
    try:
        pdf = print_book(options.site)
    except ModuleNotFoundError as error:
        print(
            f"{error.name} is missing: pip install -c constraints.txt playwright pypdf",
            file=sys.stderr,
        )
        return 1
    except PrintError as error:
        print(error, file=sys.stderr)
        return 1
    options.out.write_bytes(pdf)
    print(f"{options.out}: {len(pdf) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
