"""The files of a release, and a check that everything agrees on its name.

    python -m ntp_book.release v1.2.3 [--check]

Writes into _build/release: `files/` (wheel, source archive, the book as PDF and as a site to read
offline) and `NOTES.md`, the section of CHANGELOG.md. Refuses if pyproject.toml, the package,
CITATION.cff, CHANGELOG.md and the notebooks do not all belong to this release; with `--check` that
is all it does.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from .pdf import print_book

TREE = Path(__file__).resolve().parents[3]
TAG = re.compile(r"v\d+\.\d+\.\d+")


class ReleaseError(Exception):
    """What does not agree."""


def notes(root: Path, version: str) -> str:
    """Return what CHANGELOG.md says of a version; "" if it has no such section."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"(?ms)^## {re.escape(version)}\b[^\n]*\n(.*?)(?=^## |\Z)", text)
    return found[1].strip() if found else ""


def disagreements(root: Path, tag: str) -> list[str]:
    """Return one sentence for each file that does not belong to the release."""
    if not TAG.fullmatch(tag):
        return [f"{tag!r} is no tag of a release; write v1.2.3."]
    version = tag.removeprefix("v")
    found = []
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if project["version"] != version:
        found.append(f"pyproject.toml says version {project['version']}; write {version}.")
    package = (root / "ntp_lite" / "__init__.py").read_text(encoding="utf-8")
    if f'\n__version__ = "{version}"\n' not in package:
        found.append(f"ntp_lite/__init__.py has another __version__; write {version}.")
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    if f"\nversion: {version}\n" not in citation:
        found.append(f"CITATION.cff has another version; write {version}.")
    if not notes(root, version):
        found.append(f"CHANGELOG.md has no section '## {version}'; write what changed.")
    config = (root / "_config.yml").read_text(encoding="utf-8")
    if not re.search(rf'ntp_release: "?{re.escape(tag)}"?\s', config):
        found.append(f"The notebooks install another release; run make notebooks RELEASE={tag}.")
    return found


def build_packages(root: Path, target: Path) -> None:
    """Build the wheel and the source archive."""
    command = [sys.executable, "-m", "build", "--outdir", str(target), str(root)]
    subprocess.run(command, check=True)


def check(root: Path, tag: str) -> None:
    """ReleaseError unless all files belong to the release."""
    found = disagreements(root, tag)
    if found:
        raise ReleaseError("\n".join(found))


def release(root: Path, tag: str) -> Path:
    """Write the files of a release; return their folder."""
    site = root / "_build" / "html"
    folder = root / "_build" / "release"
    shutil.rmtree(folder, ignore_errors=True)
    files = folder / "files"
    files.mkdir(parents=True)
    (folder / "NOTES.md").write_text(notes(root, tag.removeprefix("v")) + "\n", encoding="utf-8")
    build_packages(root, files)
    (files / f"ntp_lite-{tag}.pdf").write_bytes(print_book(site, root))
    shutil.make_archive(str(files / f"ntp_lite-{tag}-site"), "zip", site.parent, site.name)
    return files


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a release's files; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Write the files of a release.")
    parser.add_argument("tag")
    parser.add_argument("--check", action="store_true", help="only say what does not agree")
    options = parser.parse_args(arguments)
    try:
        check(TREE, options.tag)
        if options.check:
            return 0
        files = release(TREE, options.tag)
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    for path in sorted(files.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
