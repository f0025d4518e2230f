"""Reads one column of untrusted values as one type.

Each reader takes a sequence (list, NumPy or Arrow array) and raises ValidationError for a value of
another type. Values are never quoted in errors: they may be personal data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.model.errors import ValidationError
from modelyard_runtimes.model.format import category_text

Floats = npt.NDArray[np.float64]
Values = Sequence[Any] | npt.NDArray[Any]

LARGEST_EXACT = 2**53
"""Each integer that is less is a float of its own."""


def as_columns(columns: Any) -> dict[str, Values]:
    """Return values by column of a mapping or of a pyarrow.Table."""
    if isinstance(columns, Mapping):
        return dict(columns)
    return {name: arrow_values(columns.column(name)) for name in columns.column_names}


def arrow_values(column: Any) -> Values:
    """Return the values of an Arrow column: NumPy where that loses nothing, else a list."""
    # A model server that gets JSON never needs Arrow.
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415

    kind = column.type
    if pa.types.is_floating(kind):
        return np.asarray(column.to_numpy(), dtype=np.float64)
    if pa.types.is_integer(kind) and _exceeds_floats(column):
        integers: Values = column.to_pylist() if column.null_count else column.to_numpy()
        return integers
    if pa.types.is_integer(kind):
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    if pa.types.is_decimal(kind):
        return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # Nanoseconds are cut off, as they are in a batch.
        whole = getattr(kind, "unit", "") != "ns"
        moments = column.cast(pa.timestamp("us", tz=getattr(kind, "tz", None)), safe=whole)
        return np.asarray(moments.to_numpy(), dtype="datetime64[us]")
    values: list[Any] = column.to_pylist()
    return values


def _exceeds_floats(integers: Any) -> bool:
    """Return whether there are integers of which two may be the same float."""
    import pyarrow.compute as pc  # type: ignore[import-untyped]  # noqa: PLC0415

    bounds = pc.min_max(integers).as_py().values()
    return any(bound is not None and abs(bound) >= LARGEST_EXACT for bound in bounds)


def numeric_column(name: str, values: Values) -> Floats:
    """Return numbers, NaN where missing.

    Raises:
        ValidationError: a value is no number, or is infinite.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        numbers = np.asarray(values, dtype=np.float64)
    else:
        for row, value in enumerate(values):
            if not _is_number(value):
                raise ValidationError(name, f"must be a number, not {_type_name(value)}", row)
        numbers = np.array([_float(value) for value in values], dtype=np.float64)
    infinite = np.isinf(numbers)
    if infinite.any():
        raise ValidationError(name, "must be finite", int(np.argmax(infinite)))
    return numbers


def boolean_column(name: str, values: Values) -> Floats:
    """Return 0, 1 and NaN for false, true (or the numbers 0 and 1) and missing.

    Raises:
        ValidationError: a value is none of these.
    """
    numbers = np.empty(len(values), dtype=np.float64)
    for row, value in enumerate(values):
        if _is_missing(value):
            numbers[row] = np.nan
        elif isinstance(value, bool | np.bool_ | int | float | np.number) and value in (0, 1):
            numbers[row] = float(value)
        else:
            raise ValidationError(name, f"must be true or false, not {_type_name(value)}", row)
    return numbers


def category_column(name: str, values: Values, lookup: Mapping[str, int]) -> npt.NDArray[np.int32]:
    """Return the code of each category; `len(lookup)` if unknown, one more if missing.

    Raises:
        ValidationError: a value is a list or an object.
    """
    other = len(lookup)
    if set(map(type, values)) <= _TEXTS:  # as most are; one by one takes eight times as long
        known: dict[Any, int] = {**lookup, None: other + 1}
        return np.fromiter((known.get(value, other) for value in values), np.int32, len(values))
    codes = np.empty(len(values), dtype=np.int32)
    for row, value in enumerate(values):
        if isinstance(value, str):
            codes[row] = lookup.get(value, other)
        elif _is_missing(value):
            codes[row] = other + 1
        elif isinstance(value, bool | np.bool_ | int | float | np.number):
            codes[row] = lookup.get(category_text(value), other)
        else:
            raise ValidationError(
                name, f"must be a text, a number or true or false, not {_type_name(value)}", row
            )
    return codes


def text_column(name: str, values: Values) -> list[str]:
    """Return texts, empty where missing.

    Raises:
        ValidationError: a value is no text.
    """
    texts: list[str] = []
    for row, value in enumerate(values):
        if isinstance(value, str):
            texts.append(value)
        elif _is_missing(value):
            texts.append("")
        else:
            raise ValidationError(name, f"must be a text, not {_type_name(value)}", row)
    return texts


def datetime_column(name: str, values: Values) -> Floats:
    """Return seconds since 1970 in UTC, NaN where missing; a time without zone counts as UTC.

    Raises:
        ValidationError: a value is no RFC 3339 text and no datetime.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        moments = values.astype("datetime64[us]")
        seconds = moments.astype(np.int64) / 1e6
        seconds[np.isnat(moments)] = np.nan
        return np.asarray(seconds, dtype=np.float64)
    return np.array([_seconds(name, row, value) for row, value in enumerate(values)], np.float64)


def _seconds(name: str, row: int, value: Any) -> float:
    if _is_missing(value):
        return math.nan
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValidationError(name, "must be a date or time in ISO 8601 form", row) from None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    raise ValidationError(name, f"must be a date or time, not {_type_name(value)}", row)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool | np.bool_):
        return False
    return value is None or isinstance(value, int | float | np.number)


def _float(value: Any) -> float:
    if value is None:
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


_TEXTS = {str, type(None)}
_JSON_NAMES = {bool: "a boolean", str: "a text", list: "a list", dict: "an object"}


def _type_name(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "a boolean"
    if isinstance(value, int | float | np.number):
        return "this number"
    return _JSON_NAMES.get(type(value), type(value).__name__)
