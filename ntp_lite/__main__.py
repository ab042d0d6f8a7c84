"""`python -m ntp_lite`: soft labels, training, decomposition and report for a text (ch. 16)."""

from __future__ import annotations

import argparse
import base64
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jinja2 import Template
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import sparse

from . import plots
from .constraints import centered_support
from .corpus import BUNDLED, Vocabulary, load_corpus
from .geometry import cosine_similarity, seriation, support_collapse, word_context_factors
from .in_support import in_support_logits
from .margin import solve_max_margin
from .models import UFM, Transformer, TransformerConfig
from .path import ridge_max, ridge_path
from .soft_labels import SoftLabels
from .train import TrainConfig, fit, resume

REPORT = Path(__file__).parent / "data" / "report.html"
EPILOG = f"""TEXT is a UTF-8 file (blank lines part its stories) or one of {", ".join(BUNDLED)}.

  python -m ntp_lite labels primer --context-length 4
  python -m ntp_lite fit primer --ridge 1e-4 --out run.safetensors
  python -m ntp_lite fit primer --out run.safetensors --resume
  python -m ntp_lite decompose mystories.txt --out parts.npz
  python -m ntp_lite report mystories.txt --contexts 500 --out report.html

Exit codes: 0 done; 1 done, but not certified to --tol, or diverged; 2 bad input, nothing
written; 130 stopped by Ctrl-C, with what there was by then saved."""


def labels_command(o: argparse.Namespace, labels: SoftLabels, vocab: Vocabulary) -> int:
    """print the statistics of the soft labels; --out keeps the counts (scipy sparse .npz)"""
    for name, value in _statistics(labels).items():
        print(f"{name:<28}  {value}")
    if o.out:
        sparse.save_npz(o.out, labels.N)
    return 0


def fit_command(o: argparse.Namespace, labels: SoftLabels, vocab: Vocabulary) -> int:
    """train a UFM or a transformer; --out is a checkpoint with weights and history"""
    model: Any = UFM(labels.V, labels.m, o.d, seed=o.seed)
    if o.model == "transformer":
        sizes = {"d": o.d, "layers": o.layers, "seed": o.seed}
        model = Transformer(TransformerConfig(labels.V, o.context_length, **sizes))
    if o.resume:
        result = resume(o.out, model, labels, progress=True)
    else:
        names = ("ridge", "optimizer", "lr", "steps", "seed", "device", "tol")
        config = TrainConfig(checkpoint=o.out, **{name: getattr(o, name) for name in names})
        result = fit(model, labels, config, progress=True)
    excess = result.history["excess_loss"][-1]
    print(f"{result.message}; excess loss {excess:.4e} nats\n{result.certificate}")
    return _code(result.message, result.converged or not o.ridge)


def decompose_command(o: argparse.Namespace, labels: SoftLabels, vocab: Vocabulary) -> int:
    """write L_in, L_mm, its dual and the proxy to --out (.npz), the certificate to the screen"""
    result = solve_max_margin(labels, tol=o.tol)
    parts = {"L_in": in_support_logits(labels).toarray(), "L_mm": result.L, "dual": result.dual}
    parts |= {"proxy": centered_support(labels), "contexts": labels.contexts}
    with open(o.out, "wb") as file:
        np.savez_compressed(file, tokens=vocab.tokens, **parts)
    print(result.certificate)
    return _code(result.message, result.converged)


def report_command(o: argparse.Namespace, labels: SoftLabels, vocab: Vocabulary) -> int:
    """write one HTML page with figures, tables and certificates that needs no other file"""
    margin = solve_max_margin(labels, tol=o.tol)
    ridges = [ridge_max(labels) * 0.1**k for k in range(1, 6)]
    path = ridge_path(labels, ridges, tol=max(o.tol, 1e-4))
    W, H, values = word_context_factors(margin.L)
    concepts = []
    for value, vector in zip(values[:5], W.T, strict=False):
        ends = [", ".join(vocab[i] for i in np.argsort(s * vector)[:6]) for s in (-1, 1)]
        concepts.append((f"{value:.4g}", *ends))
    words, contexts = (np.argsort(-labels.N.sum(axis), kind="stable")[:30] for axis in (1, 0))
    words, contexts = words[seriation(W[words].T)], contexts[seriation(H[:, contexts])]
    # Matplotlib would read a pair of dollar signs as mathematics.
    word_names = [vocab[i].replace("$", r"\$") for i in words]
    names = [vocab.decode(labels.contexts[j]).replace("$", r"\$") for j in contexts]  # type: ignore[index]
    logits = {"L_mm": margin.L, "proxy": centered_support(labels)}
    logits["L_in"] = in_support_logits(labels).toarray()
    objectives = {"primal value": [r.certificate.primal for r in path]}
    page = Template(REPORT.read_text("utf-8"), autoescape=True).render(
        o=o, statistics=_statistics(labels), margin=margin, path=path, concepts=concepts,
        collapse=support_collapse(path[-1].L, labels), spectrum=_png(plots.spectrum, logits),
        words=_png(plots.heat_map, cosine_similarity(W[words].T), word_names, word_names, limit=1),
        contexts=_png(plots.heat_map, cosine_similarity(H[:, contexts]), names, names, limit=1),
        objective=_png(plots.curves, ridges, objectives, xlabel="ridge", ylabel="nats"),
    )  # fmt: skip
    Path(o.out).write_text(page, "utf-8")
    print(f"{margin.certificate}\nThe report is in {o.out}.")
    return _code(margin.message, margin.converged and all(r.converged for r in path))


