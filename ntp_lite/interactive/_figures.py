"""The kinds of interactive figure, and how each becomes the output of a cell."""

from __future__ import annotations

import base64
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import matplotlib.style
import numpy as np
from jinja2 import Environment
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.patches import Polygon

from ..corpus import tokenize
from ..style import CONTEXT, INK, OFF_SUPPORT, PALETTE, SUPPORT, WORD, figure_svg
from ._computations import COMPUTATIONS
from ._outcomes import QUANTITIES, SENTENCES
from ._panels import Panel, with_common_scales

FOLDER = resources.files("ntp_lite") / "interactive"
# What a page loads once, in this order.
STYLES = ("ntp_interactive.css",)
SCRIPTS = ("d3.min.js", "ntp_interactive.js")
LIBRARY = re.compile(r'<div class="ntp-library" hidden>.*?</div>\n?', re.DOTALL)
STILL_WIDTH = 8.8  # inches, of all columns; a still as wide as its share is written in one size
MOST_ROWS = 18  # of a table of counts; the script shows as many
MOST_COLUMNS = 10


# What a figure may leave out of its parts.
_NOTHING: dict[str, Any] = {
    "panels": [],
    "columns": 1,
    "sliders": [],
    "playable": False,
    "choices": [],
    "text": None,
    "counts": None,
}


class Figure:
    """What all kinds share: the output of a cell, complete in itself.

    Shown in a notebook it carries its library with it; `without_library` takes that out for a page
    that loads it once. Below it stands its `caption`: what to do, and what to see.
    """

    caption: str

    def html(self, library: bool = True) -> str:
        """The figure as HTML that fetches nothing."""
        figure = _template().render(**_NOTHING | {"caption": self.caption} | self._parts())
        return figure + _library() if library else figure

    def _parts(self) -> dict[str, Any]:
        raise NotImplementedError

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        parts = self._parts()
        return {"text/html": self.html(), "text/plain": f"{parts['alt']} {parts['says']}"}

    def _repr_html_(self) -> str:
        return self.html()


@dataclass(frozen=True, eq=False)
class Slider:
    """A slider over computed states.

    name : what it moves.  labels : one text for each state, as the reader sees and hears it.
    start : the first state shown.  ends : two words for its left and right end.
    """

    name: str
    labels: Sequence[str]
    start: int = 0
    ends: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if len(self.labels) < 2:
            raise ValueError(f"The slider {self.name!r} has {len(self.labels)} states; give two.")
        if not 0 <= self.start < len(self.labels):
            last = len(self.labels) - 1
            raise ValueError(f"start of {self.name!r} is {self.start}; use 0 ... {last}.")


