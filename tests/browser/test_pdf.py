"""The book as a PDF: two hand-made pages, printed and bound."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from ntp_book import pdf

pypdf = pytest.importorskip("pypdf")
pytest.importorskip("playwright")
pytestmark = pytest.mark.skipif(pdf.chromium() is None, reason="there is no Chromium here")

TOC = """format: jb-book
root: book/intro
parts:
  - caption: A part
    chapters: [{file: book/first}]
"""
PAGE = """<html><head></head><body><article class="bd-article"><section id="top"><h1>{title}</h1>
<p>{text}</p><details><summary>More</summary><p>what is folded</p></details>
<div style="break-before: page"></div>
<section id="later"><h2>{title}, later</h2><p id="place">The place</p></section></section>
</article></body></html>"""
TO_FIRST = 'See <a href="first.html#place">there</a>, <a href="https://example.org/">outside</a>'


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "html"
    (folder / "book").mkdir(parents=True)
    (folder / "_toc.yml").write_text(TOC, encoding="utf-8")
    write(folder, "intro", "The book", TO_FIRST)
    write(folder, "first", "1. First", 'Back to <a href="intro.html">the beginning</a>')
    return folder


def write(folder, name, title, text):
    path = folder / "book" / f"{name}.html"
    path.write_text(PAGE.format(title=title, text=text), encoding="utf-8")


def print_book(site):
    """Print in a thread of its own: the other tests keep a Playwright running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(pdf.print_book, site, site).result()


@pytest.fixture
def printed(site):
    return pypdf.PdfReader(io.BytesIO(print_book(site)))


def test_sheets_are_numbered_and_the_contents_say_where(printed):
    """Title, contents, and two pages of two sheets each."""
    texts = [sheet.extract_text().split() for sheet in printed.pages]
    assert len(texts) == 6
    assert texts[0] == ["The", "book"], "the title has no number"
    assert [text[0] for text in texts[1:]] == ["2", "3", "4", "5", "6"]
    contents = " ".join(texts[1])
    assert "A part" in contents
    for title, number in (("The book", 3), ("1. First", 5)):
        assert f"{title} {number}" in contents or f"{title}{number}" in contents
        assert title in printed.pages[number - 1].extract_text()
    assert "what is folded" in printed.pages[2].extract_text()


def test_links_lead_to_the_sheet_of_their_place(printed):
    """Also from one page of the site to another, and from the contents; others stay as they are."""
    numbers = {sheet.indirect_reference.idnum: k for k, sheet in enumerate(printed.pages, 1)}
    found = {}
    for k, sheet in enumerate(printed.pages, 1):
        for note in map(pypdf.generic.IndirectObject.get_object, sheet.get("/Annots", [])):
            target = note.get("/Dest")
            place = note["/A"]["/URI"] if target is None else numbers[target[0].idnum]
            found.setdefault(k, []).append(place)
    assert found == {2: [3, 5], 3: [6, "https://example.org/"], 5: [3]}


def test_bookmarks_follow_parts_chapters_and_sections(printed):
    def tree(items):
        return [tree(item) if isinstance(item, list) else item.title for item in items]

    assert tree(printed.outline) == [
        *("The book", ["The book, later"]),
        *("A part", ["1. First", ["1. First, later"]]),
    ]


def test_only_what_changed_is_printed_again(site):
    """Else a book that is printed on a busy machine would never be finished."""
    print_book(site)
    kept = site.parent / "pdf"
    before = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    fronts = {"contents", "contents-to-count"}
    assert {name.partition(".")[0] for name in before} == {*fronts, "book-intro", "book-first"}
    write(site, "first", "1. First", "Another text")
    pdf_again = pypdf.PdfReader(io.BytesIO(print_book(site)))
    assert "Another text" in pdf_again.pages[4].extract_text()
    after = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    changed = {name.partition(".")[0] for name, _ in before.items() ^ after.items()}
    assert changed == {"book-first"}


def test_a_link_to_nowhere_stops_the_print(site):
    write(site, "intro", "The book", '<a href="first.html#gone">gone</a>')
    with pytest.raises(pdf.PrintError, match="Links lead nowhere: book-first--gone"):
        print_book(site)


def test_what_is_cut_stops_the_print_and_is_named(site):
    write(site, "first", "1. First", '<img alt="" style="width: 900px; height: 9px">')
    with pytest.raises(pdf.PrintError, match="book-first does not fit on the sheet: img"):
        print_book(site)


def test_a_table_that_is_too_wide_shrinks(site):
    cells = "".join(f"<td>{k} and more</td>" for k in range(12))
    table = f"<table><tr style='white-space: nowrap'>{cells}</tr></table>"
    write(site, "first", "1. First", table)
    assert print_book(site)


def test_a_table_of_very_many_columns_cuts_the_words_in_its_head(site):
    """As those of the benchmarks are; no smaller type would make them fit.

    Without that class the print stops, as the whole book's did.
    """
    heads = "".join(f"<th><p>support_self_duality_{k}</p></th>" for k in range(19))
    cells = "".join(f"<td><p>{k}.0625</p></td>" for k in range(19))
    table = f"<table><thead><tr>{heads}</tr></thead><tbody><tr>{cells}</tr></tbody></table>"
    write(site, "first", "1. First", table)
    reader = pypdf.PdfReader(io.BytesIO(print_book(site)))
    text = reader.pages[4].extract_text()
    assert "18.0625" in text, "numbers are not cut"


def test_on_paper_nothing_scrolls(site):
    """A moving figure's table of counts has a box that scrolls; on paper all its rows are seen.

    Seen to fail without the style's line for `.ntp-scroll`.
    """
    rows = "".join(f"<tr><td>row {k}</td></tr>" for k in range(60))
    box = f'<div class="ntp-scroll"><table>{rows}</table></div>'
    style = "<style>.ntp-scroll { max-height: 5rem; overflow: auto; }</style>"
    write(site, "first", "1. First", f'{style}<div class="ntp-interactive">{box}</div>')
    reader = pypdf.PdfReader(io.BytesIO(print_book(site)))
    assert any("row 59" in sheet.extract_text() for sheet in reader.pages)


def test_a_fold_s_title_stays_with_what_it_opens(site):
    """At whatever height of the sheet. Seen to fail without the style's line for `summary`."""
    folds = [
        f'<div style="break-before: page; height: {height}px"></div>'
        f"<details><summary>Proof at {height}</summary><p>It follows at {height}</p></details>"
        for height in range(850, 980, 10)
    ]
    write(site, "first", "1. First", "".join(folds))
    reader = pypdf.PdfReader(io.BytesIO(print_book(site)))
    texts = [sheet.extract_text() for sheet in reader.pages]
    for height in range(850, 980, 10):
        [sheet] = [text for text in texts if f"Proof at {height}" in text]
        assert f"It follows at {height}" in sheet


def test_without_a_site_it_says_what_to_run(tmp_path):
    with pytest.raises(pdf.PrintError, match="run make book first"):
        print_book(tmp_path)
