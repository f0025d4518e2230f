"""Gives every column its type, declared or inferred, and sets rows apart that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from modelyard.api.dataset import ColumnSchema, ColumnType, DatasetSpec

from modelyard_runtimes.dataset.canonical import joined
from modelyard_runtimes.dataset.convert import (
    Conversion,
    to_booleans,
    to_moments,
    to_numbers,
)
from modelyard_runtimes.dataset.native import infer_native
from modelyard_runtimes.dataset.scales import MOST_STEPS, order_of
from modelyard_runtimes.dataset.types import Column, Inferred, infer
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.tables.cells import column_texts
from modelyard_runtimes.tables.rows import TEXT
from modelyard_runtimes.threads import in_threads

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
            order = tuple(column.order or ())
            types[column.name] = Inferred(column.type, "declared in spec.schema", order)
        elif column.required:
            raise RunFailure(
                "MissingColumn",
                f"spec.schema.columns[name={column.name}]: the source has no such column; correct "
                f"the name or set required: false. It has {', '.join(columns[:50])}",
            )
    return types


def check_orders(spec: DatasetSpec) -> None:
    """Check the declared orders.

    Raises:
        RunFailure: a value stands there twice, or no cell is ever read as it.
    """
    nulls = set(spec.source.null_values)
    for column in spec.schema_.columns:
        field, order = f"spec.schema.columns[name={column.name}].order", column.order or []
        for value in order:
            if order.count(value) > 1:
                problem = "stands there twice; remove one"
            elif value != value.strip():
                problem = "has blanks around it, which cells lose when they are read; remove them"
            elif value in nulls or not value:
                problem = "means a missing value; remove it there or from spec.source.nullValues"
            else:
                continue
            raise RunFailure("InvalidOrder", f"{field}: {value!r} {problem}")


class _Found(NamedTuple):
    """The values of a column, their type, and where a cell does not fit it."""

    values: pa.Array
    type: Inferred
    misfit: npt.NDArray[np.bool_]


def apply_types(table: pa.Table, declared: dict[str, Inferred]) -> Typed:
    """Return the columns of a merged table as typed values."""
    names = table.column_names
    columns = in_threads(lambda name: _apply(name, table.column(name), declared.get(name)), names)
    found = dict(zip(names, columns, strict=True))
    return Typed(
        pa.table([column.values for column in columns], names=names),
        {name: column.type for name, column in found.items()},
        {name: column.misfit for name, column in found.items() if column.misfit.any()},
    )


def _apply(name: str, cells: pa.ChunkedArray, declared: Inferred | None) -> _Found:
    fits = np.zeros(len(cells), dtype=np.bool_)
    if cells.type != TEXT:
        native = infer_native(name, joined(cells), declared)
        if native is not None:
            return _Found(*native, fits)
    texts = joined(column_texts(cells))
    if declared is not None and declared.type not in (*PARSERS, "Ordinal"):
        return _Found(texts, declared, fits)
    encoded = texts.dictionary_encode()
    type_ = declared or infer(_column_of(name, encoded))
    if type_.type == "Ordinal":
        return _ordered(name, texts, type_, encoded.dictionary)
    parser = PARSERS.get(type_.type)
    if parser is None:
        return _Found(texts, type_, fits)
    values = parser(encoded.dictionary).values.take(encoded.indices)
    misfit = pc.and_(pc.is_null(values), pc.is_valid(encoded))
    return _Found(values, type_, misfit.to_numpy(zero_copy_only=False))


def _ordered(name: str, texts: pa.Array, type_: Inferred, distinct: pa.Array) -> _Found:
    """Return a column whose values have an order; none but these fit.

    Raises:
        RunFailure: neither does the spec tell the order, nor is it a known one.
    """
    few = len(distinct) <= MOST_STEPS
    order = type_.order or (order_of(distinct.to_pylist(), least=2) if few else ())
    if not order:
        raise RunFailure(
            "UnknownOrder",
            f"spec.schema.columns[name={name}].order: the values of the column tell none, they are "
            "no steps of a scale that is known; list all of them, the lowest first",
        )
    known = pc.is_in(texts, value_set=pa.array(order, TEXT))
    misfit = pc.and_(pc.invert(known), pc.is_valid(texts)).to_numpy(zero_copy_only=False)
    return _Found(texts, type_._replace(order=order), misfit)


def _column_of(name: str, encoded: pa.DictionaryArray) -> Column:
    indices = encoded.indices.drop_null().to_numpy(zero_copy_only=False)
    counts = np.bincount(indices, minlength=len(encoded.dictionary)).astype(np.int64)
    return Column(name, encoded.dictionary, counts)
