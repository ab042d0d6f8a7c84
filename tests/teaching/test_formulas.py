"""Formulas of the pages that students are sent: MathML, and nothing else."""

from __future__ import annotations

import re
import time

import pytest
from bs4 import BeautifulSoup
from released import SETS, master

from teaching import markup, mathml
from teaching.cells import is_by_hand
from teaching.grader.hand_grades import HandGrades
from teaching.grader.marking import Found
from teaching.grader.notebook import Cell
from teaching.grader.pages import Pages
from teaching.grader.plan import Answers, Kind, Step, _pictures
from teaching.grader.records import Part, Record, make_record
from teaching.grader.results import Marked
from teaching.inside.errors import StoppedError
from teaching.markup import LONGEST_TEXT, markdown_to_html
from teaching.mathml import formula_to_mathml
from teaching.release.rules import grading


def test_every_formula_of_the_problem_sets_is_drawn():
    """Students write what the questions and model answers write.

    Seen to fail: without the table of other spellings 57 formulas are shown as typed.
    """
    texts = [c.source for n in SETS for c in master(n).cells if c.cell_type == "markdown"]
    pages = [BeautifulSoup(markdown_to_html(text), "html.parser") for text in texts]
    assert sum(len(page.find_all("math")) for page in pages) > 1000
    typed = [code.text for page in pages for code in page.find_all("code") if "$" in code.text]
    assert typed == []
    assert any(is_by_hand(grading(cell)) for n in SETS for cell in master(n).cells)


@pytest.mark.parametrize(
    "formula, shown",
    [
        (r"\frac12 \lt \tfrac{1}{2}", "12<12"),
        (r"λ ≤ ‖W‖_*", "λ≤‖W‖*"),
        (r"\Big( x \Big)", "(x)"),
        (r"\begin{align*}a&=b\\&=c\nonumber\end{align*}", "a=b=c"),
        (r"\begin{array}{c|c}1&2\\\hline 3&4\end{array}", "1234"),
        (r"a \iff b \tag{1}", "a⟺b(1)"),
    ],
)
def test_what_students_write_is_drawn(formula, shown):
    drawn = BeautifulSoup(formula_to_mathml(formula, is_display=True), "html.parser")
    assert drawn.math["alttext"] == formula and drawn.math["display"] == "block"
    assert re.sub(r"\s", "", drawn.text) == shown


HOSTILE = [
    r"\text{<script>alert(1)</script>}",
    r'\text{" onload="alert(1)}',
    r"\href{javascript:alert(1)}{x}",
    r'\mmlToken{mi}[href="javascript:alert(1)"]{x}',
    r"\text{&lt;img src=x onerror=alert(1)&gt;}",
    r"\style{position:fixed}{x}\class{a}{b}\cssId{data}{x}",
    "\ud800 \x00 \x1b",
    "x^" * 900,
    "{" * 1000 + "}" * 1000,
    r"\sqrt{" * 280 + "x" + "}" * 280,
    r"\left(" * 300,
    r"\begin{matrix}" * 120,
    "9" * 100_000,
]
ALLOWED = {"alttext", "display", "class", "stretchy", "width", "columnalign", "mathvariant"}


@pytest.mark.parametrize("formula", HOSTILE, ids=range(len(HOSTILE)))
def test_a_formula_is_a_formula_or_is_shown_as_typed(formula):
    start = time.process_time()
    for is_display in (False, True):
        page = BeautifulSoup(formula_to_mathml(formula, is_display), "html.parser")
        [outermost] = page.find_all(True, recursive=False)
        assert outermost.name in ("math", "code")
        for element in page.find_all(True):
            assert re.fullmatch("code|math|m[a-z]+", element.name)
            assert set(element.attrs) <= ALLOWED
        if outermost.name == "code":
            assert outermost.text.strip("$") == formula
    assert time.process_time() - start < 20


def test_macros_hold_in_their_own_text_and_in_no_other():
    """Once `\\def` in one proof changed the formulas of all later students."""
    own = markdown_to_html(
        "$\\newcommand{\\R}{\\mathbb R}\\def\\le{\\ge}$ Let $x \\le y \\in \\R^n$."
    )
    assert "≥" in own and "\N{DOUBLE-STRUCK CAPITAL R}" in own and "≤" not in own
    other = markdown_to_html("Let $x \\le y \\in \\R^n$, $z \\le w$.")
    assert "<code>$x \\le y \\in \\R^n$</code>" in other  # it defines no such macro: as typed
    assert "≤" in other and "≥" not in other
    twice = [markdown_to_html(f"$$a \\label{{eq:1}} \\tag{{1}} {x}$$") for x in "xy"]
    assert all("<math" in page and "label" not in page.partition("><")[2] for page in twice)


@pytest.mark.parametrize(
    "definition",
    [
        r"\def\x{\x\x}",
        r"\def\x{" + r"\y" * 60 + r"}\def\y{" + r"\x" * 60 + "}",
        r"\def\x{" + "{" * 99,
    ],
)
def test_macros_that_double_end(definition):
    start = time.process_time()
    assert markdown_to_html(f"${definition}$ and $" + r"\x" * 600 + "$")
    assert time.process_time() - start < 5


