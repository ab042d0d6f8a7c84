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

from teaching.mathml import definitions, formula_to_mathml

# Letters. The reader of Markdown takes minutes for some longer texts, and no proof is so long: it
# is shown as it was typed.
LONGEST_TEXT = 20_000
# Pictures and links lead elsewhere: they are shown as they were typed. So are the definitions of
# links, for which the reader takes half a minute where there are thousands.
_LEADING_ELSEWHERE = ["image", "link", "autolink", "reference"]


@lru_cache(maxsize=1024)  # the same text stands on a student's page and on the instructor's
def markdown_to_html(text: str, keep_lines: bool = True) -> str:
    """Return Markdown as HTML that needs nothing else; `$...$` and `$$...$$` become MathML.

    The text of a submission must not reach beyond itself: nothing in it gets an id or a link.
    """
    if len(text) > LONGEST_TEXT:
        return f'<pre class="text">{html.escape(text)}</pre>'
    macros = definitions(text)

    def draw(formula: str, options: dict[str, object]) -> str:
        is_display = bool(options.get("display_mode"))
        return formula_to_mathml(formula.strip(), is_display, macros)

    reader = MarkdownIt("commonmark", {"html": False, "breaks": keep_lines})
    reader.enable("table").disable(_LEADING_ELSEWHERE)
    reader.use(dollarmath_plugin, renderer=draw, double_inline=True, allow_labels=False)
    return str(reader.render(text))


def new_nonce() -> str:
    """Return a word that lets the scripts of one page run, and no others."""
    return secrets.token_urlsafe(16)
