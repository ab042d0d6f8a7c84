"""Panels of an interactive figure: what each one shows, checked, as JSON and as a still picture.

A panel's numbers either stand still, or have one state for each position of the figure's sliders:
then their leading axes have the sliders' lengths. `Panel.data(sizes)` gives what the browser reads
(file ntp_interactive.js, function of the same name), `Panel.draw(ax, state)` the same picture with
matplotlib for readers without script.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from ..plots import arrow
from ..style import CONTEXT, GRID, INK, OFF_SUPPORT, PALETTE, SERIES, SUPPORT, WORD
from ._numbers import MINUS, number

ROLES = {"word": WORD, "context": CONTEXT, "support": SUPPORT, "off": OFF_SUPPORT, "ink": INK}
ROLES |= {f"series-{k}": PALETTE[f"series-{k}"][0] for k in (4, 5, 6)}
ARROW_WIDTHS = {"word": 3.2}  # wider than a context's: one that lies on it can be seen
DIGITS = 5  # more than a screen has pixels


@dataclass(frozen=True, eq=False, kw_only=True)
class Panel:
    """What all panels have.

    title : the line above.  alt : what there is to see, for who cannot see it (default: the title).
    ratio : width over height; narrow_ratio : the same on a phone.  span : columns of the figure.
    """

    kind: ClassVar[str] = ""
    title: str
    alt: str = ""
    ratio: float = 1.5
    narrow_ratio: float | None = None
    span: int = 1

    def __post_init__(self) -> None:
        if not self.title.strip():
            raise ValueError(f"A {type(self).__name__} panel has no title; say what it shows.")
        if not self.ratio > 0:
            raise ValueError(f"ratio is {self.ratio}; use a positive width over height.")
        if self.span < 1:
            raise ValueError(f"span is {self.span}; use 1 or more columns.")

    def data(self, sizes: tuple[int, ...]) -> dict[str, Any]:
        """The panel as JSON for sliders of these lengths; ValueError for shapes that do not fit."""
        raise NotImplementedError

    def draw(self, ax: Axes, state: int, sizes: tuple[int, ...]) -> None:
        """The still picture of one state."""
        raise NotImplementedError

    @property
    def legend(self) -> list[dict[str, Any]]:
        """Entries {name, colour, dash, shape} of the legend above the drawing; empty: none."""
        return []

    @property
    def scale(self) -> dict[str, str] | None:
        """What the colours say: {label, low, zero, high}, with "" for what does not occur."""
        return None


@dataclass(frozen=True, eq=False, kw_only=True)
class Points(Panel):
    """Words (blue circles) and contexts (orange squares) in a plane, as points or arrows.

    Arrows have heads instead of marks; those of words are wider.

    xy : (n, 2), or (..., n, 2) with one state for each slider position.
    names : n names.  role : "word", "context", "support", "off", "ink" or "series-4" to
    "series-6", one for all or one each.
    groups : n numbers from 0; points of the same group share a colour of the series.
    group_names : what the legend calls group 0, 1, ...; as many as there are colours at most
        (default: no legend).
    arrows : draw each from the origin.  edges : pairs of indices to join.
    details : n lines for the tooltip.  labels : write the names (default: up to 16 points).
    large : indices of points drawn as large diamonds, such as the means of the groups.
    """

    kind: ClassVar[str] = "points"
    xy: ArrayLike
    names: Sequence[str]
    role: str | Sequence[str] = "context"
    groups: Sequence[int] | None = None
    group_names: Sequence[str] = ()
    arrows: bool = False
    edges: Sequence[tuple[int, int]] = ()
    details: Sequence[str] = ()
    labels: bool | None = None
    large: Sequence[int] = ()
    ratio: float = 1.2

    def data(self, sizes: tuple[int, ...]) -> dict[str, Any]:
        n = len(self.names)
        frames = states(self.xy, (n, 2), sizes, f"xy of {self.title!r}")
        check_length(self.details, n, "details")
        check_indices(self.edges, n)
        check_indices([tuple(self.large)], n)
        self.check_group_names()
        return {
            "frames": compact(frames),
            "names": list(self.names),
            "roles": self.roles,
            "groups": list(self.groups or [0] * n),
            "arrows": self.arrows,
            "edges": [list(edge) for edge in self.edges],
            "details": list(self.details) or [""] * n,
            "labels": self.labelled,
            "large": list(self.large),
        }

    def check_group_names(self) -> None:
        """ValueError unless every group has a name and a colour of its own."""
        if not self.group_names:
            return
        used = max(self.groups or [0]) + 1 if self.groups is not None else 0
        named = len(self.group_names)
        if used != named:
            raise ValueError(
                f"group_names of {self.title!r} has {named} names for {used} groups; give one each."
            )
        if named > len(SERIES):
            raise ValueError(
                f"{self.title!r} names {named} groups, but there are {len(SERIES)} colours; "
                "leave group_names out or use fewer groups."
            )

    @property
    def legend(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "series": k, "role": "", "shape": "circle"}
            for k, name in enumerate(self.group_names)
        ]

    @property
    def labelled(self) -> bool:
        """Are names written beside the points?"""
        return len(self.names) <= 16 if self.labels is None else self.labels

    @property
    def roles(self) -> list[str]:
        """One role for each point; "" where the colour comes from the group."""
        if self.groups is not None:
            check_length(self.groups, len(self.names), "groups")
            return [""] * len(self.names)
        return roles_of(self.role, len(self.names))

    def draw(self, ax: Axes, state: int, sizes: tuple[int, ...]) -> None:
        every = states(self.xy, (len(self.names), 2), sizes, "xy")
        frame = every[min(state, len(every) - 1)].reshape(-1, 2)
        groups = self.groups or [0] * len(self.names)
        for a, b in self.edges:
            ax.plot(*frame[[a, b]].T, color=OFF_SUPPORT, lw=1, ls="-")
        size = 4.5 if len(self.names) > 16 else 6
        marks = list(zip(range(len(frame)), frame, self.names, self.roles, groups, strict=True))
        for k, (x, y), name, role, group in sorted(marks, key=lambda mark: mark[3] != "word"):
            colour = ROLES.get(role, SERIES[group % len(SERIES)])
            if self.arrows:
                arrow(ax, (x, y), color=colour, width=ARROW_WIDTHS.get(role, 1.8))
            elif k in self.large:
                ax.plot(x, y, "D", color=colour, mec=PALETTE["page"][0], ms=2 * size)
            else:
                ax.plot(x, y, "s" if role == "context" else "o", color=colour, ms=size)
            if self.labelled:
                side = "right" if x < 0 else "left"
                ax.annotate(
                    name, (x, y), (-7 if x < 0 else 7, 0), textcoords="offset points",
                    ha=side, va="center",
                )  # fmt: skip
        ax.set_aspect("equal", adjustable="datalim")
        ax.margins(0.25)
        ax.axis("off")


@dataclass(frozen=True, eq=False, kw_only=True)
class Pairs(Panel):
    """Pairs of context vectors, each drawn in the plane that it spans: nothing is projected.

    lengths : (k, 2) and cosines : (k,), or with leading slider axes; cosines of zero vectors are
    ignored.  names : k pairs of names.  notes : k short lines below, such as "equal supports".
    control : k booleans; pairs that are there for comparison are grey.  roles : k roles, as in
    `Points`, for other colours than these two.
    `Pairs.of` measures vectors.
    """

    kind: ClassVar[str] = "pairs"
    lengths: ArrayLike
    cosines: ArrayLike
    names: Sequence[tuple[str, str]]
    notes: Sequence[str] = ()
    control: Sequence[bool] = ()
    roles: Sequence[str] = ()
    ratio: float = 2.6
    narrow_ratio: float | None = 0.9

    @classmethod
    def of(
        cls, states: Sequence[ArrayLike], columns: Sequence[tuple[int, int]], **arguments: Any
    ) -> Pairs:
        """Measure the pairs of columns of each state's H (d, m); d may differ between states."""
        lengths = np.zeros((len(states), len(columns), 2))
        cosines = np.zeros((len(states), len(columns)))
        for i, H in enumerate(states):
            vectors = np.asarray(H, dtype=float)
            for k, (a, b) in enumerate(columns):
                x, y = vectors[:, a], vectors[:, b]
                lengths[i, k] = np.linalg.norm(x), np.linalg.norm(y)
                if lengths[i, k].min() > 0:
                    cosines[i, k] = x @ y / lengths[i, k].prod()
        return cls(lengths=lengths, cosines=cosines, **arguments)

    def measured(self, sizes: tuple[int, ...]) -> NDArray[np.float64]:
        """(states, k, 3): both lengths and the cosine."""
        k = len(self.names)
        lengths = states(self.lengths, (k, 2), sizes, f"lengths of {self.title!r}")
        cosines = states(self.cosines, (k,), sizes, f"cosines of {self.title!r}")
        if (lengths < 0).any():
            raise ValueError(f"A length of {self.title!r} is negative; pass norms of vectors.")
        if np.abs(cosines).max(initial=0.0) > 1 + 1e-9:
            raise ValueError(f"A cosine of {self.title!r} is beyond 1; divide by both lengths.")
        # Either may stand still while the other moves.
        n = max(len(lengths), len(cosines))
        both = np.empty((n, k, 3))
        both[..., :2] = lengths.reshape(-1, k, 2)
        both[..., 2] = cosines
        return both

    def data(self, sizes: tuple[int, ...]) -> dict[str, Any]:
        k = len(self.names)
        check_length(self.notes, k, "notes")
        check_length(self.control, k, "control")
        return {
            "frames": compact(self.measured(sizes).reshape(-1, 3 * k)),
            "names": [list(pair) for pair in self.names],
            "notes": list(self.notes) or [""] * k,
            "roles": self.colours,
        }

    @property
    def colours(self) -> list[str]:
        """One role for each pair."""
        k = len(self.names)
        if self.roles:
            return roles_of(self.roles, k)
        return ["off" if control else "context" for control in self.control or [False] * k]

    def draw(self, ax: Axes, state: int, sizes: tuple[int, ...]) -> None:
        every = self.measured(sizes)
        frame = every[min(state, len(every) - 1)]
        longest = max(every[..., :2].max(), 1e-12)
        notes = list(self.notes) or [""] * len(frame)
        for k, (first, second, cosine) in enumerate(frame):
            half = math.acos(min(1.0, max(-1.0, cosine))) / 2
            colour = ROLES[self.colours[k]]
            for sign, length in ((-1, first), (1, second)):
                x = 2.2 * k + sign * length / longest * math.sin(half)
                y = length / longest * math.cos(half)
                arrow(ax, (x, y), (2.2 * k, 0), colour, 2.2)
            said = f"cosine {cosine:.2f}" if min(first, second) > 0 else "cosine \u2013"
            ax.text(2.2 * k, -0.17, " | ".join(self.names[k]), ha="center")
            ax.text(2.2 * k, -0.34, said, ha="center", weight="bold")
            ax.text(2.2 * k, -0.5, notes[k], ha="center", fontsize=9)
        ax.set(xlim=(-1.1, 2.2 * len(frame) - 1.1), ylim=(-0.58, 1.1))
        ax.axis("off")


