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

from ..addresses import GITHUB
from ..execution import TREE
from .builder import export, stale
from .markdown import ExportError


def replace_line(config: Path, line: str, value: str) -> None:
    """Replace the value in the one line of `_config.yml` that begins with `line`."""
    text = config.read_text(encoding="utf-8")
    text, found = re.subn(rf"(?m)^( *{re.escape(line)}).*$", lambda m: m[1] + value, text)
    if found != 1:
        raise ExportError(f"{config.name} must hold exactly one line that begins with `{line}`.")
    config.write_text(text, encoding="utf-8")


def set_repository(config: Path, name: str) -> None:
    """Write the GitHub repository `owner/name` into `_config.yml`, the one place that holds it."""
    if not re.fullmatch(r"[A-Za-z0-9](?:-?[A-Za-z0-9])*/[\w.-]+", name):
        raise ExportError(f"{name!r} is not a GitHub repository; write REPOSITORY=owner/name.")
    replace_line(config, f"url: {GITHUB}", name)


def set_release(config: Path, tag: str) -> None:
    """Write the release's tag into `_config.yml`, "" for none: notebooks install it in Colab."""
    if not re.fullmatch(r"(?:\w[\w.+-]*)?", tag):
        raise ExportError(f"{tag!r} is not a tag; write RELEASE=v1.0, or RELEASE=none.")
    replace_line(config, "ntp_release:", f' "{tag}"')


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
    options.add_argument(
        "--release",
        metavar="TAG",
        help="write this tag into _config.yml first; none: the notebooks follow the branch",
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
        if options.release:
            tag = "" if options.release == "none" else options.release
            set_release(root / "_config.yml", tag)
        if options.check:
            return check(root)
        paths = export(root, target, root / "_build" / ".doctrees-notebooks", options.refresh)
    except ExportError as error:
        print(f"notebook export: {error}", file=sys.stderr)
        return 1
    print(f"{len(paths)} notebooks in {target.relative_to(root)}")
    return 0
