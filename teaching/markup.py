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


# Written as text: its attributes may be a link, or a style that covers the page.
_FORBIDDEN = "\\mmlToken"
# Letters. The reader of Markdown takes minutes for some longer texts, and no proof is so long: it
# is shown as it was typed.
_LONGEST = 20_000
# Pictures and links lead elsewhere: they are shown as they were typed.
_LOADING = ["image", "link", "autolink"]


def _inline(text: str, options: dict[str, object]) -> str:
    if _FORBIDDEN in text:
        return html.escape(text)
    begin, end = ("\\[", "\\]") if options.get("display_mode") else ("\\(", "\\)")
    return begin + html.escape(text) + end


def markdown_to_html(text: str) -> str:
    """Return Markdown as HTML; `$...$` and `$$...$$` become formulas for MathJax.

    The text of a submission must not reach beyond itself: nothing in it gets an id or a link.
    """
    if len(text) > _LONGEST:
        return f'<pre class="text">{html.escape(text)}</pre>'
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable(_LOADING)
    reader.use(dollarmath_plugin, renderer=_inline, double_inline=True, allow_labels=False)
    return str(reader.render(text))


def copy_mathjax(folder: Path) -> None:
    """Put MathJax beside the pages, once."""
    if not (folder / "mathjax").is_dir():
        shutil.copytree(MATHJAX, folder / "mathjax")


def new_nonce() -> str:
    """Return a word that lets the scripts of one page run, and no others."""
    return secrets.token_urlsafe(16)
