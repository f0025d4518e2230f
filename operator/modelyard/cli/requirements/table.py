"""Looks into a CSV file: the columns, and what the values of one column look like."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

_ROWS = 5_000
_SAMPLE = 65_536
_MANY = 20
_EMPTY = {"", "na", "n/a", "nan", "null", "none", "?"}


@dataclass(frozen=True)
class Table:
    """The beginning of a CSV file."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def values(self, column: str) -> list[str]:
        """Return the distinct values of a column that are not missing, sorted."""
        index = self.columns.index(column)
        found = {row[index].strip() for row in self.rows if index < len(row)}
        return sorted(value for value in found if value.lower() not in _EMPTY)

    def is_predictable(self, column: str) -> bool:
        """Return whether a column holds numbers or classes, and no texts, dates or identifiers."""
        values = self.values(column)
        return bool(values) and (self.is_classes(column) or all(map(_is_number, values)))

    def is_measured(self, column: str) -> bool:
        """Return whether a column holds numbers with more values than classes would have."""
        values = self.values(column)
        return len(values) > _MANY and all(_is_number(value) for value in values)

    def is_classes(self, column: str) -> bool:
        """Return whether a column holds a few values, two if they are numbers."""
        values = self.values(column)
        if all(_is_number(value) for value in values):
            return len(values) == 2
        return 2 <= len(values) <= _MANY


def read_table(path: Path) -> Table | None:
    """Return the beginning of a CSV file, or of the first one in a directory; None without one.

    Other formats are not opened here.
    """
    if path.is_dir():
        files = sorted(path.glob("*.csv"))
        return read_table(files[0]) if files else None
    if path.suffix.lower() not in {".csv", ".tsv", ".txt"}:
        return None
    text = _decoded(path)
    rows = list(_first_rows(text))
    if not rows:
        return None
    return Table(tuple(name.strip() for name in rows[0]), tuple(map(tuple, rows[1:])))


def _decoded(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _first_rows(text: str) -> list[list[str]]:
    try:
        dialect: type[csv.Dialect] = csv.Sniffer().sniff(text[:_SAMPLE], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    reader = csv.reader(io.StringIO(text), dialect)
    return [row for row, _ in zip(reader, range(_ROWS + 1), strict=False) if row]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
