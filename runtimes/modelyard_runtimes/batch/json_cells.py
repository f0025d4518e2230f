"""Included columns as JSON can hold them: beside predictions, and of rows that are set apart."""

from __future__ import annotations

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from modelyard_runtimes.tables.cells import native_cells
from modelyard_runtimes.tables.rows import TEXT

EXACT_DIGITS = 15
"""So many digits of a decimal number a 64-bit float holds, whatever they are."""


def json_cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as JSON can hold it: as numbers where these lose nothing, else as texts.

    Numbers that are not finite are missing there.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return json_cells(column.cast(kind.value_type))
    if isinstance(kind, pa.BaseExtensionType):
        return json_cells(column.cast(kind.storage_type))
    if kind == pa.uint64():
        return column
    if _is_short(kind):
        # By way of its shortest text, so that a 32-bit 0.1 is not 0.10000000149011612.
        return _finite(column.cast(TEXT).cast(pa.float64()))
    cells = native_cells(column)
    return _finite(cells) if pa.types.is_floating(cells.type) else cells


def _is_short(kind: pa.DataType) -> bool:
    """Return whether a 64-bit float holds every number of a type, though it has a type of its own.

    The type decides and not the numbers, so that all files of the output are alike.
    """
    if pa.types.is_decimal(kind):
        return bool(kind.precision <= EXACT_DIGITS)
    return bool(pa.types.is_float16(kind) or pa.types.is_float32(kind))


def _finite(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.is_finite(cells), cells, pa.scalar(None, cells.type))
