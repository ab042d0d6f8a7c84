"""Control groups that limit the memory of a submission, where the system lends one.

The watch in student.py counts the memory of processes. Memory that belongs to no process (files in
memory, shared segments) is counted by a control group only.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

_SYSTEMD = ("systemd-run", "--user", "--scope", "--quiet", "--collect")
_TRIAL_MEBIBYTES = 64
# Where the tree of control groups lies, the controller's name in it, and the file of the limit:
# version 2 (whose controllers have no names there) and version 1.
_TREES = (
    (Path("/sys/fs/cgroup"), "", "memory.max"),
    (Path("/sys/fs/cgroup/memory"), "memory", "memory.limit_in_bytes"),
)
_PREFIX = "ntp-grader-"
_EVENTS_FILES = ("memory.events", "memory.oom_control")


@dataclass(frozen=True)
class MemoryGroup:
    """A way to start a process in a control group of its own: by systemd, or directly."""

    folder: Path | None = None  # the group of this process, in which groups can be made
    limit_file: str = ""

    @classmethod
    def find(cls) -> MemoryGroup | None:
        """Return the way that works here, if there is one."""
        ways = [cls()]
        for tree, controller, limit_file in _TREES:
            folder = _own_group(tree, controller)
            if folder is not None and os.access(folder, os.W_OK):
                ways.append(cls(folder, limit_file))
                remove_left_over_groups(folder)
        return next((way for way in ways if way._works()), None)

    def enter(self, name: str, mebibytes: int) -> list[str]:
        """Make a group; return what stands before the command of a process to put it there."""
        if self.folder is None:
            return [*_SYSTEMD, "-p", f"MemoryMax={mebibytes}M", "-p", "MemorySwapMax=0", "--"]
        group = self._group(name)
        group.mkdir()
        (group / self.limit_file).write_text(str(mebibytes * 2**20))
        enter = f"echo $$ > '{group / 'cgroup.procs'}' && exec \"$@\""
        return ["/bin/sh", "-c", enter, "sh"]

    def ran_out(self, name: str) -> bool:
        """Say whether the kernel ended a process of the group because its memory was used up."""
        for file in _EVENTS_FILES if self.folder else ():
            with contextlib.suppress(OSError):
                words = (self._group(name) / file).read_text().split()
                return "oom_kill" in words and words[words.index("oom_kill") + 1] != "0"
        return False

    def leave(self, name: str) -> None:
        """Remove a group whose processes have ended."""
        if self.folder is None:
            return
        for _ in range(20):
            try:
                self._group(name).rmdir()
            except FileNotFoundError:
                return
            except OSError:  # the kernel still takes its last process away
                time.sleep(0.05)
            else:
                return

    def _group(self, name: str) -> Path:
        return (self.folder or Path()) / f"{_PREFIX}{name}"

    def _works(self) -> bool:
        """Try it: the limit must hold, and a submission's socket must survive."""
        name = f"trial-{os.getpid()}"
        reading, writing = os.pipe()
        fills = f"import os; os.fstat({reading}); print('open', flush=True); b'x' * 2**28"
        command = [sys.executable, "-I", "-S", "-c", fills]
        try:
            trial = subprocess.run(
                [*self.enter(name, _TRIAL_MEBIBYTES), *command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                pass_fds=[reading],
                timeout=20,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        finally:
            os.close(reading)
            os.close(writing)
            self.leave(name)
        return trial.stdout == b"open\n" and trial.returncode != 0


def remove_left_over_groups(folder: Path) -> None:
    """Remove the groups of graders that were killed before they could remove them.

    A group with a process in it cannot be removed, so none that is in use is lost.
    """
    for group in folder.glob(f"{_PREFIX}*"):
        numbers = [int(part) for part in group.name.split("-") if part.isdigit()]
        if numbers and not psutil.pid_exists(numbers[0]):
            with contextlib.suppress(OSError):
                group.rmdir()


def _own_group(tree: Path, controller: str) -> Path | None:
    """Return the folder of this process's group in a tree of control groups."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        group = tree / path.strip("/")
        if controller in controllers.split(",") and (group / "cgroup.procs").is_file():
            return group
    return None
