"""The served model: columns in, predictions of both protocols out."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.model import Model
from modelyard_runtimes.model.columns import category_text
from modelyard_runtimes.model.format import Label

Floats = npt.NDArray[np.float64]
Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Predictions:
    """Predictions of some rows.

    Attributes:
        values: Rows x classes probabilities, or one value a row for regression.
        labels: Class of each row; none for regression.
        scores: Probability of that class; none for regression.
        class_names: Classes as texts, in the order of `values`; none for regression.
    """

    values: Floats
    labels: Sequence[Label]
    scores: Sequence[float]
    class_names: Sequence[str]

    def to_json(self) -> list[Any]:
        """Return a number a row, or `{"label", "score", "probabilities"}` for classification.

        `score` is the probability of `label`; `probabilities` are by class.
        """
        if not self.class_names:
            numbers: list[Any] = self.values.tolist()
            return numbers
        return [
            {
                "label": label,
                "score": score,
                "probabilities": dict(zip(self.class_names, row, strict=True)),
            }
            for label, score, row in zip(
                self.labels, self.scores, self.values.tolist(), strict=True
            )
        ]


class Predictor:
    """A loaded model that several threads may use.

    Attributes:
        model: The model.
        names: Names of its features, in order.
        known: The same names, for look-ups.
        required: Names of those that every instance must have.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.names: tuple[str, ...] = model.schema.names
        self.known = frozenset(self.names)
        self.required = frozenset(
            feature.name for feature in model.document.features if feature.required
        )
        self._class_names = [category_text(label) for label in model.classes]
        self._positions = {label: index for index, label in enumerate(model.classes)}
        # LightGBM keeps one buffer for the path of a single row.
        self._single_row = threading.Lock()

    def predict(self, columns: Columns) -> Predictions:
        """Return the predictions of rows given by column.

        Raises:
            ValidationError: a value does not fit the schema; it names field and row.
        """
        inputs = self.model.schema.validate(columns)
        if len(inputs) == 1:
            with self._single_row:
                values = self.model.predict_inputs(inputs)
        else:
            values = self.model.predict_inputs(inputs)
        if not self._class_names:
            return Predictions(values, (), (), ())
        labels = self.model.labels(values)
        scores = [
            float(row[self._positions[label]]) for row, label in zip(values, labels, strict=True)
        ]
        return Predictions(values, labels, scores, self._class_names)
