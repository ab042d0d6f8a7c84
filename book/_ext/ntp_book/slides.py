"""Slides for a lecture: a deck for each chapter, made from the built site.

    python -m ntp_book.slides [--site _build/html] [--out _build/slides]

A deck shows, in the chapter's order, its question, its pictures, its predictions (the answer comes
with the next key), its statements and its takeaways. What the book folds away lies below: the key
"down" leads there. Proofs, code and exercises stay in the book. The decks are shown by reveal.js
(book/vendor) and need no network: the folder can be copied to any machine. All pictures stand in
`figures/CHAPTER/` as files to take away; interactive ones move in the deck, their stills are there.
"""

from __future__ import annotations

import argparse
import base64
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from bs4 import BeautifulSoup, Tag
from markupsafe import Markup
from sphinx_external_toc.parsing import parse_toc_yaml

TREE = Path(__file__).resolve().parents[3]
DECK = Path(__file__).with_name("slide_deck")
# What the decks load, from wherever it stands in the sources.
STATIC = (
    TREE / "book" / "vendor" / "mathjax",
    TREE / "book" / "vendor" / "reveal",
    TREE / "book" / "assets" / "ntp_book.css",
    TREE / "ntp_lite" / "interactive" / "browser" / "ntp_interactive.css",
    TREE / "ntp_lite" / "interactive" / "browser" / "ntp_interactive.js",
    TREE / "ntp_lite" / "interactive" / "browser" / "d3.min.js",
    DECK / "deck.css",
    DECK / "deck.js",
)
# Parts of a page that are for reading, or for working at, not for showing.
SKIPPED = (
    ".exercise",
    ".solution",
    ".is-proof",
    ".ntp-proof",
    ".ntp-checks",
    ".cell_input",
    ".above-input",
    ".chapter-frame",
    "script",
)
STILL = "data:image/svg+xml;base64,"


class SlidesError(Exception):
    """Why there are no slides."""


@dataclass
class Slide:
    """One slide."""

    kind: str  # "picture", "predict", "statement", "takeaways"
    section: str
    body: Markup
    is_below: bool  # folded in the book


@dataclass
class Deck:
    """The slides of one chapter, in columns: below the first of a column stands what is folded."""

    book: str
    title: str
    question: Markup
    columns: list[list[Slide]] = field(default_factory=list)

    def add(self, slide: Slide) -> None:
        """Put a slide behind the others, or below the last one."""
        if slide.is_below and self.columns:
            self.columns[-1].append(slide)
        else:
            self.columns.append([slide])

    @property
    def slides(self) -> list[Slide]:
        """All slides but the first, with the question."""
        return [slide for column in self.columns for slide in column]


def chapters(root: Path = TREE) -> list[str]:
    """Return the pages that are chapters: those of the numbered parts, without the appendices."""
    parts = parse_toc_yaml(root / "_toc.yml").root.subtrees
    numbered = [part for part in parts if part.numbered and part.style != "alphaupper"]
    return [page for part in numbered for page in part.files()]


def classes_of(node: Tag) -> list[str]:
    """Return the classes of an element."""
    return [str(name) for name in node.get_attribute_list("class") if name]


def kind_of(node: Tag) -> str:
    """Return which kind of slide a part of a page makes, or "" for none."""
    classes = classes_of(node)
    if node.name == "figure":
        return "picture"
    if node.name != "div" or "admonition" not in classes:
        return ""
    for kind in ("predict", "takeaways"):
        if kind in classes:
            return kind
    return "statement" if "proof" in classes else ""


def is_skipped(node: Tag) -> bool:
    """Say whether a part of a page is left out, with all that is in it."""
    classes = classes_of(node)
    return any(name.removeprefix(".") in (*classes, node.name) for name in SKIPPED)


def shown_parts(
    node: Tag, section: str = "", folded: bool = False
) -> Iterator[tuple[str, Tag, bool]]:
    """Yield the parts of a page that become slides: (its section's heading, the part, folded?)."""
    for child in node.find_all(True, recursive=False):
        if is_skipped(child):
            continue
        if child.name in ("h2", "h3"):
            section = heading(child)
        elif kind_of(child):
            yield section, child, folded
        else:
            is_aside = "ntp-aside" in classes_of(child)
            yield from shown_parts(child, section, folded or is_aside)


def heading(node: Tag) -> str:
    """Return the text of a heading, without the sign that links to it."""
    return node.get_text().strip().removesuffix("#").strip()


def alone(part: Tag) -> Tag:
    """Return a copy of a part that can stand on a slide: its links lead nowhere, and go."""
    found = BeautifulSoup(str(part), "html.parser").find(True)
    assert isinstance(found, Tag)
    for mark in found.find_all("a", class_="headerlink"):
        mark.decompose()
    for link in found.find_all("a"):
        link.unwrap()
    for section in found.find_all("section"):  # to reveal.js a section is a slide
        section.name = "div"
    for fold in found.select("details.ntp-answer"):
        fold.name, fold["class"] = "div", "answer fragment"
        for summary in fold.find_all("summary"):
            summary.decompose()
    return found


