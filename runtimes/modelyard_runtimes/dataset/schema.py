"""Gives every column its type, declared or inferred, and sets rows apart that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from modelyard.api.dataset import ColumnSchema, ColumnType

from modelyard_runtimes.dataset.convert import (
    Conversion,
    to_booleans,
    to_moments,
    to_numbers,
)
from modelyard_runtimes.dataset.types import Column, Inferred, infer
from modelyard_runtimes.entry import RunFailure

PARSERS: dict[ColumnType, Callable[[pa.Array], Conversion]] = {
    "Numeric": to_numbers,
    "Boolean": to_booleans,
    "Datetime": to_moments,
}
"""How texts become values, for the types that are not texts."""


class Typed(NamedTuple):
    """A table of typed columns.

    Attributes:
        table: Numeric as int64 or float64, Boolean as bool, Datetime as timestamps in UTC, all
            others as texts.
        types: Type and reason by column.
        misfits: By column, where a text does not fit the type; columns without misfits are absent.
    """

    table: pa.Table
    types: dict[str, Inferred]
    misfits: dict[str, npt.NDArray[np.bool_]]


def declared_types(
    columns: list[str], declared: list[ColumnSchema], of_source: dict[str, ColumnType]
) -> dict[str, Inferred]:
    """Return the types that need not be inferred.

    Raises:
        RunFailure: a required column is missing.
    """
    types = {name: Inferred(type_, "stated by the source") for name, type_ in of_source.items()}
    for column in declared:
        if column.name in columns:
            types[column.name] = Inferred(column.type, "declared in spec.schema")
        elif column.required:
            raise RunFailure(
                "MissingColumn",
                f"spec.schema.columns[name={column.name}]: the source has no such column; correct "
                f"the name or set required: false. It has {', '.join(columns[:50])}",
            )
    return types


def apply_types(table: pa.Table, declared: dict[str, Inferred]) -> Typed:
    """Return the columns of a table of texts as typed values."""
    columns, types, misfits = [], {}, {}
    for name in table.column_names:
        encoded = table.column(name).combine_chunks()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = pa.concat_arrays(encoded.chunks)
        encoded = encoded.dictionary_encode()
        types[name] = declared.get(name) or infer(_column_of(name, encoded))
        values, misfit = _typed(encoded, types[name].type)
        columns.append(values)
        if misfit.any():
            misfits[name] = misfit
    return Typed(pa.table(columns, names=table.column_names), types, misfits)


def _column_of(name: str, encoded: pa.DictionaryArray) -> Column:
    indices = encoded.indices.drop_null().to_numpy(zero_copy_only=False)
    counts = np.bincount(indices, minlength=len(encoded.dictionary)).astype(np.int64)
    return Column(name, encoded.dictionary, counts)


def _typed(
    encoded: pa.DictionaryArray, type_: ColumnType
) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Return the values of a column, and where a text did not fit."""
    parser = PARSERS.get(type_)
    if parser is None:
        return encoded.dictionary_decode(), np.zeros(len(encoded), dtype=np.bool_)
    values = parser(encoded.dictionary).values.take(encoded.indices)
    misfit = pc.and_(pc.is_null(values), pc.is_valid(encoded))
    return values, misfit.to_numpy(zero_copy_only=False)
