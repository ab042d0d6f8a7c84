"""Two speeds on one page: what is folded, where it stays, and how long it is said to take."""

from collections import Counter
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from ntp_book import fold_numbers, reading_time
from ntp_book.export import builder
from small_book import build, copy_of_fixture, output

STORY = " ".join(["story"] * 240)  # three minutes, with the rest of the page
PROOF = " ".join(["proof"] * 140)  # two
ASIDE = " ".join(["aside"] * 200)  # one

PAGE = f"""---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

(ch-two-speeds)=
# Two speeds

:::{{admonition}} In this chapter
:class: chapter-frame

**Time.** {{minutes}}`story` minutes for the story, {{minutes}}`all` with every proof and aside; the
cells run in about 7 seconds.
:::

## The claim

{STORY}

::::{{admonition}} Predict
:class: predict

What is it?

:::{{fold}} Answer
Four.
:::
::::

```{{code-cell}} ipython3
:tags: [answer]
x = 2 + 2
print("it is", x)
```

```{{code-cell}} ipython3
:tags: [checks]
assert x == 4
```

:::{{prf:theorem}} A claim
:label: thm-two-speeds-claim
It is four.
:::

:::{{prf:proof}}
{PROOF}
:::

:::{{fold}} An aside with $x$
{ASIDE}

$$
x = 4
$$ (eq-two-speeds-four)
:::

After the aside, open. Move {{numref}}`fig-two-speeds-moving`.

```{{code-cell}} ipython3
---
tags: [hide-input]
mystnb:
  figure:
    name: fig-two-speeds-moving
---
from ntp_lite import interactive as live

live.Frames(
    alt="A point moves to the right.",
    says=["It is left.", "It is right."],
    caption="Is 1 < 2? Move it.",
    sliders=[live.Slider("step", ["0", "1"])],
    panels=[
        live.Points(
            title="The point", xy=[[[0.0, 0.0]], [[1.0, 0.0]]], names=["p"], role=["word"]
        )
    ],
)
```

(sec-two-speeds-depth)=
## The depth

Its first sentence is open.

:::{{fold}} The long way
:::

Folded text, with {{eq}}`eq-two-speeds-four`.

```{{code-cell}} ipython3
y = x + 1
```

:::{{prf:proof}}
Open within its fold.
:::

:::{{fold-end}}
:::

Open again.

:::{{fold}} To the end of the section
:::

Last words.

(sec-two-speeds-inner)=
### A part of it

Inner words.

## After

See {{ref}}`sec-two-speeds-inner`.

## Exercises

{STORY}

By {{eq}}`eq-two-speeds-four` also

$$
x + 1 = 5
$$ (eq-two-speeds-five)
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Path:
    """The fixture book with that page, exported and built."""
    folder = copy_of_fixture(tmp_path_factory.mktemp("folds") / "book")
    (folder / "book" / "two_speeds.md").write_text(PAGE, encoding="utf-8")
    toc = folder / "_toc.yml"
    line = "      - file: book/every_construct\n"
    toc.write_text(toc.read_text().replace(line, line + "      - file: book/two_speeds\n"))
    builder.export(folder, folder / "book" / "notebooks")
    result = build(folder)
    assert result.returncode == 0, output(result)
    return folder


@pytest.fixture
def article(book):
    path = book / "_build" / "html" / "book" / "two_speeds.html"
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").find("article")


@pytest.fixture(scope="module")
def notebook(book):
    return nbformat.read(book / "book" / "notebooks" / "two_speeds.ipynb", as_version=4)


def fold_called(article, title):
    found = [
        f for f in article.select("details.ntp-fold") if f.summary.get_text().startswith(title)
    ]
    assert len(found) == 1, title
    return found[0]


FOLDED = {
    "Answer": "Four.",
    "See what happens": "it is 4",
    "Checks": "assert x == 4",
    "Proof": "proof proof",
    "An aside with": "aside aside",
    "The long way": "y = x + 1",
    "To the end of the section": "Inner words.",
}


@pytest.mark.parametrize("title", FOLDED)
def test_what_is_folded(title, article):
    assert FOLDED[title] in fold_called(article, title).get_text()


def test_a_figure_that_moves_is_numbered(article, notebook):
    """Its caption stands once, below it, after its number; text and notebook use that number."""
    figure = article.find("figure", id="fig-two-speeds-moving")
    assert figure.find(class_="ntp-interactive").name == "div"
    assert [c.get_text(" ", strip=True) for c in article.find_all("figcaption")] == [
        "Figure 3.1 Is 1 < 2? Move it. #"
    ]
    assert "Move Figure 3.1." in article.get_text()
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "Move [Figure 3.1]" in text or "Move Figure 3.1." in text
    assert "# @title Figure 3.1" in text


def test_the_rest_is_open(article):
    for fold in article.select("details"):
        fold.decompose()
    text = article.get_text()
    for words in ("It is four.", "After the aside", "first sentence is open", "Open again"):
        assert words in text
    for words in [*FOLDED.values(), "Last words", "Folded text"]:
        assert words not in text


def test_a_proof_within_a_fold_is_open(article):
    assert not fold_called(article, "The long way").select("details.ntp-proof")


def test_folded_sections_keep_number_and_address(article, book):
    assert article.find("a", href="#sec-two-speeds-inner").get_text() == "A part of it"
    assert article.find(id="sec-two-speeds-inner")


def test_what_is_folded_has_letters_and_the_story_numbers(article, notebook):
    """Whoever refers to it, and in the notebook too. Seen to fail without `fold_numbers`."""
    assert [node.get_text().rstrip("#") for node in article.find_all(class_="eqno")] == [
        *("(3.A)", "(3.1)"),
    ]
    assert "By (3.A) also" in " ".join(article.get_text().split())
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "By (3.A) also" in text or "By [(3.A)]" in text
    assert r"\tag{3.1}" in text


def test_letters_go_on_after_z():
    assert [fold_numbers.letters(k) for k in (1, 26, 27, 52, 53)] == ["A", "Z", "AA", "AZ", "BA"]


def test_series_of_a_chapter_run_on_over_its_pages_and_kinds():
    counts = Counter()
    page = {"figure": {"a": (2, 1), "b": (2, 2), "c": (2, 3)}, "theorem": {"d": (2, 1)}}
    assert fold_numbers.count_again(page, {"b", "d"}, counts) == {
        "figure": {"a": (2, 1), "b": (2, "A"), "c": (2, 2)},
        "theorem": {"d": (2, "A")},
    }
    assert fold_numbers.count_again({"figure": {"e": (2, 4)}}, {"e"}, counts) == {
        "figure": {"e": (2, "B")}
    }


def test_minutes_are_computed(article, notebook):
    """Folded are 200 words at 200 a minute and 140 at 70 more than the story."""
    said = "3 minutes for the story, 6 with every proof and aside"
    assert said in " ".join(article.get_text().split())
    assert said in " ".join(notebook.cells[2].source.split() + notebook.cells[0].source.split())
    assert "2 min" in fold_called(article, "Proof").summary.get_text()
    assert "1 min" in fold_called(article, "An aside").summary.get_text()
    assert "min" not in fold_called(article, "Checks").summary.get_text()


def test_folds_of_the_notebook(notebook):
    """Text folds by <details>, code by its cell; a fold goes on after a cell."""
    prose = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    text = "\n\n".join(prose)
    assert "<details>\n<summary>Proof</summary>\n\nproof proof" in text
    assert "<summary>An aside with $x$</summary>" in text
    assert "<summary>The long way</summary>\n\nFolded text" in text
    assert "<summary>The long way, continued</summary>\n\n**Proof.** Open within its fold." in text
    assert "**A part of it**" in text or "**3.2.1. A part of it**" in text
    assert "> <summary>Answer</summary>" in text
    assert "\n\nOpen again." in text
    code = {c.source: c.metadata for c in notebook.cells if c.cell_type == "code"}
    assert code["# @title Checks\nassert x == 4"]["cellView"] == "form"
    assert code["# @title The long way\ny = x + 1"]["jupyter"]["source_hidden"]
    answer = code['x = 2 + 2\nprint("it is", x)']
    assert answer["jupyter"] == {"outputs_hidden": True}


MISTAKES = {
    ":::{fold-end}\n:::\n": "a fold-end without a fold",
    "## Empty\n\n:::{fold} Nothing\n:::\n": "a fold without content",
    "{minutes}`some`\n": "minutes of 'some': write story or all",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(mistake, tmp_path, capfd):
    folder = copy_of_fixture(tmp_path / "book")
    page = folder / "book" / "first.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n" + mistake, encoding="utf-8")
    with pytest.raises(builder.ExportError):
        builder.export(folder, tmp_path / "out")
    said = capfd.readouterr()
    assert MISTAKES[mistake] in said.out + said.err


def test_an_amount_by_hand():
    """0.5 + 0.1 + 1 + 1.5 minutes, and half a minute for two formulas, 0.75 for a prediction."""
    amount = reading_time.Amount(words=100, proof_words=7, lines=24, figures=2)
    assert amount.minutes == pytest.approx(3.1)
    amount.add(reading_time.Amount(formulas=2, predictions=1))
    assert amount.minutes == pytest.approx(4.35)
    paragraph = nodes.paragraph("", "", nodes.Text("two words "), nodes.math("", r"x + y = z"))
    assert reading_time.amount(paragraph, folds=False) == reading_time.Amount(words=3)
