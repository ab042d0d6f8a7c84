"""A number and a caption for the figures that move.

A figure of `ntp_lite.interactive` is HTML of its own, caption included. Its cell gives it a name,

    mystnb:
      figure:
        name: fig-soft-labels-text

and myst-nb wraps it into a figure node. Here the caption is taken out of the HTML and put below
that node, where Sphinx writes "Figure 1.2" before it. An export executes nothing: there the cell
has no output to take a caption from, and without any Sphinx would not number the figure.
"""

from __future__ import annotations

import html
import re

from docutils import nodes
from sphinx.application import Sphinx

BEGIN = '<figure class="ntp-interactive"'
CAPTION = re.compile(r"<figcaption>(.*?)</figcaption>\s*", re.DOTALL)
EXPORTED = "Run the cell above, and move it."  # the caption proper comes with the output
MOVES = "ntp-moves"  # class of the figure nodes that hold one


def part_of_figure(raw: nodes.raw) -> str:
    """Take the caption out of the HTML of an interactive figure, and return it.

    What is left becomes a part of the figure around it, no figure within a figure.
    """
    text = raw.astext()
    found = CAPTION.search(text)
    inner = CAPTION.sub("", text).replace(BEGIN, '<div class="ntp-interactive"')
    raw.children = [nodes.Text(inner.replace("</figure>", "</div>"))]
    return html.unescape(found.group(1).strip()) if found else ""


def caption_moving_figures(app: Sphinx, doctree: nodes.document) -> None:
    """Give the named figures that move their captions."""
    for figure in doctree.findall(nodes.figure):
        for raw in figure.findall(nodes.raw):
            if raw.get("format") == "html" and BEGIN in raw.astext():
                figure["classes"].append(MOVES)
                caption = part_of_figure(raw)
                figure += nodes.caption(caption, caption)
        if not any(figure.findall(nodes.caption)):
            figure += nodes.caption(EXPORTED, EXPORTED)


def setup(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.connect("doctree-read", caption_moving_figures)
