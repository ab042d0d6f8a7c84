"""A fork, published on this disk: its site opens its notebooks, and nobody has edited a file.

The fixture book is put into a bare repository; git is told that the fork's address on GitHub means
this repository. The site is built as GitHub Actions builds it, and pip installs from the address.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from urllib.parse import urlparse

import pytest
import yaml
from bs4 import BeautifulSoup
from ntp_book.colab import fork
from ntp_book.export import builder, cli
from small_book import build, copy_of_fixture, output

NAME = "Some-Body/geometry"
# The package of the fork is another one than the package of this book.
PROJECT = """[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "ntp_lite"
version = "7.7"

[project.optional-dependencies]
chapters = []

[tool.setuptools]
packages = ["ntp_lite"]
"""
SITE = "https://some-body.github.io/geometry/"
ROCKET = "https://colab.research.google.com/github/"


@pytest.fixture
def book(tmp_path, monkeypatch):
    """The fork's files, with their notebooks, in the environment of its Actions."""
    copy = copy_of_fixture(tmp_path / "book")
    builder.export(copy, copy / "book" / "notebooks")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_REPOSITORY", NAME)
    monkeypatch.setenv("GITHUB_REF_TYPE", "branch")
    return copy


def clone(published, target):
    """The fork as anybody gets it from its address."""
    address = f"https://github.com/{published.name}"
    environment = {**os.environ, **published.environment(), "GIT_TERMINAL_PROMPT": "0"}
    command = ["git", "clone", "--quiet", "--branch", "main", address, str(target)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return target


def rockets(site):
    """The addresses in Colab that the pages of a site lead to, by page."""
    found = {}
    for path in sorted((site / "book").glob("*.html")):
        soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for link in soup.find_all("a", href=re.compile("colab")):
            found[path.stem] = str(link["href"])
    return found


def test_rockets_of_a_fork_open_its_notebooks(book, tmp_path):
    published = fork.publish(book, NAME, tmp_path)
    result = build(book)
    assert result.returncode == 0, output(result)
    assert fork.git(book, "status", "--porcelain", "--untracked-files=no") == "", "no edit"
    site = book / "_build" / "html"
    there = clone(published, tmp_path / "clone")
    opened = rockets(site)
    assert {"first", "every_construct", "proofs"} <= set(opened)
    for page, address in opened.items():
        assert address.startswith(f"{ROCKET}{NAME}/blob/main/"), page
        path = there / address.removeprefix(f"{ROCKET}{NAME}/blob/main/")
        assert path.stem == page
        assert json.loads(path.read_text(encoding="utf-8"))["cells"], path
    # The other buttons and the page's own address are the fork's, too.
    page = BeautifulSoup((site / "book" / "first.html").read_text(encoding="utf-8"), "html.parser")
    assert page.find("link", rel="canonical")["href"] == f"{SITE}book/first.html"
    assert page.find("meta", property="og:image")["content"].startswith(SITE)
    hosts = {urlparse(a["href"]).path for a in page.find_all("a", href=re.compile("github.com/"))}
    assert f"/{NAME}" in hosts

    check_front_door(site)


def check_front_door(site):
    """Root, wrong addresses and the list of pages name the fork's site."""
    root = BeautifulSoup((site / "index.html").read_text(encoding="utf-8"), "html.parser")
    assert root.find("meta", attrs={"http-equiv": "refresh"})["content"] == "0; url=book/intro.html"
    assert root.find("link", rel="canonical")["href"] == f"{SITE}book/intro.html"
    for name in ("og:title", "og:description", "og:image", "og:url"):
        assert root.find("meta", property=name)["content"], name
    picture = root.find("meta", property="og:image")["content"].removeprefix(SITE)
    assert (site / picture).is_file()
    missing = BeautifulSoup((site / "404.html").read_text(encoding="utf-8"), "html.parser")
    ways_back = [link["href"] for link in missing.find_all("a")]
    assert len(ways_back) == 2
    listed = re.findall("<loc>(.*)</loc>", (site / "sitemap.xml").read_text(encoding="utf-8"))
    assert f"{SITE}book/every_construct.html" in listed
    for address in [*ways_back, *listed]:
        assert address.startswith(SITE)
        assert (site / address.removeprefix(SITE)).is_file(), address


def test_a_fork_of_a_published_book_is_told_what_to_run(book):
    """Else its readers would open, and install, what belongs to somebody else."""
    cli.set_repository(book / "_config.yml", "the/original")
    result = build(book)
    assert result.returncode != 0
    assert f"run `make notebooks REPOSITORY={NAME}`" in " ".join(output(result).split())


def test_a_copy_s_notebooks_install_from_its_address(book, tmp_path):
    """As `make colab-check` gives them one; nothing else in them changes."""
    copy = tmp_path / "copy"
    fork.git(book, "init", "--quiet")
    fork.copy_tree(book, copy)
    fork.give_address(copy, "colab-check/ntp_lite")
    for path in (copy / "book" / "notebooks").glob("*.ipynb"):
        before = (book / "book" / "notebooks" / path.name).read_text(encoding="utf-8")
        after = path.read_text(encoding="utf-8")
        assert 'https://github.com/colab-check/ntp_lite\\"' in after
        different = [
            (old, new)
            for old, new in zip(before.splitlines(), after.splitlines(), strict=True)
            if old != new
        ]
        assert len(different) == 1
    config = yaml.safe_load((copy / "_config.yml").read_text(encoding="utf-8"))
    assert config == yaml.safe_load((book / "_config.yml").read_text(encoding="utf-8"))


def in_colab(monkeypatch, published, target):
    """Colab, without the package; what pip installs goes to `target`.

    pip takes the setuptools that is here: tests need no network.
    """
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "ntp_lite" else find_spec(name)
    )
    monkeypatch.setitem(sys.modules, "google.colab", object())
    monkeypatch.setenv("PIP_TARGET", str(target))
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # pip reads this as "isolation: 0"
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    for name, value in published.environment().items():
        monkeypatch.setenv(name, value)


def test_the_set_up_cell_of_a_fork_installs_the_fork(book, tmp_path, monkeypatch):
    """As the README says: one command with one's own name, a commit; then a reader in Colab.

    Mutations seen to fail: the export keeps the former address; the cell names another branch; the
    cell forgets the branch.
    """
    (book / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (book / "ntp_lite").mkdir()
    (book / "ntp_lite" / "__init__.py").write_text("OF_THE_FORK = True\n", encoding="utf-8")
    monkeypatch.delenv("GITHUB_ACTIONS")  # the command is run at home
    assert cli.main(["--repository", NAME], root=book) == 0
    published = fork.publish(book, NAME, tmp_path)
    there = clone(published, tmp_path / "clone")
    notebook = json.loads((there / "book" / "notebooks" / "first.ipynb").read_text("utf-8"))
    cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")

    installed = tmp_path / "installed"
    in_colab(monkeypatch, published, installed)
    exec("".join(cell["source"]), {})
    assert (installed / "ntp_lite" / "__init__.py").read_text("utf-8") == "OF_THE_FORK = True\n"
    [record] = installed.glob("ntp_lite-7.7.dist-info/direct_url.json")
    origin = json.loads(record.read_text(encoding="utf-8"))
    assert origin["url"] == f"https://github.com/{NAME}"
    assert origin["vcs_info"]["requested_revision"] == "main"
    assert origin["vcs_info"]["commit_id"] == fork.git(book, "rev-parse", "HEAD").strip()