@dataclass(frozen=True, eq=False, kw_only=True)
class Lines(Panel):
    """Named curves over a common axis, with a marker that walks along them.

    x : (p,).  ys : {name: (p,)}, or (..., p) with one curve for each slider position; one curve may
    be called "".  NaN leaves a gap.  follow : 1 if x are the values of the first slider, 2 for the
    second: the marker then stands at the slider's position.  trail : draw each curve only as far as
    that marker, so that a reader can guess first; on paper, where nothing moves, all of it.
    xnames : p words to write below the axis in place of numbers, for x that only counts the states.
    references : {name: (p,)} dashed.  roles : {name: role} for curves with a fixed colour.
    logx, logy : logarithmic axes.  ylim : (low, high) instead of the data's.
    """

    kind: ClassVar[str] = "lines"
    x: ArrayLike
    ys: Mapping[str, ArrayLike]
    xlabel: str = ""
    ylabel: str = ""
    logx: bool = False
    logy: bool = False
    follow: int = 0
    trail: bool = False
    references: Mapping[str, ArrayLike] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    ylim: tuple[float, float] | None = None
    xnames: Sequence[str] = ()
    narrow_ratio: float | None = 1.6

    def points(self) -> NDArray[np.float64]:
        """x as an array; ValueError if it is not a list of at least two numbers."""
        x = np.asarray(self.x, dtype=float)
        if x.ndim != 1 or len(x) < 2 or not np.isfinite(x).all():
            raise ValueError(f"x of {self.title!r} must be two or more finite numbers in a row.")
        if self.logx and x.min() <= 0:
            raise ValueError(f"x of {self.title!r} has {x.min():g}; logx needs positive numbers.")
        return x

    def data(self, sizes: tuple[int, ...]) -> dict[str, Any]:
        x = self.points()
        if not 0 <= self.follow <= len(sizes):
            raise ValueError(f"follow is {self.follow}, but there are {len(sizes)} sliders.")
        if self.follow and len(x) != sizes[self.follow - 1]:
            length = sizes[self.follow - 1]
            raise ValueError(f"{self.title!r} follows a slider of {length} steps with {len(x)} x.")
        if self.trail and not self.follow:
            raise ValueError(f"{self.title!r} has a trail of no slider; say which one it follows.")
        if not self.ys:
            raise ValueError(f"{self.title!r} has no curves; give ys = {{name: values}}.")
        check_length(self.xnames, len(x), "xnames")
        return {
            "x": compact(x[None])[0],
            "series": series_data(self.ys, (len(x),), sizes, self.roles, gaps=True),
            "references": series_data(self.references, (len(x),), (), {}, gaps=True),
            "xnames": list(self.xnames),
            "xlabel": self.xlabel,
            "ylabel": self.ylabel,
            "logx": self.logx,
            "logy": self.logy,
            "follow": self.follow,
            "trail": self.trail,
            "ylim": list(self.ylim) if self.ylim else None,
        }

    @property
    def legend(self) -> list[dict[str, Any]]:
        if len(self.ys) + len(self.references) < 2:
            return []
        entries = [
            {"name": name, "series": k, "role": self.roles.get(name, ""), "shape": "line"}
            for k, name in enumerate(self.ys)
        ]
        return entries + [
            {"name": name, "series": 0, "role": "off", "shape": "dashes"}
            for name in self.references
        ]

    def draw(self, ax: Axes, state: int, sizes: tuple[int, ...]) -> None:
        x = self.points()
        dashes = ("-", "--", ":", "-.", (0, (4, 1)), (0, (8, 2)))
        for name, values in self.references.items():
            ax.plot(x, np.asarray(values, dtype=float), ls=":", color=OFF_SUPPORT, label=name)
        for k, (name, values) in enumerate(self.ys.items()):
            every = states(values, (len(x),), sizes, name, gaps=True)
            frame = every[min(state, len(every) - 1)]
            colour = ROLES.get(self.roles.get(name, ""), SERIES[k % len(SERIES)])
            ax.plot(x, frame, color=colour, ls=dashes[k % len(dashes)], label=name)
            if self.follow:
                place = np.unravel_index(state, sizes)[self.follow - 1]
                ax.plot(x[place], frame[place], "s" if k % 2 else "o", color=colour, ms=7)
        ax.set(xscale="log" if self.logx else "linear", yscale="log" if self.logy else "linear")
        ax.set(xlim=(x[0], x[-1]), xlabel=self.xlabel, ylabel=self.ylabel)
        if self.xnames:
            ax.set_xticks(x, self.xnames)
        if self.ylim:
            ax.set_ylim(*self.ylim)
        ax.grid(axis="y")


