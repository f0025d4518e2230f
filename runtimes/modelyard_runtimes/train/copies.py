"""Finds rows that equal others: a copy on the other side of a split measures memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from modelyard_runtimes.train.task import Rows

MIN_DIFFERENT = 50
TELLING = 0.3
"""Rows are equal by chance unless a column has this share of different values."""


def originals(table: pa.Table, rows: Rows) -> Rows:
    """Return for each of these rows the place, among them, of the first one that equals it.

    Where rows may well be equal by chance, as in a table of few categories, each is its own.
    """
    keys, tells = _row_keys(table)
    if not tells:
        return np.arange(len(rows))
    _, first, inverse = np.unique(keys[rows], return_index=True, return_inverse=True)
    return np.asarray(first[inverse], dtype=np.intp)


def _row_keys(table: pa.Table) -> tuple[Rows, bool]:
    """Return a number for each row, equal for equal rows, and whether equality tells something."""
    keys = np.zeros(table.num_rows, dtype=np.int64)
    most = 0
    for name in table.column_names:
        codes = _codes(table.column(name))
        most = max(most, int(codes.max()) + 1)
        _, keys = np.unique(keys * (int(codes.max()) + 1) + codes, return_inverse=True)
        if int(keys.max()) + 1 == table.num_rows:  # no two are equal, whatever else they hold
            return keys, False
    different = int(keys.max()) + 1
    return keys, different >= MIN_DIFFERENT and most >= TELLING * different


def _codes(column: Any) -> Any:
    """Return the position of each value among the different ones; 0 where it is missing."""
    encoded = pc.dictionary_encode(column.combine_chunks())
    return np.asarray(pc.fill_null(pc.add(encoded.indices, 1), 0), dtype=np.int64)
