"""Chapters and their numbers come from the order in _toc.yml; appendices are lettered."""

import re
import shutil

import pytest
from bs4 import BeautifulSoup
from ntp_book import numbering
from small_book import ROOT, build, copy_of_fixture, output

TOC = """\
format: jb-book
root: book/intro
parts:
  - {caption: One, numbered: 2, chapters: [{file: book/b}, {file: book/a}]}
  - {caption: Two, numbered: 2, chapters: [{file: book/c}]}
  - caption: Appendices
    numbered: 2
    style: alphaupper
    chapters: [{file: book/d}, {file: book/e}]
  - {caption: Back, chapters: [{file: book/notation}]}
"""
PAGE = """\
(ch-{name})=
# Title of {name}

(sec-{name})=
## Section of {name}

$$
x
$$ (eq-{name})

:::{{prf:theorem}} Claim
:label: thm-{name}
Text.
:::

:::{{prf:lemma}} Claim
:label: lem-{name}
Text.
:::

:::{{table}} Caption
:name: tab-{name}

| a | b |
|---|---|
| 1 | 2 |
:::

:::{{exercise}}
:label: ex-{name}
Text.
:::
"""
REFERENCES = (
    "{{numref}}`Chapter {{number}} <ch-{0}>`, {{numref}}`Chapter {{number}}, {{name}} <ch-{0}>`, "
    "{{ref}}`ch-{0}`, {{numref}}`sec-{0}`, {{prf:ref}}`thm-{0}`, {{prf:ref}}`lem-{0}`, "
    "{{eq}}`eq-{0}`, {{numref}}`tab-{0}`, {{numref}}`ex-{0}`\n\n"
)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """Three chapters in two parts and two appendices, in an order that is not the alphabet's."""
    book = copy_of_fixture(tmp_path_factory.mktemp("numbering") / "book")
    (book / "_toc.yml").write_text(TOC, encoding="utf-8")
    for name in "abcde":
        (book / "book" / f"{name}.md").write_text(PAGE.format(name=name), encoding="utf-8")
    references = "# Notation\n\n" + "".join(REFERENCES.format(name) for name in "abcde")
    (book / "book" / "notation.md").write_text(references, encoding="utf-8")
    result = build(book)
    assert result.returncode == 0, output(result)
    return book


def page(book, name):
    path = book / "_build" / "html" / "book" / f"{name}.html"
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


NUMBERS = {"b": "1", "a": "2", "c": "3", "d": "A", "e": "B"}


@pytest.mark.parametrize("name", NUMBERS)
def test_titles_and_boxes_have_the_numbers_of_the_order(book, name):
    article = page(book, name).find("article")
    number = NUMBERS[name]
    assert article.h1.get_text().startswith(f"{number}. Title of {name}")
    assert article.h2.get_text().startswith(f"{number}.1. Section of {name}")
    text = " ".join(article.get_text().split())
    for box in ("Theorem", "Lemma", "Table", "Exercise"):
        assert f"{box} {number}.1" in text
    assert f"({number}.1)" in text


@pytest.mark.parametrize("name", NUMBERS)
def test_references_have_the_same_numbers(book, name):
    text = " ".join(page(book, "notation").find("article").get_text().split())
    number = NUMBERS[name]
    assert (
        f"Chapter {number}, Chapter {number}, Title of {name}, Title of {name}, "
        f"Section {number}.1, Theorem {number}.1, Lemma {number}.1, ({number}.1), "
        f"Table {number}.1, Exercise {number}.1" in text
    )


def test_the_sidebar_has_the_same_numbers(book):
    sidebar = page(book, "notation").select_one("nav.bd-links")
    entries = [item.get_text().strip() for item in sidebar.select("li.toctree-l1 > a")]
    assert entries[1:] == [f"{n}. Title of {name}" for name, n in NUMBERS.items()] + ["Notation"]


def test_chapters_are_the_pages_of_numbered_parts(book):
    assert numbering.read_chapters(book) == [f"book/{name}" for name in "bacde"]
    assert numbering.numbers(book) == {f"book/{name}": n for name, n in NUMBERS.items()}


def test_a_new_chapter_is_one_file_and_one_line(book, tmp_path):
    """Put first, it moves the numbers of all the others; no other file changes."""
    new = tmp_path / "book"
    shutil.copytree(book, new)
    (new / "book" / "z.md").write_text(PAGE.format(name="z"), encoding="utf-8")
    toc = TOC.replace("chapters: [{file: book/b}", "chapters: [{file: book/z}, {file: book/b}")
    (new / "_toc.yml").write_text(toc, encoding="utf-8")
    result = build(new)
    assert result.returncode == 0, output(result)
    assert page(new, "z").find("article").h1.get_text().startswith("1. ")
    assert page(new, "c").find("article").h1.get_text().startswith("4. ")
    assert page(new, "d").find("article").h1.get_text().startswith("A. ")
    text = page(new, "notation").find("article").get_text()
    assert re.search(r"Chapter 4\b.*Theorem 4\.1", text)
    assert re.search(r"Chapter A\b.*Theorem A\.1", text)


def test_the_books_chapters_are_numbered_without_gaps():
    chapters = numbering.read_chapters(ROOT)
    assert len(chapters) == len(set(chapters)) >= 17
    for chapter in chapters:
        assert (ROOT / f"{chapter}.md").is_file()
