"""The tables of symbols say what the chapters write: each symbol once, and where they say."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from chapters import ROOT, chapters

LENT = "Letter"  # the first word in the head of the table of letters lent out
CODE_CELL = re.compile(r"^```\{code-cell\}.*?^```$", re.DOTALL | re.MULTILINE)
FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![\\`$])\$(?!\$)(.+?)(?<!\\)\$(?!\$)", re.DOTALL)
WORDS = re.compile(r"\\(?:text|operatorname|mathrm|begin|end)\*?\s*\{[^{}]*\}")
DECORATED = re.compile(r"\\math(?:cal|bf|bb|rm)\s*(?:\{\w+\}|\w)")
LETTER = re.compile(r"\\[A-Za-z]+|[A-Za-z]")
GREEK = frozenset(
    re.findall(
        r"\\\w+",
        r"""
        \alpha \beta \gamma \delta \epsilon \varepsilon \zeta \eta \theta \iota \kappa \lambda \mu
        \nu \xi \pi \rho \varrho \sigma \tau \phi \varphi \chi \psi \omega
        \Gamma \Delta \Theta \Lambda \Xi \Pi \Sigma \Phi \Psi \Omega
        """,
    )
)


class Row(NamedTuple):
    """A row of a table: what is in its first cell, and the chapters that it names."""

    symbols: list[str]
    words: list[str]
    chapters: list[str]
    lent: bool


@cache
def formulas(text: str) -> str:
    """All formulas of a page, without its code."""
    return " ".join(a or b for a, b in FORMULA.findall(CODE_CELL.sub("", text)))


@cache
def letters(formula: str) -> frozenset[str]:
    """The letters of a formula, as TeX writes them; not those of words and of other alphabets."""
    return frozenset(LETTER.findall(DECORATED.sub(" ", WORDS.sub(" ", formula))))


@cache
def normal(formula: str) -> str:
    """The formula without what does not change its meaning."""
    return re.sub(r"\\[,;!]|\\(?:big|Big)[lr]?\b|[\s{}]", "", formula)


def rows(page: str) -> list[Row]:
    """The rows of all tables of the page; a row without a first cell goes on with the last one."""
    found: list[Row] = []
    lent = False
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|") or line.startswith("|--"):
            continue
        if cells[0] in ("Symbol", LENT):
            lent = cells[0] == LENT
            continue
        first = line.strip("|").split("|")[0].strip()
        symbols = [b.split("=")[0].strip() for _, b in FORMULA.findall(first)]
        words = [] if symbols else [word.strip() for word in first.split(",") if word.strip()]
        if not first:
            symbols = found[-1].symbols
        found.append(Row(symbols, words, re.findall(r"<ch-([\w-]+)>", line), lent))
    return found


def stands_in(symbol: str, text: str) -> bool:
    """Whether the formulas of a chapter hold the symbol; a dot in it stands for anything."""
    formula = formulas(text)
    if LETTER.fullmatch(symbol):
        return symbol in letters(formula)
    return all(part in normal(formula) for part in normal(symbol).split(r"\cdot"))


def problems(page: str, texts: dict[str, str]) -> list[str]:
    """One sentence for everything in the tables that the chapters contradict."""
    wrong = []
    seen: set[str] = set()
    known: set[str] = set()
    for row in rows(page):
        for symbol in [*row.symbols, *row.words]:
            known |= letters(symbol)
            if not row.lent and normal(symbol) in seen:
                wrong.append(f"{symbol} stands twice in the tables of symbols")
            if not row.lent:
                seen.add(normal(symbol))
        if not row.chapters and not row.lent:
            wrong.append(f"{', '.join([*row.symbols, *row.words])}: no chapter is named")
        for slug in row.chapters:
            text = texts[slug]
            missing = [symbol for symbol in row.symbols if not stands_in(symbol, text)]
            missing += [word for word in row.words if word.lower() not in text.lower()]
            wrong += [f"{symbol} does not occur in the chapter {slug}" for symbol in missing]
    for slug, text in texts.items():
        used = {x for x in letters(formulas(text)) if x in GREEK or x.isupper()}
        wrong += [f"{x} occurs in the chapter {slug} and in no table" for x in sorted(used - known)]
    return wrong


@pytest.fixture
def page() -> str:
    return (ROOT / "book" / "notation.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    folder = Path(ROOT) / "book"
    return {
        name.replace("_", "-"): (folder / f"{name}.md").read_text(encoding="utf-8")
        for name in chapters()
    }


def test_the_tables_say_what_the_chapters_write(page, texts):
    found = rows(page)
    assert sum(not row.lent for row in found) > 50
    assert sum(row.lent for row in found) > 20
    assert problems(page, texts) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("| $j$ |", "| $z$ |", "z stands twice"),
        (r"| $\eta$ |", r"| $\tau$ |", r"\tau stands twice"),
        ("<ch-certificates>` |\n| $G_0$", "<ch-soft-labels>` |\n| $G_0$", "chapter soft-labels"),
        (r"| $\iota$ |", r"| $\chi$ |", r"\chi does not occur in the chapter gradient-descent"),
        (r"| $\iota$ |", r"| $\beta$ |", r"\iota occurs in the chapter gradient-descent"),
        (r"$\nu(c)$", r"$\nu(q)$", r"\nu(q) does not occur in the chapter certificates"),
    ],
)
def test_a_wrong_table_is_refused(page, texts, old, new, complaint):
    assert old in page
    wrong = problems(page.replace(old, new), texts)
    assert any(complaint in sentence for sentence in wrong), wrong


def test_a_letter_that_no_table_knows_is_refused(page, texts):
    changed = {**texts, "concepts": texts["concepts"] + "\nLet $\\Xi$ be another matrix.\n"}
    assert problems(page, changed) == [r"\Xi occurs in the chapter concepts and in no table"]
