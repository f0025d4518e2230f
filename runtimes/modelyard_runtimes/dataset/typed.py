"""Typed containers (Parquet, XLSX) as tables of texts, so that all containers compare alike.

Numbers, moments and truth values of Parquet stay as they are as long as that makes no difference.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from modelyard_runtimes.dataset.archive import check_members
from modelyard_runtimes.tables.cells import native_cells, value_text
from modelyard_runtimes.tables.rows import TEXT, ReadFile, Unreadable, column_names


def read_parquet(name: str, data: bytes) -> ReadFile:
    """Return the rows of a Parquet file.

    Raises:
        Unreadable: it is truncated or damaged.
    """
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read()
    except (pa.ArrowException, OSError) as error:
        detail = "the Parquet file is truncated or damaged; write it again"
        raise Unreadable("BrokenParquet", detail) from error
    names, renamed = column_names(table.column_names)
    columns = [native_cells(table.column(position)) for position in range(table.num_columns)]
    return ReadFile(name, pa.table(columns, names=names), notes=["Parquet", *renamed])


def read_workbook(name: str, data: bytes) -> Iterator[ReadFile]:
    """Yield the rows of each sheet of an XLSX file; the first row that is not empty is the header.

    Raises:
        Unreadable: it is damaged, or would grow too large.
    """
    # Loading openpyxl takes a third of a second, which only workbooks have to pay.
    import openpyxl  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_members(archive)
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheets = [(sheet.title, _sheet_cells(sheet)) for sheet in book.worksheets]
    except Unreadable:
        raise
    except Exception as error:  # openpyxl lets any error of zip, XML and dates through
        detail = "the workbook is damaged; save it again as XLSX"
        raise Unreadable("BrokenWorkbook", detail) from error
    for title, rows in sheets:
        filled = [row for row in rows if any(cell is not None for cell in row)]
        label = name if len(sheets) == 1 else f"{name}#{title}"
        if filled:
            yield _read_sheet(label, filled)
        else:
            yield ReadFile(label, pa.table({}), notes=["the sheet is empty"])


def _sheet_cells(sheet: Any) -> list[tuple[Any, ...]]:
    # The extent that a sheet declares may be far larger than its cells.
    sheet.reset_dimensions()
    return list(sheet.iter_rows(values_only=True))


def _read_sheet(name: str, rows: list[tuple[Any, ...]]) -> ReadFile:
    width = max(
        position + 1 for row in rows for position, cell in enumerate(row) if cell is not None
    )
    header, *body = [(*row, *[None] * width)[:width] for row in rows]
    names, renamed = column_names(map(value_text, header))
    columns = [
        pa.array([value_text(row[position]) for row in body], TEXT) for position in range(width)
    ]
    return ReadFile(name, pa.table(columns, names=names), notes=["XLSX sheet", *renamed])
