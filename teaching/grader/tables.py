"""CSV files, as spreadsheets write and read them."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from teaching.grader.errors import BadInputError
from teaching.grader.records import write


@dataclass
class Table:
    """The rows of a CSV file; the first one holds the titles."""

    rows: list[list[str]]
    delimiter: str = ","


def read_table(path: Path) -> Table:
    """Read a table that a spreadsheet may have saved: any delimiter, any of two encodings."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")  # what Excel calls plain CSV
    first = (text.splitlines() or [""])[0]
    delimiter = max(",;\t", key=first.count)
    lines = io.StringIO(text, newline="")
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise BadInputError(f"{path} is no table: {error}") from None
    return Table(rows, delimiter)


def write_table(path: Path, table: Table, for_excel: bool = True) -> None:
    """Write a table; the mark at its beginning tells Excel that it is UTF-8."""
    text = io.StringIO()
    csv.writer(text, delimiter=table.delimiter).writerows(table.rows)
    write(path, ("\ufeff" if for_excel else "") + text.getvalue())


def number(value: float | None) -> str:
    """Return points as they stand in a table; "" for points that are not there."""
    return "" if value is None else f"{value:g}"
