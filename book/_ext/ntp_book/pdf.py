"""The whole book as one PDF, printed by a headless Chromium from the built site.

    python -m ntp_book.pdf [--site _build/html] [--out _build/geometry.pdf]

Each page of `_toc.yml` is printed by itself, everything unfolded, on sheets that are numbered on
from the page before; then the sheets are put together, with title, table of contents and bookmarks.
(All pages in one document take a browser a quarter of an hour and most of its memory.) In the
single prints, links within the book are addresses of a host that does not exist; in the bound book
they lead to the place they mean. Moving figures show their stills. The single prints are kept in
the folder `pdf` beside the site, and are used again.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, Tag
from sphinx_external_toc.parsing import parse_toc_yaml

TREE = Path(__file__).resolve().parents[3]
# Stands for "this book" in the links of a single print; nobody can register a name below .invalid.
THIS_BOOK = "https://book.invalid/#"
PROMPT = "Hide the code"  # nb_code_prompt_hide in _config.yml
# A machine without a font of emoji prints empty boxes for these two, which stand in the table of
# execution; the others are in every font of symbols.
PLAIN_MARKS = {"\N{WHITE HEAVY CHECK MARK}": "\N{CHECK MARK}", "\N{CROSS MARK}": "\N{BALLOT X}"}
SECONDS = 300  # for one page; the longest takes ten on a quiet machine
WIDTH = 658  # of an A4 sheet between its margins, in pixels
# Only on paper: the sheet is the page, and what has room on the site has it here.
STYLE = """
@page {
  margin: 18mm;
  size: A4;
  @bottom-center { color: #555; content: counter(page); font: 8pt sans-serif; }
}
html, body { background: #fff; font-size: 11pt; height: auto; }
.bd-article { font-size: 1rem; max-width: none; padding: 0 !important; }
.bd-article section > *, .bd-article .ntp-fold-body > * { max-width: none !important; }
nav.contents { break-before: page; }
.title-page { padding-top: 40%; text-align: center; }
nav.contents ol { list-style: none; padding: 0; }
nav.contents li { align-items: baseline; display: flex; gap: 0.4rem; }
nav.contents li::after { color: #777; content: attr(data-sheet); order: 3; }
nav.contents li > span { border-bottom: 1px dotted #999; flex: 1; order: 2; }
nav.contents .part { font-weight: 650; margin-top: 0.8rem; }
a.headerlink, .ntp-controls, .ntp-numbers, .copybtn { display: none !important; }
.toctree-wrapper { display: none; } /* empty, but its margin may take a sheet */
pre { font-size: 8.5pt !important; overflow: visible !important; white-space: pre-wrap !important; }
pre { overflow-wrap: anywhere; }
.sd-card, .sd-card p { break-inside: avoid; }
/* A text and its counts: on paper nothing scrolls. */
.ntp-interactive .ntp-scroll { max-height: none; overflow: visible; }
.ntp-interactive textarea { field-sizing: content; height: auto; resize: none; }
/* A box that scrolls would never be cut by the end of a sheet. */
.bd-article :is(.cell, .cell_input, .cell_output, details, .admonition, pre),
.bd-article div[class*="highlight"] {
  break-inside: auto !important;
  overflow: visible !important;
}
.bd-article div[class*="highlight"] { display: block !important; }
/* Long names break, so that the columns beside them keep their words whole. */
td :is(code, code .pre) { overflow-wrap: anywhere; white-space: normal !important; }
/* What no smaller type makes fit: the words in the heads of its columns are cut. */
table.many-columns :is(th, td) { padding: 0.1rem 0.25rem; }
table.many-columns thead :is(th, p) { overflow-wrap: anywhere; white-space: normal; }
table.many-columns thead th { min-width: 3rem; }
div.math { break-before: avoid; break-inside: avoid; }
p, pre { orphans: 3; widows: 3; }
summary { break-after: avoid; } /* a title is not left behind by what it opens */
figure { break-inside: avoid; }
"""
WITHOUT_NUMBER = "@page :first { @bottom-center { content: none; } }"
# A formula or a table that is wider than its room shrinks until it is not. Returned is what is
# still cut: by the edge of the sheet, or by a box that scrolls on the site.
FIT = """() => {
  const edge = document.body.getBoundingClientRect().right;
  const boxes = 'div.math, td, figure, .cell_output, .pst-scrollable-table-container';
  const right = (part) => part.getBoundingClientRect().right;
  const room = (part) => {
    const box = part.parentElement.closest(boxes);
    return box ? Math.min(edge, right(box)) : edge;
  };
  for (const drawn of document.querySelectorAll('mjx-container')) {
    const formula = drawn.querySelector('mjx-math');
    const line = drawn.closest('p, li, dd, td, figcaption, summary, div') ?? document.body;
    for (let k = 0; k < 12; k++) {
      if (right(formula) <= right(line) + 1) break;
      drawn.style.fontSize = `${0.93 * parseFloat(getComputedStyle(drawn).fontSize)}px`;
    }
  }
  const shrink = (table, least) => {
    for (let zoom = 1; right(table) > room(table) + 1 && zoom > least; zoom -= 0.05) {
      table.style.zoom = zoom - 0.05;
    }
  };
  for (const table of document.querySelectorAll('article table')) {
    shrink(table, 0.65);
    if (right(table) > room(table) + 1) {
      table.classList.add('many-columns');
      table.style.zoom = 1;
      shrink(table, 0.4);
    }
  }
  const cut = [];
  const parts = 'mjx-math, img, svg, pre, table, h1, h2, h3, p';
  for (const part of document.querySelectorAll(`article :is(${parts})`)) {
    const drawn = part.getClientRects().length && !part.closest('mjx-assistive-mml, svg svg');
    if (drawn && right(part) > room(part) + 2) {
      cut.push(`${part.nodeName.toLowerCase()} ${part.textContent.trim().slice(0, 50)}`);
    }
  }
  return cut;
}"""


class PrintError(Exception):
    """Why there is no PDF."""


@dataclass
class Sheets:
    """A page as it was printed.

    number : the sheet on which it begins, counted from 1.
    places : where each place begins that links or bookmarks name: sheet, and height on it.
    """

    pdf: bytes
    number: int
    count: int
    places: dict[str, tuple[int, float]]


@dataclass
class Page:
    """A page of the site, made ready for the book.

    sections : the names and titles of its sections, for the bookmarks.
    links : the names of the places that its links lead to.
    """

    name: str
    title: str
    head: str
    article: Tag
    sections: list[tuple[str, str]] = field(default_factory=list)
    links: set[str] = field(default_factory=set)


def parts(root: Path) -> list[tuple[str, list[str]]]:
    """Return the captions of the parts with their pages, as _toc.yml lists them."""
    site_map = parse_toc_yaml(root / "_toc.yml")
    found = [(part.caption or "", list(part.files())) for part in site_map.root.subtrees]
    return [("", [site_map.root.docname]), *found]


def name_of(page: str, anchor: str = "") -> str:
    """Return the name that a page, or a place in it, has in the book."""
    return f"{page.replace('/', '-')}--{anchor}" if anchor else page.replace("/", "-")


def own_address(page: str, link: str, pages: Sequence[str]) -> str:
    """Return a link of a page as it must read in its print."""
    if "://" in link or link.startswith(("mailto:", "data:")):
        return link
    path, _, anchor = link.partition("#")
    target = page if not path else (Path(page).parent / path).as_posix()
    target = target.removesuffix(".html")
    return f"{THIS_BOOK}{name_of(target, anchor)}" if target in pages else link


def title_of(heading: Tag | None) -> str:
    """Return the text of a heading, with its number."""
    return "" if heading is None else " ".join(heading.get_text().split()).removesuffix("#")


def unfold(article: Tag) -> None:
    """Open all folds, and take out what only a screen has."""
    for script in article.find_all("script"):
        script.decompose()
    for details in article.find_all("details"):
        details["open"] = ""
    for prompt in article.select("summary > .expanded"):
        if prompt.get_text() == PROMPT:
            prompt.string = "Code"  # nobody can hide it on paper
    for text in article.find_all(string=list(PLAIN_MARKS)):
        text.replace_with(PLAIN_MARKS[text])


def read_page(site: Path, page: str, pages: Sequence[str]) -> Page:
    """Return a page of the site, unfolded, with names and links that hold in the whole book."""
    soup = BeautifulSoup((site / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
    article = soup.find("article")
    if not isinstance(article, Tag):
        raise PrintError(f"{page}.html has no article; build the site with `make book`.")
    found = Page(name_of(page), title_of(article.find("h1")), head_of(soup), article)
    unfold(article)
    for node in article.find_all(id=True):
        node["id"] = name_of(page, str(node["id"]))
    for link in article.find_all("a", href=True):
        link["href"] = own_address(page, str(link["href"]), pages)
        if str(link["href"]).startswith(THIS_BOOK):
            found.links.add(str(link["href"]).removeprefix(THIS_BOOK))
    for heading in article.find_all("h2"):
        section = heading.find_parent("section", id=True)
        if section is not None:
            found.sections.append((str(section["id"]), title_of(heading)))
    article["id"] = found.name
    return found


def head_of(soup: BeautifulSoup) -> str:
    """Return the styles of a page, and the scripts that draw formulas."""
    styles = [str(link) for link in soup.find_all("link", rel="stylesheet")]
    scripts = [
        str(script)
        for script in soup.find_all("script")
        if "MathJax" in script.get_text() or "mathjax" in str(script.get("src", ""))
    ]
    return "\n".join([*dict.fromkeys(styles), *scripts])


def document(head: str, body: str, before: int, places: Sequence[str], style: str = "") -> str:
    """Return what is printed: `before` sheets come first, `places` are noted in the print.

    Chromium notes the places that a link of the same document leads to, be it hidden.
    """
    noted = "".join(f'<a href="#{html.escape(place)}"></a>' for place in places)
    return (
        '<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f"{head}<style>{STYLE}{style} html {{ counter-reset: page {before}; }}</style></head>"
        f"<body>{body}<div hidden>{noted}</div></body></html>"
    )


def contents(
    book: Sequence[tuple[str, list[str]]], titles: Mapping[str, str], sheets: Mapping[str, int]
) -> str:
    """Return the table of contents; before the first print the numbers of sheets are missing."""
    lines = []
    for caption, pages in book:
        if caption:
            lines.append(f'<li class="part">{html.escape(caption)}</li>')
        for page in pages:
            name = name_of(page)
            lines.append(
                f'<li data-sheet="{sheets.get(name, "")}"><a href="{THIS_BOOK}{name}">'
                f"{html.escape(titles[page])}</a><span></span></li>"
            )
    return f'<nav class="contents"><h1>Contents</h1><ol>{"".join(lines)}</ol></nav>'


class Printer:
    """A browser that prints pages; their relative addresses hold as in `folder`.

    kept : where prints are kept, by what was printed: a print that was interrupted goes on where it
        was, and after a change only what comes later is printed again.
    """

    def __init__(self, browser: Any, folder: Path, kept: Path) -> None:
        self.browser = browser
        self.folder = folder
        self.kept = kept
        kept.mkdir(parents=True, exist_ok=True)

    def print(self, name: str, text: str, before: int) -> Sheets:
        """Print one document once its formulas are drawn; PrintError where something is cut."""
        # Names of styles, scripts and pictures in the text change with their content.
        digest = hashlib.sha256(f"{text}{FIT}".encode()).hexdigest()[:16]
        path = self.kept / f"{name}.{digest}.pdf"
        if not path.exists():
            pdf = self.of_text(name, text)
            for former in self.kept.glob(f"{name}.*.pdf"):
                former.unlink()
            path.write_bytes(pdf)
        return read_sheets(path.read_bytes(), before)

    def of_text(self, name: str, text: str) -> bytes:
        """Return the print of a document."""
        with tempfile.NamedTemporaryFile("w", suffix=".html", dir=self.folder) as file:
            file.write(text)
            file.flush()
            page = self.browser.new_page(viewport={"width": WIDTH, "height": 1000})
            try:
                return self.of_page(page, name, Path(file.name).as_uri())
            finally:
                page.close()

    def of_page(self, page: Any, name: str, address: str) -> bytes:
        """Return the print of the page at an address."""
        page.set_default_timeout(1000 * SECONDS)
        page.emulate_media(media="print")
        page.goto(address)
        page.evaluate("() => window.MathJax?.startup?.promise")
        cut = page.evaluate(FIT)
        if cut:
            raise PrintError(f"{name} does not fit on the sheet: {'; '.join(cut[:5])}")
        return bytes(page.pdf(prefer_css_page_size=True, print_background=True))


def chromium() -> str | None:
    """Return where the system's browser is, if it has one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


@contextmanager
def printer(folder: Path, kept: Path) -> Iterator[Printer]:
    """Start the browser."""
    from playwright.sync_api import sync_playwright

    program = chromium()
    if program is None:
        raise PrintError("There is no Chromium here; install it with the system's package manager.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        yield Printer(browser, folder, kept)
        browser.close()


def read_sheets(pdf: bytes, before: int) -> Sheets:
    """Return a print with the places that are noted in it, counted with `before` sheets ahead."""
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(pdf))
    places = {
        name.removeprefix("/"): (
            before + (reader.get_destination_page_number(place) or 0) + 1,
            float(place.top or 0),
        )
        for name, place in reader.named_destinations.items()
    }
    return Sheets(pdf, before + 1, len(reader.pages), places)


def front_matter(
    press: Printer,
    book: Sequence[tuple[str, list[str]]],
    pages: Mapping[str, Page],
    sheets: Mapping[str, int],
) -> Sheets:
    """Print the title and the table of contents with these numbers of sheets."""
    first = pages[book[0][1][0]]
    title = f'<div class="title-page"><h1>{html.escape(first.title)}</h1></div>'
    titles = {docname: page.title for docname, page in pages.items()}
    body = f'<article class="bd-article">{title}{contents(book, titles, sheets)}</article>'
    name = "contents" if sheets else "contents-to-count"
    return press.print(name, document(first.head, body, 0, [], WITHOUT_NUMBER), 0)


def print_page(press: Printer, page: Page, before: int, wanted: set[str]) -> Sheets:
    """Print a page; noted are its sections, and the places in it that links of the book want."""
    own = {str(node["id"]) for node in page.article.find_all(id=True)}
    places = {page.name, *(wanted & own), *(name for name, _ in page.sections)}
    text = document(page.head, str(page.article), before, sorted(places))
    return press.print(page.name, text, before)


def bind(
    printed: Sequence[Sheets],
    book: Sequence[tuple[str, list[str]]],
    pages: Mapping[str, Page],
) -> bytes:
    """Put the prints together, with links and bookmarks."""
    from pypdf import PdfWriter

    writer = PdfWriter()
    places: dict[str, tuple[int, float]] = {}
    for sheets in printed:
        writer.append(io.BytesIO(sheets.pdf), import_outline=False)
        places |= sheets.places
    connect_links(writer, places)
    for caption, of_part in book:
        parent = None
        if caption:
            number, _ = places[pages[of_part[0]].name]
            parent = writer.add_outline_item(title=caption, page_number=number - 1)
        for docname in of_part:
            page = pages[docname]
            number, _ = places[page.name]
            chapter = writer.add_outline_item(
                title=page.title, page_number=number - 1, parent=parent
            )
            for name, title in page.sections:
                number, _ = places[name]
                writer.add_outline_item(title=title, page_number=number - 1, parent=chapter)
    writer.add_metadata({"/Title": pages[book[0][1][0]].title})
    writer.compress_identical_objects()  # fonts and styles come with every print
    bound = io.BytesIO()
    writer.write(bound)
    return bound.getvalue()


def connect_links(writer: Any, places: Mapping[str, tuple[int, float]]) -> None:
    """Let links within the book lead to their places; PrintError where there is no such place."""
    from pypdf.generic import ArrayObject, FloatObject, NameObject, NullObject

    nowhere = set()
    for sheet in writer.pages:
        for reference in sheet.get("/Annots", []):
            link = reference.get_object()
            address = str(link.get("/A", {}).get("/URI", ""))
            if not address.startswith(THIS_BOOK):
                continue
            place = address.removeprefix(THIS_BOOK)
            if place not in places:
                nowhere.add(place)
                continue
            number, top = places[place]
            target = writer.pages[number - 1].indirect_reference
            del link["/A"]
            link[NameObject("/Dest")] = ArrayObject(
                [target, NameObject("/XYZ"), NullObject(), FloatObject(top), NullObject()]
            )
    if nowhere:
        raise PrintError(f"Links lead nowhere: {', '.join(sorted(nowhere)[:5])}")


def print_book(site: Path, root: Path = TREE) -> bytes:
    """Return the whole book as a PDF."""
    if not (site / "book").is_dir():
        raise PrintError(f"There is no site in {site}; run make book first.")
    book = parts(root)
    names = [docname for _, of_part in book for docname in of_part]
    pages = {docname: read_page(site, docname, names) for docname in names}
    wanted = {place for page in pages.values() for place in page.links}
    # In the folder of the pages, so that their relative addresses hold.
    with printer(site / "book", site.parent / "pdf") as press:
        front = front_matter(press, book, pages, {})
        printed: list[Sheets] = []
        before = front.count
        for page in pages.values():
            printed.append(print_page(press, page, before, wanted))
            print(f"{page.title}: {printed[-1].count} sheets", flush=True)
            before += printed[-1].count
        numbers = {page.name: one.number for page, one in zip(pages.values(), printed, strict=True)}
        numbered = front_matter(press, book, pages, numbers)
    if numbered.count != front.count:
        raise PrintError("The table of contents takes more sheets with its numbers than without.")
    return bind([numbered, *printed], book, pages)


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
