"""Interactive figures: what they refuse, what they write, and that they compute what we do."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
import pytest

import ntp_lite as ntp
from ntp_lite import interactive as live
from ntp_lite import style

MINUS = "\N{MINUS SIGN}"
ALT = "Two curves over a common axis."
RNG = np.random.default_rng(0)


def lines(**arguments) -> live.Lines:
    return live.Lines(**{"title": "loss", "x": [1, 2, 3], "ys": {"": [1, 2, 3]}} | arguments)


def frames(*panels: live.Panel, states: int = 0, **arguments) -> live.Frames:
    sliders = [live.Slider("ridge", [str(k) for k in range(states)])] if states else []
    says = [f"State {k}." for k in range(max(1, states))]
    return live.Frames(
        **{"alt": ALT, "panels": panels, "sliders": sliders, "says": says} | arguments
    )


def grouped(n: int = 2, **arguments) -> live.Points:
    """n points of n groups."""
    return live.Points(
        title="A", xy=np.zeros((n, 2)), names=list("abcdefgh"[:n]), groups=range(n), **arguments
    )


MATRIX = {"title": "A", "rows": ["a", "b"], "columns": ["c"]}
BAD = {
    "no panels": (lambda: frames(), "has no panels"),
    "no description": (lambda: frames(lines(), alt="figure"), "describe in a sentence"),
    "no title": (lambda: lines(title=" "), "has no title"),
    "three sliders": (
        lambda: frames(lines(), sliders=[live.Slider(n, "ab") for n in "xyz"], says=["s"] * 8),
        "has 3 sliders",
    ),
    "too few sentences": (lambda: frames(lines(), states=3, says=["one"]), "1 sentences for 3"),
    "start beyond the end": (lambda: live.Slider("ridge", ["a", "b"], start=2), "use 0 ... 1"),
    "one state": (lambda: live.Slider("ridge", ["a"]), "has 1 states"),
    "wrong shape": (lambda: frames(lines(ys={"": [1, 2]})), "has shape (2,), not (3,)"),
    "wrong states": (
        lambda: frames(lines(ys={"": np.ones((4, 3))}), states=5),
        "has shape (4, 3), not (3,) or (5, 3)",
    ),
    "follows nothing": (lambda: frames(lines(follow=1)), "there are 0 sliders"),
    "follows another": (lambda: frames(lines(follow=1), states=5), "slider of 5 steps with 3 x"),
    "a trail of nothing": (lambda: frames(lines(trail=True)), "has a trail of no slider"),
    "log of zero": (lambda: frames(lines(x=[0, 1, 2], logx=True)), "needs positive numbers"),
    "a state without a name": (lambda: frames(lines(xnames=["a"])), "1 entries for 3"),
    "no curves": (lambda: frames(lines(ys={})), "has no curves"),
    "a group without a name": (
        lambda: frames(grouped(group_names=["one"])), "has 1 names for 2 groups"
    ),
    "more groups than colours": (
        lambda: frames(grouped(7, group_names="abcdefg")), "but there are 6 colours"
    ),
    "infinite": (
        lambda: frames(live.HeatMap(values=[[1], [np.inf]], **MATRIX)), "not finite"
    ),
    "NaN in a matrix": (
        lambda: frames(live.HeatMap(values=[[1], [np.nan]], **MATRIX)), "not finite"
    ),
    "details": (
        lambda: frames(live.HeatMap(values=[[1], [2]], details=[["x"]], **MATRIX)),
        "must be 2 x 1 lines",
    ),
    "unknown role": (
        lambda: frames(live.Points(title="A", xy=[[0, 1]], names=["a"], role="verb")),
        "'verb' is unknown",
    ),
    "edge to nowhere": (
        lambda: frames(live.Points(title="A", xy=[[0, 1]], names=["a"], edges=[(0, 1)])),
        "outside 0 ... 0",
    ),
    "names": (
        lambda: frames(live.Bars(title="A", values={"": [1, 2]}, names=["a"])), "1 entries for 2"
    ),
    "cosine beyond one": (
        lambda: frames(live.Pairs(title="A", lengths=[[1, 1]], cosines=[2], names=[("a", "b")])),
        "beyond 1",
    ),
    "negative length": (
        lambda: frames(live.Pairs(title="A", lengths=[[-1, 1]], cosines=[0], names=[("a", "b")])),
        "is negative",
    ),
    "computation": (
        lambda: live.Handles(computation="x", names=[], state={}, alt=ALT), "'x' is unknown"
    ),
    "missing value": (
        lambda: live.Handles(computation="loss", names="abc", state={"P": [1, 0, 0]}, alt=ALT),
        "state of 'loss' has P",
    ),
    "no distribution": (
        lambda: live.Handles(
            computation="loss", names="ab", state={"P": [1, 1], "logits": [0, 0]}, alt=ALT
        ),
        "sum to 1",
    ),
    "names of words": (
        lambda: live.Handles(
            computation="loss", names="abc", state={"P": [1, 0], "logits": [0, 0]}, alt=ALT
        ),
        "3 names for 2 words",
    ),
    "short text": (lambda: live.TextCounts(text="one", alt=ALT), "too short"),
    "context length": (
        lambda: live.TextCounts(text="a b c", alt=ALT, context_length=0), "use 1, 2 or 3"
    ),
    "no svg": (lambda: style.adapt_svg("<p>"), "no <svg> element"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_one_sentence(name):
    make, words = BAD[name]
    with pytest.raises(ValueError) as caught:
        make()
    message = str(caught.value)
    assert words in message
    assert "\n" not in message and message.endswith(".")


def test_output_is_complete_without_script_and_fetches_nothing():
    figure = frames(lines(), live.HeatMap(values=[[1], [-2]], **MATRIX))
    html = figure._repr_mimebundle_()["text/html"]
    assert figure.html(library=False) == live.without_library(html)
    assert len(html) - len(live.without_library(html)) < 300_000
    assert html.count("<img") == 2
    addresses = re.findall(r"(?:src|href|srcset)=[\"']?([^\"' >]+)", html)
    addresses += re.findall(r"url\(([^)]*)\)", html)
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "import(" not in html and "fetch(" not in html and "XMLHttpRequest" not in html
    assert f"{ALT} State 0." == figure._repr_mimebundle_()["text/plain"]


def widths_of_stills(html: str) -> list[float]:
    """The widths of a figure's still pictures, in inches."""
    stills = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
    drawn = [base64.b64decode(still).decode() for still in stills]
    return [float(re.search(r'viewBox="0 0 ([\d.]+) ', svg)[1]) / 72 for svg in drawn]


