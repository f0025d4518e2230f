"""Typed containers (Parquet, XLSX) as tables of texts, so that all containers compare alike.

Numbers, moments and truth values of Parquet stay as they are as long as that makes no difference.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from modelyard_runtimes.dataset.archive import check_members
from modelyard_runtimes.dataset.documents import cell_text
from modelyard_runtimes.dataset.rows import MOMENT, NATIVE, TEXT, ReadFile, Unreadable, column_names


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


def native_cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as one of NATIVE where it can be, else as texts."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return native_cells(column.cast(kind.value_type))
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return column.cast(pa.int64())
    if pa.types.is_timestamp(kind):
        return _moments(column)
    return column if kind in NATIVE else column_texts(column)


def column_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a typed column as texts, equal to those of the same values in a CSV file."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return column_texts(column.cast(kind.value_type))
    if pa.types.is_floating(kind):
        return _float_texts(column)
    if pa.types.is_timestamp(kind):
        return _moments(column).cast(TEXT)
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_time(kind):
        return pa.chunked_array([pa.array(map(_value_text, column.to_pylist()), TEXT)])
    return column.cast(TEXT)


def text_table(table: pa.Table) -> pa.Table:
    """Return all columns of a table as texts."""
    return pa.table([column_texts(column) for column in table.columns], names=table.column_names)


def _float_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return floats as texts: whole ones as integers, NaN as missing."""
    whole = pc.and_(pc.equal(column, pc.trunc(column)), pc.less(pc.abs(column), 2.0**53))
    integers = (
        pc.if_else(whole, column, pa.scalar(None, column.type))
        .cast(pa.float64())
        .cast(pa.int64())
        .cast(TEXT)
    )
    texts = pc.if_else(whole, integers, column.cast(TEXT))
    return pc.if_else(pc.is_nan(column), pa.scalar(None, TEXT), texts)


def _moments(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return timestamps in UTC; what is finer than a microsecond is cut off."""
    moments = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
    return moments.cast(MOMENT)


def _value_text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="backslashreplace")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, dict):
        return cell_text({key: _plain(item) for key, item in value.items()})
    return cell_text([_plain(item) for item in value] if isinstance(value, list) else value)


def _plain(value: Any) -> Any:
    """Return a nested value as JSON knows it."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


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
    names, renamed = column_names(map(_value_text, header))
    columns = [
        pa.array([_value_text(row[position]) for row in body], TEXT) for position in range(width)
    ]
    return ReadFile(name, pa.table(columns, names=names), notes=["XLSX sheet", *renamed])
