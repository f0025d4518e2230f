"""Finds tables of many copies, and columns that tell rows apart by number."""

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
WORTH_TELLING = 0.01
"""Share of copies that a reader of the model card should know of."""


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


def repeated_rows(original: Rows, limit: float) -> Iterator[Finding]:
    """Yield a finding when more than a share of the rows are copies of others.

    Args:
        original: For each row the first one that equals it.
        limit: The share.
    """
    share = _copied(original)
    if share > limit:
        yield Finding(
            (),
            f"{100 * share:.3g} % of the rows are copies of others, so the data hold less than "
            "they seem to. Set them apart by an expectation of type NoDuplicateRows with onFail "
            "Quarantine in spec.expectations of the Dataset; if they are different events, raise "
            "spec.leakage.maxRepeatedRows.",
        )


def kept_together(original: Rows) -> Iterator[str]:
    """Yield what a reader of the model card must know of copies."""
    share = _copied(original)
    if share >= WORTH_TELLING:
        yield (
            f"{100 * share:.3g} % of the rows are copies of others; each stands on the same side "
            "of the split, and in the same fold, as what it copies."
        )


def _copied(original: Rows) -> float:
    return float(np.mean(original != np.arange(len(original))))


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
