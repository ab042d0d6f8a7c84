"""A published copy of the book that lies on this disk.

A notebook installs the package from GitHub. Here git is told, by its own setting `insteadOf`, that
the address of one repository there means a bare repository in a folder; nothing of the book needs
to know.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import nbformat

from ..addresses import GITHUB

AUTHOR = ["-c", "user.name=fork", "-c", "user.email=fork@book.invalid"]


@dataclass(frozen=True)
class Fork:
    """A repository `owner/name` that exists on this disk alone.

    tree : its files.
    bare : what stands for the address on GitHub.
    """

    name: str
    tree: Path
    bare: Path

    def environment(self) -> dict[str, str]:
        """Return the variables with which git finds the repository under its address."""
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{self.bare.as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": GITHUB + self.name,
        }


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder; return what it prints."""
    command = ["git", *AUTHOR, *arguments]
    result = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return result.stdout


def copy_tree(root: Path, target: Path) -> None:
    """Copy the files of a working tree that git knows, as they are now."""
    listed = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        source = root / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def give_address(tree: Path, name: str) -> None:
    """Let the notebooks of a copy install from this repository, and leave all else as it is.

    Exporting them anew, as `make notebooks REPOSITORY=owner/name` does, takes a minute.
    """
    for path in (tree / "book" / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
        address = f'REPOSITORY = "{GITHUB}{name}"'
        setup.source, found = re.subn(r"(?m)^REPOSITORY = .*$", address, setup.source)
        if found != 1:
            raise ValueError(f"{path.name} does not say from which repository it installs.")
        nbformat.write(notebook, path)


def publish(tree: Path, name: str, folder: Path) -> Fork:
    """Put the files of a folder, all of them, into a repository of this name below `folder`."""
    git(tree, "init", "--quiet", "--initial-branch", "main")
    git(tree, "add", "--all", "--force")
    git(tree, "commit", "--quiet", "--message", "The book")
    bare = folder / "bare.git"
    git(tree, "clone", "--quiet", "--bare", str(tree), str(bare))
    return Fork(name, tree, bare)


def fork(root: Path, name: str, folder: Path) -> Fork:
    """Copy a working tree, give it an address, publish it below `folder`."""
    tree = folder / "tree"
    copy_tree(root, tree)
    give_address(tree, name)
    return publish(tree, name, folder)
