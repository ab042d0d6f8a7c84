"""Markdown with mathematics as HTML that runs nothing, for pages that are read offline.

Raw HTML in the text is shown as text. On an instructor's pages mathematics is typeset by the copy
of MathJax that belongs to the book; a page that is sent to a student is one file, and its formulas
are MathML.
"""

from __future__ import annotations

import html
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from teaching.mathml import formula_to_mathml
from teaching.paths import MATHJAX

# No \href, \class, \style or \unicode, and nothing that is loaded later: a formula is a formula.
MATHJAX_SETTINGS = """\
window.MathJax = {
  tex: {
    inlineMath: [["\\\\(", "\\\\)"]],
    displayMath: [["\\\\[", "\\\\]"]],
    packages: {"[-]": ["html", "require", "autoload", "configmacros"]}
  },
  options: {enableMenu: false, processHtmlClass: "math", ignoreHtmlClass: "page"}
};
"""


# Written as text: its attributes may be a link, or a style that covers the page.
_FORBIDDEN = "\\mmlToken"
# Letters. The reader of Markdown takes minutes for some longer texts, and no proof is so long: it
# is shown as it was typed.
LONGEST_TEXT = 20_000
# Pictures and links lead elsewhere: they are shown as they were typed.
_LOADING = ["image", "link", "autolink"]


def _for_mathjax(text: str, options: dict[str, object]) -> str:
    if _FORBIDDEN in text:
        return html.escape(text)
    begin, end = ("\\[", "\\]") if options.get("display_mode") else ("\\(", "\\)")
    return begin + html.escape(text) + end


def _as_mathml(text: str, options: dict[str, object]) -> str:
    return formula_to_mathml(text.strip(), is_display=bool(options.get("display_mode")))


def markdown_to_html(text: str) -> str:
    """Return Markdown as HTML; `$...$` and `$$...$$` become formulas for MathJax.

    The text of a submission must not reach beyond itself: nothing in it gets an id or a link.
    """
    return _html(text, _for_mathjax)


def markdown_to_page(text: str) -> str:
    """Return Markdown as HTML that needs nothing else: formulas are MathML, lines are kept."""
    return _html(text, _as_mathml)


def _html(text: str, formula: Callable[[str, dict[str, object]], str]) -> str:
    if len(text) > LONGEST_TEXT:
        return f'<pre class="text">{html.escape(text)}</pre>'
    options = {"html": False, "breaks": formula is _as_mathml}
    reader = MarkdownIt("commonmark", options).enable("table").disable(_LOADING)
    reader.use(dollarmath_plugin, renderer=formula, double_inline=True, allow_labels=False)
    return str(reader.render(text))


def copy_mathjax(folder: Path) -> None:
    """Put MathJax beside the pages, once."""
    if not (folder / "mathjax").is_dir():
        shutil.copytree(MATHJAX, folder / "mathjax")


def new_nonce() -> str:
    """Return a word that lets the scripts of one page run, and no others."""
    return secrets.token_urlsafe(16)
