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
from modelyard_runtimes.batch.typed import Misfit, typed_inputs
from modelyard_runtimes.dataset.jsonl import json_rows
from modelyard_runtimes.dataset.rows import TEXT
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model import Model
from modelyard_runtimes.model.format import category_text
from modelyard_runtimes.model.schema import Floats

ROW, LABEL, SCORE, PREDICTION = "row", "label", "score", "prediction"
LOWER, UPPER = "lower", "upper"
_CACHED_ROWS = 1 << 12
"""Rows that are scored at a time, so that their columns stay in the processor's cache."""


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
    """One model and the columns of its output; several threads may use it."""

    def __init__(self, model: Model, output: BatchOutput, source: Source | None) -> None:
        """Prepare.

        Args:
            model: The model.
            output: Which columns of the input stand beside each prediction, and the format.
            source: The declared source, for messages; None for a snapshot.

        Raises:
            RunFailure: an included column would have the name of a prediction.
        """
        self._model = model
        self._include = include = output.include
        self._format = output.format
        self._included: dict[str, pa.DataType] = {}
        self._field = field_of(source)
        self._names = _prediction_names(model)
        labels = pa.array(model.classes)
        self._labels = labels.cast(TEXT) if pa.types.is_string(labels.type) else labels
        self._required = [found.name for found in model.document.features if found.required]
        self.columns = frozenset([*model.schema.names, *include])
        for position, name in enumerate(include):
            if name in (ROW, *self._names):
                raise RunFailure(
                    "ColumnTaken",
                    f"spec.batch.output.include[{position}]: {name} is a column of the "
                    "predictions; rename that of the input",
                )

    def check(self, block: Block) -> None:
        """Check that rows have the columns that they must have, of types that can be written.

        Raises:
            RunFailure: one has not; it is named.
        """
        given = block.table.column_names
        for name in self._required:
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
        parts, misfits = [], [(0, lacks) for lacks in self._lacking(block)]
        for start in range(0, block.table.num_rows, _CACHED_ROWS):
            part = block.table.slice(start, _CACHED_ROWS)
            inputs, found = typed_inputs(self._model.schema, part)
            parts.append(self._model.predict_inputs(inputs))
            misfits += [(start, misfit) for misfit in (*found, *self._no_numbers(parts[-1]))]
        predicted = np.concatenate(parts) if parts else self._nothing()
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

    def _no_numbers(self, predicted: Floats) -> list[Misfit]:
        """Return the rows for which no label or value may stand."""
        finite = np.isfinite(predicted).reshape(len(predicted), -1)
        rows = np.logical_not(np.all(finite, axis=1), dtype=np.bool_)
        detail = "the model predicts NaN or infinity"
        return [Misfit(self._names[0], "PredictionNotFinite", detail, rows)] if rows.any() else []

    def _lacking(self, block: Block) -> list[Misfit]:
        """Return the rows that name their columns themselves and lack one that is required."""
        if block.absent is None:
            return []
        found, rows = [], block.table.num_rows
        for name in self._required:
            every = name not in block.table.column_names
            lacks = np.ones(rows, dtype=np.bool_) if every else block.absent.get(name)
            if lacks is not None and lacks.any():
                detail = "is missing; write it, null if it is not known"
                found.append(Misfit(name, "MissingValue", detail, lacks))
        return found

    def _nothing(self) -> Floats:
        return np.empty((0, len(self._model.classes)) if self._model.classes else 0)

    def _table(
        self, given: pa.Table, numbers: npt.NDArray[np.int64], predicted: Floats
    ) -> pa.Table:
        columns = [pa.array(numbers), *(given.column(name) for name in self._include)]
        columns += self._predictions(predicted)
        return pa.table(columns, names=[ROW, *self._include, *self._names])

    def _predictions(self, predicted: Floats) -> list[pa.Array]:
        classes = self._model.classes
        sure = self._model.document.conformal is not None
        if not classes:
            ends = self._model.interval(predicted) if sure else ()
            return [pa.array(values) for values in (predicted, *ends)]
        chosen = self._model.chosen(predicted)
        scores = np.take_along_axis(predicted, chosen[:, None], axis=1)[:, 0]
        each = [*predicted.T, *(self._model.are_plausible(predicted).T if sure else ())]
        columns = [pa.array(np.ascontiguousarray(column)) for column in each]
        return [self._labels.take(pa.array(chosen)), pa.array(scores), *columns]

    def _rejected(
        self, block: Block, first: int, misfits: Sequence[tuple[int, Misfit]]
    ) -> list[dict[str, Any]]:
        """Return each row with a misfit once, under the first of its reasons, without values."""
        at: dict[int, Misfit] = {}
        for start, misfit in misfits:
            for position in np.flatnonzero(misfit.rows).tolist():
                at.setdefault(start + position, misfit)
        positions = sorted(at)
        kept = json_rows(block.table.select(self._include).take(pa.array(positions, pa.int64())))
        if not self._include:
            kept = [{} for _ in positions]
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


def _prediction_names(model: Model) -> list[str]:
    sure = model.document.conformal is not None
    if not model.classes:
        return [PREDICTION, LOWER, UPPER] if sure else [PREDICTION]
    prefixes = ["probability", "plausible"] if sure else ["probability"]
    texts = [category_text(one) for one in model.classes]
    return [LABEL, SCORE, *(f"{prefix}_{text}" for prefix in prefixes for text in texts)]


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
