"""Columns of any container as the typed inputs of a model, as the model server reads them.

A value that the server would refuse is a misfit, and its row is rejected. Texts become numbers and
truth values only in the plain notation, for a batch sees its rows piece by piece and cannot tell a
decimal comma from a separator of thousands; a Dataset reads the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from modelyard.api.dataset import FALSE_TEXTS, TRUE_TEXTS

from modelyard_runtimes.model.columns import datetime_column
from modelyard_runtimes.model.errors import ValidationError
from modelyard_runtimes.model.format import FeatureSchema
from modelyard_runtimes.model.schema import (
    DATETIME_PARTS,
    Inputs,
    InputSchema,
    datetime_parts,
    steps,
)
from modelyard_runtimes.tables.cells import column_texts
from modelyard_runtimes.tables.rows import TEXT

Marks = npt.NDArray[np.bool_]

_NUMBER = r"\A[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\z"


class Misfit(NamedTuple):
    """Rows whose value in a column does not fit the model."""

    column: str
    reason: str
    detail: str
    rows: Marks


class _Values(NamedTuple):
    """What a column becomes, and which of its cells do not fit."""

    values: Any
    misfit: Marks | None = None
    detail: str = ""


def typed_inputs(schema: InputSchema, table: pa.Table) -> tuple[Inputs, list[Misfit]]:
    """Return the inputs of all rows, those with misfits with missing values in their place."""
    rows = table.num_rows
    numbers = np.empty((rows, len(schema.number_features)), dtype=np.float64)
    codes = np.empty((rows, len(schema.code_features)), dtype=np.int32)
    texts: list[Sequence[str]] = []
    misfits: list[Misfit] = []
    for feature, position in schema.places:
        found = _read(feature, table, rows)
        if feature.type == "Categorical":
            codes[:, position] = found.values
        elif feature.type == "Text":
            texts.append(found.values)
        elif feature.type == "Datetime":
            numbers[:, position : position + DATETIME_PARTS] = datetime_parts(found.values)
        else:
            numbers[:, position] = found.values
        if found.misfit is not None and found.misfit.any():
            misfits.append(Misfit(feature.name, "TypeMismatch", found.detail, found.misfit))
    misfits += _infinite(schema, numbers)
    return Inputs(numbers, codes, tuple(texts)), misfits


def _read(feature: FeatureSchema, table: pa.Table, rows: int) -> _Values:
    if feature.name not in table.column_names:  # one that is not required
        cells: pa.Array = pa.nulls(rows, TEXT)
    else:
        column = table.column(feature.name)
        cells = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return _READERS[feature.type](cells, feature)


def _infinite(schema: InputSchema, numbers: npt.NDArray[np.float64]) -> list[Misfit]:
    infinite = np.isinf(numbers)
    if not infinite.any():
        return []
    found = []
    for position in np.flatnonzero(infinite.any(axis=0)).tolist():
        rows = infinite[:, position]
        name = schema.features[schema.number_features[position]].name
        found.append(Misfit(name, "NotFinite", "must be finite", rows))
        numbers[rows, position] = np.nan
    return found


def _numbers(cells: pa.Array, feature: FeatureSchema) -> _Values:
    del feature
    kind = cells.type
    if pa.types.is_floating(kind) and kind.bit_width == 64:
        return _Values(cells.to_numpy(zero_copy_only=False))
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return _Values(cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    detail = "must be a number"
    if not _is_text(kind):
        return _Values(np.full(len(cells), np.nan), _given(cells), detail)
    plain = pc.match_substring_regex(cells, pattern=_NUMBER)
    fitting = pc.if_else(plain, pc.utf8_ltrim(cells, "+"), pa.scalar(None, TEXT))
    values = fitting.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return _Values(values, _misfits(cells, plain), f"{detail} in plain notation, such as -1234.5")


def _booleans(cells: pa.Array, feature: FeatureSchema) -> _Values:
    del feature
    kind, detail = cells.type, "must be true or false"
    if pa.types.is_boolean(kind):
        return _Values(cells.cast(pa.float64()).to_numpy(zero_copy_only=False))
    if _is_text(kind):
        lower = pc.utf8_lower(cells)
        true = pc.is_in(lower, value_set=pa.array(TRUE_TEXTS, TEXT))
        known = pc.or_(true, pc.is_in(lower, value_set=pa.array(FALSE_TEXTS, TEXT)))
        values = true.cast(pa.float64()).to_numpy(zero_copy_only=False)
    elif pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        numbers = cells.cast(pa.float64(), safe=False)
        values = numbers.to_numpy(zero_copy_only=False)
        known = pa.array((values == 0) | (values == 1) | np.isnan(values))
    else:
        return _Values(np.full(len(cells), np.nan), _given(cells), detail)
    unknown = _misfits(cells, known)
    missing = pc.is_null(cells).to_numpy(zero_copy_only=False)
    return _Values(np.where(unknown | missing, np.nan, values), unknown, detail)


def _categories(cells: pa.Array, feature: FeatureSchema) -> _Values:
    other = len(feature.categories)
    if pa.types.is_nested(cells.type):
        detail = "must be a text, a number or true or false"
        return _Values(np.full(len(cells), other + 1), _given(cells), detail)
    texts = column_texts(pa.chunked_array([cells])).combine_chunks()
    known = pc.index_in(texts, value_set=pa.array(feature.categories, TEXT))
    missing = pc.is_null(texts)
    codes = pc.if_else(missing, other + 1, pc.fill_null(known, other))
    return _Values(codes.to_numpy(zero_copy_only=False))


def _steps(cells: pa.Array, feature: FeatureSchema) -> _Values:
    found = _categories(cells, feature)
    return found._replace(values=steps(found.values, feature))


def _moments(cells: pa.Array, feature: FeatureSchema) -> _Values:
    kind = cells.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        zone = getattr(kind, "tz", None)
        moments = cells.cast(pa.timestamp("us", tz=zone), safe=False)
        values = np.asarray(moments.to_numpy(zero_copy_only=False), dtype="datetime64[us]")
        return _Values(datetime_column(feature.name, values))
    if not _is_text(kind):
        return _Values(np.full(len(cells), np.nan), _given(cells), "must be a date or time")
    encoded = cells.dictionary_encode()
    seconds = [_seconds(feature.name, text) for text in encoded.dictionary.to_pylist()]
    distinct = pa.array(seconds, pa.float64())
    values = distinct.take(encoded.indices).to_numpy(zero_copy_only=False)
    unreadable = np.isnan(values) & _given(cells)
    return _Values(values, unreadable, "must be a date or time in ISO 8601 form")


def _seconds(name: str, text: str) -> float | None:
    try:
        return float(datetime_column(name, [text])[0])
    except ValidationError:
        return None


def _texts(cells: pa.Array, feature: FeatureSchema) -> _Values:
    del feature
    if not _is_text(cells.type):
        return _Values([""] * len(cells), _given(cells), "must be a text")
    return _Values(pc.fill_null(cells, "").to_pylist())


_READERS = {
    "Numeric": _numbers,
    "Boolean": _booleans,
    "Ordinal": _steps,
    "Categorical": _categories,
    "Datetime": _moments,
    "Text": _texts,
}


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind))


def _given(cells: pa.Array) -> Marks:
    """Return which cells hold a value."""
    marks: Marks = pc.is_valid(cells).to_numpy(zero_copy_only=False)
    return marks


def _misfits(cells: pa.Array, fits: pa.Array) -> Marks:
    """Return which cells hold a value that does not fit."""
    unfit = pc.invert(pc.fill_null(fits, True))
    marks: Marks = unfit.to_numpy(zero_copy_only=False) & _given(cells)
    return marks
