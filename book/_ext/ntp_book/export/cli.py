"""The command line of the export.

    python -m ntp_book.export            # write book/notebooks/<chapter>.ipynb
    python -m ntp_book.export --refresh  # and run every chapter with compared output
    python -m ntp_book.export --check    # write nothing; fail if one is out of date

Run from the repository with book/_ext on PYTHONPATH, as `make notebooks` does.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ..execution import TREE
from .builder import export, stale
from .markdown import ExportError


def set_repository(config: Path, name: str) -> None:
    """Write the GitHub repository `owner/name` into `_config.yml`, the one place that holds it."""
    if not re.fullmatch(r"[A-Za-z0-9](?:-?[A-Za-z0-9])*/[\w.-]+", name):
        raise ExportError(f"{name!r} is not a GitHub repository; write REPOSITORY=owner/name.")
    text = config.read_text(encoding="utf-8")
    text, found = re.subn(r"(?m)^(  url: https://github\.com/).+$", rf"\g<1>{name}", text)
    if found != 1:
        raise ExportError(
            f"{config.name} must hold one line `  url: https://github.com/owner/name`."
        )
    config.write_text(text, encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    options = argparse.ArgumentParser(
        prog="ntp_book.export", description="Export the chapters as notebooks."
    )
    options.add_argument("--check", action="store_true", help="write nothing; fail if one is stale")
    options.add_argument(
        "--refresh", action="store_true", help="run every chapter with compared output"
    )
    options.add_argument(
        "--repository", metavar="OWNER/NAME", help="write this into _config.yml first"
    )
    return options


def check(root: Path) -> int:
    """Print which notebooks are out of date; return 1 if any is."""
    names = stale(root, root / "book" / "notebooks")
    for name in names:
        print(f"out of date: {name}; run `make notebooks`")
    if not names:
        print("up to date")
    return 1 if names else 0


def main(arguments: Sequence[str] | None = None, root: Path = TREE) -> int:
    """Run the command line; return its exit status."""
    options = parser().parse_args(arguments)
    target = root / "book" / "notebooks"
    try:
        if options.repository:
            set_repository(root / "_config.yml", options.repository)
        if options.check:
            return check(root)
        paths = export(root, target, root / "_build" / ".doctrees-notebooks", options.refresh)
    except ExportError as error:
        print(f"notebook export: {error}", file=sys.stderr)
        return 1
    print(f"{len(paths)} notebooks in {target.relative_to(root)}")
    return 0
