"""The command line: soft labels, training, decomposition and report for a text."""

from __future__ import annotations

import argparse
import dataclasses
import os
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from scipy import sparse

from ._interrupts import Interrupts
from ._output import is_terminal, occupy_closed_streams, prepare, replace_file, say
from ._token_files import ID_TYPES, read_ids, read_tokens
from .constraints import centered_support
from .corpus import BUNDLED, load_corpus, stands_alone
from .in_support import in_support_logits
from .models import UFM, Transformer, TransformerConfig
from .optimizers import OPTIMIZERS
from .reports import commonest, coverage, report, solve_margin, statistics
from .soft_labels import SoftLabels
from .status import Status
from .train import TrainConfig, fit, resume

# What the program ends with. Kinds of ends that a script may want to tell apart share no code.
DONE = 0
NOT_CERTIFIED = 1
BAD_INPUT = 2
UNEXPECTED = 3
INTERRUPTED = 130  # 128 + the number of SIGINT, as shells have it
EXIT_CODES = {
    Status.CONVERGED: DONE,
    Status.FINISHED: DONE,
    Status.ITERATION_LIMIT: NOT_CERTIFIED,
    Status.STALLED: NOT_CERTIFIED,
    Status.INTERRUPTED: INTERRUPTED,
}

EPILOG = f"""TEXT is a UTF-8 file (blank lines part its stories) or one of {", ".join(BUNDLED)}.

  ntp-lite labels primer --context-length 4
  ntp-lite fit primer --ridge 1e-4 --out run.safetensors
  ntp-lite fit primer --out run.safetensors --resume --steps 6000
  ntp-lite decompose mystories.txt --out parts.npz
  ntp-lite report mystories.txt --contexts 500 --out report.html
  ntp-lite report --ids train.bin --ids-dtype uint16 --tokens tokenizer.json

Exit codes:
  {DONE}    done
  {NOT_CERTIFIED}    done, but not certified to --tol, or diverged
  {BAD_INPUT}    bad input, or FILE cannot be written; FILE is as it was
  {UNEXPECTED}    an unexpected error, such as too little memory
  {INTERRUPTED}  stopped by Ctrl-C; fit, decompose and report save what there is by then

`python -m ntp_lite` is the same program."""


# ---------------------------------------------------------------- options