@dataclass(frozen=True, eq=False, kw_only=True)
class Bars(Panel):
    """Values beside each other: bars with names, or with `dots` a spectrum over its index.

    values : {name: (n,)}, or (..., n) with one state for each slider position.
    names : n names (default 1, 2, ...).  levels : {name: number}, dashed lines across.
    references : {name: (n,)}, crosses that stay.  roles : {name: role} for a fixed colour.
    """

    kind: ClassVar[str] = "bars"
    values: Mapping[str, ArrayLike]
    names: Sequence[str] | None = None
    xlabel: str = ""
    ylabel: str = ""
    dots: bool = False
    levels: Mapping[str, float] = field(default_factory=dict)
    references: Mapping[str, ArrayLike] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    ylim: tuple[float, float] | None = None
    narrow_ratio: float | None = 1.6

    @property
    def n(self) -> int:
        """How many values each series has."""
        if not self.values:
            raise ValueError(f"{self.title!r} has no values; give values = {{name: numbers}}.")
        return int(np.shape(next(iter(self.values.values())))[-1])

    def data(self, sizes: tuple[int, ...]) -> dict[str, Any]:
        if self.names is not None:
            check_length(self.names, self.n, "names")
        return {
            "series": series_data(self.values, (self.n,), sizes, self.roles),
            "references": series_data(self.references, (self.n,), (), {}),
            "names": list(self.names or map(str, range(1, self.n + 1))),
            "levels": [{"name": name, "value": float(v)} for name, v in self.levels.items()],
            "xlabel": self.xlabel,
            "ylabel": self.ylabel,
            "logy": False,
            "logx": False,
            "dots": self.dots,
            "ylim": list(self.ylim) if self.ylim else None,
        }

    @property
    def legend(self) -> list[dict[str, Any]]:
        if len(self.values) + len(self.references) < 2:
            return []
        entries = [
            {"name": name, "series": k, "role": self.roles.get(name, ""),
             "shape": "square" if k % 2 or not self.dots else "circle", "hollow": self.dots and k}
            for k, name in enumerate(self.values)
        ]  # fmt: skip
        return entries + [
            {"name": name, "series": 0, "role": "ink", "shape": "cross"} for name in self.references
        ]

    def draw(self, ax: Axes, state: int, sizes: tuple[int, ...]) -> None:
        at, wide = np.arange(1, self.n + 1), 0.72 / len(self.values)
        for k, (name, values) in enumerate(self.values.items()):
            every = states(values, (self.n,), sizes, name)
            frame = every[min(state, len(every) - 1)]
            colour = ROLES.get(self.roles.get(name, ""), SERIES[k % len(SERIES)])
            if self.dots:
                fill = "none" if k else colour
                ax.plot(at, frame, "s" if k % 2 else "o", color=colour, mfc=fill, ms=5, ls="none")
            else:
                ax.bar(at + (k - (len(self.values) - 1) / 2) * wide, frame, wide, color=colour)
        for values in self.references.values():
            ax.plot(at, np.asarray(values, dtype=float), "x", color=INK, ls="none")
        for name, level in self.levels.items():
            ax.axhline(level, color=INK, ls="--", lw=1)
            ax.annotate(name, (self.n + 0.5, level), ha="right", va="bottom", fontsize=9)
        if not self.dots and self.names is not None:
            turned = max(map(len, self.names)) * self.n > 50
            ax.set_xticks(
                at, self.names, rotation=45 if turned else 0, ha="right" if turned else "center"
            )
        every_value = [states(v, (self.n,), sizes, "values") for v in self.values.values()]
        low, high = min(v.min() for v in every_value), max(v.max() for v in every_value)
        ax.set(xlabel=self.xlabel, ylabel=self.ylabel, ylim=self.ylim or (min(0, low), high * 1.06))
        ax.grid(axis="y")


