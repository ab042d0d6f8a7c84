"""A page with every kind of interactive figure and panel once, from numbers computed here.

    python tests/browser/demo.py FOLDER

writes `index.html`, which loads the library once as the site does, `notebook.html`, where each
figure stands in a sandboxed frame of its own with the library inside, as in Colab, and the static
figures `static.svg` and `static.html`.
"""

from __future__ import annotations

import html
import shutil
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import jupytext
import numpy as np
from matplotlib.figure import Figure

import ntp_lite as ntp
from ntp_lite import interactive as live
from ntp_lite import style

ROOT = Path(__file__).resolve().parents[2]
TEXT = """Lily was happy. Lily was tired. Lily felt tired. Lily felt cold.
Lily saw a cat. Lily drew a cat. Lily saw a dog. Lily was happy."""


def lily() -> tuple[ntp.SoftLabels, ntp.Vocabulary, list[str]]:
    ids, vocab = ntp.load_corpus("lily")
    labels = ntp.SoftLabels.from_tokens(ids, context_length=2, vocab_size=len(vocab))
    labels = labels.select(labels.support_sizes >= 2)
    return labels, vocab, [vocab.decode(context) for context in labels.contexts]


def ridge_figure() -> live.Frames:
    """The picture of the landing page, from its own cell."""
    page = jupytext.read(ROOT / "book" / "intro.md")
    cell = next(cell.source for cell in page.cells if cell.cell_type == "code")
    names: dict[str, Any] = {}
    exec(compile(cell, "book/intro.md", "exec"), names)
    return names["ridge_picture"]


def heat_figure() -> live.Frames:
    """A matrix, bars with a level and curves under the ridge slider."""
    labels, _, names = lily()
    order = ntp.seriation(ntp.centered_support(labels))
    ridges = np.geomspace(0.1, 1e-4, 7)
    path = ntp.ridge_path(labels, ridges)
    cosines = np.array(
        [ntp.cosine_similarity(ntp.word_context_factors(p.L).H[:, order]) for p in path]
    )
    P, pi = labels.P.toarray(), labels.pi
    residuals = []
    for point in path:
        Q = np.exp(point.L) / np.exp(point.L).sum(axis=0)
        residuals.append(np.linalg.svd((P - Q) * pi, compute_uv=False) / point.ridge)
    ordered = [names[j] for j in order]
    return live.Frames(
        alt="Cosines of eleven context vectors as a matrix, and the singular values of the "
        "residual divided by the ridge, under a slider for the ridge.",
        sliders=[live.Slider("ridge", [live.number(r) for r in ridges], start=3)],
        panels=[
            live.HeatMap(
                title="Cosines of contexts",
                values=cosines,
                rows=[f"WWWWWWWW {ordered[0]}", *ordered[1:]],  # wide letters
                columns=ordered,
                label="cosine",
                limit=1.0,
                square=True,
                ratio=1.1,
                details=[
                    [
                        f"{int((labels.S[:, [i]].multiply(labels.S[:, [j]])).sum())} next words in "
                        "common"
                        for j in order
                    ]
                    for i in order
                ],
            ),
            live.Bars(
                title="Singular values of G / ridge",
                values={"": np.array(residuals)},
                levels={"switched on at 1": 1.0},
                ratio=1.1,
            ),
            live.Lines(
                title="Cosines of two pairs",
                x=ridges,
                ys={
                    "was / felt": cosines[:, ordered.index("lily was"), ordered.index("lily felt")],
                    "found / lost": cosines[:, ordered.index("found a"), ordered.index("lost a")],
                },
                xlabel="ridge",
                logx=True,
                follow=1,
                trail=True,
                ratio=1.1,
            ),
        ],
        says=[
            f"Ridge {live.number(p.ridge)}: {(np.array(r) > 1 - 1e-3).sum()} directions are on."
            for p, r in zip(path, residuals, strict=True)
        ],
    )


def points_figure() -> live.Frames:
    """Words and contexts of two sliders: how many words on a circle, and how far apart."""
    counts, radii = range(3, 8), (0.5, 1.0, 1.5)
    most = max(counts)
    xy = np.zeros((len(counts), len(radii), most, 2))
    for i, n in enumerate(counts):
        angles = 2 * np.pi * np.minimum(np.arange(most), n - 1) / n
        for j, radius in enumerate(radii):
            xy[i, j] = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return live.Frames(
        alt="Words on a circle as arrows; one slider changes how many, another how long they are.",
        sliders=[
            live.Slider("words", [str(n) for n in counts], start=2),
            live.Slider("length", [str(r) for r in radii], start=1),
        ],
        panels=[
            live.Points(
                title="Words in the plane",
                xy=xy,
                names=["cat", "dog", "duck", "bird", "frog", "kite", "ball"],
                role=["word"] * 5 + ["context"] * 2,
                arrows=True,
                ratio=2.2,
                narrow_ratio=1.3,
            )
        ],
        says=[f"{n} words of length {r}." for n in counts for r in radii],
        play=False,
    )


def solid_figure() -> live.Frames:
    """Words of the closed forms for three next words each: they turn, and k grows them."""
    tetrahedron = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
    edges = [(i, j) for i in range(4) for j in range(i)]
    middles = np.array([(tetrahedron[i] + tetrahedron[j]) for i, j in edges])
    sizes = np.linspace(0.3, 1.0, 8)
    words = ["cat", "dog", "duck", "bird"]
    octahedron = [
        (4 + a, 4 + b) for a in range(6) for b in range(a) if abs(middles[a] @ middles[b]) < 1e-9
    ]
    xyz = np.concatenate([tetrahedron, middles])
    return live.Frames(
        alt="A tetrahedron of four words and the octahedron of the six contexts that allow two.",
        sliders=[live.Slider("size", [f"{s:.1f}" for s in sizes], start=7)],
        panels=[
            live.Solid(
                title="Four words, and six contexts of two words each",
                xyz=sizes[:, None, None] * xyz,
                names=words + [f"{words[i]} or {words[j]}" for i, j in edges],
                role=["word"] * 4 + ["context"] * 6,
                edges=[*edges, *octahedron],
                ratio=1.6,
                narrow_ratio=1.1,
            )
        ],
        says=[f"Size {s:.1f}." for s in sizes],
        play=False,
    )


