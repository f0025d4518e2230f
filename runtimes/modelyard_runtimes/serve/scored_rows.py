"""Rows of an upload, some of which fit the model, as the lines that answer them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
import orjson
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv as pv  # type: ignore[import-untyped]

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.serve.http import RequestError
from modelyard_runtimes.serve.stream import Answer
from modelyard_runtimes.serve.upload_format import Watch
from modelyard_runtimes.tables.inputs import Marks
from modelyard_runtimes.tables.rows import TEXT
from modelyard_runtimes.tables.scoring import CACHED_ROWS, ROW, TableModel

ERROR = "error"
MAX_LINE = 1024 * 1024
"""Characters of a line: one row, be it one of thousands of features."""
_MOST_CELLS = 1 << 18
"""Cells that are answered at a time, so that many classes take no more memory than two."""

T = TypeVar("T")


class ScoredRows(NamedTuple):
    """Some rows and what the model says of those that fit.

    Attributes:
        line: Number of the line of the first of them, from 1.
        fits: Which of them fit.
        values: Probabilities or a value for each that does.
        faults: What is wrong with each that does not, by its position here.
    """

    line: int
    fits: Marks
    values: Floats
    faults: Mapping[int, str]


class RowScorer:
    """Scores the rows of one upload.

    Attributes:
        model: The model.
        most: How many rows are scored at a time.
        watch: Calls what asks the model, and remembers whether that fails.
    """

    def __init__(self, model: TableModel, watch: Watch, count: Callable[[int], None]) -> None:
        """Start before the first row.

        Args:
            model: The model.
            watch: Calls what asks the model, and remembers whether that fails.
            count: Called with the number of rows that were predicted.
        """
        self.model = model
        self.most = max(1, min(CACHED_ROWS, _MOST_CELLS // len(model.names)))
        self.watch = watch
        self._count = count
        self._rows = 0

    def csv(self, rows: ScoredRows) -> Answer:
        """Return the lines of some rows as CSV, the first ones with the header.

        Raises:
            RequestError: none of the first rows fits.
        """
        first = self._next(rows)
        numbers = pa.array(np.arange(first, first + len(rows.fits), dtype=np.int64))
        places = np.cumsum(rows.fits) - 1
        places = pa.array(np.maximum(places, 0), mask=~rows.fits)
        errors = [rows.faults.get(at) for at in range(len(rows.fits))] if rows.faults else None
        columns = [
            numbers,
            *(column.take(places) for column in self.model.columns(rows.values)),
            pa.nulls(len(rows.fits), TEXT) if errors is None else pa.array(errors, TEXT),
        ]
        sink = io.BytesIO()
        table = pa.table(columns, names=[ROW, *self.model.names, ERROR])
        pv.write_csv(table, sink, pv.WriteOptions(include_header=first == 0))
        return Answer(sink.getvalue(), len(rows.fits))

    def json(self, rows: ScoredRows) -> Answer:
        """Return the lines of some rows as JSON lines.

        Raises:
            RequestError: none of the first rows fits.
        """
        first = self._next(rows)
        names = (ROW, *self.model.names)
        columns = [column.to_pylist() for column in self.model.columns(rows.values)]
        numbers = (np.flatnonzero(rows.fits) + first).tolist()
        found = [dict(zip(names, row, strict=True)) for row in zip(numbers, *columns, strict=True)]
        for at, fault in rows.faults.items():
            found.insert(at, {ROW: first + at, ERROR: fault})
        return Answer(b"".join([orjson.dumps(row) + b"\n" for row in found]), len(found))

    def _next(self, rows: ScoredRows) -> int:
        """Return the number of the first of some rows, and count them."""
        first, fitting = self._rows, int(rows.fits.sum())
        if first == 0 and not fitting:
            rest = f"; none of the first {len(rows.fits)} rows fits" if len(rows.fits) > 1 else ""
            raise RequestError(400, f"line {rows.line}: {rows.faults[0]}{rest}")
        self._rows += len(rows.fits)
        self._count(fitting)
        return first


def check_line(length: int, number: int) -> None:
    """Check that a line is not too long.

    Args:
        length: Its length, or that of what has come of it.
        number: Its number, from 1.

    Raises:
        RequestError: it is.
    """
    if length > MAX_LINE:
        raise RequestError(
            413,
            f"line {number} is longer than {MAX_LINE >> 20} MiB; end each row with a line feed",
        )