def test_a_still_shows_all_of_a_curve_that_is_drawn_as_one_goes():
    ax = plt.figure().subplots()
    lines(follow=1, trail=True).draw(ax, 0, (3,))
    curve = max(ax.lines, key=lambda line: len(line.get_xdata()))
    assert list(curve.get_ydata()) == [1, 2, 3]
    plt.close(ax.figure)


def test_contexts_with_the_same_next_words_stand_side_by_side():
    ids, vocab = ntp.load_corpus("lily")
    html = live.TextCounts(text=vocab.decode(ids), context_length=2, alt=ALT).html(library=False)
    columns = re.findall('<th scope="col">([^<]*)', html)
    rows = re.findall('<th scope="row">([^<]*)', html)
    assert columns[:2] == ["lily was", "lily felt"]
    assert set(rows[:6]) == {"happy", "sad", "tired", "hungry", "warm", "cold"}


def test_stills_of_a_figure_are_written_in_one_size():
    """A still is as wide as its share of the columns: the page enlarges none more than others."""
    for columns, spans, shares in (
        (1, (1, 1), (1, 1)),
        (2, (2, 1, 1), (1, 1 / 2, 1 / 2)),
        (3, (2, 1), (2 / 3, 1 / 3)),
    ):
        figure = frames(*(lines(span=span) for span in spans), columns=columns)
        assert np.allclose(widths_of_stills(figure.html()), 8.8 * np.array(shares))


HANDLES = {
    "loss": {"P": [0.5, 0.5, 0], "logits": [2, 1, 0]},
    "simplex": {"P": [0.7, 0.3, 0], "steps": 0.6},
    "column": {"P": [0.7, 0.3], "share": 0.4, "height": 2.0, "off": 1},
    "certificate": {"P": [0.75, 0.25, 0], "guess": [0.3, 0.5, 0.2], "ridge": 0.25},
}


@pytest.mark.parametrize("name", HANDLES)
def test_handles_say_their_first_state_in_words(name):
    """Without script, too: no names of variables, all words named, and units."""
    words = ["happy", "tired", "cold"]
    figure = live.Handles(computation=name, names=words, state=HANDLES[name], alt=ALT)
    said = figure._repr_mimebundle_()["text/plain"].removeprefix(ALT)
    assert " nats" in said and said.endswith(".")
    assert words[0] in said and words[1] in said
    assert not {"onSupport", "inDisc", "leak", "primal", "dual"} & set(re.findall(r"\w+", said))