@dataclass(frozen=True, eq=False, kw_only=True)
class Frames(Figure):
    """Linked panels over states that the cell has computed, moved by no, one or two sliders.

    alt : what the figure shows, for who cannot see it.
    panels : `Points`, `Pairs`, `Lines`, `Bars`, `HeatMap`, `Solid`.
    says : one sentence for each state (with two sliders row by row); it is read aloud when the
        slider moves.  caption : what to do and what to see, below the figure.
    columns : of the grid of panels on a wide page.  play : a button that walks the first slider.

    Between two states the picture blends while it moves; it comes to rest on computed ones only.
    Raises ValueError for panels whose shapes do not fit the sliders.
    """

    alt: str
    panels: Sequence[Panel]
    sliders: Sequence[Slider] = ()
    says: Sequence[str] = ("",)
    title: str = ""
    caption: str = ""
    columns: int = 0
    play: bool = True

    def __post_init__(self) -> None:
        _check_alt(self.alt)
        if not self.panels:
            raise ValueError("Frames has no panels; give at least one.")
        if len(self.sliders) > 2:
            raise ValueError(f"Frames has {len(self.sliders)} sliders; use two at most.")
        if len(self.says) != math.prod(self.sizes):
            wanted = math.prod(self.sizes)
            raise ValueError(f"says has {len(self.says)} sentences for {wanted} states.")
        for panel in self.panels:
            panel.data(self.sizes)

    @property
    def drawn(self) -> list[Panel]:
        """The panels as they are drawn: heat maps that measure the same share their scale."""
        return with_common_scales(self.panels)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of states of each slider."""
        return tuple(len(slider.labels) for slider in self.sliders)

    @property
    def start(self) -> int:
        """The first state shown, counted row by row."""
        if not self.sliders:
            return 0
        return int(np.ravel_multi_index([slider.start for slider in self.sliders], self.sizes))

    def _parts(self) -> dict[str, Any]:
        data = {
            "kind": "frames",
            "sliders": [{"labels": list(s.labels), "start": s.start} for s in self.sliders],
            "panels": [
                {"kind": panel.kind, "title": panel.title, **panel.data(self.sizes)}
                for panel in self.drawn
            ],
            "says": list(self.says),
        }
        return {
            "alt": self.alt,
            "title": self.title,
            "columns": self._columns,
            "panels": [self._panel(panel) for panel in self.drawn],
            "sliders": self.sliders,
            "playable": self.play and bool(self.sliders),
            "says": self.says[self.start],
            "data": _json(data),
        }

    @property
    def _columns(self) -> int:
        return self.columns or min(len(self.panels), 3)

    def _panel(self, panel: Panel) -> dict[str, Any]:
        def draw(ax: Axes) -> None:
            panel.draw(ax, self.start, self.sizes)

        return {
            "title": panel.title,
            "alt": panel.alt or panel.title,
            "ratio": panel.ratio,
            "narrow_ratio": panel.narrow_ratio,
            "span": panel.span,
            "legend": [{**entry, "swatch": _swatch(entry)} for entry in panel.legend],
            "scale": panel.scale,
            "still": _still(draw, panel.ratio, panel.span / self._columns),
        }


# Panels of each computation: their titles, and width over height, the second on a phone.
_HANDLE_PANELS: dict[str, tuple[tuple[str, float, float], ...]] = {
    "loss": (
        ("Logits (drag the squares)", 1.15, 1.5),
        ("Prediction (bars) and P (dashed)", 1.15, 1.7),
        ("Loss, in nats", 1.3, 2.1),
    ),
    "simplex": (("Predictions of three words", 1.15, 1.15), ("What it costs", 1.9, 2.8)),
    "column": (
        ("Logits of one context", 1.15, 1.5),
        ("Prediction (bars) and P (dashed)", 1.15, 1.7),
        ("Excess loss, in nats", 1.3, 2.1),
    ),
    "certificate": (
        ("All predictions of three words", 1.15, 1.15),
        ("Both bounds, in nats above the floor", 1.15, 1.5),
    ),
}

# What the pictures of the certificate show, named above them.
_CERTIFICATE_LEGEND = [
    {"name": name, "series": 0, "role": role, "shape": shape, "hollow": hollow}
    for name, role, shape, hollow in (
        ("guess", "context", "square", False),
        ("guess, pulled into the disc", "support", "circle", False),
        ("disc: at most one ridge away from P", "support", "circle", True),
        ("optimum", "ink", "diamond", False),
        ("optima of the ridges so far", "ink", "dashes", False),
        ("equal entropy, in nats", "off", "line", False),
    )
]


@dataclass(frozen=True, eq=False, kw_only=True)
class Handles(Figure):
    """One context whose numbers the reader drags; the formula is evaluated in the browser.

    computation : "loss" (P, logits), "simplex" (P, steps), "column" (P, share, height, off) or
        "certificate" (P, guess, ridge); see `ntp_lite.interactive.COMPUTATIONS`.
    names : the words.  state : the handles' first values, by the names in brackets.
    alt : what the figure shows, for who cannot see it.  caption : what to do and what to see.

    Raises ValueError for an unknown computation, a missing value, or values it cannot start from.
    """

    computation: str
    names: Sequence[str]
    state: Mapping[str, Any]
    alt: str
    title: str = ""
    caption: str = ""

    def __post_init__(self) -> None:
        _check_alt(self.alt)
        if self.computation not in COMPUTATIONS:
            known = ", ".join(COMPUTATIONS)
            raise ValueError(f"The computation {self.computation!r} is unknown; use {known}.")
        words = len(self.state.get("P", ())) + int(self.state.get("off", 0))
        if len(self.names) != words:
            raise ValueError(f"{len(self.names)} names for {words} words; give one each.")
        self.values()

    def values(self) -> dict[str, Any]:
        """What the computation gives for the first state."""
        try:
            return COMPUTATIONS[self.computation](**self.state)
        except TypeError as error:
            given = ", ".join(self.state) or "nothing"
            raise ValueError(
                f"state of {self.computation!r} has {given}: {error}; see its arguments."
            ) from None

    def _parts(self) -> dict[str, Any]:
        state = {name: np.asarray(value).tolist() for name, value in self.state.items()}
        data = {"kind": "handles", "computation": self.computation, "names": list(self.names)}
        values = self.values()
        return {
            "alt": self.alt,
            "title": self.title,
            "columns": len(_HANDLE_PANELS[self.computation]),
            "panels": [
                {**self._panel(k, title, ratio, values), "narrow_ratio": narrow}
                for k, (title, ratio, narrow) in enumerate(_HANDLE_PANELS[self.computation])
            ],
            "says": SENTENCES[self.computation](self.names, values),
            "data": _json({**data, "state": state}),
        }

    def _panel(self, k: int, title: str, ratio: float, values: dict[str, Any]) -> dict[str, Any]:
        def draw(ax: Axes) -> None:
            if "triangle" in self._shape(k):
                self._draw_triangle(ax, values)
            else:
                self._draw_bars(ax, k, values)

        return {
            "title": title,
            "alt": f"{title}. {self.alt}" if k == 0 else title,
            "ratio": ratio,
            "span": 1,
            "legend": self._legend(k),
            "still": _still(draw, ratio, 1 / len(_HANDLE_PANELS[self.computation])),
        }

    def _legend(self, k: int) -> list[dict[str, Any]]:
        if self.computation != "certificate" or k > 0:
            return []
        return [{**entry, "swatch": _swatch(entry)} for entry in _CERTIFICATE_LEGEND]

    def _shape(self, k: int) -> str:
        triangular = self.computation in ("simplex", "certificate") and k == 0
        return "triangle" if triangular else "bars"

    def _draw_triangle(self, ax: Axes, values: dict[str, Any]) -> None:
        corners = np.array([[0, 0], [1, 0], [0.5, math.sqrt(3) / 2]])
        ax.fill(*corners.T, facecolor="none", edgecolor=INK, lw=1.2)
        for (x, y), name, side in zip(
            corners, self.names, ("right", "left", "center"), strict=True
        ):
            ax.plot(x, y, "o", color=WORD, ms=6)
            ax.annotate(name, (x, y), (0, 9 if y else -14), textcoords="offset points", ha=side)
        P = np.asarray(self.state["P"]) @ corners
        if self.computation == "certificate":
            angle = np.linspace(0, 2 * math.pi, 200)
            radius = self.state["ridge"] / math.sqrt(2)
            rim = P[0] + radius * np.cos(angle), P[1] + radius * np.sin(angle)
            (line,) = ax.plot(*rim, "-", color=SUPPORT)
            line.set_clip_path(Polygon(corners, transform=ax.transData))
            guess = np.asarray(self.state["guess"]) @ corners
            ax.plot(*np.transpose([guess, P]), ":", color=OFF_SUPPORT)
            ax.plot(*guess, "s", color=CONTEXT, ms=8)
            ax.plot(*(values["inDisc"] @ corners), "o", color=SUPPORT, ms=6)
            ax.plot(*(values["Q"] @ corners), "D", color=INK, ms=6)
            ax.plot(*P, "o", mfc="none", mec=INK, ms=8)
            ax.annotate("P", P, (-8, -14), textcoords="offset points", ha="right")
            ax.annotate("guess", guess, (8, 4), textcoords="offset points")
        else:
            ax.plot(*P, "o", color=SUPPORT, ms=8)
            ax.plot(*(values["Q"] @ corners), "s", color=CONTEXT, ms=6)
        ax.set_aspect("equal", adjustable="datalim")
        ax.margins(0.15)
        ax.axis("off")

    def _draw_bars(self, ax: Axes, k: int, values: dict[str, Any]) -> None:
        on = [p > 0 for p in self.state["P"]] + [False] * int(self.state.get("off", 0))
        colours = [SUPPORT if yes else OFF_SUPPORT for yes in on]
        at = range(len(self.names))
        if self.computation == "certificate":
            self._draw_bounds(ax, values)
        elif self._last(k):
            self._draw_quantities(ax, values)
        elif k == 0:
            ax.bar(at, self.state.get("logits", values.get("logits")), color=colours)
            ax.set_xticks(at, self.names)
        else:
            ax.bar(at, values["Q"], color=colours)
            P = [*self.state["P"], *[0] * int(self.state.get("off", 0))]
            ax.bar(at, P, facecolor="none", edgecolor=INK, ls="--", lw=1.4)
            ax.set_xticks(at, self.names)

    def _draw_quantities(self, ax: Axes, values: dict[str, Any]) -> None:
        for k, quantity in enumerate(QUANTITIES[self.computation](values)):
            start = 0.0
            for value, colour in quantity.parts:
                share = max(0.0, value) / quantity.full
                ax.barh(k, share, 0.4, left=start, color=colour)
                start += share
            ax.text(0, k - 0.3, quantity.label)
        ax.set(xlim=(0, 1), ylim=(2.5, -0.7))
        ax.axis("off")

    def _draw_bounds(self, ax: Axes, values: dict[str, Any]) -> None:
        ax.bar(0, values["gap"], 0.3, values["dual"], color=PALETTE["plus"][0], alpha=0.35)
        for name, words, mark, colour in (
            ("primal", "upper bound", "s", CONTEXT),
            ("least", "minimum", "D", INK),
            ("dual", "lower bound", "o", SUPPORT),
        ):
            ax.plot(0, values[name], mark, color=colour, ms=8)
            ax.annotate(f"{words}: {values[name]:.2f}", (0.3, values[name]), va="center")
        ax.set(xlim=(-0.6, 2), ylim=(0, 1.25), xticks=[])
        ax.grid(axis="y")

    def _last(self, k: int) -> bool:
        return k == len(_HANDLE_PANELS[self.computation]) - 1


@dataclass(frozen=True, eq=False, kw_only=True)
class TextCounts(Figure):
    """A text field, and the counts N, the frequencies P and the support S of what is typed.

    text : the first text.  context_length : 1, 2 or 3.  matrix : "N", "P" or "S".
    alt : what the figure shows, for who cannot see it.  caption : what to do and what to see.

    Words are cut as `ntp_lite.tokenize` cuts them, contexts counted as `SoftLabels.from_tokens`
    counts them. The table shows the commonest contexts, those that share next words side by
    side.
    """

    text: str
    alt: str
    context_length: int = 1
    matrix: str = "N"
    title: str = ""
    caption: str = ""

    def __post_init__(self) -> None:
        _check_alt(self.alt)
        if self.context_length not in (1, 2, 3):
            raise ValueError(f"context_length is {self.context_length}; use 1, 2 or 3.")
        if self.matrix not in ("N", "P", "S"):
            raise ValueError(f"matrix is {self.matrix!r}; use 'N', 'P' or 'S'.")
        if len(tokenize(self.text)) <= self.context_length:
            raise ValueError(f"The text {self.text!r} is too short; give a sentence or two.")

    def _parts(self) -> dict[str, Any]:
        matrices = (("N", "counts N"), ("P", "frequencies P"), ("S", "support S"))
        lengths = ((1, "1 word"), (2, "2 words"), (3, "3 words"))
        n = len(tokenize(self.text)) - self.context_length
        return {
            "alt": self.alt,
            "title": self.title,
            "text": self.text,
            "choices": [
                {"name": "length", "legend": "Context", "options": lengths,
                 "start": self.context_length},
                {"name": "matrix", "legend": "Show", "options": matrices, "start": self.matrix},
            ],
            "counts": self._table(),
            "says": f"{n} positions.",
            "data": _json({"kind": "text", "text": self.text, "length": self.context_length,
                           "matrix": self.matrix}),
        }  # fmt: skip

    def _table(self) -> Markup:
        """The counts of the commonest contexts, for readers without script."""
        tokens, c = tokenize(self.text), self.context_length
        columns: dict[str, Counter[str]] = {}
        for i in range(c, len(tokens)):
            columns.setdefault(" ".join(tokens[i - c : i]), Counter())[tokens[i]] += 1
        rest = sorted(columns, key=lambda name: -columns[name].total())[:MOST_COLUMNS]

        def most_shared(name: str) -> int:
            others = [columns[common[-1]]] if common else [columns[b] for b in rest if b != name]
            return max((len(columns[name].keys() & other.keys()) for other in others), default=0)

        # What contexts share is what matters: those that share most next words stand side by side,
        # the closest pair first, and the words that follow them form blocks.
        common: list[str] = []
        while rest:
            nearest = max(rest, key=most_shared)
            rest.remove(nearest)
            common.append(nearest)
        words = dict.fromkeys(word for name in common for word, _ in columns[name].most_common())
        shared_by = Counter(word for name in common for word in columns[name])
        following = [word for word, _ in Counter(tokens[c:]).most_common() if shared_by[word]]
        shown = sorted(following, key=lambda word: -shared_by[word])[:MOST_ROWS]
        rows = [word for word in words if word in shown]
        head = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in common)
        body = Markup("").join(
            Markup('<tr><th scope="row">{}</th>{}</tr>').format(
                word,
                Markup("").join(
                    Markup("<td>{}</td>").format(columns[name][word]) for name in common
                ),
            )
            for word in rows
        )
        return Markup(
            '<p class="ntp-panel-title">Counts N: rows are next words, columns contexts</p>'
            '<div class="ntp-scroll"><table aria-label="Counts N">'
            "<thead><tr><td></td>{}</tr></thead><tbody>{}</tbody></table></div>"
        ).format(head, body)


def without_library(html: str) -> str:
    """A page's HTML without the copies of the library that its figures carry.

    Such a page loads `STYLES` and `SCRIPTS` (files of `ntp_lite/interactive/browser`) once.
    """
    return LIBRARY.sub("", html)


@cache
def _library() -> str:
    """Style and scripts for places where an output must bring all it needs.

    They stand inside an element of their own, after the figure, so that a site can take them out.
    """
    read = {name: (FOLDER / "browser" / name).read_text("utf-8") for name in (*STYLES, *SCRIPTS)}
    styles = "".join(f"<style>{read[name]}</style>" for name in STYLES)
    scripts = "".join(f"<script>{read[name]}</script>" for name in SCRIPTS)
    return f'<div class="ntp-library" hidden>{styles}{scripts}</div>\n'


@cache
def _template() -> Any:
    source = (FOLDER / "figure.html").read_text("utf-8")
    return Environment(autoescape=True).from_string(source)


def _json(data: Mapping[str, Any]) -> Markup:
    """JSON that may stand in a script element: no `<` in it ends or opens anything."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028"))


