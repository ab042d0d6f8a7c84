"""Figures of the book. Every function draws on an Axes and returns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

# Okabe and Ito's palette: distinguishable with every common kind of colour blindness.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, BLACK = COLORS = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")  # one more: 72 different pairs


def heat_map(
    ax: Axes, A: ArrayLike, rows: Sequence[str] | None = None, columns: Sequence[str] | None = None,
    title: str = "", limit: float | None = None, colorbar: bool = True,
) -> Axes:  # fmt: skip
    """A matrix as colours, blue negative, white zero, red positive; +-limit are the end colours.

    `rows` and `columns` name the ticks (leave them out for more than about 40).
    """
    values = np.asarray(A, dtype=float)
    bound = limit or float(np.abs(values).max(initial=0.0)) or 1.0
    ticks = {"xticklabels": list(columns or ()), "yticklabels": list(rows or ())}
    sns.heatmap(values, ax=ax, cmap="RdBu_r", vmin=-bound, vmax=bound, cbar=colorbar, **ticks)
    ax.set_title(title)
    return ax


def spectrum(ax: Axes, matrices: Mapping[str, ArrayLike], relative: bool = False) -> Axes:
    """Singular values of each named matrix, decreasing; `relative` divides by the largest."""
    for (name, A), color, marker in zip(matrices.items(), cycle(COLORS), cycle(MARKERS)):
        s = np.linalg.svd(np.asarray(A, dtype=float), compute_uv=False)
        s = s / s[0] if relative and s[0] > 0 else s
        ax.plot(np.arange(1, len(s) + 1), s, color=color, marker=marker, ms=3, lw=1, label=name)
    ax.set(xlabel="index", ylabel="singular value" + (" / largest" if relative else ""))
    ax.legend()
    return ax


def curves(
    ax: Axes, x: ArrayLike, ys: Mapping[str, ArrayLike], xlabel: str = "", ylabel: str = "",
    logx: bool = True, logy: bool = True,
) -> Axes:  # fmt: skip
    """Named curves over a common x, told apart by colour and by marker."""
    for (name, y), color, marker in zip(ys.items(), cycle(COLORS), cycle(MARKERS)):
        ax.plot(np.asarray(x), np.asarray(y), color=color, marker=marker, ms=4, label=name)
    ax.set(xscale="log" if logx else "linear", yscale="log" if logy else "linear")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if len(ys) > 1:
        ax.legend()
    return ax
