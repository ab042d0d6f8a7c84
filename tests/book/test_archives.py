"""Wheel and source archive, built from a copy of this tree: nothing is missing in either."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest
from ntp_book.colab.fork import copy_tree, git
from small_book import ROOT

BUILD = "from setuptools import build_meta as b; b.build_sdist('out'); b.build_wheel('out')"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The folder with both archives; building writes into the tree, hence the copy."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: what belongs to it is known from git")
    copy = tmp_path_factory.mktemp("copy")
    copy_tree(ROOT, copy)
    # setuptools warns of a folder with data that is not in the list of packages.
    command = [sys.executable, "-W", "error::UserWarning", "-c", BUILD]
    result = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return copy / "out"


@pytest.fixture(scope="module")
def unpacked(out):
    [archive] = out.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(out, filter="data")
    return out / archive.name.removesuffix(".tar.gz")


def test_the_source_archive_is_what_a_clone_is(unpacked):
    known = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = {name for name in known.split("\0") if name and (ROOT / name).is_file()}
    held = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert names - held == set(), "add it to MANIFEST.in"
    generated = {name for name in held - names if "egg-info" not in name}
    assert generated == {"PKG-INFO", "setup.cfg"}


def test_its_tests_run(unpacked):
    """Those of one room, with its conftest and helpers, against its own package."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, "tests/package/test_data.py", "tests/package/test_linalg.py"],
        cwd=unpacked, env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout


def test_the_wheel_holds_the_package_alone(out):
    [archive] = out.glob("*.whl")
    with zipfile.ZipFile(archive) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        [metadata] = [name for name in wheel.namelist() if name.endswith("/METADATA")]
        said = wheel.read(metadata).decode()
    known = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "ntp_lite")
    assert held == {name for name in known.splitlines() if (ROOT / name).is_file()}
    assert {"ntp_lite/py.typed", "ntp_lite/data/report.html"} <= held
    assert "Project-URL: " in said
    assert "Requires-Dist: ipykernel>=6.17; extra == " in said


def test_chapters_read_no_file_that_only_a_clone_has():
    """Who opens a chapter in Colab has its notebook and the wheel, and no other file."""
    folders = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "ntp_lite"]
    names = "|".join(map(re.escape, folders))
    of_a_clone = re.compile(rf"""["'](?:{names})/|/ ?["'](?:{names})["']""")
    for chapter in sorted((ROOT / "book").glob("*.md")):
        text = chapter.read_text(encoding="utf-8")
        for cell in re.findall(r"^```\{code-cell\}.*?^```$", text, re.DOTALL | re.MULTILINE):
            found = of_a_clone.findall(cell)
            found = [name for name in found if "_pretrained/" not in name]  # fetched, if at all
            assert not found, f"{chapter.name} reads {found[0]}: put it into ntp_lite/data"
