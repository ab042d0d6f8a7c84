"""The workflows of GitHub Actions: their form, and their shell steps, which are run here.

Each `run:` step is executed by the shell that GitHub uses, in a folder with stand-ins for the
programs it calls, which note how they were called. Then it is asked whether what was called exists:
make gives its dry run, paths and extras are looked up, the commands of `gh` get their answers. What
is not run here: the actions of others (`uses:`), the make targets themselves, which .ci/run runs,
and the installation of Debian's packages.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from small_book import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCHEMA = ["--builtin-schema", "vendor.github-workflows"]
# What GitHub would put in the place of ${{ ... }}.
VALUES = {
    "github.ref_name": "v1.2.3",
    "github.token": "a-token",
    "github.server_url": "https://github.com",
    "github.repository": "some/one",
    "github.run_id": "77",
    "vars.PIP_EXTRA_INDEX_URL": "",
}
PROGRAMS = ("make", "gh", "sudo", "python")
# It notes its name and arguments, one a line, and answers with what the test has prepared.
STAND_IN = """#!/bin/sh
{ basename "$0"; for argument in "$@"; do echo "$argument"; done; echo; } >> "$CALLS"
cat "$ANSWERS/$(basename "$0")" 2>/dev/null
exit 0
"""


def jobs(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


def steps():
    """Every shell step, with the variables that it sees."""
    found = []
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, job in workflow["jobs"].items():
            for step in job["steps"]:
                if "run" in step:
                    variables = {**workflow.get("env", {}), **step.get("env", {})}
                    title = f"{path.stem}-{name}: {step['run'].strip().splitlines()[0][:50]}"
                    found.append(pytest.param(step["run"], variables, id=title))
    return found


def filled_in(text):
    return re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda found: VALUES[found[1]], text)


class Runner:
    """A folder in which shell steps are run with stand-ins."""

    def __init__(self, folder):
        self.folder = folder
        self.answers = folder / "answers"
        self.answers.mkdir()
        programs = folder / "programs"
        programs.mkdir()
        for name in PROGRAMS:
            (programs / name).write_text(STAND_IN, encoding="utf-8")
            (programs / name).chmod(0o755)
        self.environment = {
            "PATH": f"{programs}{os.pathsep}{os.defpath}",
            "CALLS": str(folder / "calls"),
            "ANSWERS": str(self.answers),
            "GITHUB_REF_NAME": "v1.2.3",
            "GITHUB_REPOSITORY": "some/one",
        }

    def run(self, script, variables):
        """Run a step as GitHub does; return the calls, each a list of words."""
        given = {name: filled_in(value) for name, value in variables.items()}
        (self.folder / "step.sh").write_text(filled_in(script), encoding="utf-8")
        result = subprocess.run(
            ["bash", "-e", "step.sh"],
            cwd=self.folder, env={**self.environment, **given},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        calls = (self.folder / "calls").read_text(encoding="utf-8")
        return [call.splitlines() for call in calls.split("\n\n") if call]


@pytest.fixture
def runner(tmp_path):
    return Runner(tmp_path)


def check_make(arguments):
    """The real Makefile knows the target, and is content with the variables."""
    command = ["make", "--dry-run", "--always-make", "--directory", str(ROOT), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout


def check_python(arguments):
    """The module exists here, and so do the paths and extras that it is given."""
    assert arguments[0] == "-m"
    assert importlib.util.find_spec(arguments[1]), arguments[1]
    if arguments[1] == "pytest":
        paths = [word for word in arguments[2:] if not word.startswith("-")]
        assert paths
        for path in paths:
            assert (ROOT / path).exists(), path
    if arguments[1:3] == ["pip", "install"]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        wanted = [word for word in arguments[3:] if word.startswith(".")]
        extras = Requirement(wanted[0].replace(".", "here", 1)).extras
        assert extras and extras <= set(project["optional-dependencies"])


@pytest.mark.parametrize(("script", "variables"), steps())
def test_shell_steps_run(script, variables, runner):
    (runner.answers / "gh").write_text("0", encoding="utf-8")
    (runner.folder / "_build" / "release" / "files").mkdir(parents=True)
    (runner.folder / "_build" / "release" / "files" / "book.pdf").touch()
    called = runner.run(script, variables)
    assert called
    for program, *arguments in called:
        if program == "make":
            check_make(arguments)
        elif program == "python":
            check_python(arguments)
        elif program == "sudo":
            assert arguments[0] == "apt-get"


def step_with(words):
    [step] = [step for step in steps() if words in step.values[0]]
    return step.values


def test_a_failure_opens_an_issue_once(runner):
    script, variables = step_with("gh issue create")
    for open_issues, created in (("0", 1), ("1", 0)):
        (runner.folder / "calls").unlink(missing_ok=True)
        (runner.answers / "gh").write_text(open_issues, encoding="utf-8")
        calls = runner.run(script, variables)
        made = [call for call in calls if call[:3] == ["gh", "issue", "create"]]
        assert len(made) == created
    assert "some/one" in calls[0]


def test_a_release_has_its_notes_and_all_files(runner):
    files = runner.folder / "_build" / "release" / "files"
    files.mkdir(parents=True)
    for name in ("book.pdf", "book.whl"):
        (files / name).touch()
    [call] = runner.run(*step_with("gh release create"))
    assert call[:4] == ["gh", "release", "create", "v1.2.3"]
    assert call[call.index("--notes-file") + 1] == "_build/release/NOTES.md"
    assert [word.rsplit("/")[-1] for word in call[-2:]] == ["book.pdf", "book.whl"]


def schema_check(*paths):
    tool = Path(sys.executable).parent / "check-jsonschema"
    if not tool.exists():
        pytest.skip("check-jsonschema is not installed: pip install -c constraints.txt .[dev]")
    return subprocess.run([tool, *SCHEMA, *paths], capture_output=True, text=True, check=False)


def test_workflows_have_the_form_that_github_asks_for():
    result = schema_check(*WORKFLOWS)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("runs-on:", "runs_on:"), ("timeout-minutes: 90", "timeout-minutes: long"), ("uses:", "use:")],
)
def test_another_form_is_noticed(right, wrong, tmp_path):
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert right in text
    (tmp_path / "ci.yml").write_text(text.replace(right, wrong), encoding="utf-8")
    assert schema_check(tmp_path / "ci.yml").returncode != 0


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_github_s_own_and_of_a_named_version(path):
    for job in jobs(path).values():
        machines = [job["runs-on"]]
        if machines == ["${{ matrix.machine }}"]:
            machines = job["strategy"]["matrix"]["machine"]
        assert set(machines) <= {"ubuntu-latest", "ubuntu-24.04-arm", "macos-latest"}
        assert job["timeout-minutes"] <= 180, "a hanging job would run for six hours"
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if "uses" in step:
                assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])


def test_pull_requests_are_checked_on_every_python():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    assert "pull_request" in workflow[True]  # YAML reads the key `on` so
    job = workflow["jobs"]["check"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    commands = " ".join(step.get("run", "") for step in job["steps"])
    for target in ("make test", "make lint", "make check-notebooks", "make book"):
        assert target in commands


def test_a_failure_of_any_weekly_job_is_reported():
    weekly = jobs(ROOT / ".github" / "workflows" / "weekly.yml")
    assert {"report", *weekly["report"]["needs"]} == set(weekly)


def test_notebooks_that_are_tried_in_colab_s_stand_in_exist():
    [command] = [s["run"] for s in jobs(ROOT / ".github/workflows/ci.yml")["colab"]["steps"]
                 if "run" in s]  # fmt: skip
    names = re.search(r"NOTEBOOKS=(\S+)", shlex.join(shlex.split(command)))[1].split(",")
    assert len(names) == 3
    for name in names:
        assert (ROOT / "book" / "notebooks" / f"{name}.ipynb").is_file()
