"""Joins the tables of all files into one, without regard to their order."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]

from modelyard_runtimes.tables.cells import cell_text, column_texts, text_table
from modelyard_runtimes.tables.rows import TEXT, ReadFile, Rejected, clean_cells

_MAY_BE_NATIVE = re.compile(r"\d|(?i:true|false)").search
"""Whether a text that means missing could be that of a number, a moment or a truth value."""


OTHER_COLUMNS = "OtherColumns"
"""Reason of the rows of a file that is set apart whole, for its columns."""

Origins = npt.NDArray[np.int32]
"""Index into the files of each row."""


class Merged(NamedTuple):
    """One table of cells that have no type yet.

    Attributes:
        table: All kept rows, as TEXT or one of NATIVE; texts are trimmed, missing values are null.
        origins: Index into `files` of each row.
        files: The files, with those set apart whole that have other columns.
    """

    table: pa.Table
    origins: Origins
    files: list[ReadFile]

    @property
    def rejected(self) -> list[Rejected]:
        """All rows set apart so far."""
        return [row for file in self.files for row in file.rejected]

    def names_of(self, origins: Origins) -> Callable[[int], str]:
        """Return what tells the name of the file of a row, by its position in `origins`."""
        return lambda position: self.files[origins[position]].name


def merge(files: list[ReadFile], null_values: list[str]) -> Merged:
    """Return the rows of all files as one table.

    Columns keep the order of the header where all files agree on it, else they are sorted. A
    column that a file lacks is missing in its rows. The file that shares no column with the files
    that hold most rows is set apart.
    """
    files = _related(files)
    parts = [(index, file.table) for index, file in enumerate(files) if file.table.num_columns]
    names = _order([table.column_names for _, table in parts])
    files = [_with_note(file, names) for file in files]
    columns = [_column(name, [table for _, table in parts], null_values) for name in names]
    origins = [np.full(table.num_rows, index, dtype=np.int32) for index, table in parts]
    return Merged(
        pa.table(columns, names=names),
        np.concatenate(origins) if origins else np.empty(0, dtype=np.int32),
        files,
    )


def _column(name: str, tables: list[pa.Table], null_values: list[str]) -> pa.ChunkedArray:
    """Return a column of all files: of one of NATIVE where all have it so, else as clean texts."""
    found = [table.column(name) if name in table.column_names else None for table in tables]
    kinds = {column.type for column in found if column is not None}
    kind = kinds.pop() if len(kinds) == 1 and not any(map(_MAY_BE_NATIVE, null_values)) else TEXT
    chunks = []
    for table, column in zip(tables, found, strict=True):
        if column is None:
            chunks.append(pa.nulls(table.num_rows, kind))
        else:
            chunks += (column if column.type == kind else column_texts(column)).chunks
    merged = pa.chunked_array(chunks, kind)
    return clean_cells(merged, null_values) if kind == TEXT else merged


def _order(headers: list[list[str]]) -> list[str]:
    if not headers:
        return []
    if all(header == headers[0] for header in headers):
        return headers[0]
    return sorted({name for header in headers for name in header})


def _related(files: list[ReadFile]) -> list[ReadFile]:
    """Set apart files that share no column with the columns that hold most rows."""
    weights: dict[tuple[str, ...], int] = {}
    for file in files:
        columns = tuple(sorted(map(str, file.table.column_names)))
        if columns:
            weights[columns] = weights.get(columns, 0) + file.table.num_rows
    if not weights:
        return files
    heaviest, _ = min(weights.items(), key=lambda item: (-item[1], item[0]))
    main = set(heaviest)
    return [
        file if not file.table.num_columns or main & set(file.table.column_names) else _apart(file)
        for file in files
    ]


def _apart(file: ReadFile) -> ReadFile:
    detail = "no column in common with the other files; give it a Dataset of its own"
    rows = [
        Rejected(OTHER_COLUMNS, detail, file.name, text=cell_text(values))
        for values in text_table(file.table).to_pylist()
    ]
    return ReadFile(file.name, pa.table({}), [*file.rejected, *rows], [*file.notes, detail])


def _with_note(file: ReadFile, names: list[str]) -> ReadFile:
    lacking = [name for name in names if name not in file.table.column_names]
    if not file.table.num_columns or not lacking:
        return file
    some = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
    return ReadFile(
        file.name, file.table, file.rejected, [*file.notes, f"{some} missing in this file"]
    )
