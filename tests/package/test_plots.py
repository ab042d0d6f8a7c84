from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

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
