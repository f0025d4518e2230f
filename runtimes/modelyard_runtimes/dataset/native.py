"""Cells that a typed container gave a type already, taken as they are where texts say the same.

A Parquet file and a CSV file with the same rows have to become the same snapshot. So a column is
taken natively only where the way over its texts would end at these values, this type and this
reason; reading numbers from texts takes many times longer than all the rest.
"""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from modelyard_runtimes.dataset.convert import EXACT, MOMENTS, NUMBERS
from modelyard_runtimes.dataset.types import ALL_BOOLEAN, Inferred, infer_numbers
from modelyard_runtimes.tables.rows import MOMENT, TEXT

_FIRST, _LAST = datetime(1677, 9, 22), datetime(2262, 4, 11)
"""Moments that pandas reads from texts."""


def infer_native(
    name: str, cells: pa.Array, declared: Inferred | None
) -> tuple[pa.Array, Inferred] | None:
    """Return values and type of a column of one of NATIVE; None where only its texts can tell.

    Args:
        name: Name of the column.
        cells: Its cells.
        declared: Its type, where that need not be inferred.
    """
    values = _exact(cells)
    if values is None or values.null_count == len(values):
        return None
    inferred = _inferred(name, values)
    if declared is None:
        return (values.cast(TEXT) if inferred.type == "Identifier" else values), inferred
    natural = "Numeric" if inferred.type == "Identifier" else inferred.type
    return (values, declared) if declared.type == natural else None


def _inferred(name: str, values: pa.Array) -> Inferred:
    count = len(values) - values.null_count
    if pa.types.is_boolean(values.type):
        return Inferred("Boolean", ALL_BOOLEAN)
    if values.type == MOMENT:
        return Inferred("Datetime", f"all {count} values are {MOMENTS[0].label}")
    return infer_numbers(
        name,
        f"all {count} values are {NUMBERS[0].label}",
        whole=pa.types.is_integer(values.type),
        rows=count,
        distinct=lambda: int(pc.count_distinct(values).as_py()),
    )


def _exact(cells: pa.Array) -> pa.Array | None:
    """Return the values that the texts of cells would be read as, if they are these cells."""
    if pa.types.is_floating(cells.type):
        return _exact_floats(cells)
    low, high = (limit.as_py() for limit in pc.min_max(cells).values())
    if low is None or pa.types.is_boolean(cells.type):
        return cells
    if cells.type == MOMENT:
        return cells if low >= _FIRST and high <= _LAST else None
    return cells


def _exact_floats(cells: pa.Array) -> pa.Array | None:
    """Return finite numbers, as integers where all are whole; NaN is missing."""
    values = pc.add(pc.if_else(pc.is_nan(cells), pa.scalar(None, cells.type), cells), 0.0)
    if not pc.all(pc.is_finite(values)).as_py():
        return None
    if not pc.all(pc.equal(values, pc.trunc(values))).as_py():
        return values
    small = pc.all(pc.less(pc.abs(values), float(EXACT))).as_py()
    return values.cast(pa.int64()) if small else None