def is_file(source: str) -> bool:
    """Say whether the source of a picture is a file of the site."""
    return "://" not in source and not source.startswith("data:")


class Figures:
    """The pictures of a chapter, written into a folder under names of their own."""

    def __init__(self, page: Path, out: Path, name: str) -> None:
        self.page = page  # the page of the site
        self.out = out  # the folder of the decks
        self.folder = Path("figures") / name
        self.moving = 0

    def take(self, part: Tag) -> None:
        """Write the pictures of a part; what was linked is linked to where it stands now.

        A moving figure keeps its stills where they are; its number and caption may be a figure
        around it.
        """
        stills = part.select(f'img[src^="{STILL}"]')
        if stills:
            self.moving += 1
        for number, still in enumerate(stills, 1):
            picture = base64.b64decode(str(still["src"]).removeprefix(STILL))
            self._write(f"moving-{self.moving}-{number}.svg", picture)
        images = [image for image in part.find_all("img") if is_file(str(image["src"]))]
        for number, image in enumerate(images, 1):
            source = self.page.parent / str(image["src"])
            name = str(part.get("id") or source.stem) + (f"-{number}" if number > 1 else "")
            image["src"] = self._write(f"{name}{source.suffix}", source.read_bytes())

    def _write(self, name: str, picture: bytes) -> str:
        path = self.out / self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
        return (self.folder / name).as_posix()


def question_of(article: Tag) -> Markup:
    """Return the question of a chapter's frame."""
    for line in article.select(".chapter-frame > p"):
        label = line.find("strong")
        if label is not None and label.get_text().startswith("Question"):
            label.decompose()
            return Markup(alone(line).decode_contents().strip())
    raise SlidesError(f"{heading(title_of(article))}: its frame asks no question")


def title_of(article: Tag) -> Tag:
    """Return the heading of a page."""
    found = article.find("h1")
    if not isinstance(found, Tag):
        raise SlidesError("a page has no heading")
    return found


def make_deck(site: Path, page: str, out: Path, book: str) -> Deck:
    """Return the deck of a chapter; its pictures are written."""
    path = site / f"{page}.html"
    article = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").find("article")
    if not isinstance(article, Tag):
        raise SlidesError(f"{page}.html has no article; build the site with `make book`")
    deck = Deck(book, heading(title_of(article)), question_of(article))
    figures = Figures(path, out, Path(page).name)
    for section, part, is_below in shown_parts(article):
        shown = alone(part)
        for figure in [shown] if shown.name == "figure" else shown.find_all("figure"):
            figures.take(figure)
        deck.add(Slide(kind_of(part), section, Markup(shown), is_below))
    return deck


def copy_static(out: Path) -> None:
    """Copy what the decks load."""
    for source in STATIC:
        target = out / "static" / source.name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def write_slides(site: Path, out: Path, pages: Sequence[str], book: str) -> dict[str, Deck]:
    """Write the decks of some chapters, and a page that lists them."""
    if not (site / "book").is_dir():
        raise SlidesError(f"there is no site in {site}; run make book first")
    if out.exists():
        shutil.rmtree(out)  # all of it is written anew
    copy_static(out)
    loader = jinja2.FileSystemLoader(DECK)
    templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    decks = {Path(page).name: make_deck(site, page, out, book) for page in pages}
    for name, deck in decks.items():
        text = templates.get_template("deck.html.j2").render(deck=deck)
        (out / f"{name}.html").write_text(text, encoding="utf-8")
    titles = [(name, deck.title) for name, deck in decks.items()]
    index = templates.get_template("index.html.j2").render(book=book, decks=titles)
    (out / "index.html").write_text(index, encoding="utf-8")
    return decks


def book_title(site: Path) -> str:
    """Return the name of the book, as its pages tell it."""
    first = next(iter(sorted((site / "book").glob("*.html"))))
    head = BeautifulSoup(first.read_text(encoding="utf-8"), "html.parser")
    named = head.find("meta", property="og:site_name")
    return str(named["content"]) if isinstance(named, Tag) else "Slides"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the slides; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Write slides for each chapter of the site.")
    parser.add_argument("--site", type=Path, default=TREE / "_build" / "html")
    parser.add_argument("--out", type=Path, default=TREE / "_build" / "slides")
    options = parser.parse_args(arguments)
    try:
        if not (options.site / "book").is_dir():
            raise SlidesError(f"there is no site in {options.site}; run make book first")
        decks = write_slides(options.site, options.out, chapters(), book_title(options.site))
    except SlidesError as error:
        print(f"slides: {error}.", file=sys.stderr)
        return 1
    slides = sum(1 + len(deck.slides) for deck in decks.values())
    print(f"{options.out}/index.html: {len(decks)} decks, {slides} slides.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
