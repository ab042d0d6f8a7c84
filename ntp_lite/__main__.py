"""`python -m ntp_lite`: soft labels, training, decomposition and report for a text (ch. 16)."""

from __future__ import annotations

import argparse
import base64
import html
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from scipy import sparse

from .corpus import BUNDLED, Vocabulary, load_corpus
from .decomposition import in_support_logits
from .geometry import cosine_similarity, seriation, support_collapse, word_context_factors
from .margin import centered_support, solve_max_margin
from .path import ridge_max, ridge_path
from .soft_labels import SoftLabels
from .train import TrainConfig, fit, resume
from .transformer import Transformer, TransformerConfig
from .ufm import UFM

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
    for name, value in _statistics(labels):
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
    parts: dict[str, Any] = {"L_mm": result.L, "dual": result.dual, "tokens": vocab.tokens}
    parts |= {"L_in": in_support_logits(labels).toarray(), "proxy": centered_support(labels)}
    parts["contexts"] = labels.contexts
    with open(o.out, "wb") as file:
        np.savez_compressed(file, **parts)
    print(result.certificate)
    return _code(result.message, result.converged)


def report_command(o: argparse.Namespace, labels: SoftLabels, vocab: Vocabulary) -> int:
    """write one HTML page with figures, tables and certificates that needs no other file"""
    import matplotlib  # slow to import, and only this command draws

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from . import plots

    def figure(caption: str, draw: Any, *data: Any, **more: Any) -> str:
        fig, ax = plt.subplots(figsize=(8, 6), layout="constrained")
        draw(ax, *data, **more)
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi=90)
        plt.close(fig)
        source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
        return f'<h3>{caption}</h3><img alt="{caption}" src="{source}">'

    margin = solve_max_margin(labels, tol=o.tol)
    ridges = [ridge_max(labels) * 0.1**k for k in range(1, 6)]
    path = ridge_path(labels, ridges, tol=max(o.tol, 1e-4))
    W, H, values = word_context_factors(margin.L)
    solved = [("max-margin", margin.certificate)]
    solved += [(f"ridge {r.ridge:.3g}", r.certificate) for r in path]
    judged = [
        (name, *(f"{x:.6g}" for x in (c.primal, c.dual, c.gap, c.relative_gap)))
        for name, c in solved
    ]
    concepts = []
    for value, vector in zip(values[:5], W.T, strict=False):
        ends = [", ".join(vocab[i] for i in np.argsort(s * vector)[:6]) for s in (-1, 1)]
        concepts.append((f"{value:.4g}", *ends))
    words, contexts = (np.argsort(-labels.N.sum(axis=axis), kind="stable")[:30] for axis in (1, 0))
    words, contexts = words[seriation(W[words].T)], contexts[seriation(H[:, contexts])]
    # Matplotlib would read a pair of dollar signs as mathematics.
    word_names = [vocab[i].replace("$", r"\$") for i in words]
    names = [vocab.decode(labels.contexts[j]).replace("$", r"\$") for j in contexts]  # type: ignore[index]
    logits = {"L_mm": margin.L, "proxy": centered_support(labels)}
    logits["L_in"] = in_support_logits(labels).toarray()
    objectives = [r.certificate.primal for r in path]
    collapse = support_collapse(path[-1].L, labels)
    body = [
        f"<h1>Geometry of next-token prediction: {html.escape(o.text)}</h1>",
        _html_table(("quantity", "value"), _statistics(labels)),
        "<h2>Certificates</h2><p>The optimum lies between dual and primal value.</p>",
        _html_table(("problem", "primal", "dual", "gap", "relative gap"), judged),
        "<h2>Concepts: the leading singular vectors of L_mm</h2>",
        _html_table(("singular value", "words at one end", "words at the other"), concepts),
        f"<p>Subspace collapse at the smallest ridge, within over total variability of the "
        f"logits: {collapse.several_tokens:.3g}; with permuted classes "
        f"{collapse.permuted_several_tokens:.3g}. {collapse.message}</p>",
        figure("Singular values", plots.spectrum, logits),
        figure("Cosines of the commonest words in W_mm", plots.heat_map,
               cosine_similarity(W[words].T), word_names, word_names, limit=1.0),
        figure("Cosines of the commonest contexts in H_mm", plots.heat_map,
               cosine_similarity(H[:, contexts]), names, names, limit=1.0),
        figure("Excess loss plus penalty along the regularisation path", plots.curves,
               ridges, {"primal value": objectives}, xlabel="ridge", ylabel="nats"),
    ]  # fmt: skip
    style = "body{max-width:60em;margin:auto;font-family:sans-serif}img{width:100%}"
    style += "td{padding:0 1em}"
    head = f'<meta charset="utf-8"><title>ntp_lite: {html.escape(o.text)}</title>'
    page = f'<!doctype html><html lang="en">{head}<style>{style}</style>{"".join(body)}</html>\n'
    Path(o.out).write_text(page, "utf-8")
    print(f"{margin.certificate}\nThe report is in {o.out}.")
    return _code(margin.message, margin.converged and all(r.converged for r in path))


