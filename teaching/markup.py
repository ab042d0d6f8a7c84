"""Markdown with mathematics as HTML that runs nothing, for pages that are read offline.

Raw HTML in the text is shown as text. Mathematics is typeset in the browser by the copy of MathJax
that belongs to the book.
"""

from __future__ import annotations

import html
import secrets
import shutil
from pathlib import Path

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

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


# Pictures and links lead elsewhere: they are shown as they were typed.
_LOADING = ["image", "link", "autolink"]


def _inline(text: str, options: dict[str, object]) -> str:
    begin, end = ("\\[", "\\]") if options.get("display_mode") else ("\\(", "\\)")
    return begin + html.escape(text) + end


def markdown_to_html(text: str) -> str:
    """Return Markdown as HTML; `$...$` and `$$...$$` become formulas for MathJax."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable(_LOADING)
    reader.use(dollarmath_plugin, renderer=_inline, double_inline=True)
    return str(reader.render(text))


def copy_mathjax(folder: Path) -> None:
    """Put MathJax beside the pages, once."""
    if not (folder / "mathjax").is_dir():
        shutil.copytree(MATHJAX, folder / "mathjax")


def new_nonce() -> str:
    """Return a word that lets the scripts of one page run, and no others."""
    return secrets.token_urlsafe(16)