@dataclass(frozen=True, eq=False, kw_only=True)
class HeatMap(Panel):
    """A matrix as colours: red above zero, blue below, and none at zero, as on every ground.

    values : (r, c), or (..., r, c) with one state for each slider position.
    rows, columns : their names.  label : what the colours measure, with its unit; it stands beside
    their scale.  limit : value of the full colour (default: the largest size, also of the heat maps
    beside this one with the same label).
    details : (r, c) lines for the tooltip.  square : cells as wide as they are high.
    """

    kind: ClassVar[str] = "heat"
    values: ArrayLike
    rows: Sequence[str]
    columns: Sequence[str]
    label: str = ""
    limit: float | None = None
    details: Sequence[Sequence[str]] = ()
    square: bool = False

    @property
    def bound(self) -> float:
        """The value of the full colour."""
        return self.limit or float(np.abs(np.asarray(self.values)).max(initial=0.0)) or 1.0

    @property
    def scale(self) -> dict[str, str]:
        values = np.asarray(self.values, dtype=float)
        end = number(self.bound)
        beyond = self.bound * (1 + 1e-6)  # rounding is not "more than"
        low = ("\u2264 " if values.min(initial=0.0) < -beyond else "") + f"{MINUS}{end}"
        high = ("\u2265 " if values.max(initial=0.0) > beyond else "") + end
        return {
            "label": self.label,
            "low": low if values.min(initial=0.0) < 0 else "",
            "zero": "0",
            "high": high if values.max(initial=0.0) > 0 else "",
        }

    def data(self, sizes: tuple[int, ...]) -> dict[str, Any]:
        shape = len(self.rows), len(self.columns)
        frames = states(self.values, shape, sizes, f"values of {self.title!r}")
        if self.details and np.shape(self.details) != shape:
            raise ValueError(f"details of {self.title!r} must be {shape[0]} x {shape[1]} lines.")
        return {
            "frames": compact(frames),
            "rows": list(self.rows),
            "columns": list(self.columns),
            "limit": self.bound,
            "square": self.square,
            "details": [line for row in self.details for line in row],
        }

    def draw(self, ax: Axes, state: int, sizes: tuple[int, ...]) -> None:
        shape = len(self.rows), len(self.columns)
        every = states(self.values, shape, sizes, "values")
        frame = every[min(state, len(every) - 1)].reshape(shape)
        colours = [[int(PALETTE[name][0][k : k + 2], 16) / 255 for k in (1, 3, 5)]
                   for name in ("plus", "minus")]  # fmt: skip
        image = np.empty((*shape, 4))
        image[..., :3] = np.where(frame[..., None] >= 0, *colours)
        image[..., 3] = np.clip(np.abs(frame) / self.bound, 0, 1)
        ax.imshow(image, aspect="equal" if self.square else "auto", interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        if max(shape) <= 30:
            ax.set_xticks(range(shape[1]), self.columns)
            ax.set_yticks(range(shape[0]), self.rows)
        ax.tick_params(axis="x", rotation=90)


def with_common_scales(panels: Sequence[Panel]) -> list[Panel]:
    """The panels, with one limit for the heat maps of the same label that name no limit.

    Where the limits within a figure differ all the same, each scale says that it is its own.
    """
    bounds: dict[str, float] = {}
    for panel in panels:
        if isinstance(panel, HeatMap) and panel.label and panel.limit is None:
            bounds[panel.label] = max(bounds.get(panel.label, 0.0), panel.bound)
    shared = [
        replace(panel, limit=bounds[panel.label])
        if isinstance(panel, HeatMap) and panel.label and panel.limit is None
        else panel
        for panel in panels
    ]
    limits = {panel.bound for panel in shared if isinstance(panel, HeatMap)}
    if len(limits) < 2:
        return shared
    return [
        replace(panel, label=f"{panel.label} (own scale)".strip())
        if isinstance(panel, HeatMap)
        else panel
        for panel in shared
    ]


@dataclass(frozen=True, eq=False, kw_only=True)
class Solid(Panel):
    """Points and edges in space that the reader turns, by dragging or with two sliders.

    xyz : (n, 3), or (..., n, 3) with one state for each slider position.  names : n names.
    role : as in Points.  edges : pairs, faces : tuples of indices.  details : n tooltip lines.
    yaw, pitch : the first view, in degrees.
    """

    kind: ClassVar[str] = "solid"
    xyz: ArrayLike
    names: Sequence[str]
    role: str | Sequence[str] = "word"
    edges: Sequence[tuple[int, int]] = ()
    faces: Sequence[tuple[int, ...]] = ()
    details: Sequence[str] = ()
    yaw: float = 25.0
    pitch: float = 20.0
    ratio: float = 1.2

    def data(self, sizes: tuple[int, ...]) -> dict[str, Any]:
        n = len(self.names)
        frames = states(self.xyz, (n, 3), sizes, f"xyz of {self.title!r}")
        check_length(self.details, n, "details")
        check_indices(self.edges, n)
        check_indices(self.faces, n)
        return {
            "frames": compact(frames),
            "names": list(self.names),
            "roles": roles_of(self.role, n),
            "edges": [list(edge) for edge in self.edges],
            "faces": [list(face) for face in self.faces],
            "details": list(self.details) or [""] * n,
            "yaw": self.yaw,
            "pitch": self.pitch,
        }

    def draw(self, ax: Axes, state: int, sizes: tuple[int, ...]) -> None:
        every = states(self.xyz, (len(self.names), 3), sizes, "xyz")
        a, b, c = every[min(state, len(every) - 1)].reshape(-1, 3).T
        yaw, pitch = np.radians(self.yaw), np.radians(self.pitch)
        across, away = a * np.cos(yaw) - b * np.sin(yaw), a * np.sin(yaw) + b * np.cos(yaw)
        up = c * np.cos(pitch) - away * np.sin(pitch)
        for edge in self.edges:
            ax.plot(across[list(edge)], up[list(edge)], color=GRID, lw=1.2, ls="-")
        for x, y, name, role in zip(
            across, up, self.names, roles_of(self.role, len(self.names)), strict=True
        ):
            ax.plot(x, y, "s" if role == "context" else "o", color=ROLES[role], ms=7)
            ax.annotate(name, (x, y), (8, 0), textcoords="offset points", va="center")
        ax.set_aspect("equal", adjustable="datalim")
        ax.margins(0.2)
        ax.axis("off")


def states(
    values: ArrayLike, shape: tuple[int, ...], sizes: tuple[int, ...], what: str,
    gaps: bool = False,
) -> NDArray[np.float64]:  # fmt: skip
    """(states, cells): one row if `values` has this shape, else one for each slider position."""
    array = np.asarray(values, dtype=float)
    if array.shape not in (shape, (*sizes, *shape)):
        wanted = str(shape) if not sizes else f"{shape} or {(*sizes, *shape)}"
        raise ValueError(f"{what} has shape {array.shape}, not {wanted}.")
    if np.isinf(array).any() or (np.isnan(array).any() and not gaps):
        raise ValueError(f"{what} has numbers that are not finite; check how they were computed.")
    return array.reshape(-1, math.prod(shape))


def compact(frames: NDArray[np.float64]) -> list[list[float | None]]:
    """Rows of numbers with five digits; NaN becomes null, whole numbers lose their point."""
    return [[_short(float(value)) for value in row] for row in frames]


def _short(value: float) -> float | None:
    if math.isnan(value):
        return None
    rounded = float(f"{value:.{DIGITS}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e9 else rounded


def series_data(
    curves: Mapping[str, ArrayLike], shape: tuple[int, ...], sizes: tuple[int, ...],
    roles: Mapping[str, str], gaps: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    """Named series as the browser reads them."""
    for name in roles:
        if name not in curves:
            raise ValueError(f"roles names {name!r}, which is none of {', '.join(curves)}.")
    return [
        {
            "name": name,
            "role": roles_of(roles[name], 1)[0] if name in roles else "",
            "frames": compact(states(values, shape, sizes, repr(name), gaps)),
        }
        for name, values in curves.items()
    ]


def roles_of(role: str | Sequence[str], n: int) -> list[str]:
    """One role for each of n marks."""
    found = [role] * n if isinstance(role, str) else list(role)
    check_length(found, n, "role")
    for name in found:
        if name not in ROLES:
            raise ValueError(f"The role {name!r} is unknown; use one of {', '.join(ROLES)}.")
    return found


def check_length(values: Sequence[Any], n: int, what: str) -> None:
    """ValueError unless there is one value each, or none at all."""
    if len(values) not in (0, n):
        raise ValueError(f"{what} has {len(values)} entries for {n} names; give one each.")


def check_indices(tuples: Sequence[tuple[int, ...]], n: int) -> None:
    """ValueError for an edge or a face to a point that is not there."""
    for indices in tuples:
        if not all(0 <= k < n for k in indices):
            raise ValueError(f"The edge or face {indices} names a point outside 0 ... {n - 1}.")
