"""No sentence and no code cell of a chapter is missing in its notebook.

The comparison reads the chapter's source and the notebook as text, without Sphinx: whatever the
exporter might lose, it is not asked about it.
"""

import re

import jupytext
import nbformat
import pytest
from ntp_book.addresses import notebook_name
from ntp_book.export.cells import untitled
from ntp_book.numbering import read_chapters
from small_book import FIXTURE, ROOT

CHAPTERS = read_chapters(ROOT)
CUT = "\0"
DISPLAY = r"(?s)(?<!\\)\$\$.*?\$\$(?: \([\w-]+\))?"
INLINE = r"(?s)(?<![\\$])\$(?!\$)(?:(?!\n\s*\n).)*?(?<!\\)\$"
# Where a chapter and its notebook differ by intent.
SOURCE_ONLY = [
    DISPLAY,
    INLINE,
    r"(?s)\{[a-z:]+\}`[^`]*`",  # roles
    r"(?m)^\([\w-]+\)=$",  # labels
    r"(?m)^:[\w-]+:.*$",  # options
    r"\[\^\w+\]:?",  # footnotes
    r"&\w+;",
    r"\]\([^)]*\)|\[",  # links; their text stays
    r"(?m)^[`:]{3,}\{(?:solution|figure|image|eval|raw|bibliography)[\w-]*\}.*$",
    r"(?m)^[`:]{3,}(?:\{[\w:-]+\})?",  # what follows is a box's title
]
NOTEBOOK_ONLY = [
    DISPLAY,
    INLINE,
    r"</?(?:details|summary|b|i|sup|abbr)\b[^>]*>",
    r"\]\([^)]*\)|\[",  # links; their text stays
]


def words(text):
    return " ".join(re.findall(r"[^\W\d_]+", text))


def pieces(markdown):
    """The runs of words of a page between what is written otherwise in a notebook."""
    for pattern in SOURCE_ONLY:
        markdown = re.sub(pattern, CUT, markdown)
    cut = re.split(rf"{CUT}|\n\s*\n|(?<=[.!?:;])\s", markdown)
    return [piece for piece in map(words, cut) if piece]


def captions(cells):
    """The captions of figures, which stand in the code cells' options."""
    found = [cell.metadata.get("mystnb", {}).get("figure", {}).get("caption") for cell in cells]
    return [caption for caption in found if caption]


def missing(source, notebook):
    """The sentences and code cells of a page that its notebook does not hold."""
    page = jupytext.reads(source, fmt="md:myst")
    texts = [cell.source for cell in page.cells if cell.cell_type == "markdown"]
    prose = "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    # A folded cell carries the title of its fold.
    code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
    prose += "\n\n".join(["", *re.findall(r"(?m)^# @title (.*)$", code)])
    for pattern in NOTEBOOK_ONLY:
        prose = re.sub(pattern, " ", prose)
    held = f" {words(prose)} "
    sentences = [piece for text in texts + captions(page.cells) for piece in pieces(text)]
    absent = [sentence for sentence in sentences if f" {sentence} " not in held]
    code = {untitled(c.source).strip() for c in notebook.cells if c.cell_type == "code"}
    cells = [cell.source.strip() for cell in page.cells if cell.cell_type == "code"]
    assert sentences, "the page holds no sentence"
    return absent + [cell for cell in cells if cell not in code]


def chapter_and_notebook(chapter):
    source = (ROOT / f"{chapter}.md").read_text(encoding="utf-8")
    path = ROOT / "book" / "notebooks" / notebook_name(chapter)
    return source, nbformat.read(path, as_version=4)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.split("/")[-1])
def test_no_sentence_is_missing(chapter):
    source, notebook = chapter_and_notebook(chapter)
    assert missing(source, notebook) == []


def test_a_chapter_has_hundreds_of_sentences():
    source, _ = chapter_and_notebook(CHAPTERS[0])
    page = jupytext.reads(source, fmt="md:myst")
    prose = [cell.source for cell in page.cells if cell.cell_type == "markdown"]
    found = [piece for source in prose for piece in pieces(source)]
    assert len(found) > 300
    in_prose = sum(len(words(source).split()) for source in prose)
    in_pieces = sum(len(piece.split()) for piece in found)
    assert in_pieces > 0.7 * in_prose  # the rest is formulas, labels and options of directives


@pytest.mark.parametrize(
    "lost",
    ["Prove", "A remark", "A note with code", "The footnote", "Folded away", "So it is"],
)
def test_a_missing_sentence_is_noticed(lost):
    """The fixture's page against a notebook made of its own words, less one."""
    source = (FIXTURE / "book" / "every_construct.md").read_text(encoding="utf-8")
    page = jupytext.reads(source, fmt="md:myst")
    texts = [c.source for c in page.cells if c.cell_type == "markdown"] + captions(page.cells)
    held = [piece for text in texts for piece in pieces(text)]
    whole = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell(piece) for piece in held]
        + [c for c in page.cells if c.cell_type == "code"]
    )
    assert missing(source, whole) == []
    kept = [c for c in whole.cells if not c.source.startswith(lost)]
    assert len(kept) < len(whole.cells), "choose words that the page holds"
    whole.cells = kept
    assert missing(source, whole)
