"""The set-up cell: installs what is missing in Colab, replaces nothing, and says what to do."""

import importlib.metadata
import subprocess
import sys

import pytest
from ntp_book.export import setup_cell
from small_book import ROOT

REAL = "https://github.com/some/one"
PLACEHOLDER = "https://github.com/an_owner/name"
CORE = ["numpy>=1.26", "torch>=2.2", 'cvxpy>=1.4; extra == "chapters"']
COLAB = {"numpy": "2.1.3", "torch": "2.11.0+cu128", "ipykernel": "6.17.1", "ipywidgets": "7.7.1"}


class Machine:
    """An environment with these packages, in which pip notes what it is asked for."""

    def __init__(self, monkeypatch, packages, colab=False, pip_works=True):
        self.packages = dict(packages)
        self.pip_works = pip_works
        self.commands = []
        if colab:
            monkeypatch.setitem(sys.modules, "google.colab", object())
        monkeypatch.setattr("importlib.util.find_spec", self.packages.get)
        monkeypatch.setattr("importlib.metadata.version", self.version)
        monkeypatch.setattr("importlib.metadata.requires", lambda name: CORE)
        monkeypatch.setattr(subprocess, "run", self.run_command)

    def version(self, name):
        if name not in self.packages:
            raise importlib.metadata.PackageNotFoundError(name)
        return self.packages[name]

    def run_command(self, command):
        assert command[:5] == [sys.executable, "-m", "pip", "install", "--quiet"]
        self.commands.append(command[5:])
        if self.pip_works:
            self.packages["ntp_lite"] = "1.0"
        return subprocess.CompletedProcess(command, 0 if self.pip_works else 1)

    def run(self, url=REAL, ref="v1.0", **options):
        exec(setup_cell.setup_cell(url, ref, **options), {})
        return self.commands


def test_elsewhere_nothing_is_installed(monkeypatch, capsys):
    machine = Machine(monkeypatch, {**COLAB, "ntp_lite": "1.0", "duckdb": "2.0.1"})
    assert machine.run(requirements=["duckdb>=2.0"], seconds=20) == []
    said = capsys.readouterr().out
    assert "ntp_lite 1.0 is ready; device: c" in said
    assert "run in about 20 seconds." in said


def test_colab_installs_the_package_alone(monkeypatch):
    machine = Machine(monkeypatch, COLAB, colab=True)
    assert machine.run() == [["--no-deps", "ntp_lite @ git+https://github.com/some/one@v1.0"]]


def test_colab_installs_what_is_missing_or_too_old_and_keeps_the_rest(monkeypatch):
    packages = {k: v for k, v in COLAB.items() if k != "torch"} | {"duckdb": "1.3.2"}
    machine = Machine(monkeypatch, packages, colab=True)
    first, second = machine.run(requirements=["cvxpy>=1.4", "duckdb>=2.0"])
    assert first[0] == "--no-deps"
    assert second == [
        "numpy==2.1.3",
        "ipykernel==6.17.1",
        "ipywidgets==7.7.1",
        "cvxpy>=1.4",
        "duckdb>=2.0",
        "torch>=2.2",
    ]


def test_colab_runs_the_cell_twice_and_installs_once(monkeypatch):
    machine = Machine(monkeypatch, COLAB, colab=True)
    assert len(machine.run()) == 1
    assert len(machine.run()) == 1


def test_colab_with_a_placeholder_says_what_to_set(monkeypatch):
    machine = Machine(monkeypatch, COLAB, colab=True)
    with pytest.raises(RuntimeError, match="set REPOSITORY in this cell"):
        machine.run(PLACEHOLDER)
    assert machine.commands == []


def test_a_failed_installation_is_explained(monkeypatch):
    machine = Machine(monkeypatch, COLAB, colab=True, pip_works=False)
    with pytest.raises(RuntimeError, match=r"some/one public, .* tag or branch v1\.0\?"):
        machine.run()


@pytest.mark.parametrize(("url", "source"), [(REAL, f"git+{REAL}@v1.0"), (PLACEHOLDER, "git+ADD")])
def test_without_the_package_the_line_to_run_is_printed(monkeypatch, url, source):
    machine = Machine(monkeypatch, COLAB)
    with pytest.raises(RuntimeError) as said:
        machine.run(url)
    assert f'\n\n    %pip install "ntp_lite[chapters] @ {source}' in str(said.value)
    assert machine.commands == []


def test_what_only_this_chapter_needs_is_named(monkeypatch):
    machine = Machine(monkeypatch, {**COLAB, "ntp_lite": "1.0", "duckdb": "1.3.2"})
    with pytest.raises(RuntimeError, match=r'%pip install "cvxpy>=1\.4" "duckdb>=2\.0"$'):
        machine.run(requirements=["cvxpy>=1.4", "duckdb>=2.0", "numpy>=1.26"])


def test_messages_of_one_s_own(monkeypatch):
    messages = setup_cell.Messages("Ask for the address.", 'Say "please", and $HOME\n' * 9)
    machine = Machine(monkeypatch, COLAB)
    with pytest.raises(RuntimeError) as said:
        machine.run(messages=messages)
    assert str(said.value).startswith(messages.not_installed)
    source = setup_cell.setup_cell(REAL, "main", messages=messages)
    assert max(map(len, source.splitlines())) <= 110, "quotes and line ends are written as two"


# --- What a chapter needs, and how long it runs ---


def test_requirements_are_those_that_the_code_imports():
    project = ROOT / "pyproject.toml"
    assert setup_cell.requirements_of("import numpy\nimport ipywidgets_x", project) == []
    found = setup_cell.requirements_of(
        "import duckdb as db\n    from cvxpy import Problem", project
    )
    assert [line.partition(">")[0] for line in found] == ["cvxpy", "duckdb"]
    assert setup_cell.requirements_of("import duckdb", ROOT / "none.toml") == []
    # A chapter's own extra wants a newer one than the package; no notebook replaces it.
    assert "torch" in project.read_text(encoding="utf-8").partition("[project.optional")[2]
    assert setup_cell.requirements_of("import torch", project) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("About 20 minutes to read; the cells run in about 25 seconds.", 25),
        ("the cells\nrun in about 2 minutes on a quiet machine", 120),
        ("the cells run in about 1 minute", 60),
        ("About 20 minutes to read.", None),
    ],
)
def test_running_time_is_the_one_that_the_chapter_announces(text, seconds):
    assert setup_cell.seconds_of(text) == seconds
