"""What make does about its environment, with stand-ins for Python; and how it serves the site."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

# A Python of some version. It makes environments that hold a copy of itself and an `activate` as
# venv writes it, "installs" by noting the folder, and says from there where ntp_lite is.
PYTHON = """#!/bin/sh
version="{version}"
case "$*" in
  "-V") echo "Python $version";;
  "-c "*version_info*) case "$version" in 3.1[1-9]*) exit 0;; *) exit 1;; esac;;
  "-c ") exit 0;;
  "-m venv .venv")
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python
    printf "VIRTUAL_ENV='%s/.venv'\\nexport VIRTUAL_ENV\\n" "$(pwd -P)" >.venv/bin/activate
    echo "made with $version" >>calls;;
  *" install "*)
    if [ -e fail ]; then echo "conflicting dependencies" >&2; exit 1; fi
    pwd -P >.venv/installed
    echo "installed" >>calls;;
  *" download "*) [ ! -e no_network ];;
  "-I "*) echo "$(cat .venv/installed)/ntp_lite/__init__.py";;
  *) echo "ran $*" >>calls;;
esac
"""


def write_python(path: Path, version: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PYTHON.replace("{version}", version))
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def folder(tmp_path):
    """A fresh clone in a folder whose name has a space, as far as make needs it."""
    clone = tmp_path / "my clone"
    clone.mkdir()
    for name in ("Makefile", "environment.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, clone)
    write_python(tmp_path / "python3", "3.12.1")
    return clone


def make(folder, *arguments):
    python = folder.parent / "python3"
    return subprocess.run(
        ["make", *arguments, f"PYTHON={python}"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def calls(folder):
    """What the stand-in was asked to do since the last question."""
    log = folder / "calls"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def test_the_first_make_sets_up_and_the_second_does_nothing(folder):
    assert make(folder, "setup").returncode == 0
    assert calls(folder) == ["made with 3.12.1", "installed"]
    stamp = (folder / ".venv" / ".ntp_lite_installed").read_text()
    assert stamp == f"{folder.resolve()}\nPython 3.12.1\n"
    assert make(folder, "setup").returncode == 0
    assert calls(folder) == []


def test_a_renamed_folder_gets_a_new_environment(folder):
    make(folder, "setup")
    calls(folder)
    renamed = folder.with_name("renamed")
    folder.rename(renamed)
    result = make(renamed, "setup")
    assert result.returncode == 0
    assert f"was made for the folder {folder.resolve()}, and this is {renamed}" in result.stderr
    assert calls(renamed) == ["made with 3.12.1", "installed"]


def test_a_copy_does_not_use_the_environment_of_the_original(folder):
    make(folder, "setup")
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy, symlinks=True)
    calls(copy)
    assert make(copy, "setup").returncode == 0
    assert calls(copy) == ["made with 3.12.1", "installed"]
    assert make(folder, "setup").returncode == 0  # and the original keeps its own
    assert calls(folder)[-1:] == ["installed"]


def test_another_package_of_this_name_is_replaced(folder):
    make(folder, "setup")
    calls(folder)
    (folder / ".venv" / "installed").write_text("/somewhere/else\n")
    assert make(folder, "setup").returncode == 0
    assert calls(folder) == ["installed"]  # the environment itself is good


def test_a_python_that_is_gone_is_replaced(folder):
    make(folder, "setup")
    calls(folder)
    python = folder / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/usr/bin/python-of-long-ago")
    result = make(folder, "setup")
    assert result.returncode == 0
    assert "The Python of .venv is gone" in result.stderr
    assert calls(folder) == ["made with 3.12.1", "installed"]


def test_a_python_that_is_too_old_is_replaced(folder):
    old = write_python(folder / ".venv" / "bin" / "python", "3.10.4")
    result = make(folder, "setup")
    assert result.returncode == 0
    assert "The .venv has Python 3.10.4, and this book needs Python 3.11" in result.stderr
    assert "3.12.1" in Path(old).read_text()


def test_without_any_new_python_it_says_so(folder):
    write_python(folder.parent / "python3", "3.9.2")
    # The stand-in is the only Python here.
    result = subprocess.run(
        ["sh", "environment.sh", str(folder.parent / "python3")],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "needs Python 3.11 or newer, and none was found" in result.stderr
    assert not (folder / ".venv").exists()


@pytest.mark.parametrize("network", [True, False])
def test_a_failed_install_says_whether_it_is_the_network(folder, network):
    (folder / "fail").touch()
    if not network:
        (folder / "no_network").touch()
    result = make(folder, "setup")
    assert result.returncode != 0
    assert ("is there a network?" in result.stderr) == (not network)
    (folder / "fail").unlink()
    assert make(folder, "setup").returncode == 0  # the next make tries again


@pytest.mark.parametrize("port", ["0", "99999", "80a", "", "-1", "123456", "8000; echo no"])
def test_serve_refuses_what_is_no_port(folder, port):
    make(folder, "setup")
    calls(folder)
    result = make(folder, "serve", f"PORT={port}")
    assert result.returncode != 0
    assert "use a number from 1 to 65535" in result.stderr
    assert calls(folder) == []


def test_serve_is_for_this_machine_only(folder):
    make(folder, "setup")
    calls(folder)
    assert "run make book first" in make(folder, "serve").stderr
    (folder / "_build" / "html").mkdir(parents=True)
    (folder / "_build" / "html" / "index.html").touch()
    assert make(folder, "serve", "PORT=8123").returncode == 0
    expected = "ran -m http.server 8123 --bind 127.0.0.1 --directory _build/html"
    assert calls(folder) == [expected]


def test_a_release_without_a_tag_is_refused_before_the_book_is_built(folder):
    """Seen to fail when `release` needed `book` first: minutes until a sentence."""
    make(folder, "setup")
    calls(folder)
    result = make(folder, "release")
    assert result.returncode != 0
    assert "make release TAG=v1.2.3" in result.stderr
    assert calls(folder) == []


def test_what_does_not_agree_with_a_release_is_said_before_the_book_is_built(folder):
    """Seen to fail when `release` needed `book` first."""
    make(folder, "setup")
    calls(folder)
    make(folder, "release", "TAG=v9.8.7")
    assert calls(folder)[0] == "ran -m ntp_book.release --check v9.8.7"


def test_help_lists_every_target(folder):
    targets = set(re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)[1].split())
    shown = make(folder, "help").stdout
    assert set(re.findall(r"^  make ([a-z-]+)", shown, re.MULTILINE)) == targets
    defined = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert defined == targets


def test_the_test_run_refuses_the_package_of_another_tree(tmp_path):
    """A copy of the tests, with this tree's package, has a package that is not its own."""
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    (tmp_path / "tests" / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    for tree, code in ((ROOT, 4), (tmp_path, 0)):
        package = tree / "ntp_lite"
        package.mkdir(exist_ok=True)
        if tree == tmp_path:
            (package / "__init__.py").touch()
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
            cwd=tmp_path, env={"PYTHONPATH": str(tree), "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == code, result.stdout + result.stderr
        said = f"ntp_lite is imported from {ROOT}, not from {tmp_path}; run make"
        assert (said in result.stderr) == (code == 4)