N = LONGEST_TEXT
LONG = {
    "reference": "[a]:b\n" * (N // 6),
    "references": "".join(f"[a{i}]: b\n" for i in range(N // 11)),
    "titles": "[a]: b 'c" * (N // 9),
    "quotes": ">" * N,
    "lists": "- " * (N // 2),
    "brackets": "[a" * (N // 2),
    "links": "[a](b" * (N // 5),
    "stars": "*a**b" * (N // 5),
    "backticks": "".join("`" * i + " " for i in range(1, 195)),
    "markup": "<!--" * (N // 4),
    "table": "a|b\n-|-\n" + "c|d\n" * (N // 4 - 3),
    "dollars": "$a" * (N // 2),
    "formulas": "$a$" * (N // 3),
    "displays": "$$a$$\n" * (N // 6),
    "roots": ("$" + "x^" * 900 + "$ ") * 10,
    "brackets in formulas": ("$" + r"\left(" * 320 + "$ ") * 9,
    "matrices": ("$" + r"\begin{matrix}" * 140 + "$ ") * 9,
    "lines": "\n" * N,
    "blanks before a macro": r"\newcommand" + " " * (N // 3) + r"\a" + " " * (N // 2),
    "open macros": r"\def\a{" * (N // 7),
    "short rows": "|a" * 500 + "\n" + "|-" * 500 + "\n" + "|\n" * (N // 2 - 1000),
    "macros": r"\def\a{" + "x" * 190 + r"}\def\b{" + r"\a" * 10 + "}" + r"$\b$ " * 3900,
}


@pytest.mark.parametrize("text", LONG.values(), ids=list(LONG))
def test_no_text_that_is_read_takes_long(text):
    """Seen to fail: definitions of links took 34 s of the processor, titles 8 s; now 1 s."""
    start = time.process_time()
    page = markdown_to_html(text[:N])
    assert time.process_time() - start < 6
    assert len(page) < 5_000_000


@pytest.mark.parametrize("stops", [StoppedError("late"), MemoryError()], ids=repr)
def test_a_text_that_takes_too_much_is_shown_as_typed(monkeypatch, stops):
    def render(text: str, keep_lines: bool) -> str:
        raise stops

    monkeypatch.setattr(markup, "_render", render)
    assert markdown_to_html("never seen before <b>") == (
        '<pre class="text">never seen before &lt;b&gt;</pre>'
    )
    markup.markdown_to_html.cache_clear()


def test_very_many_pictures_and_empty_ones_open_no_page(tmp_path):
    """Once 300,000 empty ones made a marking page that no browser opened."""
    step = Step("q1", Kind.DERIVATION, "Question 1", "", 9)
    found = Found(
        Answers({"q1": ["See"]}, {"q1": ["data:image/png;base64,AA=="] * 1000}, [], []), []
    )
    record = make_record("a", [step], [found], 1.0)
    [part] = record.parts
    assert len(part.pictures) == 20 and part.pictures_left_out == 980
    marked = [Marked(record, HandGrades(), None, None)]
    pages = Pages(tmp_path, "ps1", [step])
    pages.write_feedback(marked)
    text = (tmp_path / "feedback/a.html").read_text()
    assert text.count('<img loading="lazy"') == 20
    assert "Pictures that are not shown: 980." in text
    cell = Cell("markdown", "", "q1", attachments={"x.png": {"image/png": ""}})
    assert _pictures(cell) == []


def test_whatever_draws_formulas_nothing_but_a_formula_is_kept(monkeypatch):
    """Mutations seen to fail: every element is kept, every attribute is kept."""
    made = '<math><mi href="javascript:x" style="position:fixed" id="data">a</mi></math>'
    monkeypatch.setattr(mathml, "tex2mathml", lambda *arguments, **options: made)
    assert formula_to_mathml("a") == '<math alttext="a"><mi>a</mi></math>'
    made = "<math><mtext><img src=x onerror=alert(1)></mtext></math>"
    monkeypatch.setattr(mathml, "tex2mathml", lambda *arguments, **options: made)
    assert formula_to_mathml("a") == "<code>$a$</code>"


def test_a_feedback_page_is_one_file_with_its_formulas(tmp_path):
    """Once `$a<b$` stood in it as it was typed."""
    proof = Part("q1", Kind.DERIVATION, "Question 1", 9, source="Let $a<b$.\n\n$$a^2\n< b^2$$")
    record = Record("a", "", [], [proof], ["See **this**: $c$"], 1.0)
    hand = HandGrades({"q1": 8}, {"q1": "Why $b>0$?\nSee the <hint>."}, comment="Well $\\ge$ done")
    pages = Pages(tmp_path, "ps1", [Step("q1", Kind.DERIVATION, "Question 1", "", 9)])
    pages.write_feedback([Marked(record, hand, None, None)])
    text = (tmp_path / "feedback/a.html").read_text()
    page = BeautifulSoup(text, "html.parser")
    assert [f["alttext"] for f in page.find_all("math")] == [
        "\\ge",
        "a<b",
        "a^2\n< b^2",
        "b>0",
        "c",
    ]
    assert "$" not in page.main.text and "<script" not in text and "mathjax" not in text.lower()
    assert not page.find_all(["link", "iframe", "object"]) and "See the <hint>" in page.text
    assert [path.name for path in tmp_path.iterdir()] == ["feedback"]


def test_a_thousand_texts_take_no_time_of_the_class():
    """Mutation seen to fail: each text is read as Markdown on its own."""
    found = Found(Answers({}, {}, ["$a$" * 6000] * 1000, []), [])
    [text] = make_record("a", [], [found], 1.0).other_text
    assert len(text) > LONGEST_TEXT and text.count("$a$") == 6_000_000
    few = Found(Answers({}, {}, ["one", "two"], []), [])
    assert make_record("a", [], [few], 1.0).other_text == ["one", "two"]
