"""Formulas as MathML: browsers draw it in any page, without a script, a font or a network.

Docutils, which builds the book, turns TeX into MathML. Here its output is built anew from names of
elements and attributes that can do nothing but show a formula. A formula that it cannot read is
shown as it was typed.
"""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

from docutils.utils.math.latex2mathml import tex2mathml
from docutils.utils.math.unichar2tex import uni2tex_table

from teaching.inside.errors import StoppedError

# What a formula of this many letters says, nobody reads as a formula.
_LONGEST = 2000
_ELEMENTS = re.compile(
    "math|mi|mn|mo|mtext|mspace|ms|mrow|mfrac|msqrt|mroot|mstyle|menclose|mpadded|mphantom|msub|"
    "msup|msubsup|munder|mover|munderover|mmultiscripts|mprescripts|mtable|mtr|mtd"
)
_ATTRIBUTES = re.compile(
    "accent|accentunder|columnalign|columnspacing|depth|display|displaystyle|fence|form|height|"
    "largeop|linethickness|lspace|mathvariant|maxsize|minsize|movablelimits|notation|rowspacing|"
    "rspace|scriptlevel|separator|stretchy|symmetric|voffset|width"
)
# A macro without arguments, as students define for a set of numbers or an operator.
_DEFINITION = re.compile(
    r"\\(?:(?:re|provide)?newcommand\s*+(?:\{\s*+)?|def\s*+)(\\[a-zA-Z]++)\s*+(?:\}\s*+)?"
    r"\{((?:[^{}]|\{[^{}]{0,200}+\}){0,200}+)\}"
)
_MOST_DEFINITIONS = 50
_LONGEST_DEFINITION = 200
# Other spellings of what Docutils knows: patterns and what stands for them.
_SPELLINGS = [
    (r"\\lt\b", "<"),
    (r"\\gt\b", ">"),
    (r"\\dots[bimo]?\b", r"\\ldots "),
    (r"\\([Bb]igg?)(?![a-zA-Z])", r"\\\1l"),
    (r"\\([dt]?frac)\s*([0-9])\s*([0-9])", r"\\\1{\2}{\3}"),
    (r"\\([dt]?frac)\s*([0-9])", r"\\\1{\2}"),
    (r"\\iff\b", r"\\Longleftrightarrow "),
    (r"\\bm\b", r"\\boldsymbol "),
    (r"\\text(bf|it|sf|tt)\b", r"\\text"),
    (r"\\stackrel\b", r"\\overset "),
    (r"(\\operatorname\*? *\{[a-z]+)\\[,;:! ]", r"\1 "),
    (r"\\qed\b", r"\\square "),
    (r"\\(notag|nonumber)\b|\\label *\{[^{}]*\}", ""),
    (r"\\tag\*? *\{([^{}$]*)\}", r"\\qquad\\text{(\1)}"),
    (r"\\(begin|end) *\{equation\*?\}", ""),
    (r"\\(begin|end) *\{(align|gather|split|mult" r"line|eqnarray)\*?\}", r"\\\1{aligned}"),
    (r"\\begin *\{array\} *\{[^{}]*\}", r"\\begin{matrix}"),
    (r"\\end *\{array\}", r"\\end{matrix}"),
    (r"\\hline\b", ""),
]
_COMMANDS = {ord("\u2016"): r"\Vert "} | {
    character: command + " " if command[-1].isalpha() else command
    for character, command in uni2tex_table.items()
}
# How browsers align the columns of a table: they read the class, as MathML Core has no attribute.
_CLASSES = frozenset(["ams-align", "cases"])
STYLE = """\
math { font-size: 1.08em; } math[display=block] { margin: .6rem 0; overflow-x: auto; }
.ams-align mtd { padding-left: 0; padding-right: 0; }
.ams-align mtd:nth-child(odd) { text-align: right; }
.ams-align mtd:nth-child(even), .cases mtd { text-align: left; }
"""


def definitions(text: str) -> dict[str, str]:
    """Return what a text defines for its own formulas: name and content of each macro."""
    found = [match.groups() for match in _DEFINITION.finditer(text)]
    short = [(name, content) for name, content in found if len(content) <= _LONGEST_DEFINITION]
    return {name: content for name, content in short[:_MOST_DEFINITIONS] if "#" not in content}


def formula_to_mathml(
    formula: str, is_display: bool = False, macros: dict[str, str] | None = None
) -> str:
    """Return TeX as MathML that holds nothing but a formula; as typed, where it is no such TeX."""
    try:
        written_out = without_macros(formula, macros or {})
        drawn = _Rebuilt(tex2mathml(_spelt(written_out), as_block=is_display), formula)
    except (MemoryError, StoppedError):  # of the whole text
        raise
    except Exception:  # whatever a hostile formula may bring about in there
        return as_typed(formula, is_display)
    return "".join(drawn.parts)


def as_typed(formula: str, is_display: bool) -> str:
    """Return a formula as code."""
    marks = "$$" if is_display else "$"
    return f"<code>{html.escape(marks + formula + marks)}</code>"


def without_macros(formula: str, macros: dict[str, str]) -> str:
    """Write out the macros of a formula, and leave their definitions out.

    A macro may use another one, but is not written out within its own content. ValueError where the
    formula is or becomes longer than anybody reads as a formula.
    """
    if len(formula) > _LONGEST:
        raise ValueError("long")
    if not macros:
        return formula

    def content(match: re.Match[str]) -> str:
        return f"{{{macros[match[0]]}}}" if match[0] in macros else match[0]

    formula = _DEFINITION.sub("", formula)
    for _ in range(3):
        formula = re.sub(r"\\[a-zA-Z]+", content, formula)
        if len(formula) > _LONGEST:
            raise ValueError("macros that double")
    return formula


def _spelt(formula: str) -> str:
    """Return the formula in the spelling that Docutils knows."""
    text = "".join(_COMMANDS.get(ord(c), c) if ord(c) > 127 else c for c in formula)
    for pattern, replacement in _SPELLINGS:
        text = re.sub(pattern, replacement, text)
    return text


class _Rebuilt(HTMLParser):
    """MathML of allowed elements and attributes only; ValueError for any other element."""

    def __init__(self, mathml: str, formula: str) -> None:
        super().__init__(convert_charrefs=True)
        self.formula = formula
        self.parts: list[str] = []
        self.feed(mathml)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not _ELEMENTS.fullmatch(tag):
            raise ValueError(f"<{tag}> is no element of a formula")
        kept = {name: value or "" for name, value in attrs if _ATTRIBUTES.fullmatch(name)}
        for name, value in attrs:
            if name == "class" and value in _CLASSES:
                kept["class"] = value
        if tag == "math":
            kept["alttext"] = self.formula  # for whatever reads the page and knows no MathML
        words = [f'{name}="{html.escape(value)}"' for name, value in kept.items()]
        self.parts.append(f"<{' '.join([tag, *words])}>")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.parts.append(html.escape(data.strip("\n ")))