def option(
    default: Any,
    text: str,
    kind: Callable[[str], Any] = str,
    metavar: str | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """A field of a class of options: `context_length` becomes --context-length."""
    details = {"help": text, "kind": kind, "metavar": metavar, "choices": choices}
    return field(default=default, metadata=details)


@dataclass(frozen=True)
class TextOptions:
    """What every command takes: which text, which part of it, and where the output goes."""

    text: str | None = None
    ids: str | None = option(None, "token ids in place of TEXT: .npy, .bin or text", metavar="FILE")
    ids_dtype: str | None = option(None, "how a .bin file holds its ids", choices=ID_TYPES)
    tokens: str | None = option(None, "names of the ids: one a line, or JSON", metavar="FILE")
    context_length: int = option(3, "tokens in a context", int, "N")
    max_vocab: int = option(300, "different tokens kept of TEXT", int, "N")
    contexts: int = option(1000, "keep the N commonest; 0 is all", int, "N")
    out: str | None = option(None, "what is written", metavar="FILE")
    force: bool = option(False, "replace FILE if it exists", bool)


@dataclass(frozen=True)
class LabelsOptions(TextOptions):
    """Without --out nothing is written."""

    out: str | None = option(None, "the counts, scipy sparse .npz", metavar="FILE")


@dataclass(frozen=True)
class FitOptions(TextOptions):
    """How to train."""

    out: str = option("run.safetensors", "the checkpoint", metavar="FILE")
    tol: float = option(1e-2, "relative gap", float)
    model: str = option("ufm", "what is trained", choices=("ufm", "transformer"))
    d: int = option(128, "dimension of the embeddings", int, "N")
    layers: int = option(2, "layers of a transformer", int, "N")
    ridge: float = option(1e-5, "weight of the penalty", float)
    optimizer: str = option("lbfgs", "how it is trained", choices=tuple(OPTIMIZERS))
    lr: float | None = option(None, "learning rate; by default the optimiser's own", float)
    batch_size: int | None = option(None, "contexts in a step; by default all", int, "N")
    steps: int = option(3000, "at most this many, in all", int, "N")
    seed: int = option(0, "of the start and of the batches", int, "N")
    device: str = option("auto", "cpu or cuda; auto takes what there is")
    resume: bool = option(False, "go on from FILE, with its options; more steps extend it", bool)


@dataclass(frozen=True)
class DecomposeOptions(TextOptions):
    """How well to solve the max-margin problem."""

    out: str = option("decomposition.npz", "what is written", metavar="FILE")
    tol: float = option(1e-5, "relative gap", float)


@dataclass(frozen=True)
class ReportOptions(TextOptions):
    """How well to solve the problems of the page."""

    out: str = option("report.html", "the page", metavar="FILE")
    tol: float = option(1e-5, "relative gap", float)


# With --resume these come from the checkpoint.
FROM_CHECKPOINT = ("ridge", "optimizer", "lr", "batch_size", "seed", "device", "tol", "force")


# ---------------------------------------------------------------- commands


@dataclass(frozen=True)
class Corpus:
    """What a command works on. labels : of all contexts. tokens : their names."""

    labels: SoftLabels
    tokens: Sequence[str]


def labels_command(options: LabelsOptions, given: frozenset[str]) -> int:
    """print the statistics of the soft labels; --out keeps the counts (scipy sparse .npz)"""
    out = None if options.out is None else _prepared(options.out, options)
    corpus = _corpus(options)
    labels = _kept(corpus, options)
    for name, value in statistics(labels).items():
        say(f"{name:<28}  {value}")
    for row in coverage(labels, corpus.labels):
        say(f"{row.what:<28}  {row.number:,} of {row.whole:,} ({row.share})")
    if any(stands_alone(token) for token in corpus.tokens):
        say("Scripts without spaces between words were cut into characters; --ids takes words.")
    if out is not None:
        counts = sparse.csc_array(labels.N)
        replace_file(out, lambda file: sparse.save_npz(file, counts))
    return DONE


def fit_command(options: FitOptions, given: frozenset[str]) -> int:
    """train a UFM or a transformer; --out is a checkpoint with weights and history"""
    refused = [name for name in FROM_CHECKPOINT if options.resume and name in given]
    if refused:
        raise ValueError(
            f"--{refused[0].replace('_', '-')} would have no effect: --resume takes it from the "
            "checkpoint; drop one of the two."
        )
    out = Path(options.out).expanduser()
    if not options.resume:
        out = _prepared(options.out, options)
    labels = _kept(_corpus(options), options)
    model: Any = UFM(labels.V, labels.m, options.d, seed=options.seed)
    if options.model == "transformer":
        config = TransformerConfig(
            labels.V, options.context_length, options.d, layers=options.layers, seed=options.seed
        )
        model = Transformer(config)
    is_shown = is_terminal("stderr")
    if options.resume:
        steps = options.steps if "steps" in given else None
        result = resume(out, model, labels, progress=is_shown, steps=steps)
    else:
        names = ("ridge", "optimizer", "lr", "batch_size", "steps", "seed", "device", "tol")
        chosen = {name: getattr(options, name) for name in names}
        how = TrainConfig(checkpoint=str(out), overwrite=options.force, **chosen)
        result = fit(model, labels, how, progress=is_shown)
    if os.environ.get("RANK", "0") == "0":  # under torchrun the first process speaks for all
        excess = result.history["excess_loss"][-1]
        say(f"{result.message}; excess loss {excess:.4e} nats")
        say(str(result.certificate))
    return EXIT_CODES[result.status]


def decompose_command(options: DecomposeOptions, given: frozenset[str]) -> int:
    """write L_in, L_mm, its dual and the proxy to --out (.npz), the certificate to the screen"""
    out = _prepared(options.out, options)
    corpus = _corpus(options)
    labels = _kept(corpus, options)
    with Interrupts() as interrupts:
        result = solve_margin(labels, options.tol, _progress, interrupts)
    parts = {
        "L_in": in_support_logits(labels).toarray(),
        "L_mm": result.L,
        "dual": result.dual,
        "proxy": centered_support(labels),
        "contexts": labels.contexts,
        "tokens": np.array(corpus.tokens),
    }
    replace_file(out, lambda file: np.savez_compressed(file, **parts))
    say(str(result.certificate))
    return INTERRUPTED if interrupts.received else EXIT_CODES[result.status]


def report_command(options: ReportOptions, given: frozenset[str]) -> int:
    """write one HTML page with figures, tables and certificates that needs no other file"""
    _prepared(options.out, options)
    corpus = _corpus(options)
    made = report(
        corpus.labels,
        options.out,
        corpus.tokens,
        options.tol,
        _how_many(options),
        title=str(options.text or options.ids),
        force=options.force,
        progress=_progress,
    )
    say(str(made.certificates["max-margin"]))
    say(f"The report is in {options.out}.")
    return EXIT_CODES[made.status]


@dataclass(frozen=True)
class Command:
    """A command: its name, its options, and the function that runs it."""

    name: str
    options: type[Any]
    run: Callable[[Any, frozenset[str]], int]


COMMANDS = (
    Command("labels", LabelsOptions, labels_command),
    Command("fit", FitOptions, fit_command),
    Command("decompose", DecomposeOptions, decompose_command),
    Command("report", ReportOptions, report_command),
)


def _progress(line: str) -> None:
    """A line about a long step, for a person who waits."""
    if is_terminal("stderr"):
        say(line, "stderr")


def _prepared(out: str, options: TextOptions) -> Path:
    """Where the output goes, once it is sure that it can go there."""
    names = (options.text, options.ids, options.tokens)
    inputs = [Path(name).expanduser() for name in names if name is not None]
    return prepare(out, options.force, [path for path in inputs if path.exists()])


def _corpus(options: TextOptions) -> Corpus:
    if (options.text is None) == (options.ids is None):
        raise ValueError("Give one of the two: TEXT, or --ids FILE with token ids.")
    if options.ids is None:
        if options.ids_dtype or options.tokens:
            raise ValueError("--ids-dtype and --tokens belong to --ids FILE; TEXT needs neither.")
        text_ids, vocab = load_corpus(str(options.text), max_vocab=options.max_vocab)
        labels = SoftLabels.from_tokens(text_ids, options.context_length, len(vocab))
        return Corpus(labels, vocab.tokens)
    ids = read_ids(options.ids, options.ids_dtype)
    if options.tokens is None:
        tokens = [str(i) for i in range(int(ids.max(initial=0)) + 1)]
    else:
        tokens = read_tokens(options.tokens)
    return Corpus(SoftLabels.from_tokens(ids, options.context_length, len(tokens)), tokens)


def _how_many(options: TextOptions) -> int | None:
    """How many contexts to keep; None: all."""
    if options.contexts < 0:
        raise ValueError(f"--contexts is {options.contexts}; use 0 for all, or a positive number.")
    return options.contexts or None


def _kept(corpus: Corpus, options: TextOptions) -> SoftLabels:
    return commonest(corpus.labels, _how_many(options))


# ---------------------------------------------------------------- the program


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence in place of the usage."""
        say(f"error: {message} (see --help)", "stderr")
        self.exit(BAD_INPUT)


def _version() -> str:
    try:
        return version("ntp_lite")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "(not installed)"


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; an option that is not given is absent from its result."""
    style: dict[str, Any] = {
        "epilog": EPILOG,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "argument_default": argparse.SUPPRESS,
        "allow_abbrev": False,
    }
    parser = _Parser("ntp-lite", description=__doc__, **style)
    parser.add_argument("--version", action="version", version=f"ntp_lite {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for command in COMMANDS:
        one = commands.add_parser(command.name, help=command.run.__doc__, **style)
        one.add_argument("text", metavar="TEXT", nargs="?", help="a UTF-8 file or a bundled text")
        for each in dataclasses.fields(command.options):
            if each.metadata:
                _add_option(one, each)
    return parser


def _add_option(parser: argparse.ArgumentParser, each: dataclasses.Field[Any]) -> None:
    flag = "--" + each.name.replace("_", "-")
    text = each.metadata["help"]
    if each.metadata["kind"] is bool:
        parser.add_argument(flag, dest=each.name, action="store_true", help=text)
        return
    default = "" if each.default is None else f" (default: {each.default})"
    parser.add_argument(
        flag,
        dest=each.name,
        type=each.metadata["kind"],
        metavar=each.metadata["metavar"],
        choices=each.metadata["choices"],
        help=text + default,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code, which EPILOG explains."""
    occupy_closed_streams()
    given = vars(build_parser().parse_args(argv))
    name = given.pop("command")
    command = next(one for one in COMMANDS if one.name == name)
    try:
        return command.run(command.options(**given), frozenset(given))
    except KeyboardInterrupt:
        say("stopped by Ctrl-C", "stderr")
        return INTERRUPTED
    except FloatingPointError as error:
        say(f"error: {error}", "stderr")
        return NOT_CERTIFIED
    except np.linalg.LinAlgError as error:  # a ValueError, but nobody's input
        return _unexpected(error)
    except (ValueError, OSError) as error:
        say(f"error: {error}", "stderr")
        return BAD_INPUT
    except MemoryError:
        say("error: too little memory; use fewer --contexts or a smaller --max-vocab.", "stderr")
        return UNEXPECTED
    except Exception as error:
        return _unexpected(error)


def _unexpected(error: Exception) -> int:
    say("".join(traceback.format_exception(error)), "stderr")
    say(
        f"error: unexpected {type(error).__name__}; please report it, with the lines above.",
        "stderr",
    )
    return UNEXPECTED