def handle_figures() -> dict[str, live.Handles]:
    return {
        "loss": live.Handles(
            computation="loss",
            names=["happy", "tired", "cold"],
            state={"P": [0.5, 0.5, 0.0], "logits": [2.0, 1.0, 0.0]},
            alt="Three logits that can be dragged, the prediction that they make, and its loss "
            "above the floor.",
        ),
        "simplex": live.Handles(
            computation="simplex",
            names=["happy", "tired", "cold"],
            state={"P": [0.7, 0.3, 0.0], "steps": 0.6},
            alt="A triangle of predictions with P on an edge and Q sliding towards it.",
        ),
        "column": live.Handles(
            computation="column",
            names=["happy", "tired", "cat", "dog", "bed"],
            state={"P": [0.7, 0.3], "share": 0.4, "height": 2.0, "off": 3},
            alt="The logits of one context with two handles, one for the shares of the words that "
            "follow, one for their height over the others.",
        ),
        "certificate": live.Handles(
            computation="certificate",
            names=["ran", "sat", "slept"],
            state={"P": [0.75, 0.25, 0.0], "guess": [0.3, 0.5, 0.2], "ridge": 0.25},
            alt="A triangle of predictions with the disc around P, a guess that can be dragged, "
            "and the upper and lower bound that it gives.",
        ),
    }


def figures() -> dict[str, live.Figure]:
    """Every kind once, by a name that the tests use."""
    return {
        "ridge": ridge_figure(),
        "heat": heat_figure(),
        "points": points_figure(),
        "solid": solid_figure(),
        **handle_figures(),
        "text": live.TextCounts(
            text=TEXT,
            alt="A field for a text, and a table of what follows each context in it.",
        ),
    }


PAGE = """<!doctype html>
<html lang="en" data-theme="light"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Interactive figures</title>
<style>
html {{ color-scheme: light; --pst-color-background: #fff; background: #fff; color: #222832; }}
html[data-theme="dark"] {{ color-scheme: dark; --pst-color-background: #121212;
  background: #121212; color: #ced6dd; }}
body {{ max-width: 45rem; margin: 0 auto; padding: 1rem; font: 16px/1.6 system-ui, sans-serif; }}
svg.ntp-svg {{ max-width: 100%; height: auto; }}
iframe {{ width: 100%; height: 900px; border: 0; }}
</style>{head}</head><body><main><h1>Interactive figures</h1>
{body}
</main></body></html>
"""


def static_figure() -> str:
    """A plot in the book's style, as a chapter draws it."""
    import matplotlib.style

    sheet = str(resources.files("ntp_lite") / "data" / "book.mplstyle")
    with matplotlib.style.context(sheet):
        drawing = Figure(figsize=(5.6, 3.0), layout="constrained")
        left, right = drawing.subplots(1, 2)
        ridges = np.logspace(-2, -10, 9)
        for k, name in enumerate(("loss", "bound", "leak")):
            left.loglog(ridges, ridges * 10**k, "os^"[k], ls="-", label=name)
        left.invert_xaxis()
        left.set(xlabel=r"ridge $\lambda$", ylabel="nats", title="Rates")
        left.legend()
        right.plot([0.2, 0.5, 0.9], [0.4, 0.9, 0.6], "o", color=style.WORD, ms=8)
        right.plot([0.3, 0.6, 0.8], [0.7, 0.3, 0.9], "s", color=style.CONTEXT, ms=8)
        right.annotate("lily was", (0.3, 0.7), (6, 6), textcoords="offset points")
        right.set(title="Words and contexts", xlim=(0, 1.1), ylim=(0, 1.1))
        return style.figure_svg(drawing)


def write(folder: Path) -> None:
    """The pages described above."""
    folder.mkdir(parents=True, exist_ok=True)
    browser = resources.files("ntp_lite") / "interactive" / "browser"
    for name in (*live.STYLES, *live.SCRIPTS):
        shutil.copy(str(browser / name), folder / name)
    head = "".join(f'<link rel="stylesheet" href="{name}">' for name in live.STYLES)
    head += "".join(f'<script defer src="{name}"></script>' for name in live.SCRIPTS)
    made = {name: figure._repr_mimebundle_()["text/html"] for name, figure in figures().items()}
    sections = (
        f'<section id="{name}"><h2>{name}</h2>{live.without_library(output)}</section>'
        for name, output in made.items()
    )
    (folder / "index.html").write_text(PAGE.format(head=head, body="\n".join(sections)), "utf-8")
    frames = (
        f'<h2>{name}</h2><iframe sandbox="allow-scripts" title="{name}" '
        f'srcdoc="{html.escape("<!doctype html><html lang=en><body>" + output)}"></iframe>'
        for name, output in made.items()
    )
    (folder / "notebook.html").write_text(PAGE.format(head="", body="\n".join(frames)), "utf-8")
    svg = static_figure()
    (folder / "static.svg").write_text(svg, "utf-8")
    both = f'<h2>inline</h2>{svg}<h2>image</h2><img src="static.svg" alt="" style="width:100%">'
    (folder / "static.html").write_text(PAGE.format(head="", body=both), "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
