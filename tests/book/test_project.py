"""Packaging: what is declared in two places agrees, and what is shipped is complete."""

import itertools
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from chapters import chapters, pages
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# The few packages that conda-forge calls otherwise.
CONDA_NAMES = {
    "torch": "pytorch",
    "duckdb": "python-duckdb",
    "playwright": "playwright-python",
    "build": "python-build",
}


def requirements() -> dict[str, Requirement]:
    """Every third-party requirement of the package and of its extras, by canonical name.

    An extra may ask for a newer version than the package does; no two extras differ.
    """
    project = PROJECT["project"]
    own = {canonicalize_name(r.name): r for r in map(Requirement, project["dependencies"])}
    extras = itertools.chain(*project["optional-dependencies"].values())
    found: dict[str, Requirement] = {}
    for requirement in map(Requirement, extras):
        name = canonicalize_name(requirement.name)
        if name == "ntp-lite":
            assert requirement.extras <= set(project["optional-dependencies"])
            continue
        other = found.setdefault(name, requirement)
        assert other.specifier == requirement.specifier, f"two ranges for {name}"
    for name in own.keys() & found.keys():
        [least], [more] = own[name].specifier, found[name].specifier
        assert least.operator == more.operator == ">="
        assert Version(least.version) < Version(more.version), f"{name} is named twice"
    return own | found


def test_environment_yml_names_the_same_dependencies_and_ranges():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *lines, by_pip = conda["dependencies"]
    assert by_pip == {"pip": ["-e ."]}, "the package itself"
    listed = {canonicalize_name(r.name): r for r in map(Requirement, lines)}
    python = listed.pop("python")
    listed.pop("pip")
    listed.pop("jupyterlab")  # README's last line for conda; with pip it installs it by itself
    assert str(python.specifier) == PROJECT["project"]["requires-python"]
    expected = {CONDA_NAMES.get(name, name): r.specifier for name, r in requirements().items()}
    assert {name: r.specifier for name, r in listed.items()} == expected
    assert conda["channels"] == ["conda-forge"]


def test_every_dependency_is_pinned_within_its_range():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line), line
            name, version = line.split("==")
            assert canonicalize_name(name) not in pins, f"{name} is pinned twice"
            pins[canonicalize_name(name)] = version
    for name, requirement in requirements().items():
        assert name in pins, f"{name} is not pinned in constraints.txt"
        assert requirement.specifier.contains(pins[name]), f"{name}: {pins[name]} is out of range"


def test_chapters_extra_needs_no_sphinx():
    names = {Requirement(r).name for r in PROJECT["project"]["optional-dependencies"]["chapters"]}
    assert not names & {"jupyter-book", "sphinx-proof", "sphinx-exercise", "sphinxcontrib-bibtex"}


def test_every_file_of_the_package_is_shipped():
    setup = PROJECT["tool"]["setuptools"]
    folders = {p.parent for p in (ROOT / "ntp_lite").rglob("*.py")}
    packages = {folder.relative_to(ROOT).as_posix().replace("/", ".") for folder in folders}
    assert packages <= set(setup["packages"])
    for glob in setup["package-data"]["ntp_lite"]:
        assert list(ROOT.glob(f"ntp_lite/{glob}")), f"{glob} names no file"
    shipped = {
        f for glob in setup["package-data"]["ntp_lite"] for f in ROOT.glob(f"ntp_lite/{glob}")
    }
    other = {
        path
        for path in (ROOT / "ntp_lite").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert other <= shipped, f"not shipped: {sorted(other - shipped)}"


def test_versions_and_licences_agree():
    import ntp_lite

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    version = PROJECT["project"]["version"]
    assert citation["version"] == version
    assert getattr(ntp_lite, "__version__", version) == version
    assert citation["license"] == PROJECT["project"]["license"] == "BSD-3-Clause"
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "BSD 3-Clause" in licence
    assert "CC BY 4.0" in licence
    assert "the ntp_lite authors" in licence


def test_readme_commands_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = set(re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {"book", "test"} <= commands
    for command in commands:
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), f"make {command}"


# A stand-in for Python answers first where ntp_lite is, as the Makefile asks with -I.
HERE = '[ "$1" = -I ] && echo "$(pwd -P)/ntp_lite/__init__.py" && exit 0'


@pytest.mark.parametrize(("export", "site"), [(0, 0), (1, 0), (0, 1)])
def test_make_book_fails_when_a_half_of_it_fails(tmp_path, export, site):
    """The site and its notebooks are made side by side; neither failure may be lost."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    (tmp_path / "book" / "notebooks").mkdir(parents=True)
    (tmp_path / "_build" / "html").mkdir(parents=True)
    for name, script in (
        ("python", f"{HERE}; sleep 0.5; touch book/notebooks/new.ipynb; exit {export}"),  # slower
        ("jupyter-book", f"exit {site}"),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    (tmp_path / ".venv" / ".ntp_lite_installed").touch()
    result = subprocess.run(["make", "book"], cwd=tmp_path, capture_output=True, check=False)
    assert (result.returncode == 0) == (export == site == 0), result.stderr
    copied = (tmp_path / "_build" / "html" / "notebooks" / "new.ipynb").exists()
    assert copied == (result.returncode == 0)


def test_address_of_the_repository_stands_in_one_place():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    address = config["repository"]["url"].removeprefix("https://github.com/")
    folders = ["book", "ntp_lite", "tests", "tools", "benchmarks", ".github"]
    paths = [p for folder in folders for p in (ROOT / folder).rglob("*") if p.is_file()]
    paths += [p for p in ROOT.glob("*") if p.is_file() and p.name != "_config.yml"]
    allowed = ROOT / "book" / "notebooks", ROOT / "tests" / "fixtures"
    for path in paths:
        if path.suffix in (".md", ".py", ".yml", ".toml", ".cff", ".ipynb", ".txt", ""):
            if any(path.is_relative_to(folder) for folder in allowed):
                continue
            assert address not in path.read_text(encoding="utf-8"), path


def test_mathjax_is_vendored_with_its_licence():
    folder = ROOT / "book" / "vendor" / "mathjax"
    assert '"3.2.2"' in (folder / "tex-chtml.js").read_text(encoding="utf-8")
    assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")
    assert len(list(folder.glob("output/chtml/fonts/woff-v2/*.woff"))) > 20


def test_every_page_is_in_the_table_of_contents():
    files = {f"book/{path.stem}" for path in (ROOT / "book").glob("*.md")}
    listed = pages()
    assert len(listed) == len(set(listed)), "a page stands twice in _toc.yml"
    assert files == set(listed)


@pytest.mark.parametrize("chapter", chapters())
def test_a_chapter_is_named_and_labelled_by_its_subject(chapter):
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", chapter), "numbers come from _toc.yml, not from names"
    text = (ROOT / "book" / f"{chapter}.md").read_text(encoding="utf-8")
    label = f"(ch-{chapter.replace('_', '-')})="
    assert re.search(rf"^{re.escape(label)}\n# ", text, re.MULTILINE), f"{label} before the title"


def test_api_page_documents_every_public_name():
    import ntp_lite

    page = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
    modules = set(re.findall(r"\{module-api\} (\w+)", page))
    exported = getattr(ntp_lite, "__all__", None) or [n for n in vars(ntp_lite) if n[0] != "_"]
    for name in exported:
        module = getattr(getattr(ntp_lite, name), "__module__", None)
        if module is not None and module != "ntp_lite":
            assert module.removeprefix("ntp_lite.") in modules, f"ntp_lite.{name} ({module})"
