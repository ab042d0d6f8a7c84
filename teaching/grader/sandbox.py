"""The sandbox in which submissions run, made of bubblewrap where there is one."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from teaching.grader.errors import BadInputError
from teaching.grader.memory import MemoryGroup
from teaching.paths import ROOT

# What a submission may see of this repository.
SHOWN = ("ntp_lite", "teaching/__init__.py", "teaching/inside")
_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/nix/store"),
    *("/etc/alternatives", "/etc/fonts", "/etc/localtime", "/sys/devices/system/cpu"),
)
_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_SCRATCH_BYTES = 256 * 2**20
_NO_SANDBOX = (
    "To grade without a sandbox, on a machine that holds nothing else: `make grade SANDBOX=no`, "
    "or --no-sandbox"
)
_APPARMOR = (
    "Ubuntu 23.10 and later forbid it to ordinary programs by AppArmor: give bwrap a profile "
    "(`sudo apt install apparmor-profiles && sudo ln -s "
    "/usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ && "
    "sudo systemctl reload apparmor`), or allow it until the next start "
    "(`sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`)"
)


@dataclass(frozen=True)
class Sandbox:
    """How the process of a submission is started."""

    command: tuple[str, ...]  # stands before the command of the process; () without bubblewrap
    description: str  # "Submissions run ..."
    memory: MemoryGroup | None = None

    @property
    def is_closed(self) -> bool:
        """Say whether files and network are out of reach."""
        return bool(self.command)


def process_environment(home: str) -> dict[str, str]:
    """Return the whole environment of a submission's process; its packages are this tree's."""
    one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    return one_thread | {
        "HOME": home,
        "IPYTHONDIR": home,
        "LANG": "C.UTF-8",
        "MPLBACKEND": "agg",
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "USER": "student",
    }


def require_own_package() -> None:
    """Raise BadInputError where this process would import another copy of ntp_lite."""
    found = importlib.util.find_spec("ntp_lite")
    place = Path(found.origin).resolve().parent if found and found.origin else None
    if place != ROOT / "ntp_lite":
        where = place.parent if place else "nowhere"
        raise BadInputError(
            f"this grader would use the ntp_lite of {where}, not of its own folder {ROOT}: "
            "run `make grade` in the folder whose package the class uses"
        )


def open_sandbox(hidden: list[Path], libraries: list[str], wanted: bool = True) -> Sandbox:
    """Return the sandbox; BadInputError where it does not work.

    `hidden` are folders that no submission may see, wherever they lie; `libraries` is what the
    problem set imports, and must be there to import.
    """
    require_own_package()
    bwrap = shutil.which("bwrap") if wanted else None
    if bwrap is None:
        reason = "bubblewrap (bwrap) is not installed" if wanted else "--no-sandbox"
        description = (
            f"WITHOUT a sandbox ({reason}): only the limits on time and memory hold. A submission "
            "runs with your rights: it can read your files and use the network."
        )
        _try((), libraries, "without a sandbox")
        return Sandbox((), description, MemoryGroup.find())
    command = _bubblewrap(bwrap, hidden)
    _try(command, libraries, "in bubblewrap")
    description = "in bubblewrap: no network, no files but Python and ntp_lite"
    return Sandbox(command, description, MemoryGroup.find())


def _bubblewrap(bwrap: str, hidden: list[Path]) -> tuple[str, ...]:
    known = subprocess.run([bwrap, "--help"], capture_output=True, text=True).stdout
    command = [bwrap, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    command += ["--unshare-user", "--uid", "1000", "--gid", "1000"]
    if "--disable-userns" in known:
        command.append("--disable-userns")
    command += ["--unshare-cgroup-try", "--die-with-parent", "--new-session"]
    # First the empty places, so that a repository that lies in /tmp is seen all the same.
    command += ["--proc", "/proc", *_read_only_kernel(), "--dev", "/dev"]
    for scratch in ("/dev/shm", "/tmp"):
        size = ["--size", str(_SCRATCH_BYTES)] if "--size" in known else []
        command += ["--perms", "1777", *size, "--tmpfs", scratch]
    python = Path(sys.executable).resolve().parent.parent
    places = dict.fromkeys([*_SYSTEM, sys.base_prefix, str(python)])
    bound = [Path(place) for place in places if os.path.exists(place)]
    for place in bound:
        command += _show(place)
    for folder in hidden:  # where the repository or the class's files lie inside one of those
        if any(folder.is_relative_to(place) for place in bound) and folder.is_dir():
            command += ["--tmpfs", str(folder)]
    for place in (Path(sys.prefix), *(ROOT / name for name in SHOWN)):
        command += _show(place)
    return (*command, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp")


def _read_only_kernel() -> list[str]:
    """Return the options that make what /proc shows of the kernel, not of processes, read-only.

    For whoever grades as root, root owns these files inside the sandbox, too, and bubblewrap leaves
    them open: a submission could set the kernel's `core_pattern`, and so run commands outside.
    """
    words = []
    for entry in sorted(os.scandir("/proc"), key=lambda entry: entry.name):
        if entry.name.isdigit() or entry.is_symlink():
            continue
        if entry.is_dir() or entry.stat().st_mode & _WRITABLE:
            words += ["--ro-bind", entry.path, entry.path]
    return words


def _show(path: Path) -> list[str]:
    """Return the options that show a file or folder, read-only, in its place."""
    if path.is_symlink() and not os.readlink(path).startswith("/"):
        return ["--symlink", os.readlink(path), str(path)]
    words = []
    for parent in list(reversed(path.parents))[1:]:  # the way to it is open to any identity
        words += ["--perms", "0755", "--dir", str(parent)]
    return [*words, "--ro-bind", str(path), str(path)]


def _try(command: tuple[str, ...], libraries: list[str], where: str) -> None:
    """Start Python as for a submission, and see that it finds this tree's package."""
    place = "import importlib.util; print(importlib.util.find_spec('ntp_lite').origin)"
    imports = f"import {', '.join(['IPython', 'teaching.inside', *libraries])}"
    home = "/tmp"
    trial = subprocess.run(
        [*command, sys.executable, "-P", "-s", "-c", f"print('started'); {imports}; {place}"],
        capture_output=True,
        text=True,
        cwd=home,
        env=process_environment(home),
    )
    said = trial.stdout.splitlines()
    reason = (trial.stderr.strip() or "no message").splitlines()[-1][:200]
    if command and "started" not in said:
        # Whoever installed it counts on it: no silent step back.
        raise BadInputError(
            f"bubblewrap is installed but does not work here ({reason}). {_APPARMOR}. {_NO_SANDBOX}"
        )
    if trial.returncode or Path(said[-1]).parent != ROOT / "ntp_lite":
        reason = reason if trial.returncode else said[-1]
        raise BadInputError(
            f"the package of {ROOT} cannot be imported {where} ({reason}): the environment "
            "belongs to another folder or is broken; delete .venv and run `make setup`"
        )
