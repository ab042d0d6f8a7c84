"""Read a notebook that may hold anything."""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teaching.grader.bounds import OutOfTimeError, extra_memory, stopped_after
from teaching.grader.errors import NotGradedError

LARGEST_FILE_BYTES = 20 * 2**20
MOST_CELLS = 5000
# What reading a file of the largest size may take; its JSON needs far less of both.
_READING_SECONDS = 30
_READING_MEBIBYTES = 2048
NO_NOTEBOOK = "not a notebook"  # how the reason begins where the file is something else


@dataclass(frozen=True)
class Cell:
    """A cell, its source in one text."""

    kind: str  # "code", "markdown" or whatever stands there
    source: str
    grading: dict[str, Any] = field(default_factory=dict)  # nbgrader's metadata
    tags: tuple[str, ...] = ()
    attachments: dict[str, Any] = field(default_factory=dict)

    @property
    def grade_id(self) -> str:
        """Its identity in the problem set; "" for a cell of the student's own."""
        identity = self.grading.get("grade_id")
        return identity if isinstance(identity, str) else ""


@dataclass(frozen=True)
class Notebook:
    """The cells, and which problem set of which class they say they are."""

    cells: list[Cell]
    assignment: str | None
    seed: str | None


def read_notebook(path: Path) -> Notebook:
    """Return a notebook, or say what is wrong with the file."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise NotGradedError("not a regular file")
        if status.st_size > LARGEST_FILE_BYTES:
            size = LARGEST_FILE_BYTES // 2**20
            raise NotGradedError(f"larger than {size} MiB; clear its outputs")
        data = path.read_bytes()
    except OSError as error:
        raise NotGradedError(f"cannot be read: {error.strerror}") from None
    try:
        took_long = f"takes longer than {_READING_SECONDS} s to read"
        with (
            stopped_after(_READING_SECONDS, took_long, own_time=True),
            extra_memory(_READING_MEBIBYTES),
        ):
            return parse_notebook(_parse_json(data))
    except OutOfTimeError as stop:
        raise NotGradedError(str(stop)) from None
    except MemoryError:
        raise NotGradedError(
            f"needs more than {_READING_MEBIBYTES} MiB of memory to read"
        ) from None


def _parse_json(data: bytes) -> Any:
    try:
        return _valid_text(json.loads(data.decode("utf-8-sig")))
    except (ValueError, RecursionError):
        raise NotGradedError(f"{NO_NOTEBOOK}: the file is not valid JSON") from None


def _valid_text(content: Any) -> Any:
    r"""Return JSON with all text valid: `\ud800` is half a character, and no file can hold it."""
    if isinstance(content, str):
        return content.encode(errors="backslashreplace").decode()
    if isinstance(content, list):
        return [_valid_text(item) for item in content]
    if isinstance(content, dict):
        return {_valid_text(key): _valid_text(value) for key, value in content.items()}
    return content


def parse_notebook(content: Any) -> Notebook:
    """Return the notebook that this JSON describes.

    Cells are counted before they are built: an entry of two bytes becomes an object of hundreds.
    """
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        raise NotGradedError(f"{NO_NOTEBOOK} of format 4: it has no list of cells")
    if len(content["cells"]) > MOST_CELLS:
        raise NotGradedError(
            f"has {len(content['cells']):,} cells, more than {MOST_CELLS:,}: delete those that do "
            "not belong to the problem set"
        )
    cells = [_parse_cell(_dictionary(cell)) for cell in content["cells"]]
    identity = _dictionary(_dictionary(content.get("metadata")).get("ntp_lite"))
    names = (identity.get(key) for key in ("assignment", "seed"))
    assignment, seed = (None if name is None else str(name) for name in names)
    return Notebook(cells, assignment, seed)


def _dictionary(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _parse_cell(cell: dict[str, Any]) -> Cell:
    source = cell.get("source", "")
    source = "".join(map(str, source)) if isinstance(source, list) else str(source)
    metadata = _dictionary(cell.get("metadata"))
    tags = metadata.get("tags")
    return Cell(
        kind=str(cell.get("cell_type")),
        source=source,
        grading=_dictionary(metadata.get("nbgrader")),
        tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
        attachments=_dictionary(cell.get("attachments")),
    )
