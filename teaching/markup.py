"""Markdown with mathematics as HTML that runs nothing, for pages that are read offline.

Raw HTML in the text is shown as text. Formulas are MathML, each made for itself: what one text
defines or numbers reaches no other text of the page.
"""

from __future__ import annotations

import html
import secrets
from functools import lru_cache

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from teaching.grader.bounds import extra_memory, stopped_after
from teaching.inside.errors import StoppedError
from teaching.mathml import as_typed, definitions, formula_to_mathml, without_macros

# Letters. The reader of Markdown takes minutes for some longer texts, and no proof is so long: it
# is shown as it was typed.
LONGEST_TEXT = 20_000
# Letters of all formulas of a text together, macros written out: beyond, formulas stay as typed.
_MOST_FORMULAS = 2 * LONGEST_TEXT
# Cells: a table fills short rows up to the width of its head. Where there would be more, the text
# has no tables.
_MOST_TABLE_CELLS = 20_000
# What one text may take in any case; the texts of all students go through one process.
_SECONDS = 10
_MEBIBYTES = 512
# Pictures and links lead elsewhere: they are shown as they were typed. So are the definitions of
# links, for which the reader takes half a minute where there are thousands.
_LEADING_ELSEWHERE = ["image", "link", "autolink", "reference"]


@lru_cache(maxsize=1024)  # the same text stands on a student's page and on the instructor's
def markdown_to_html(text: str, keep_lines: bool = True) -> str:
    """Return Markdown as HTML that needs nothing else; `$...$` and `$$...$$` become MathML.

    The text of a submission must not reach beyond itself: nothing in it gets an id or a link.
    """
    if len(text) > LONGEST_TEXT:
        return _as_it_is(text)
    try:
        with stopped_after(_SECONDS, "", own_time=True), extra_memory(_MEBIBYTES):
            return _render(text, keep_lines)
    except (StoppedError, MemoryError):
        return _as_it_is(text)


def _as_it_is(text: str) -> str:
    return f'<pre class="text">{html.escape(text)}</pre>'


def _render(text: str, keep_lines: bool) -> str:
    macros = definitions(text)
    letters_left = _MOST_FORMULAS

    def draw(formula: str, options: dict[str, object]) -> str:
        nonlocal letters_left
        formula = formula.strip()
        is_display = bool(options.get("display_mode"))
        try:
            letters_left -= len(without_macros(formula, macros))
        except ValueError:
            return as_typed(formula, is_display)
        if letters_left < 0:
            return as_typed(formula, is_display)
        return formula_to_mathml(formula, is_display, macros)

    reader = MarkdownIt("commonmark", {"html": False, "breaks": keep_lines})
    reader.disable(_LEADING_ELSEWHERE)
    lines = text.splitlines()
    if len(lines) * max((line.count("|") for line in lines), default=0) <= _MOST_TABLE_CELLS:
        reader.enable("table")
    reader.use(dollarmath_plugin, renderer=draw, double_inline=True, allow_labels=False)
    return str(reader.render(text))


def new_nonce() -> str:
    """Return a word that lets the scripts of one page run, and no others."""
    return secrets.token_urlsafe(16)
