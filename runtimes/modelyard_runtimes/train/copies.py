"""Finds rows that equal others: a copy on the other side of a split measures memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from modelyard.api.experiment import ExperimentSpec

from modelyard_runtimes.train.snapshot import Snapshot
from modelyard_runtimes.train.task import Rows

MIN_DIFFERENT = 50
TELLING = 0.3
"""Rows are equal by chance unless a column has this share of different values."""
TELLING_ALONE = 0.9
"""The same of rows that an identifier tells apart: different people may well be alike."""
MOSTLY_DIFFERENT = 0.5
"""Share of such rows that are different without it; where there are fewer, they are no copies."""


def originals(snapshot: Snapshot, spec: ExperimentSpec, rows: Rows) -> Rows:
    """Return for each of these rows the place, among them, of the first one that equals it.

    Where rows may well be equal by chance, as in a table of few categories, each is its own. An
    identifier does not make a row another one, nor does an excluded column that is no time.

    Args:
        snapshot: The rows.
        spec: What is excluded from the features.
        rows: Positions of the rows that are asked for.
    """
    table = snapshot.table
    unseen = set(spec.features.exclude) - {spec.validation.time_column}
    named = {name for name, kind in snapshot.types.items() if kind == "Identifier"}
    passed_over = [name for name in table.column_names if name in named or name in unseen]
    if passed_over:
        keys, tells = _row_keys(table.drop_columns(passed_over), TELLING_ALONE)
        if tells and int(keys.max()) + 1 >= MOSTLY_DIFFERENT * len(keys):
            return _first_places(keys[rows])
    keys, tells = _row_keys(table, TELLING)
    return _first_places(keys[rows]) if tells else np.arange(len(rows))


def _first_places(keys: Rows) -> Rows:
    """Return for each key the place of the first one that equals it."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], dtype=np.intp)


def _row_keys(table: pa.Table, telling: float) -> tuple[Rows, bool]:
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
    return keys, different >= MIN_DIFFERENT and most >= telling * different


def _codes(column: Any) -> Any:
    """Return the position of each value among the different ones; 0 where it is missing."""
    encoded = pc.dictionary_encode(column.combine_chunks())
    return np.asarray(pc.fill_null(pc.add(encoded.indices, 1), 0), dtype=np.int64)
