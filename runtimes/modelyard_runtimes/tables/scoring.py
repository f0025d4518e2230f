"""A model that scores tables of any size: columns in, columns of predictions out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from modelyard_runtimes.model import Model
from modelyard_runtimes.model.format import category_text
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.tables.inputs import Marks, Misfit, typed_inputs
from modelyard_runtimes.tables.rows import TEXT

ROW, LABEL, SCORE, PREDICTION = "row", "label", "score", "prediction"
LOWER, UPPER = "lower", "upper"
CACHED_ROWS = 1 << 12
"""Rows that are scored at a time, so that their columns stay in the processor's cache."""
NOT_FINITE = "the model predicts NaN or infinity"
"""What is wrong with a row for which no label or value may stand."""


class Predicted(NamedTuple):
    """What a model says of some rows.

    Attributes:
        values: Probabilities or a value for each of them; of no use where one does not fit.
        misfits: Rows that do not fit, each with the number of the row that its marks begin with.
    """

    values: Floats
    misfits: Sequence[tuple[int, Misfit]]


class TableModel:
    """A packed model; several threads may use it.

    Attributes:
        model: The model.
        names: Names of the columns of a prediction.
        required: Names of the columns that a table must have.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.names = _prediction_names(model)
        self.required = [found.name for found in model.document.features if found.required]
        labels = pa.array(model.classes)
        self._labels = labels.cast(TEXT) if pa.types.is_string(labels.type) else labels

    def predict(self, table: pa.Table) -> Predicted:
        """Return what the model says of the rows of a table."""
        parts: list[Floats] = []
        misfits: list[tuple[int, Misfit]] = []
        for start in range(0, table.num_rows, CACHED_ROWS):
            part = table.slice(start, CACHED_ROWS)
            inputs, found = typed_inputs(self.model.schema, part)
            parts.append(self.model.predict_inputs(inputs))
            misfits += [(start, misfit) for misfit in (*found, *self._no_numbers(parts[-1]))]
        return Predicted(np.concatenate(parts) if parts else self.nothing(), misfits)

    def not_finite(self, values: Floats) -> Marks:
        """Return the rows for which no label or value may stand."""
        finite = np.isfinite(values)
        return np.logical_not(finite if finite.ndim == 1 else finite.all(axis=1), dtype=np.bool_)

    def columns(self, values: Floats) -> list[pa.Array]:
        """Return the columns of the predictions of rows that fit."""
        classes = self.model.classes
        sure = self.model.document.conformal is not None
        if not classes:
            ends = self.model.interval(values) if sure else ()
            return [pa.array(column) for column in (values, *ends)]
        chosen = self.model.chosen(values)
        scores = np.take_along_axis(values, chosen[:, None], axis=1)[:, 0]
        each = [*values.T, *(self.model.are_plausible(values).T if sure else ())]
        columns = [pa.array(np.ascontiguousarray(column)) for column in each]
        return [self._labels.take(pa.array(chosen)), pa.array(scores), *columns]

    def nothing(self) -> Floats:
        """Return the values of no rows."""
        return np.empty((0, len(self.model.classes)) if self.model.classes else 0)

    def _no_numbers(self, values: Floats) -> list[Misfit]:
        rows = self.not_finite(values)
        found = Misfit(self.names[0], "PredictionNotFinite", NOT_FINITE, rows)
        return [found] if rows.any() else []


def first_misfits(misfits: Sequence[tuple[int, Misfit]]) -> dict[int, Misfit]:
    """Return each row with a misfit once, in their order, under the first of its reasons."""
    at: dict[int, Misfit] = {}
    for start, misfit in misfits:
        for position in np.flatnonzero(misfit.rows).tolist():
            at.setdefault(start + position, misfit)
    return dict(sorted(at.items()))


def _prediction_names(model: Model) -> list[str]:
    sure = model.document.conformal is not None
    if not model.classes:
        return [PREDICTION, LOWER, UPPER] if sure else [PREDICTION]
    prefixes = ["probability", "plausible"] if sure else ["probability"]
    texts = [category_text(one) for one in model.classes]
    return [LABEL, SCORE, *(f"{prefix}_{text}" for prefix in prefixes for text in texts)]