def test_same_figure_gives_the_same_bytes():
    def make() -> str:
        return frames(lines(ys={"": np.ones((2, 3))}), states=2).html()

    assert make() == make()


def test_names_cannot_break_out_of_the_page():
    evil = '</script><img src=x onerror=alert(1)>"'
    figure = frames(live.Bars(title=evil, values={evil: [1.0, 2.0]}, names=[evil, "b"]), title=evil)
    html = figure.html(library=False)
    assert html.count("</script>") == 1
    assert "<img src=x" not in html
    data = re.search(r'json">(.*?)</script>', html, re.DOTALL)[1]
    assert json.loads(data)["panels"][0]["names"][0] == evil


def test_numbers_in_the_page_keep_five_digits():
    values = RNG.normal(size=(4, 3)) * 10.0 ** RNG.integers(-9, 9, size=(4, 3))
    html = frames(lines(ys={"": values}), states=4).html(library=False)
    data = json.loads(re.search(r'json">(.*?)</script>', html, re.DOTALL)[1])
    read = np.array(data["panels"][0]["series"][0]["frames"])
    assert np.allclose(read, values, rtol=1e-4, atol=0)


def test_pairs_are_measured_from_the_vectors():
    states = [RNG.normal(size=(d, 3)) for d in (2, 5)] + [np.zeros((1, 3))]
    pairs = live.Pairs.of(states, [(0, 2), (1, 0)], title="A", names=[("a", "c"), ("b", "a")])
    expected = [ntp.cosine_similarity(H)[[0, 1], [2, 0]] for H in states]
    assert np.allclose(pairs.cosines, expected)
    assert np.allclose(np.asarray(pairs.lengths)[1, 0], np.linalg.norm(states[1], axis=0)[[0, 2]])
    assert not np.asarray(pairs.lengths)[2].any()


def test_a_gap_in_a_curve_is_null():
    html = frames(lines(ys={"": [1.0, np.nan, 3.0]})).html(library=False)
    assert '"frames":[[1,null,3]]' in html


@pytest.mark.parametrize("seed", range(4))
def test_handle_formulas_are_those_of_the_package(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 9, size=3)
    P = counts / counts.sum()
    full = ntp.SoftLabels.from_counts(counts[:, None])
    logits = rng.normal(0, 2, 3)
    found = live.COMPUTATIONS["loss"](P=P, logits=logits)
    assert np.isclose(found["loss"], ntp.cross_entropy(logits[:, None], full))
    assert np.isclose(found["floor"], full.entropy)
    assert np.isclose(found["excess"], ntp.excess_loss(logits[:, None], full))

    edge = np.array([counts[0], counts[1], 0])
    on_edge = ntp.SoftLabels.from_counts(edge[:, None])
    found = live.COMPUTATIONS["simplex"](P=edge / edge.sum(), steps=3.0)
    assert np.isclose(found["excess"], ntp.excess_loss(np.log(found["Q"])[:, None], on_edge))

    four = ntp.SoftLabels.from_counts([[counts[0]], [counts[1]], [0], [0], [0]])
    found = live.COMPUTATIONS["column"](P=edge[:2] / edge.sum(), share=0.3, height=2.5, off=3)
    excess = ntp.excess_loss(found["logits"][:, None], four)
    assert np.isclose(found["shares"] + found["height"], excess)
    assert np.isclose(found["logits"].sum(), 0)

    ridge, guess = 0.2, rng.dirichlet([2, 2, 2])
    found = live.COMPUTATIONS["certificate"](P=P, guess=guess, ridge=ridge)
    centred = np.log(guess) - np.log(guess).mean()
    judged = ntp.certify_ridge(centred[:, None], full, ridge)
    assert np.isclose(found["primal"], judged.primal)
    assert np.isclose(found["dual"], judged.dual)
    best = ntp.solve_ridge(full, ridge, tol=1e-10)
    Q = np.exp(best.L) / np.exp(best.L).sum()
    assert np.allclose(found["Q"], Q[:, 0], atol=1e-4)
    assert found["dual"] <= best.certificate.primal + 1e-9 <= found["primal"] + 2e-9
    assert np.isclose(found["least"], best.certificate.primal, atol=1e-8)


