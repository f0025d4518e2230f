"""Cells of any container as texts, equal to those of the same values in a CSV file."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from modelyard_runtimes.model.format import category_text
from modelyard_runtimes.tables.rows import MOMENT, NATIVE, TEXT


def cell_text(value: Any) -> str | None:
    """Return the text of a typed value: whole floats as integers, nested values as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return category_text(value)


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
    if pa.types.is_float16(kind):  # few functions of Arrow know it
        return _float_texts(column.cast(pa.float32()))
    if pa.types.is_floating(kind):
        return _float_texts(column)
    if pa.types.is_timestamp(kind):
        return _moments(column).cast(TEXT)
    if pa.types.is_nested(kind) or pa.types.is_time(kind) or _holds_bytes(kind):
        return pa.chunked_array([pa.array(map(value_text, column.to_pylist()), TEXT)])
    return column.cast(TEXT)


def _holds_bytes(kind: pa.DataType) -> bool:
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def text_table(table: pa.Table) -> pa.Table:
    """Return all columns of a table as texts."""
    return pa.table([column_texts(column) for column in table.columns], names=table.column_names)


def _float_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return floats as the texts of categories, NaN as missing."""
    size = pc.abs(column)
    whole = pc.and_(pc.equal(column, pc.trunc(column)), pc.less(size, 2.0**53))
    plain = pc.and_(pc.greater_equal(size, 1e-4), pc.less(size, 1e10))
    integers = (
        pc.if_else(whole, column, pa.scalar(None, column.type))
        .cast(pa.float64())
        .cast(pa.int64())
        .cast(TEXT)
    )
    texts = pc.if_else(whole, integers, column.cast(TEXT))
    texts = pc.if_else(pc.is_nan(column), pa.scalar(None, TEXT), texts)
    return _with_powers(texts, column, pc.or_(pc.or_(whole, plain), pc.is_nan(column)))


def _with_powers(
    texts: pa.ChunkedArray, column: pa.ChunkedArray, alike: pa.ChunkedArray
) -> pa.ChunkedArray:
    """Return texts with those anew that Arrow writes by powers of ten, or otherwise than Python."""
    places = np.flatnonzero(~pc.fill_null(alike, True).to_numpy())
    if not places.size:
        return texts
    found = texts.to_numpy()
    found[places] = [category_text(value) for value in column.to_numpy()[places]]
    return pa.chunked_array([pa.array(found, TEXT)])


def _moments(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return timestamps in UTC; what is finer than a microsecond is cut off."""
    moments = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
    return moments.cast(MOMENT)


def value_text(value: Any) -> str | None:
    """Return the text of a value of a container that has more types than JSON."""
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
