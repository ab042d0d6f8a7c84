"""Environments that stand in for Colab: its own versions, the newest, the oldest admitted."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FREEZE = Path(__file__).with_name("freeze.txt")
NAMES = ("pinned", "newest", "oldest")
# What a notebook server brings, whatever the package asks for.
SERVER = ("pip", "packaging", "ipykernel", "ipywidgets")
LIST = (
    "import importlib.metadata as m, json; "
    "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
)
# In Colab this module is there when a notebook begins; the set-up cell asks for nothing else.
WAITS = '''"""Stands in for Colab's own module."""


class files:
    """What would wait for a reader fails."""

    @staticmethod
    def upload(*_args):
        raise RuntimeError("this cell waits for its reader")
'''


class StandInError(Exception):
    """Why there is no stand-in."""


@dataclass(frozen=True)
class StandIn:
    """An environment in a folder of its own."""

    name: str
    folder: Path

    @property
    def python(self) -> str:
        """Return its Python."""
        return str(self.folder / "bin" / "python")

    def version(self) -> str:
        """Return the version of its Python."""
        command = [self.python, "-I", "-c", "import platform; print(platform.python_version())"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def packages(self) -> dict[str, str]:
        """Return the versions of all its packages, by canonical name."""
        shown = subprocess.run(
            [self.python, "-I", "-c", LIST], check=True, capture_output=True, text=True
        ).stdout
        return {canonicalize_name(name): version for name, version in json.loads(shown).items()}

    def pip(self, *arguments: str) -> None:
        """Run pip in it; StandInError with pip's last words if it fails."""
        command = [self.python, "-I", "-m", "pip", "--disable-pip-version-check", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            said = "\n".join(result.stderr.splitlines()[-3:])
            raise StandInError(f"The stand-in {self.name} could not be set up: {said}")

    def restore(self, before: dict[str, str]) -> None:
        """Take back what a notebook has installed, so that the next one begins afresh."""
        now = self.packages()
        added = sorted(now.keys() - before.keys())
        if added:
            self.pip("uninstall", "--yes", "--quiet", *added)
        changed = [f"{name}=={version}" for name, version in before.items() if name in now
                   and now[name] != version]  # fmt: skip
        if changed:
            self.pip("install", "--quiet", "--no-deps", *changed)


def pinned(torch: str, freeze: Path | None = None) -> list[str]:
    """Return the requirements of Colab's own versions.

    torch : another version of it, "" for Colab's.
    freeze : a newer pip-freeze.txt of Colab's, from which the versions are taken.
    """
    lines = FREEZE.read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    if freeze is not None:
        newer = versions_in(freeze.read_text(encoding="utf-8"))
        names = [canonicalize_name(Requirement(pin).name) for pin in pins]
        pins = [f"{name}=={newer[name]}" for name in names if name in newer]
    return with_torch(pins, torch)


def versions_in(freeze: str) -> dict[str, str]:
    """Return the versions that `pip freeze` printed, also of what came from the address of a wheel.

    What a version says of its build is left out: `2.11.0+cpu` is 2.11.0.
    """
    plain = re.findall(r"(?m)^([\w.-]+)==([\w.]+)", freeze)
    wheels = re.findall(r"(?m)^([\w.-]+) @ \S*/[\w.]+-([\d.]+)(?:%2B\w+)?-\S*\.whl", freeze)
    return {canonicalize_name(name): version for name, version in plain + wheels}


def declared(project: Path) -> list[Requirement]:
    """Return what pyproject.toml asks for: the package, and the extra for its chapters.

    Where both name a package, the extra asks for more.
    """
    table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    lines = [*table["dependencies"], *table["optional-dependencies"]["chapters"]]
    return list({one.name: one for one in map(Requirement, lines)}.values())


def newest(project: Path, torch: str) -> list[str]:
    """Return the requirements of the newest versions."""
    names = [requirement.name for requirement in declared(project)]
    return with_torch([*dict.fromkeys([*names, *SERVER])], torch)


def oldest(project: Path, torch: str) -> list[str]:
    """Return the requirements of the oldest versions that pyproject.toml admits."""
    pins = []
    for requirement in declared(project):
        [bound] = [one for one in requirement.specifier if one.operator == ">="]
        pins.append(f"{requirement.name}=={bound.version}")
    return with_torch([*pins, "pip", "packaging"], torch)


def with_torch(requirements: list[str], torch: str) -> list[str]:
    """Return requirements with this version of torch, "" for the one that they name."""
    if not torch:
        return requirements
    others = [line for line in requirements if Requirement(line).name != "torch"]
    return [*others, f"torch=={torch}"]


def requirements_of(
    name: str, project: Path, torch: str = "", freeze: Path | None = None
) -> list[str]:
    """Return what a stand-in of this name is made of."""
    if name == "pinned":
        return pinned(torch, freeze)
    return newest(project, torch) if name == "newest" else oldest(project, torch)


def python_for(name: str, project: Path) -> str:
    """Return the Python of a stand-in if it is here, else the one that runs this.

    The oldest versions of the packages go with the oldest Python that the package admits, the
    others with Colab's.
    """
    if name == "oldest":
        table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        version = table["requires-python"].removeprefix(">=")
    else:
        version = re.findall(r"(?m)^# python ([\d.]+)$", FREEZE.read_text(encoding="utf-8"))[0]
    found = shutil.which(f"python{version}") or ""
    return found if found and starts(found) else sys.executable


def starts(python: str) -> bool:
    """Say whether a Python starts; a version manager may know its name and have none."""
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def build(name: str, folder: Path, python: str, requirements: list[str]) -> StandIn:
    """Make a stand-in below `folder`, or use the one that was made of the same requirements."""
    stand_in = StandIn(name, folder / name)
    wanted = "\n".join([python, *requirements])
    stamp = stand_in.folder / "made_of.txt"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return stand_in
    shutil.rmtree(stand_in.folder, ignore_errors=True)
    subprocess.run([python, "-m", "venv", str(stand_in.folder)], check=True)
    stand_in.pip("install", "--quiet", *requirements)
    pretend_to_be_colab(stand_in)
    stamp.write_text(wanted, encoding="utf-8")
    return stand_in


def pretend_to_be_colab(stand_in: StandIn) -> None:
    """Give the stand-in the module by which a notebook knows Colab, imported at every start."""
    command = [stand_in.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    packages = Path(shown.strip())
    module = packages / "google" / "colab"
    module.mkdir(parents=True, exist_ok=True)
    (module / "__init__.py").write_text(WAITS, encoding="utf-8")
    (packages / "stand_in_for_colab.pth").write_text("import google.colab\n", encoding="utf-8")