def test_numbers_in_words():
    assert live.number(0.9087) == "0.91"
    assert live.number(-1e-11) == "\N{MINUS SIGN}10\u207b\u00b9\u00b9"
    assert live.number(3.2e-6) == "3.2\u00b710\u207b\u2076"
    assert live.number(0) == "0"


def contrast(first: str, second: str) -> float:
    def luminance(colour: str) -> float:
        channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", sorted(set(style.PALETTE) - {"page", "grid"}))
def test_colours_have_contrast(name):
    page, (light, dark) = style.PALETTE["page"], style.PALETTE[name]
    needed = 4.5 if name in ("ink", "word", "context") else 3
    assert contrast(light, page[0]) >= needed
    assert contrast(dark, page[1]) >= needed
    # An image on a ground that it cannot know still reads.
    assert contrast(light, page[1]) >= 3


def test_style_sheet_script_and_palette_have_the_same_colours():
    css = (resources.files("ntp_lite") / "interactive/browser/ntp_interactive.css").read_text(
        "utf-8"
    )
    for name, (light, dark) in style.PALETTE.items():
        if name not in ("ink", "page", "grid"):
            assert re.findall(rf"--ntp-{name}: (#\w+);", css) == [light, dark]
    sheet = (resources.files("ntp_lite") / "data/book.mplstyle").read_text("utf-8")
    known = {colour for pair in style.PALETTE.values() for colour in pair}
    for colour in re.findall(r"\b[0-9a-f]{6}\b", sheet):
        assert f"#{colour}" in known


def test_labels_of_static_figures_can_be_read_on_a_phone():
    from matplotlib import rc_params_from_file

    path = str(resources.files("ntp_lite") / "data" / "book.mplstyle")
    sheet = rc_params_from_file(path, use_default_template=False)
    shown = 358 / (sheet["figure.figsize"][0] * 72)  # pixels for a point on a phone
    fonts = [sheet[f"{name}size"] for name in ("font.", "axes.label", "xtick.label", "ytick.label")]
    assert min([*fonts, sheet["legend.fontsize"]]) * shown >= 9


