"""The check in stand-ins for Colab: what they are made of, and what is said of a notebook."""

import sys

import nbformat
import pytest
from ntp_book.colab import cli, runs, stand_ins
from packaging.requirements import Requirement
from small_book import ROOT

PROJECT = ROOT / "pyproject.toml"
FREEZE = """# generated
numpy==2.2.0
Jinja2==3.9
torch @ https://host.invalid/whl/cpu/torch-2.12.1%2Bcpu-cp313-cp313-manylinux_2_28_x86_64.whl
google-colab @ file:///colabtools/dist/google_colab-1.0.0.tar.gz
not-ours==1.0
"""


def versions(requirements):
    return {line.partition("==")[0]: line.partition("==")[2] for line in requirements}


def test_colab_s_versions_fit_what_the_package_asks_for():
    """Else the set-up cell would replace what Colab has."""
    pinned = versions(stand_ins.pinned(""))
    assert {"numpy", "torch", "ipykernel", "ipywidgets", "packaging"} <= set(pinned)
    for requirement in stand_ins.declared(PROJECT):
        name = {"jinja2": "Jinja2"}.get(requirement.name, requirement.name)
        fits = requirement.specifier.contains(pinned[name])
        # Colab's widgets are older; the package does without newer ones there.
        assert fits == (name != "ipywidgets"), name


def test_a_newer_list_of_colab_s(tmp_path):
    path = tmp_path / "pip-freeze.txt"
    path.write_text(FREEZE, encoding="utf-8")
    found = versions(stand_ins.pinned("", path))
    assert found == {"jinja2": "3.9", "numpy": "2.2.0", "torch": "2.12.1"}


def test_the_oldest_are_the_bounds_and_the_newest_have_none():
    oldest = versions(stand_ins.requirements_of("oldest", PROJECT))
    newest = stand_ins.requirements_of("newest", PROJECT)
    for requirement in stand_ins.declared(PROJECT):
        assert f">={oldest[requirement.name]}" in str(requirement.specifier)
        assert requirement.name in newest
    assert not any("=" in line for line in newest)


@pytest.mark.parametrize("name", stand_ins.NAMES)
def test_another_torch_replaces_the_stand_in_s(name):
    found = stand_ins.requirements_of(name, PROJECT, torch="9.9")
    assert [line for line in found if Requirement(line).name == "torch"] == ["torch==9.9"]


def test_a_python_that_is_not_here_is_replaced(monkeypatch, tmp_path):
    """Also one that only a version manager knows by name."""
    monkeypatch.setattr(stand_ins.shutil, "which", lambda name: None)
    assert stand_ins.python_for("pinned", PROJECT) == sys.executable
    fake = tmp_path / "python3.13"
    fake.write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setattr(stand_ins.shutil, "which", lambda name: str(fake))
    assert stand_ins.python_for("pinned", PROJECT) == sys.executable
    fake.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    assert stand_ins.python_for("oldest", PROJECT) == str(fake)


def test_what_a_set_up_changed():
    before = {"numpy": "2.1", "duckdb": "1.3", "tqdm": "4"}
    after = {"numpy": "2.1", "duckdb": "2.0", "ntp-lite": "1"}
    changed = runs.changes(before, after)
    assert changed == {"duckdb": "1.3 -> 2.0", "tqdm": "4 -> gone"}
    needed = runs.needed_by('x = 1\nREQUIREMENTS = ["duckdb>=2.0"]  # this\n')
    assert needed == {"duckdb"}
    assert not runs.Run("a", changed=changed, needed=needed).good
    assert runs.Run("a", changed={"duckdb": "1.3 -> 2.0"}, needed=needed).good
    assert not runs.Run("a", failure="NameError").good


class ThisPython:
    """A stand-in that is the environment of the tests."""

    name = "this"

    def __init__(self):
        self.python = sys.executable
        self.versions = [{"numpy": "2.1"}, {"numpy": "2.2", "new": "1"}]
        self.restored = None

    def packages(self):
        return self.versions.pop(0)

    def restore(self, before):
        self.restored = before


def notebook(tmp_path, *sources, stored="4\n"):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[-1].metadata["tags"] = ["nbval-check-output"]
    cells[-1].outputs = [nbformat.v4.new_output("stream", name="stdout", text=stored)]
    path = tmp_path / "mine.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


SETUP = 'REQUIREMENTS = ["numpy>=2.2"]\nimport os\nassert os.environ["SAID"] == "so"'


def test_a_notebook_that_runs(tmp_path):
    here = ThisPython()
    found = runs.run(notebook(tmp_path, SETUP, "print(2 + 2)"), here, {"SAID": "so"})
    assert (found.notebook, found.failure) == ("mine", "")
    assert found.changed == {"numpy": "2.1 -> 2.2"}
    assert found.good, "the notebook itself asks for it"
    assert here.restored == {"numpy": "2.1"}
    assert 0 <= found.setup <= found.total
    line = cli.line(found)
    assert "pass" in line and "numpy 2.1 -> 2.2 (asked for)" in line


@pytest.mark.parametrize(
    ("cell", "stored", "failure"),
    [
        ("print(2 / 0)", "4\n", "ZeroDivisionError: division by zero"),
        ("print(2 + 2)", "5\n", r"printed '4\n' instead of '5\n'"),
        ("input()", "4\n", "StdinNotImplementedError"),
    ],
    ids=["a cell fails", "a number differs", "a cell waits"],
)
def test_a_notebook_that_does_not(cell, stored, failure, tmp_path):
    path = notebook(tmp_path, SETUP, cell, stored=stored)
    found = runs.run(path, ThisPython(), {"SAID": "so"})
    assert failure in found.failure
    assert "FAIL" in cli.line(found)


def test_names_that_do_not_exist_are_refused(tmp_path, capsys):
    notebook(tmp_path, "1")
    with pytest.raises(stand_ins.StandInError, match="no notebook yours"):
        cli.chosen(tmp_path, "mine,yours")
    assert [path.stem for path in cli.chosen(tmp_path, "")] == ["mine"]
    assert cli.main(["latest"]) == 1
    assert "choose from pinned, newest, oldest" in capsys.readouterr().err