def _code(message: str, good: bool) -> int:
    return 130 if "interrupted" in message else 0 if good else 1


def _statistics(labels: SoftLabels) -> list[tuple[str, str]]:
    k = labels.support_sizes
    return [
        ("tokens V", str(labels.V)),
        ("distinct contexts m", str(labels.m)),
        ("positions n", str(labels.n)),
        ("entropy floor Hc, nats", f"{labels.entropy:.6f}"),
        ("support size, mean", f"{k.mean():.3f}"),
        ("support size, largest", str(k.max())),
        ("contexts with one next token", str((k == 1).sum())),
        ("distinct supports", str(labels.support_classes.max() + 1)),
    ]


def _html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in (head, *rows)]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence in place of the usage, and exit code 2."""
        self.exit(2, f"error: {message} (see --help)\n")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser("python -m ntp_lite", description=__doc__, epilog=EPILOG, formatter_class=raw)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, out, tol in (
        ("labels", labels_command, None, 0.0),
        ("fit", fit_command, "run.safetensors", 1e-2),
        ("decompose", decompose_command, "decomposition.npz", 1e-5),
        ("report", report_command, "report.html", 1e-5),
    ):
        one = commands.add_parser(name, help=run.__doc__, epilog=EPILOG, formatter_class=raw)
        one.set_defaults(run=run, resume=False)
        one.add_argument("text", metavar="TEXT", help="a UTF-8 file or a bundled text")
        one.add_argument("--context-length", type=int, default=3, help="tokens (default 3)")
        one.add_argument("--max-vocab", type=int, default=300, help="tokens kept (default 300)")
        one.add_argument("--contexts", type=int, default=1000, metavar="N",
                         help="the N commonest contexts; 0 is all (default 1000)")  # fmt: skip
        one.add_argument("--out", default=out, metavar="FILE", help=f"default {out}")
        one.add_argument("--force", action="store_true", help="replace FILE if it exists")
        if tol:
            one.add_argument("--tol", type=float, default=tol, help=f"relative gap (default {tol})")
        if name == "fit":
            one.add_argument("--model", choices=("ufm", "transformer"), default="ufm")
            one.add_argument("--resume", action="store_true", help="go on from --out")
            one.add_argument("--optimizer", default="lbfgs", help="lbfgs, adam, adamw or sgd")
            one.add_argument("--device", default="auto", help="cpu, cuda (default: what there is)")
            for option, value in (("d", 128), ("layers", 2), ("steps", 3000), ("seed", 0)):
                one.add_argument(f"--{option}", type=int, default=value, help=f"default {value}")
            one.add_argument("--ridge", type=float, default=1e-5, help="default 1e-5")
            one.add_argument("--lr", type=float, help="learning rate (default: by optimiser)")
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
    except FloatingPointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
