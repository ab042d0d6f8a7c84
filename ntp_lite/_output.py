"""Files that appear whole or not at all, and a screen that may go away."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def prepare(name: str | Path, force: bool = False, inputs: Iterable[Path] = ()) -> Path:
    """The path to give to `replace_file`, once it is sure that the file can be written.

    Call it before the work begins. A "~" is the home folder; a link stands for the file it leads
    to. Raises FileExistsError for a file that is there (unless `force`) or is among `inputs`, and
    OSError for a folder, a device, or a place where no file can be made; nothing stays behind.
    """
    path = Path(os.path.realpath(Path(name).expanduser()))
    shown = repr(str(name))
    if not path.parent.is_dir():
        folder = repr(str(Path(name).expanduser().parent))
        raise FileNotFoundError(f"There is no folder {folder}; make it first.")
    if path.is_dir():
        raise IsADirectoryError(f"{shown} is a folder; add the name of a file.")
    if path.exists():
        if not stat.S_ISREG(path.stat().st_mode):
            raise FileExistsError(f"{shown} is no ordinary file; name another.")
        if any(path.samefile(given) for given in inputs):
            raise FileExistsError(f"{shown} is what is read; name another file for the output.")
        if not force:
            raise FileExistsError(f"{shown} exists; name another file, or replace it with --force.")
    descriptor, beside = _new_file_beside(path)
    os.close(descriptor)
    beside.unlink()
    return path


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a new file, which then takes the place of `path` in one stroke.

    Whoever opens `path` finds the old file or the whole new one, also after a full disk or Ctrl-C.
    """
    descriptor, beside = _new_file_beside(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            beside.chmod(stat.S_IMODE(path.stat().st_mode))
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _new_file_beside(path: Path) -> tuple[int, Path]:
    """An open file of a name that nobody has, with the permissions that new files get here."""
    beside = path.with_name(f".ntp_lite-{secrets.token_hex(8)}.tmp")
    try:
        return os.open(beside, NEW_FILE, 0o666), beside
    except OSError as error:
        folder = repr(str(path.parent))
        raise OSError(f"No file can be made in the folder {folder} ({error.strerror}).") from None


def say(text: str, stream: str = "stdout") -> None:
    """Print a line. That nobody reads any more (a closed stream, `| head`) ends nothing."""
    file = getattr(sys, stream)
    if file is None:  # Python was started without it
        return
    try:
        print(text, file=file, flush=True)
    except UnicodeEncodeError:  # a screen that lacks a letter, or a name of bytes
        encoding = file.encoding or "ascii"
        say(text.encode(encoding, "backslashreplace").decode(encoding), stream)
    except BrokenPipeError:
        # What Python still holds it writes when it ends, and would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
    except ValueError:  # the stream was closed
        return


def is_terminal(stream: str = "stderr") -> bool:
    """Does a person look at this stream?"""
    file = getattr(sys, stream)
    return file is not None and not file.closed and file.isatty()


def occupy_closed_streams() -> None:
    """Open /dev/null in the place of standard streams that the process was started without.

    Otherwise the next file that is opened gets the number 1 or 2, and what a C library prints there
    lands in that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
