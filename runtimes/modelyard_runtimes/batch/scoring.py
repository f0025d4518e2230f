"""Scores a block of rows with the packed model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
from modelyard.api.dataset import Source
from modelyard.api.deployment import BatchOutput

from modelyard_runtimes.batch.blocks import Block
from modelyard_runtimes.batch.files import field_of
from modelyard_runtimes.batch.json_cells import json_cells
from modelyard_runtimes.dataset.jsonl import json_rows
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model import Model
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.tables.inputs import Misfit
from modelyard_runtimes.tables.scoring import ROW, TableModel, first_misfits


class Scored(NamedTuple):
    """What became of some rows of the input.

    Attributes:
        table: Their number, the included columns and the prediction of those that fit the model.
        rejected: The others, as JSON objects, each with its reason.
        read: How many rows there were.
    """

    table: pa.Table
    rejected: Sequence[dict[str, Any]]
    read: int


class Scorer:
    """One model and the columns of its output; several threads may use it.

    Attributes:
        columns: Names of the columns of the input that matter.
        begun: Whether a block was checked of a file that could be read.
    """

    def __init__(self, model: Model, output: BatchOutput, source: Source | None) -> None:
        """Prepare.

        Args:
            model: The model.
            output: Which columns of the input stand beside each prediction, and the format.
            source: The declared source, for messages; None for a snapshot.

        Raises:
            RunFailure: an included column would have the name of a prediction.
        """
        self._model = TableModel(model)
        self._include = include = output.include
        self._format = output.format
        self._included: dict[str, pa.DataType] = {}
        self._field = field_of(source)
        self.columns = frozenset([*model.schema.names, *include])
        self.begun = False
        for position, name in enumerate(include):
            if name in (ROW, *self._model.names):
                raise RunFailure(
                    "ColumnTaken",
                    f"spec.batch.output.include[{position}]: {name} is a column of the "
                    "predictions; rename that of the input",
                )

    def check(self, block: Block) -> None:
        """Check that rows have the columns that they must have, of types that can be written.

        What has neither columns nor rows is passed over: a hidden file of an archive, an empty
        sheet, or a file that is set apart whole.

        Raises:
            RunFailure: one has not; it is named.
        """
        self.begun = self.begun or not block.is_void or block.absent is not None
        if block.is_void:
            return
        given = block.table.column_names
        for name in self._model.required:
            if name not in given and block.absent is None:
                raise RunFailure(
                    "MissingColumn",
                    f"{self._field}: {block.file} has no column {name}, which the model needs; "
                    "add it",
                )
        for position, name in enumerate(self._include):
            if name not in given:
                raise RunFailure(
                    "MissingColumn",
                    f"spec.batch.output.include[{position}]: {block.file} has no column {name}; "
                    "correct the name",
                )
            kind = block.table.schema.field(name).type
            if self._format == "CSV" and pa.types.is_nested(kind):
                shape = str(kind).partition("<")[0]  # without the types of what it holds
                raise RunFailure(
                    "UnsupportedType",
                    f"spec.batch.output.include[{position}]: {name} is a {shape}; CSV cannot "
                    "hold it; use Parquet or JSONL",
                )
            known = self._included.setdefault(name, kind)
            if kind != known:
                raise RunFailure(
                    "MixedTypes",
                    f"spec.batch.output.include[{position}]: {name} is {kind} in {block.file} and "
                    f"{known} in a file before; write it alike",
                )

    def score(self, block: Block, first: int) -> Scored:
        """Return the predictions of a block whose first row has this number in the input."""
        predicted, misfits = self._model.predict(block.table)
        misfits = [*((0, lacks) for lacks in self._lacking(block)), *misfits]
        numbers = np.arange(first, first + block.table.num_rows, dtype=np.int64)
        rejected = self._rejected(block, first, misfits)
        table = self._table(block.table, numbers, predicted)
        if misfits:
            table = table.filter(pa.array(_fitting(block.table.num_rows, misfits)))
        return Scored(
            table,
            [*_no_rows(block), *rejected],
            block.table.num_rows + len(block.rejected),
        )

    def _lacking(self, block: Block) -> list[Misfit]:
        """Return the rows that name their columns themselves and lack one that is required."""
        if block.absent is None:
            return []
        found, rows = [], block.table.num_rows
        for name in self._model.required:
            every = name not in block.table.column_names
            lacks = np.ones(rows, dtype=np.bool_) if every else block.absent.get(name)
            if lacks is not None and lacks.any():
                detail = "is missing; write it, null if it is not known"
                found.append(Misfit(name, "MissingValue", detail, lacks))
        return found

    def _table(
        self, given: pa.Table, numbers: npt.NDArray[np.int64], predicted: Floats
    ) -> pa.Table:
        # Only what is void lacks an included column.
        nothing = pa.nulls(0)
        names = given.column_names
        included = (given.column(name) if name in names else nothing for name in self._include)
        columns = [pa.array(numbers), *included]
        columns += self._model.columns(predicted)
        return pa.table(columns, names=[ROW, *self._include, *self._model.names])

    def _rejected(
        self, block: Block, first: int, misfits: Sequence[tuple[int, Misfit]]
    ) -> list[dict[str, Any]]:
        """Return each row with a misfit once, under the first of its reasons, without values."""
        at = first_misfits(misfits)
        positions = list(at)
        kept = self._kept(block.table, positions)
        return [
            {
                "row": first + position,
                "file": block.file,
                "column": at[position].column,
                "reason": at[position].reason,
                "detail": at[position].detail,
                **({"include": values} if values else {}),
            }
            for position, values in zip(positions, kept, strict=True)
        ]

    def _kept(self, given: pa.Table, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Return the included columns of some rows, as the output in JSON has them."""
        if not self._include or not positions:
            return [{} for _ in positions]
        rows = given.select(self._include).take(pa.array(positions, pa.int64()))
        return json_rows(pa.table(list(map(json_cells, rows.columns)), names=self._include))


def _fitting(rows: int, misfits: Sequence[tuple[int, Misfit]]) -> npt.NDArray[np.bool_]:
    fits = np.ones(rows, dtype=np.bool_)
    for start, misfit in misfits:
        fits[start : start + len(misfit.rows)] &= ~misfit.rows
    return fits


def _no_rows(block: Block) -> list[dict[str, Any]]:
    """Return what is no row at all; its text may be personal data, so it is not repeated."""
    return [
        {
            "file": found.file,
            **({"line": found.line} if found.line is not None else {}),
            "reason": found.reason,
            "detail": found.detail,
        }
        for found in block.rejected
    ]