def _png(draw: Callable[..., Any], *data: Any, **more: Any) -> str:
    """What `draw` makes of an Axes, in base64."""
    figure, buffer = Figure(figsize=(8, 6), layout="constrained"), io.BytesIO()
    FigureCanvasAgg(figure)  # no window, whatever pyplot would open on this machine
    draw(figure.subplots(), *data, **more)
    figure.savefig(buffer, format="png", dpi=90)
    return base64.b64encode(buffer.getvalue()).decode()


def _code(message: str, good: bool) -> int:
    return 130 if "interrupted" in message else 0 if good else 1


def _statistics(labels: SoftLabels) -> dict[str, Any]:
    k = labels.support_sizes
    return {
        "tokens V": labels.V,
        "distinct contexts m": labels.m,
        "positions n": labels.n,
        "entropy floor Hc, nats": f"{labels.entropy:.6f}",
        "support size, mean": f"{k.mean():.3f}",
        "support size, largest": k.max(),
        "contexts with one next token": (k == 1).sum(),
        "distinct supports": labels.support_classes.max() + 1,
    }


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence in place of the usage, and exit code 2."""
        self.exit(2, f"error: {message} (see --help)\n")


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Examples as they are written, and the default of each option."""


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    style: dict[str, Any] = {"epilog": EPILOG, "formatter_class": _Help}
    parser = _Parser("python -m ntp_lite", description=__doc__, **style)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for run, out, tol in (
        (labels_command, None, None),
        (fit_command, "run.safetensors", 1e-2),
        (decompose_command, "decomposition.npz", 1e-5),
        (report_command, "report.html", 1e-5),
    ):
        name = run.__name__.removesuffix("_command")
        command = commands.add_parser(name, help=run.__doc__, **style)
        command.set_defaults(run=run, resume=False)
        add = command.add_argument
        add("text", metavar="TEXT", help="a UTF-8 file or a bundled text")
        add("--context-length", type=int, default=3, help="tokens")
        add("--max-vocab", type=int, default=300, help="tokens kept")
        add("--contexts", type=int, default=1000, metavar="N", help="the N commonest; 0 is all")
        add("--out", default=out, metavar="FILE", help="what is written")
        add("--force", action="store_true", help="replace FILE if it exists")
        if tol:
            add("--tol", type=float, default=tol, help="relative gap")
        if run is fit_command:
            add("--model", choices=("ufm", "transformer"), default="ufm", help="what is trained")
            add("--resume", action="store_true", help="go on from FILE, with its options")
            add("--optimizer", default="lbfgs", help="lbfgs, adam, adamw or sgd")
            add("--device", default="auto", help="cpu or cuda; auto takes what there is")
            add("--d", type=int, default=128, help="dimension of the embeddings")
            add("--layers", type=int, default=2, help="of a transformer")
            add("--steps", type=int, default=3000, help="at most this many")
            add("--seed", type=int, default=0, help="of the start and of the batches")
            add("--ridge", type=float, default=1e-5, help="weight of the penalty")
            add("--lr", type=float, help="learning rate; None is the optimiser's own")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    o = _parse(argv)
    try:
        out = Path(o.out or ".")
        if not out.parent.is_dir():
            raise FileNotFoundError(f"There is no folder {str(out.parent)!r}; make it first.")
        if o.out and out.exists() and not (o.force or o.resume):
            raise FileExistsError(f"{o.out!r} exists; name another --out, or give --force.")
        ids, vocab = load_corpus(o.text, max_vocab=o.max_vocab)
        labels = SoftLabels.from_tokens(ids, o.context_length, len(vocab))
        if o.contexts < 0:
            raise ValueError(f"--contexts is {o.contexts}; use 0 for all, or a positive number.")
        commonest = np.argsort(-labels.pi, kind="stable")[: o.contexts or None]
        return o.run(o, labels.select(np.sort(commonest)), vocab)
    except (FloatingPointError, ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, FloatingPointError) else 2


if __name__ == "__main__":
    sys.exit(main())
