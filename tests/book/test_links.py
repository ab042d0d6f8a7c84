"""No page holds a chapter's number: it would be wrong as soon as a chapter is added before it.

Texts refer by label, ``{numref}`Chapter {number} <ch-max-margin>` ``; Sphinx fills in the number.
"""

import re

import pytest
from ntp_book.numbering import read_chapters
from small_book import ROOT

PAGES = sorted((ROOT / "book").glob("*.md"))
KINDS = (
    "Theorem|Proposition|Lemma|Corollary|Definition|Remark|Example|Exercise|Section|Figure|Table"
)
# "Chapter 7", "Chapters 7 and 8", "chapters 1 to 4", "Chapter A", also cut by the end of a line.
TYPED_CHAPTER = re.compile(r"\b([Cc]hapters?|[Aa]ppendix|[Aa]ppendices)\s+(\d+|[A-H])\b")
# [Theorem 7.2](...), {ref}`Theorem 7.2 <...>`: the text of a link, with a number in it.
TYPED_TEXT = re.compile(
    rf"(?:\[|`)[^\[\]`{{}}]*?\b(?:{KINDS})s?\s+(?:\d+|[A-H])\.(?:\d+|[A-Z]\b)"
    r"[^\[\]`{}]*?(?:\]\(|\s<[\w-]+>`)"
)
NUMREF = re.compile(r"\{numref\}`([^`<]*?)\s*<?([\w-]+)>?`")


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def typed_numbers(text):
    """Every typed number of a chapter, and every typed number in the text of a link."""
    found = [(m.start(), m[0]) for p in (TYPED_CHAPTER, TYPED_TEXT) for m in p.finditer(text)]
    return [f"line {line_of(text, start)}: {' '.join(what.split())}" for start, what in found]


def wrong_numrefs(text):
    """References by number whose words do not suit their labels."""
    wrong = []
    for match in NUMREF.finditer(text):
        words, label = match[1], match[2]
        kind = label.split("-")[0]
        complaint = ""
        if kind in ("ch", "app") and "{number}" not in words:
            complaint = "write the words, such as `Chapter {number} <ch-...>`"
        elif "Chapter" in words and kind != "ch":
            complaint = "a chapter's label begins with ch-"
        elif "Appendix" in words and kind != "app":
            complaint = "an appendix's label begins with app-"
        if complaint:
            wrong.append(f"line {line_of(text, match.start())}: {match[0]}: {complaint}")
    return wrong


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_number_of_a_chapter_is_typed(path):
    found = typed_numbers(path.read_text(encoding="utf-8"))
    assert not found, f"{path.name}: write a reference by label instead of\n" + "\n".join(found)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_references_by_number_suit_their_labels(path):
    assert wrong_numrefs(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "as Chapter 13 shows",
        "see Chapters 7 and 8",
        "in Chapter\n2 of",
        "(Appendix A)",
        "[Chapter 7](max_margin.md)",
        "[Chapter 7](#ch-max-margin)",
        "{ref}`Chapter 7 <ch-max-margin>`",
        "# as in Chapter 5",
        "[Theorem 7.2](#thm-margin)",
        "{prf:ref}`Theorem 7.2 <thm-margin>`",
        "{ref}`the first part of Section 3.1 <sec-here>`",
        "[Theorem A.1](proofs.md)",
        "[Theorem 7.B](proofs.md)",
    ],
)
def test_typed_numbers_are_noticed(text):
    assert typed_numbers(text)


@pytest.mark.parametrize(
    "text",
    [
        "{numref}`Chapter {number} <ch-max-margin>`",
        "Chapters {numref}`{number} <ch-a>` and {numref}`{number} <ch-b>`",
        "{prf:ref}`thm-margin` and {eq}`eq-1`",
        ":::{prf:theorem} A claim [P, Theorem 3.2]",
        "{cite:t}`zhao2024implicit`, Section 2, and their Theorem 3.1",
        "this chapter, a chapter, Chapter and verse",
        "`x` is 7, and [Section two](#sec-two)",
    ],
)
def test_what_is_right_passes(text):
    assert typed_numbers(text) == []
    assert wrong_numrefs(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "{numref}`ch-max-margin`",
        "{numref}`margins <ch-max-margin>`",
        "{numref}`Chapter {number} <sec-max-margin-solver>`",
        "{numref}`Chapter {number} <app-proofs>`",
        "{numref}`Appendix {number} <ch-max-margin>`",
    ],
)
def test_wrong_references_by_number_are_noticed(text):
    assert len(wrong_numrefs(text)) == 1


def test_every_chapter_has_a_label_before_its_title():
    for chapter in read_chapters(ROOT):
        text = (ROOT / f"{chapter}.md").read_text(encoding="utf-8")
        title = re.search(r"(?m)^\((?:ch|app)-[a-z-]+\)=\n# \S", text)
        assert title, f"{chapter}.md: write `(ch-{chapter.split('/')[-1].replace('_', '-')})=`"