def _still(draw: Callable[[Axes], None], ratio: float, share: float) -> str:
    """The picture that readers without script see, as the address of an image.

    share : of the figure's width that the panel takes, 1 for all of it.
    """
    width = STILL_WIDTH * min(1.0, share)
    sheet = str(resources.files("ntp_lite") / "data" / "book.mplstyle")
    with matplotlib.style.context(sheet):
        drawing = Drawing(figsize=(width, width / ratio), layout="constrained")
        draw(drawing.add_subplot())
        svg = figure_svg(drawing, tight=False)
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _swatch(entry: Mapping[str, Any]) -> Markup:
    """A line, a mark or a cross of the legend, as a drawing of 24 x 12 pixels."""
    names = ("word", "context", "support", "series-4", "series-5", "series-6")
    dashes = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 4")
    number = int(entry["series"])
    role = entry["role"] or names[number % len(names)]
    colour = "currentColor" if role == "ink" else f"var(--ntp-{role})"
    shapes = {
        "line": f'<path d="M0,6H24" stroke="{{}}" stroke-width="2.5" fill="none" '
        f'stroke-dasharray="{dashes[number % len(dashes)]}"/>',
        "dashes": '<path d="M0,6H24" stroke="{}" stroke-width="1.5" stroke-dasharray="3 3"/>',
        "circle": '<circle cx="12" cy="6" r="4.5" fill="{}"/>',
        "square": '<rect x="8" y="2" width="8" height="8" fill="{}"/>',
        "diamond": '<path d="M12,1l5,5l-5,5l-5,-5Z" fill="{}"/>',
        "cross": '<path d="M8,2l8,8m0,-8l-8,8" stroke="{}" stroke-width="1.5"/>',
    }
    shape = shapes[entry["shape"]]
    if entry.get("hollow"):
        shape = shape.replace('fill="{}"', 'fill="none" stroke="{}" stroke-width="1.5"')
    return Markup(shape.format(colour))


def _check_alt(alt: str) -> None:
    if len(alt.split()) < 5:
        raise ValueError(f"alt is {alt!r}; describe in a sentence what the figure shows.")
