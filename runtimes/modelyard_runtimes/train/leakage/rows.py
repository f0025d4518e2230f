"""Finds rows that stand on both sides of the split, and columns that tell rows apart by number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from modelyard_runtimes.model.schema import InputSchema
from modelyard_runtimes.train.leakage.finding import Finding
from modelyard_runtimes.train.snapshot import Snapshot
from modelyard_runtimes.train.task import Rows

MIN_ROWS = 50
DENSE = 1.05
"""Whole numbers, each once, count rows where they span no more than this many times the rows."""
NEARLY_UNIQUE = 0.95
PRESENT = 0.5
TELLING = 0.3
"""Rows may repeat by chance unless a column has this share of different values."""


def identifiers(snapshot: Snapshot, schema: InputSchema) -> Iterator[Finding]:
    """Yield each feature that numbers or names rows."""
    for feature in schema.features:
        column = snapshot.table.column(feature.name)
        if feature.type == "Numeric" and _numbers_rows(column):
            what = "numbers the rows"
        elif feature.type == "Categorical" and _names_rows(column):
            what = "has another value in nearly every row"
        else:
            continue
        yield Finding(
            (feature.name,),
            f"Column {feature.name!r} {what}, so a model learns rows by heart or the order in "
            "which they were written. List it in spec.features.exclude; if it means something, "
            "in spec.leakage.accept.",
        )


def repeated_rows(snapshot: Snapshot, kept: Rows, held: Rows, limit: float) -> Iterator[Finding]:
    """Yield a finding when more than a share of the holdout's rows are rows of the search too."""
    keys, telling = _row_keys(snapshot.table)
    if not telling:
        return
    share = float(np.isin(keys[held], keys[kept]).mean())
    if share > limit:
        yield Finding(
            (),
            f"{100 * share:.3g} % of the holdout's rows stand among the rows of the search as "
            "well, so the holdout measures memory. Set them apart by an expectation of type "
            "NoDuplicateRows with onFail Quarantine in spec.expectations of the Dataset; if they "
            "are different events, raise spec.leakage.maxRepeatedRows.",
        )


def _numbers_rows(column: Any) -> bool:
    rows = len(column)
    if rows < MIN_ROWS or column.null_count:
        return False
    values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy())
    if np.ptp(values) + 1 > DENSE * rows or not np.array_equal(values, np.floor(values)):
        return False
    return len(np.unique(values)) == rows


def _names_rows(column: Any) -> bool:
    present = len(column) - column.null_count
    if present < max(MIN_ROWS, PRESENT * len(column)):
        return False
    return bool(pc.count_distinct(column).as_py() > NEARLY_UNIQUE * present)


def _row_keys(table: pa.Table) -> tuple[Rows, bool]:
    """Return a number for each row, equal for equal rows, and whether equality tells something.

    In a table of few categories rows are equal by chance.
    """
    keys = np.zeros(table.num_rows, dtype=np.int64)
    most = 0
    for name in table.column_names:
        codes = _codes(table.column(name))
        most = max(most, int(codes.max()) + 1)
        _, keys = np.unique(keys * (int(codes.max()) + 1) + codes, return_inverse=True)
    distinct = int(keys.max()) + 1
    return keys, distinct >= MIN_ROWS and most >= TELLING * distinct


def _codes(column: Any) -> Any:
    """Return the position of each value among the different ones; 0 where it is missing."""
    encoded = pc.dictionary_encode(column.combine_chunks())
    return np.asarray(pc.fill_null(pc.add(encoded.indices, 1), 0), dtype=np.int64)
