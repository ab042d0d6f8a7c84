"""Files of earlier runs, which must not be sent to anybody.

The folder of results may hold pages of students who are no longer in the class, tables for a system
that is no longer used, or all of another problem set. What the grader wrote, it notes with a hash,
and removes in the next run, if that does not write it again and nobody has changed it. A file that
it does not know is never touched, but named where it would be sent along.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from teaching.grader.records import write
from teaching.grader.submissions import NOBODYS

FEEDBACK = "feedback"
_LIST = Path("records", "written")
_TO_SYSTEMS = ("canvas.csv", "moodle.csv")


@dataclass
class LeftOver:
    """What an earlier run, or a person, left in the folder of results; names as in that folder."""

    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # unknown, or changed since it was written


def clear_left_over(out: Path, written: list[Path]) -> LeftOver:
    """Remove what an earlier run wrote and this one did not; note what this one wrote."""
    now = {path.relative_to(out).as_posix() for path in written}
    before = _read_list(out / _LIST)
    found = LeftOver()
    for name in sorted(before.keys() - now):
        if before[name] and _digest(out / name) == before[name]:
            (out / name).unlink()
            _remove_empty_folders(out, out / name)
            found.removed.append(name)
    candidates = [out / name for name in _TO_SYSTEMS]
    candidates += sorted((out / FEEDBACK).rglob("*"))
    for path in candidates:
        name = path.relative_to(out).as_posix()
        if name not in now and path.name not in NOBODYS and (path.is_file() or path.is_symlink()):
            found.kept.append(name)
    changed = {name: digest for name, digest in before.items() if name in found.kept}
    content = changed | {name: _digest(out / name) for name in now}
    write(out / _LIST, json.dumps(content))
    return found


def _read_list(path: Path) -> dict[str, str]:
    """Return the hashes of what was written, by name; nothing where the list is not readable."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    names = content if isinstance(content, dict) else {}
    return {name: str(digest) for name, digest in names.items() if _is_inside(name)}


def _is_inside(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def _digest(path: Path) -> str:
    """Return a hash of a file's content; "" where there is no such file, or none to be read."""
    with contextlib.suppress(OSError):
        if path.is_file() and not path.is_symlink():
            return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""


def _remove_empty_folders(out: Path, path: Path) -> None:
    with contextlib.suppress(OSError):
        for folder in path.parents:
            if folder in (out, out / FEEDBACK):
                return
            folder.rmdir()