IN_A_NOTEBOOK = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import matplotlib
matplotlib.use("module://matplotlib_inline.backend_inline")
import matplotlib.pyplot as plt
from ntp_lite.style import use_book_style
use_book_style()
figure, ax = plt.subplots()
ax.plot([1, 2], [2, 1])
shown, _ = shell.display_formatter.format(figure)
assert set(shown) == {"image/svg+xml", "text/plain"}, set(shown)
assert "ntp-svg" in shown["image/svg+xml"]
"""


def test_notebooks_show_figures_as_svg_that_follows_the_page():
    done = subprocess.run(
        [sys.executable, "-c", IN_A_NOTEBOOK], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_static_figures_have_no_fixed_ink():
    from matplotlib import style as sheets
    from matplotlib.figure import Figure

    path = str(resources.files("ntp_lite") / "data" / "book.mplstyle")
    with sheets.context(path):
        drawing = Figure()
        ax = drawing.add_subplot(title="title", xlabel="ridge")
        for k in range(3):
            ax.plot([0, 1], [k, 1], label=str(k))
        ax.legend()
        svg = style.figure_svg(drawing)
        assert svg == style.figure_svg(drawing)
    drawn = svg[svg.index("</style>") :]
    fixed = re.findall(r"(?:fill|stroke): ?(#\w{6})", drawn)
    assert not fixed
    assert "var(--ntp-word" in drawn and "var(--ntp-ink" in drawn
    assert "<text" in drawn and "ridge" in drawn
    assert "transparent" not in svg and "white" not in drawn


def test_what_is_read_in_a_picture_keeps_its_digits():
    """Coordinates are shortened, labels are not. Mutation: all numbers shortened."""
    svg = style.adapt_svg('<svg a="b"><path d="M 1.23456 2"/><text x="3.4567">0.025</text></svg>')
    assert ">0.025<" in svg
    assert 'd="M 1.23 2"' in svg and 'x="3.46"' in svg


def test_names_of_states_stand_below_the_axis():
    """Mutation seen to fail: without `Lines.xnames` the axis counts the states, 0, 1, 2."""
    from matplotlib.figure import Figure

    panel = lines(x=[0, 1, 2], xnames=["start", "step 10", "step 400"])
    assert panel.data(())["xnames"] == ["start", "step 10", "step 400"]
    ax = Figure().add_subplot()
    panel.draw(ax, 0, ())
    assert [text.get_text() for text in ax.get_xticklabels()] == ["start", "step 10", "step 400"]


def test_pairs_have_the_colours_that_they_are_given():
    """Mutation seen to fail: with `control` alone there are two colours."""
    two = {"title": "A", "lengths": [[1, 1]] * 2, "cosines": [0, 1], "names": [("a", "b")] * 2}
    assert live.Pairs(**two, control=[False, True]).data(())["roles"] == ["context", "off"]
    assert live.Pairs(**two, roles=["support", "series-4"]).data(())["roles"] == [
        "support", "series-4"
    ]  # fmt: skip
    with pytest.raises(ValueError, match="1 entries for 2"):
        frames(live.Pairs(**two, roles=["support"]))


def test_groups_with_names_have_a_legend():
    """Mutation seen to fail: without `Points.legend` the names are nowhere on the page."""
    named = frames(grouped(group_names=["fruit", "tools"])).html(library=False)
    entries = re.findall(r"<li>.*?</li>", named)
    assert [re.sub("<.*?>", "", entry) for entry in entries] == ["fruit", "tools"]
    assert ["var(--ntp-word)" in entry for entry in entries] == [True, False]
    assert "ntp-legend" not in frames(grouped()).html(library=False)


def test_large_points_are_diamonds():
    """Mutation seen to fail: without the branch for `large` the still has two circles."""
    import matplotlib.pyplot as plt

    def path_of_last(points):
        figure, ax = plt.subplots()
        points.draw(ax, 0, ())
        marker = ax.lines[-1].get_marker()
        plt.close(figure)
        return marker

    assert path_of_last(grouped()) == "o"
    assert path_of_last(grouped(large=[1])) == "D"
    assert grouped(large=[1]).data(())["large"] == [1]
    with pytest.raises(ValueError, match="names a point outside 0"):
        frames(grouped(large=[2]))


def scales(*panels) -> list[str]:
    """The scales of a figure as they are read."""
    page = frames(*panels).html(library=False)
    found = re.findall(r'<p class="ntp-scale">(.*?)</p>', page)
    return [" ".join(re.sub("<.*?>", " ", scale).split()) for scale in found]


def test_a_heat_map_says_which_colour_is_which_number():
    """Mutations seen to fail: no scale in the page; no word of what lies beyond the limit."""
    both = live.HeatMap(values=[[1], [-2]], label="logit", **MATRIX)
    assert scales(both) == [f"{MINUS}2 0 2 logit"]
    shares = live.HeatMap(values=[[0], [0.5]], label="share", **MATRIX)
    assert scales(shares) == ["0 0.5 share"]
    clipped = live.HeatMap(values=[[1], [-3]], label="logit", limit=2, **MATRIX)
    assert scales(clipped) == [f"≤ {MINUS}2 0 2 logit"]


def test_heat_maps_side_by_side_share_their_scale_or_say_so():
    """Mutation seen to fail: each heat map keeps the bound of its own values."""
    small = live.HeatMap(values=[[1], [-1]], label="logit", **MATRIX)
    large = live.HeatMap(values=[[4], [0]], label="logit", **MATRIX)
    assert scales(large, small) == ["0 4 logit", f"{MINUS}4 0 4 logit"]
    data = json.loads(re.search(r"json\">(.*?)</script>", frames(large, small).html(False))[1])
    assert [panel["limit"] for panel in data["panels"]] == [4, 4]
    other = live.HeatMap(values=[[4], [0]], label="logit", limit=8, **MATRIX)
    assert scales(small, other) == [f"{MINUS}1 0 1 logit (own scale)", "0 8 logit (own scale)"]


def test_pairs_whose_lengths_stand_still():
    """Cosines move along the slider, lengths do not. Mutation: both joined without broadcasting."""
    panel = live.Pairs(title="t", lengths=[[1.0, 2.0]], cosines=[[0.1], [0.9]], names=[("a", "b")])
    assert panel.data((2,))["frames"] == [[1, 2, 0.1], [1, 2, 0.9]]


def test_a_table_of_counts_shows_the_words_that_its_contexts_share():
    """By their counts alone the words after "lily was" would not be among the rows."""
    ids, vocab = ntp.load_corpus("lily")
    page = live.TextCounts(text=vocab.decode(ids), context_length=2, alt=ALT).html(library=False)
    rows = re.findall(r'<th scope="row">(.*?)</th>', page)
    assert len(rows) == 18
    assert {"happy", "sad", "tired", "warm", "cold", "hungry"} <= set(rows)
