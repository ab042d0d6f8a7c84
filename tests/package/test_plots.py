from __future__ import annotations

import dataclasses
import subprocess
import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from scipy import sparse

import ntp_lite as ntp
from ntp_lite import plots


@pytest.fixture
def ax():
    figure, axes = plt.subplots()
    yield axes
    assert plt.get_fignums() == [figure.number]  # nothing else was opened
    plt.close(figure)


MATRIX = np.random.default_rng(0).normal(size=(4, 7))


def test_heat_map_shows_the_matrix_with_white_at_zero(ax):
    returned = plots.heat_map(ax, MATRIX, rows="abcd", columns=list("tuvwxyz"), title="logits")
    mesh = ax.collections[0]
    assert returned is ax
    np.testing.assert_allclose(np.asarray(mesh.get_array()).reshape(4, 7), MATRIX)
    assert mesh.norm.vmin == -mesh.norm.vmax == -np.abs(MATRIX).max()
    assert ax.get_title() == "logits"
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list("abcd")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == list("tuvwxyz")
    negative, zero, positive = (mesh.to_rgba(x) for x in (-10.0, 0.0, 10.0))
    assert min(zero[:3]) > 0.95
    assert negative[2] > negative[0] and positive[0] > positive[2]  # blue, red


def test_heat_map_limit_and_bare_axes(ax):
    plots.heat_map(ax, MATRIX, limit=5, colorbar=False)
    assert ax.collections[0].norm.vmax == 5
    assert len(ax.figure.axes) == 1
    assert not [tick.get_text() for tick in ax.get_xticklabels() if tick.get_text()]


def test_heat_map_of_zeros(ax):
    plots.heat_map(ax, np.zeros((2, 3)))
    assert ax.collections[0].norm.vmax > 0


def test_the_scale_of_a_heat_map_names_its_extremes_zero_and_unit(ax):
    """Mutation seen to fail: the colour bar keeps matplotlib's own ticks."""
    plots.heat_map(ax, MATRIX, limit=5, label="logit")
    bar = ax.figure.axes[1]
    assert bar.get_ylabel() == "logit"
    assert list(bar.get_yticks()) == [-5, 0, 5]
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["\u22125", "0", "5"]


def test_rounding_is_not_beyond_the_scale(ax):
    """Mutation seen to fail: no slack, so that a cosine of 1 + 2e-16 gets a triangle."""
    image = ax.imshow([[-1.0, 1.0 + 1e-12]], vmin=-1, vmax=1)
    assert plots.color_scale(image, ax, "cosine")._colorbar.extend == "neither"


def test_one_scale_for_two_pictures_says_where_it_is_exceeded():
    """Mutation seen to fail: `extend` is always "neither"."""
    figure, axes = plt.subplots(1, 2)
    for side in axes:
        image = side.imshow([[0.0, 3.0]], vmin=0, vmax=2)
    bar = plots.color_scale(image, axes, "share", below=True)
    assert len(figure.axes) == 3
    assert bar.get_xlabel() == "share" and list(bar.get_xticks()) == [0, 2]
    assert bar._colorbar.extend == "max"
    plt.close(figure)


def test_an_arrow_ends_at_its_tip_and_counts_for_the_limits(ax):
    """Mutation seen to fail: without `update_datalim` the tip lies outside the picture."""
    assert plots.arrow(ax, (3, 4), tail=(1, -2)) is ax
    ax.autoscale_view()
    assert ax.get_xlim()[1] >= 3 and ax.get_ylim()[0] <= -2
    (drawn,) = ax.texts
    assert tuple(drawn.xy) == (3, 4) and drawn.get_position() == (1, -2)
    assert "-|>" in str(drawn.arrowprops["arrowstyle"])


def test_heat_map_does_not_change_its_input(ax):
    before = MATRIX.copy()
    plots.heat_map(ax, MATRIX)
    np.testing.assert_array_equal(MATRIX, before)


@pytest.mark.parametrize("relative", [False, True])
def test_spectrum_draws_singular_values(ax, relative):
    other = np.diag([3.0, 1.0])
    assert plots.spectrum(ax, {"L": MATRIX, "D": other}, relative=relative) is ax
    values = np.linalg.svd(MATRIX, compute_uv=False)
    expected = values / values[0] if relative else values
    np.testing.assert_allclose(ax.lines[0].get_ydata(), expected)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [1, 1 / 3] if relative else [3, 1])
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1, 2, 3, 4])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["L", "D"]
    assert ax.get_xlabel() and ("largest" in ax.get_ylabel()) == relative


def test_curves_draw_what_they_are_given(ax):
    x, ys = [1e-1, 1e-2, 1e-3], {"a": [1.0, 2, 3], "b": [3.0, 2, 1]}
    assert plots.curves(ax, x, ys, xlabel="ridge", ylabel="norm", logy=False) is ax
    for line, (name, y) in zip(ax.lines, ys.items(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), x)
        np.testing.assert_array_equal(line.get_ydata(), y)
        assert line.get_label() == name
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("ridge", "norm")
    assert ax.get_legend() is not None


