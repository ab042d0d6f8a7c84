"""Figures of the book. Every function draws on an Axes and returns it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from ._validate import as_array, as_matrix

if TYPE_CHECKING:  # matplotlib is imported by who makes the Axes
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

# Okabe and Ito's palette: distinguishable with every common kind of colour blindness.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, BLACK = COLORS = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")  # one more: 72 different pairs

BOX = "\u25a1"  # stands for a letter that no font has

# Fonts that systems (and the package fonts-noto-cjk) bring for what matplotlib's own font lacks.
WIDE_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Hiragino Sans", "PingFang SC", "Yu Gothic",
    "Microsoft YaHei", "Malgun Gothic", "WenQuanYi Zen Hei", "IPAGothic", "Noto Sans",
    "Noto Sans Devanagari", "Noto Sans Thai", "Nirmala UI", "Leelawadee UI", "Arial Unicode MS",
)  # fmt: skip


def heat_map(
    ax: Axes,
    A: Any,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    title: str = "",
    limit: float | None = None,
    colorbar: bool = True,
    label: str = "",
) -> Axes:
    """A matrix as colours, blue negative, white zero, red positive; +-limit are the end colours.

    `label` says what the colours measure and in which unit, beside their scale. Heat maps that
    stand side by side are compared by eye: give them one `limit`.

    A : whatever holds a matrix of numbers: an array, a tensor, a scipy sparse matrix. `rows` and
    `columns` name the ticks (leave them out for more than about 40). One warning names letters
    that no installed font has; they are drawn as boxes.
    """
    import seaborn as sns  # here: it costs a second, and nothing else needs it

    values = as_array(A, "A")
    bound = limit or float(np.abs(values).max(initial=0.0)) or 1.0
    names = {"yticklabels": _names(rows), "xticklabels": _names(columns)}
    fonts, lacking = _fonts_for("".join((*names["yticklabels"], *names["xticklabels"], title)))
    boxes = dict.fromkeys(map(ord, lacking), BOX)
    for axis, ticks in names.items():
        names[axis] = [tick.translate(boxes) for tick in ticks]
    if fonts:  # before seaborn draws
        families = [*ax.title.get_fontfamily(), *fonts]
        ax.tick_params(labelfontfamily=families)
        ax.title.set_fontfamily(families)
    sns.heatmap(values, ax=ax, cmap="RdBu_r", vmin=-bound, vmax=bound, cbar=False, **names)
    if colorbar:
        color_scale(ax.collections[0], ax, label)
    ax.set_title(title.translate(boxes))
    return ax


def color_scale(
    image: ScalarMappable, axes: Axes | Sequence[Axes], label: str, below: bool = False
) -> Axes:
    """A thin bar that says which colour is which number: the two extremes, and zero between them.

    image : what `imshow` or `pcolormesh` returned.  axes : the picture, or all pictures that share
    the scale.  label : what the colours measure, with its unit.  below : under the pictures, not
    to their right.  An end becomes a triangle where numbers beyond it have the same colour.

    Returns the Axes of the bar.
    """
    several = list(np.ravel(np.asarray(axes, dtype=object)))
    low, high = image.get_clim()
    shown: Any = np.ma.masked_invalid(np.ma.asarray(image.get_array()))
    values = np.ma.compressed(shown)
    slack = 1e-6 * (high - low)  # a cosine of 1 may be rounded up
    over = bool(len(values)) and values.max() > high + slack
    under = bool(len(values)) and values.min() < low - slack
    extend = {(False, False): "neither", (False, True): "max", (True, False): "min"}
    bar = several[0].figure.colorbar(
        image, ax=several, label=label, location="bottom" if below else "right", shrink=0.6,
        aspect=30, extend=extend.get((under, over), "both"),
    )  # fmt: skip
    ticks = [low, 0.0, high] if low < 0 < high else [low, high]
    bar.set_ticks(ticks, labels=[f"{tick:.3g}".replace("-", "\u2212") for tick in ticks])
    return bar.ax


def arrow(
    ax: Axes, tip: Sequence[float], tail: Sequence[float] = (0, 0), color: str = "#656d79",
    width: float = 1.8,
) -> Axes:  # fmt: skip
    """A vector with a head at its tip; width in points."""
    ends = np.array([tail, tip], dtype=float)
    head = {"arrowstyle": "-|>,head_width=0.25,head_length=0.5", "mutation_scale": 8 + 5 * width}
    exact = {"shrinkA": 0, "shrinkB": 0, "joinstyle": "miter", "linestyle": "-"}
    ax.annotate("", ends[1], ends[0], arrowprops={**head, **exact, "color": color, "lw": width})
    ax.update_datalim(ends)  # an annotation does not count for the limits
    return ax


def spectrum(ax: Axes, matrices: Mapping[str, Any], relative: bool = False) -> Axes:
    """Singular values of each named matrix, decreasing; `relative` divides by the largest."""
    for (name, A), color, marker in zip(matrices.items(), cycle(COLORS), cycle(MARKERS)):
        s = np.linalg.svd(as_matrix(A, name), compute_uv=False)  # exact also where it is tiny
        s = s / s[0] if relative and s[0] > 0 else s
        ax.plot(np.arange(1, len(s) + 1), s, color=color, marker=marker, ms=3, lw=1, label=name)
    ax.set(xlabel="index", ylabel="singular value" + (" / largest" if relative else ""))
    ax.legend()
    return ax


def curves(
    ax: Axes,
    x: Any,
    ys: Mapping[str, Any],
    xlabel: str = "",
    ylabel: str = "",
    logx: bool = True,
    logy: bool = True,
) -> Axes:
    """Named curves over a common x, told apart by colour and by marker."""
    across = as_array(x, "x")
    for (name, y), color, marker in zip(ys.items(), cycle(COLORS), cycle(MARKERS)):
        ax.plot(across, as_array(y, name), color=color, marker=marker, ms=4, label=name)
    ax.set(xscale="log" if logx else "linear", yscale="log" if logy else "linear")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if len(ys) > 1:
        ax.legend()
    return ax


def _names(ticks: Sequence[str] | None) -> list[str]:
    """The names of the ticks; `or` would ask an array of names for its truth."""
    return [] if ticks is None else [str(tick) for tick in ticks]


def _fonts_for(letters: str) -> tuple[list[str], str]:
    """The installed fonts to use after matplotlib's own, and the letters that none of them has.

    matplotlib takes each letter from the first of a text's fonts that has it.
    """
    lacking = _lacking(letters, None)
    if not lacking:
        return [], ""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    fonts = []
    for name in WIDE_FONTS:
        fewer = _lacking(lacking, name) if name in installed else lacking
        if fewer != lacking:
            fonts.append(name)
            lacking = fewer
    if lacking:
        warnings.warn(
            f"No installed font has {len(lacking)} of the letters, such as {lacking[:5]!r}; they "
            f"are drawn as {BOX}. Install a font that has them, for instance one of Noto's.",
            stacklevel=3,
        )
    return fonts, lacking


def _lacking(letters: str, family: str | None) -> str:
    """Those of the letters, each once, that a font family (None: matplotlib's own) lacks."""
    if letters.isascii():
        return ""
    from matplotlib import font_manager, ft2font

    path = font_manager.findfont(font_manager.FontProperties(family=family))
    has = ft2font.FT2Font(path).get_charmap()
    return "".join(c for c in sorted(set(letters)) if ord(c) not in has and not c.isspace())
