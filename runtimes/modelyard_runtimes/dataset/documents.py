"""JSON documents and JSON lines as tables of texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]

from modelyard_runtimes.tables.cells import cell_text
from modelyard_runtimes.tables.rows import (
    TEXT,
    Absent,
    ReadFile,
    Rejected,
    Unreadable,
    column_names,
)
from modelyard_runtimes.tables.text import REPLACEMENT, Decoded

_BROKEN = object()


def read_json(name: str, decoded: Decoded) -> ReadFile:
    """Return the objects of a JSON document: an array, or an object that holds just one array.

    A document of columns (an object of arrays of the same length) is read too, and JSON lines
    under the name of a document.

    Raises:
        Unreadable: the document is broken, or holds no objects.
    """
    try:
        document = json.loads(decoded.text)
    except (ValueError, RecursionError) as error:
        lines = read_json_lines(name, decoded)
        if lines.table.num_rows == 0:
            where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise Unreadable("BrokenJson", f"the JSON is broken{where}; repair it") from error
        return lines
    rows = _rows_of(document)
    if rows is None:
        raise Unreadable("NotATable", "the JSON holds no array of objects; give it one")
    kept, rejected = _objects(name, enumerate(rows, start=1))
    return _read(name, kept, rejected, [f"{decoded.encoding}, JSON document"])


def read_json_lines(name: str, decoded: Decoded) -> ReadFile:
    """Return the objects of JSON lines; a broken line is set apart."""
    parsed: list[tuple[int, Any]] = []
    rejected: list[Rejected] = []
    for number, line in enumerate(decoded.text.split("\n"), start=1):
        if not line.strip():
            continue
        row = _BROKEN if decoded.damaged and REPLACEMENT in line else _parsed(line)
        if row is _BROKEN:
            detail = "the line is not JSON, or bytes do not fit the encoding; repair it"
            rejected.append(Rejected("BrokenJson", detail, name, number, line.strip()))
        else:
            parsed.append((number, row))
    kept, others = _objects(name, parsed)
    found = sorted(rejected + others, key=lambda row: row.line or 0)
    return _read(name, kept, found, [f"{decoded.encoding}, JSON lines"])


def _parsed(line: str) -> Any:
    """Return the value of a line of JSON, or _BROKEN."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return _BROKEN


def _rows_of(document: Any) -> list[Any] | None:
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        return None
    arrays = [value for value in document.values() if isinstance(value, list)]
    if len(arrays) == 1 and any(isinstance(value, dict) for value in arrays[0]):
        return arrays[0]
    if arrays and len(arrays) == len(document) and len({len(array) for array in arrays}) == 1:
        return [dict(zip(document, values, strict=True)) for values in zip(*arrays, strict=True)]
    return [document] if document and not arrays else None


def _objects(
    name: str, rows: Iterable[tuple[int, Any]]
) -> tuple[list[dict[str, Any]], list[Rejected]]:
    kept, rejected = [], []
    for number, row in rows:
        if isinstance(row, dict):
            kept.append(row)
        else:
            detail = "the value is not an object; write one object a row"
            text = cell_text(row)
            rejected.append(Rejected("NotAnObject", detail, name, number, text))
    return kept, rejected


def _read(
    name: str, rows: list[dict[str, Any]], rejected: list[Rejected], notes: list[str]
) -> ReadFile:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    names, renamed = column_names(keys)
    arrays = [pa.array([cell_text(row.get(key)) for row in rows], TEXT) for key in keys]
    absent = _absent(rows, dict(zip(keys, names, strict=True)))
    return ReadFile(name, pa.table(arrays, names=names), rejected, notes + renamed, absent)


def _absent(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Absent:
    """Return which rows lack a column, by its name; `names` is by key.

    Only rows with fewer keys are looked into: most files have none.
    """
    found: dict[str, npt.NDArray[np.bool_]] = {}
    for place, row in enumerate(rows):
        if len(row) == len(names):
            continue
        for key in names.keys() - row.keys():
            marks = found.setdefault(names[key], np.zeros(len(rows), dtype=np.bool_))
            marks[place] = True
    return found
