"""The look of the book's figures: its colours, its matplotlib style, and SVG that follows the page.

One visual language for the whole book: **words are blue circles, contexts orange squares, the
support is green, what is off the support grey**. The colours for a light page have a contrast of at
least 3:1 with a dark one, too, so that a figure reads even where nothing tells it which page it
stands on (JupyterLab's dark theme shows an image on a ground that the image cannot see).

A static figure is an SVG with a transparent ground. `adapt_svg` replaces the fixed colours that
matplotlib wrote by CSS variables with a light and a dark value. Which one holds is decided

- in the page, where the SVG stands in its text: by the site's `data-theme`, and the dark classes
  of JupyterLab, Colab and VS Code;
- in an `<img>`, which sees no page: by the media query `prefers-color-scheme`, which browsers
  answer there with the CSS `color-scheme` of the element that shows the image, so that it follows
  the site's theme switch, too.
"""

from __future__ import annotations

import io
import re
import sys
from importlib import resources

from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure

# Name: (on a light ground, on a dark ground).
PALETTE = {
    "ink": ("#656d79", "#c3c9d2"),
    "page": ("#ffffff", "#121212"),
    "grid": ("#d3d7dc", "#3b4149"),
    "word": ("#1f6fb2", "#74b5ec"),
    "context": ("#b45f06", "#f2a655"),
    "support": ("#2a7d4f", "#6ac596"),
    "off": ("#7d838c", "#9aa1ab"),
    "plus": ("#b5303c", "#f0808a"),
    "minus": ("#2466a8", "#78b0ee"),
    "series-4": ("#8459ad", "#bd9be6"),
    "series-5": ("#b04a70", "#ec93b6"),
    "series-6": ("#0f7c86", "#5cc5cf"),
}
INK, GRID = PALETTE["ink"][0], PALETTE["grid"][0]
WORD, CONTEXT, SUPPORT, OFF_SUPPORT = (
    PALETTE[name][0] for name in ("word", "context", "support", "off")
)
SERIES = (WORD, CONTEXT, SUPPORT, *(PALETTE[f"series-{k}"][0] for k in (4, 5, 6)))
WORD_MARKER = "o"
CONTEXT_MARKER = "s"

# Where a page says that its ground is dark, and where it says that it is light.
DARK_PAGES = (
    'html[data-theme="dark"]',
    'html[theme="dark"]',
    'body[data-jp-theme-light="false"]',
    "body.vscode-dark",
)
LIGHT_PAGES = (
    'html[data-theme="light"]',
    'html[theme="light"]',
    'body[data-jp-theme-light="true"]',
    "body.vscode-light",
)
FONTS = "var(--pst-font-family-base,system-ui,-apple-system,'Segoe UI',Roboto,sans-serif)"


def signed_colours() -> LinearSegmentedColormap:
    """Colours of the book's heat maps: red above zero, blue below, and no colour at zero."""
    plus, minus = PALETTE["plus"][0], PALETTE["minus"][0]
    fading = (0.0, minus, 1.0), (0.5, minus, 0.0), (0.5, plus, 0.0), (1.0, plus, 1.0)
    return LinearSegmentedColormap.from_list(
        "signed", [(at, to_rgba(colour, alpha)) for at, colour, alpha in fading]
    )


def use_book_style() -> None:
    """Draw all following figures in the style of the book; call it once, in the first cell.

    In a notebook figures are then shown as SVG that follows the page's light or dark ground.
    """
    import matplotlib.pyplot as plt

    plt.style.use(str(resources.files("ntp_lite") / "data" / "book.mplstyle"))
    if "IPython" not in sys.modules:
        return
    shell = sys.modules["IPython"].get_ipython()
    if shell is None:
        return
    # The inline backend registers its own formats when it starts; ours must come after them.
    plt.switch_backend(plt.get_backend())
    formatters = shell.display_formatter.formatters
    for image_type in ("image/png", "image/jpeg", "application/pdf"):
        if image_type in formatters:
            formatters[image_type].pop(Figure, None)
    formatters["image/svg+xml"].for_type(Figure, figure_svg)


def figure_svg(figure: Figure, tight: bool = True) -> str:
    """The figure as SVG text that follows its page; the same bytes for the same figure.

    tight : cut the margins off; without it the picture has the size of the figure.
    """
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", bbox_inches="tight" if tight else None, metadata={"Date": None}
    )
    return adapt_svg(buffer.getvalue())


def adapt_svg(svg: str) -> str:
    """Matplotlib's SVG with CSS variables for colours, the page's font and short numbers.

    Black becomes ink and white the page's ground; colours outside `PALETTE` stay as they are.
    Raises ValueError for text without an `<svg>` element.
    """
    start = re.search(r"<svg\b[^>]*>", svg)
    if start is None:
        raise ValueError("adapt_svg was given no <svg> element; pass the text of an SVG file.")
    body = re.sub(r"<metadata>.*?</metadata>", "", svg[start.end() :], flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r">\s+<", "><", body)
    # Coordinates stand within tags; what stands between them is read, such as a tick's 0.025.
    body = re.sub(r"<[^>]*>", _short_numbers, body)
    for name, (light, _) in PALETTE.items():
        body = _replace_colour(body, light, name)
    body = _replace_colour(body, "#000000", "ink")
    # Text and paths without a colour of their own are black.
    body = re.sub(r"font: ?([^;\"]*?)([\d.]+px) [^;\"]*", _page_font, body)
    head = start[0].replace("<svg", '<svg class="ntp-svg"', 1)
    return f"{head}{_style_sheet()}{body}"


def _short_numbers(tag: re.Match[str]) -> str:
    """A tag with two decimals in each of its numbers: a hundredth of a pixel."""
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag[0])


def _page_font(shorthand: re.Match[str]) -> str:
    """The shorthand with its weight and size, in the page's family; italic letters stay italic."""
    words = shorthand[1].split()
    slant = "font-style: italic; " if {"italic", "oblique"} & set(words) else ""
    weight = "".join(f"font-weight: {word}; " for word in words if word in ("bold", "600", "700"))
    return f"{slant}{weight}font-size: {shorthand[2]}; font-family: {FONTS}"


def _replace_colour(svg: str, colour: str, name: str) -> str:
    return re.sub(
        rf"((?:fill|stroke): ?){colour}\b", rf"\1var(--ntp-{name},{PALETTE[name][0]})", svg
    )


def _style_sheet() -> str:
    light, dark = (
        ";".join(f"--ntp-{name}:{pair[which]}" for name, pair in PALETTE.items())
        for which in (0, 1)
    )
    on = [",".join(f"{page} .ntp-svg" for page in pages) for pages in (LIGHT_PAGES, DARK_PAGES)]
    return (
        f"<style>.ntp-svg{{{light};fill:var(--ntp-ink)}}"
        f"@media (prefers-color-scheme:dark){{.ntp-svg{{{dark}}}}}"
        f"{on[0]}{{{light}}}{on[1]}{{{dark}}}</style>"
    )
