"""The command line of the check.

    python -m ntp_book.colab                    # all stand-ins, all notebooks
    python -m ntp_book.colab pinned --notebooks soft_labels,max_margin

The working tree is copied as a fork with an address of its own; its notebooks install the package
from there. Stand-ins are kept below _build/colab and used again. `--torch` names another version of
PyTorch than the stand-in's own: where the package index has only CUDA builds of that one, it spares
several gigabytes, and the table says so.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .fork import fork
from .runs import Run, run
from .stand_ins import NAMES, StandIn, StandInError, build, python_for, requirements_of

TREE = Path(__file__).resolve().parents[4]
FORK = "colab-check/ntp_lite"
SHOWN = ("python", "numpy", "torch", "ipykernel", "ipywidgets")


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    options = argparse.ArgumentParser(
        prog="ntp_book.colab", description="Run the notebooks in stand-ins for Colab."
    )
    options.add_argument("stand_ins", nargs="*", metavar="STAND-IN", help=", ".join(NAMES))
    options.add_argument("--notebooks", default="", help="their names, with commas; default: all")
    options.add_argument("--folder", type=Path, default=TREE / "_build" / "colab")
    options.add_argument("--python", default="", help="Python of all stand-ins")
    options.add_argument("--torch", default="", metavar="VERSION", help="another PyTorch")
    options.add_argument("--freeze", type=Path, help="a newer pip-freeze.txt, for `pinned`")
    return options


def chosen(notebooks: Path, names: str) -> list[Path]:
    """Return the notebooks of these names; StandInError for a name that there is not."""
    paths = {path.stem: path for path in sorted(notebooks.glob("*.ipynb"))}
    wanted = [name for name in names.split(",") if name] or list(paths)
    unknown = [name for name in wanted if name not in paths]
    if unknown:
        raise StandInError(f"There is no notebook {', '.join(unknown)} in {notebooks}.")
    return [paths[name] for name in wanted]


def line(found: Run) -> str:
    """Return the line of the table for one notebook."""
    changed = [
        f"{name} {versions}{' (asked for)' if name in found.needed else ''}"
        for name, versions in found.changed.items()
    ]
    says = found.failure or "; ".join(changed) or "-"
    passed = "pass" if found.good else "FAIL"
    return f"{found.notebook:28} {passed:5} {found.setup:7.1f} {found.total:7.1f}  {says}"


def heading(stand_in: StandIn) -> str:
    """Return what stands above the table of a stand-in."""
    packages = {"python": stand_in.version(), **stand_in.packages()}
    versions = ", ".join(f"{name} {packages[name]}" for name in SHOWN if name in packages)
    columns = f"{'notebook':28} {'':5} {'set-up':>7} {'all':>7}  what changed, or what failed"
    return f"== {stand_in.name}: {versions}\n{columns} (CPU seconds)"


def summary(runs: Sequence[Run]) -> str:
    """Return what stands below the table."""
    passed = sum(one.good for one in runs)
    longest = max((one.setup for one in runs), default=0.0)
    return (
        f"{passed} passed, {len(runs) - passed} failed; "
        f"the longest set-up took {longest:.1f} CPU seconds"
    )


def check(options: argparse.Namespace) -> bool:
    """Run what was asked for, print the tables; say whether all is good."""
    unknown = [name for name in options.stand_ins if name not in NAMES]
    if unknown:
        raise StandInError(f"There is no stand-in {unknown[0]}; choose from {', '.join(NAMES)}.")
    if not (TREE / ".git").exists():
        raise StandInError("The check copies the files that git knows: run it in a clone.")
    good = True
    with tempfile.TemporaryDirectory() as scratch:
        copy = fork(TREE, FORK, Path(scratch))
        paths = chosen(copy.tree / "book" / "notebooks", options.notebooks)
        for name in options.stand_ins or NAMES:
            wanted = requirements_of(name, TREE / "pyproject.toml", options.torch, options.freeze)
            python = options.python or python_for(name, TREE / "pyproject.toml")
            stand_in = build(name, options.folder, python, wanted)
            print(heading(stand_in), flush=True)
            runs = []
            for path in paths:
                runs.append(run(path, stand_in, copy.environment()))
                print(line(runs[-1]), flush=True)
            print(summary(runs), flush=True)
            good = good and all(one.good for one in runs)
    return good


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check; see the module's docstring."""
    options = parser().parse_args(arguments)
    try:
        return 0 if check(options) else 1
    except StandInError as error:
        print(error, file=sys.stderr)
        return 1