def test_one_curve_needs_no_legend(ax):
    plots.curves(ax, [1, 2], {"only": [1, 2]}, logx=False)
    assert ax.get_legend() is None
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")


@pytest.mark.parametrize("draw", [plots.curves, plots.spectrum])
def test_curves_are_told_apart_by_colour_and_by_marker(ax, draw):
    series = {str(i): [1.0 + i, 2.0] for i in range(8)}
    if draw is plots.spectrum:
        draw(ax, {name: np.diag(values) for name, values in series.items()})
    else:
        draw(ax, [1, 2], series)
    assert len({to_hex(line.get_color()) for line in ax.lines}) == 8
    assert len({line.get_marker() for line in ax.lines}) == 8


@pytest.mark.parametrize("draw", [plots.curves, plots.spectrum])
def test_no_series_is_dropped(ax, draw):
    """More series than colours: all are drawn, or an error says that there are too many."""
    series = {str(i): [1.0 + i, 2.0] for i in range(10)}
    try:
        if draw is plots.spectrum:
            draw(ax, {name: np.diag(values) for name, values in series.items()})
        else:
            draw(ax, [1, 2], series)
    except ValueError as error:
        assert "8" in str(error)
    else:
        assert len(ax.lines) == 10


KINDS = {
    "scipy": sparse.csc_array,
    "sparse tensor": lambda A: torch.tensor(A).to_sparse(),
    "gradient": lambda A: torch.tensor(A, requires_grad=True),
    "half": lambda A: torch.tensor(A, dtype=torch.bfloat16),
    "list": np.ndarray.tolist,
    "reversed": lambda A: A[::-1, ::-1][::-1, ::-1],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_matrix_is_drawn(ax, kind):
    whole = np.round(MATRIX * 4)  # numbers that half precision holds
    given = KINDS[kind](whole)
    plots.heat_map(ax, given, colorbar=False)
    drawn = np.asarray(ax.collections[0].get_array()).reshape(4, 7)
    np.testing.assert_array_equal(drawn, whole)
    plots.spectrum(ax, {"A": given})
    values = np.linalg.svd(whole, compute_uv=False)
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), values)
    if kind != "list":
        plots.curves(ax, given[0], {"row": given[1]}, logx=False, logy=False)
        np.testing.assert_array_equal(ax.lines[-1].get_ydata(), whole[1])


def test_what_the_package_returns_is_drawn(ax):
    labels = ntp.random_soft_labels(6, 9, 2)
    inside = ntp.in_support_logits(labels)
    plots.heat_map(ax, inside, rows=np.arange(6).astype(str), columns=tuple("abcdefghi"))
    drawn = np.asarray(ax.collections[0].get_array()).reshape(6, 9)
    np.testing.assert_array_equal(drawn, inside.toarray())
    plots.spectrum(ax, {"L_in": inside, "model": ntp.UFM(6, 9, 3).logits()})


def test_matrices_without_numbers_are_refused(ax):
    with pytest.raises(ValueError, match="L has entries that are NaN"):
        plots.spectrum(ax, {"L": [[np.nan, 1.0]]})
    with pytest.raises(ValueError, match="A is no array of numbers"):
        plots.heat_map(ax, [["a", "b"]])


def in_the_only_font(monkeypatch):
    """A machine with nothing but matplotlib's own font."""
    from matplotlib import font_manager

    own = [f for f in font_manager.fontManager.ttflist if f.name == "DejaVu Sans"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)


def test_letters_that_no_font_has_are_warned_of_once(ax, monkeypatch):
    in_the_only_font(monkeypatch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plots.heat_map(ax, np.eye(2), rows=["猫", "犬 a"], columns=["é", "b"], title="狐")
        ax.figure.canvas.draw()
    assert [str(w.message)[:41] for w in caught] == ["No installed font has 3 of the letters, s"]
    assert "'犬狐猫'" in str(caught[0].message)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["□", "□ a"]
    assert ax.get_title() == "□"


def test_a_font_that_has_the_letters_is_used(ax, monkeypatch):
    """Stand-in: a second font is installed, and it has the one letter that the first lacks."""
    from matplotlib import font_manager

    in_the_only_font(monkeypatch)
    second = dataclasses.replace(font_manager.fontManager.ttflist[0], name="Noto Sans CJK JP")
    font_manager.fontManager.ttflist.append(second)
    lacking = plots._lacking

    def with_a_second_font(letters, family):
        left = letters.replace("猫", "") if family == second.name else letters
        return lacking(left, None)

    monkeypatch.setattr(plots, "_lacking", with_a_second_font)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the stand-in has no glyph at all
        plots.heat_map(ax, np.eye(2), rows=["猫", "b"], columns=["é", "ä"])
    for tick in (*ax.get_yticklabels(), *ax.get_xticklabels()):
        assert tick.get_fontfamily()[-1] == "Noto Sans CJK JP"
    assert ax.get_yticklabels()[0].get_text() == "猫"


def test_importing_the_package_imports_no_seaborn():
    code = "import sys, ntp_lite.plots; sys.exit('seaborn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
