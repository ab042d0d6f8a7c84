"""The notebooks of a folder, and a name for each."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from teaching.grader.errors import BadInputError

# What programs leave behind.
NOBODYS = (".ipynb_checkpoints", ".git", "__MACOSX", ".DS_Store", ".Trash")
_LONGEST_FILE_NAME = 200  # bytes; a feedback page must be a file, too
_BLANK = "\\x20"  # how a blank is shown where it could not be seen
# Where a list of cells ends and a formula begins, for a spreadsheet whose lists are divided by ;
_FORMULA_AFTER = re.compile(r"[;\t](?=\s*[=+\-@])")
_LONGEST_PATH = 1000  # bytes; the folder of results may lie deeper than that of the submissions


@dataclass(frozen=True)
class Folder:
    """What lies in the folder of submissions."""

    notebooks: dict[str, Path]  # by the submissions' names
    skipped: list[Path]  # files that are no notebooks


def find_submissions(place: str) -> Folder:
    """Return the notebooks of a folder and its sub-folders, and the files that are skipped.

    A submission is called by its path in the folder, without the ending `.ipynb`, unless another
    one is called so: `ada.IPYNB` and `ada.IPYNB.ipynb`.
    """
    folder = Path(place)
    if not place:  # what `make grade` hands on when it is given none; not this folder
        raise BadInputError("name the folder with the notebooks (SUBMISSIONS=folder)")
    if not folder.is_dir():
        raise BadInputError(f"there is no folder {folder}: name the folder with the notebooks")
    notebooks: dict[str, Path] = {}
    skipped: list[Path] = []
    found: list[Path] = []
    for path in _files(folder):
        inside = path.relative_to(folder)
        if path.suffix.lower() != ".ipynb" or inside.name.startswith("."):
            skipped.append(path)
        else:
            found.append(path)
    # One that keeps its ending has no other name, so it is named first.
    for path in sorted(found, key=lambda path: path.suffix == ".ipynb"):
        notebooks[_free_name(path.relative_to(folder).as_posix(), notebooks)] = path
    notebooks = dict(sorted(notebooks.items(), key=lambda item: item[1]))
    if not notebooks:
        raise BadInputError(f"the folder {folder} holds no notebooks (*.ipynb)")
    return Folder(notebooks, skipped)


def _free_name(path: str, taken: Collection[str]) -> str:
    name = path.removesuffix(".ipynb")
    if name in taken:
        name = path
    while name in taken:
        name += "+"
    return name


def _files(folder: Path) -> list[Path]:
    """Return all files, and folders with a notebook's name, but what programs leave behind."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in NOBODYS]
        odd = [name for name in folders if name.lower().endswith(".ipynb")]
        found += [Path(place, name) for name in [*names, *odd] if name not in NOBODYS]
    return sorted(found)


def printable(name: str) -> str:
    """Return a name as it is shown: valid text without control characters or blanks at its ends.

    Nothing that trims or hides them can confuse it with another name. Different names stay
    different: what is written with a backslash has one before it.
    """
    text = name.replace("\\", "\\\\").encode(errors="backslashreplace").decode()
    shown = "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )
    inner = shown.strip(" ")
    before = shown.index(inner)
    after = len(shown) - before - len(inner)
    return _BLANK * before + inner + _BLANK * after


def in_table(name: str) -> str:
    """Return a name as it stands in a table: a spreadsheet must not take it for a formula.

    Different names stay different: an apostrophe at the beginning gets one more.
    """
    name = without_formulas(printable(name))
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "'")) else name


def without_formulas(shown: str) -> str:
    """Return printable text in which no formula follows what divides cells in some countries."""
    return _FORMULA_AFTER.sub(lambda found: f"\\x{ord(found[0]):02x}", shown)


def page_name(name: str) -> str:
    """Return the path of a submission's feedback page, in the folder of all pages.

    A path that is too long for the system, or a folder that is called like a page, is shortened to
    its beginning and a hash: so `a.html/b` stands beside the page of `a`.
    """
    if len(os.fsencode(name)) > _LONGEST_PATH:
        return _shortened(name.replace("/", "_")) + ".html"
    *folders, last = Path(name).parts
    folders = [_shortened(f) if f.lower().endswith(".html") else _short(f) for f in folders]
    return "/".join([*folders, _short(last)]) + ".html"


def _short(part: str) -> str:
    return part if len(os.fsencode(part)) <= _LONGEST_FILE_NAME else _shortened(part)


def _shortened(part: str) -> str:
    return f"{part[:40]}-{hashlib.sha256(os.fsencode(part)).hexdigest()[:12]}"
