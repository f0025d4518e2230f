"""The served model: columns in, predictions of both protocols out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import itemgetter
from typing import Any, Protocol

from modelyard_runtimes.model import Packed
from modelyard_runtimes.model.format import ConformalDocument, Label, category_text
from modelyard_runtimes.model.rows import Columns, RowPredictor, Rows
from modelyard_runtimes.serve.substitute import Substitute


@dataclass(slots=True)
class Predictions:
    """Predictions of some rows.

    Attributes:
        values: The probabilities of each row, or one value a row for regression.
        chosen: Position of each row's class; none for regression.
        classes: The classes, in the order of probabilities; none for regression.
        class_names: The same as texts.
        conformal: How sure they are; None where the model does not say.
        substitute: What made them instead of the model that serves; None where that did.
    """

    values: list[Any]
    chosen: Sequence[int]
    classes: Sequence[Label]
    class_names: Sequence[str]
    conformal: ConformalDocument | None
    substitute: Substitute | None = None

    @property
    def labels(self) -> list[Label]:
        """Class of each row; none for regression."""
        return [self.classes[position] for position in self.chosen]

    @property
    def scores(self) -> list[float]:
        """Probability of each row's class; none for regression."""
        if not self.classes:
            return []
        return [row[position] for row, position in zip(self.values, self.chosen, strict=True)]

    def part(self, start: int, end: int) -> Predictions:
        """Return those of the rows from a position to another one."""
        return Predictions(
            self.values[start:end],
            self.chosen[start:end],
            self.classes,
            self.class_names,
            self.conformal,
            self.substitute,
        )

    def to_json(self) -> list[Any]:
        """Return a number a row, or `{"label", "score", "probabilities"}` for classification.

        `score` is the probability of `label`; `probabilities` are by class. Where the model says
        how sure it is, a number becomes `{"value", "interval"}`, with its lower and upper end, and
        classes get `plausible`: those that the row may have.
        """
        if not self.classes:
            return self._with_intervals()
        found = [
            {
                "label": self.classes[position],
                "score": row[position],
                "probabilities": dict(zip(self.class_names, row, strict=True)),
            }
            for row, position in zip(self.values, self.chosen, strict=True)
        ]
        if self.conformal is not None:
            for prediction, row, position in zip(found, self.values, self.chosen, strict=True):
                inside = self.conformal.plausible(row, position)
                prediction["plausible"] = list(compress(self.classes, inside))
        return found

    def _with_intervals(self) -> list[Any]:
        conformal = self.conformal
        if conformal is None:
            return self.values
        return [{"value": value, "interval": conformal.interval(value)} for value in self.values]


class Predicts(Protocol):
    """What makes predictions: a model, or what stands before it."""

    def predict(self, columns: Columns) -> Predictions:
        """Return the predictions of rows given by column.

        Raises:
            ValidationError: a value does not fit the schema; it names field and row.
        """

    def predict_rows(self, rows: Rows) -> Predictions:
        """Return the predictions of rows, each with the values of all features in order.

        Raises:
            ValidationError: a value does not fit the schema; it names field and row.
        """


class Predictor(RowPredictor):
    """A loaded model that several threads may use.

    Attributes:
        known: Names of its features, for look-ups.
        of_all_features: Returns the values of an object that has all features, in order.
        required: Names of those that every instance must have.
    """

    def __init__(self, packed: Packed) -> None:
        """Open the model.

        Raises:
            ModelError: the files do not fit the document.
        """
        super().__init__(packed)
        self.known = frozenset(self.names)
        self.of_all_features: Callable[[dict[str, Any]], Sequence[Any]] = _getter(self.names)
        self.required = frozenset(
            feature.name for feature in self.document.features if feature.required
        )
        self._classes = self.document.classes
        self._class_names = [category_text(label) for label in self._classes]

    def predict(self, columns: Columns) -> Predictions:
        """Return the predictions of rows given by column.

        Raises:
            ValidationError: a value does not fit the schema; it names field and row.
        """
        if self.known == columns.keys():
            rows = {len(values) for values in columns.values()}
            if rows == {1}:
                return self.predict_rows([[columns[name][0] for name in self.names]])
        return self._shaped(self.values_of(columns))

    def predict_rows(self, rows: Rows) -> Predictions:
        """Return the predictions of rows, each with the values of all features in order.

        Raises:
            ValidationError: a value does not fit the schema; it names field and row.
        """
        return self._shaped(self.values(rows))

    def contributions(
        self, rows: Rows, outputs: Sequence[int]
    ) -> tuple[list[float], list[list[float]]]:
        """Return what is expected of any row, and what each feature of these rows adds to it.

        Both are in the unit of the prediction.

        Args:
            rows: Rows whose values fit.
            outputs: Position of the output that is looked at, a row. A value has one, and so have
                two classes: the probability of the positive one.
        """
        from modelyard_runtimes.model.explain import contributions  # noqa: PLC0415 - needs NumPy

        inputs = self.model.schema.validate(self.by_column(rows))
        base, values = contributions(self.model, inputs)
        return base[outputs].tolist(), values[range(len(rows)), outputs].tolist()

    def _shaped(self, values: list[Any]) -> Predictions:
        chosen = self.document.chosen(values) if self._classes else ()
        return Predictions(
            values, chosen, self._classes, self._class_names, self.document.conformal
        )


def _getter(names: Sequence[str]) -> Callable[[dict[str, Any]], Sequence[Any]]:
    """Return what returns the values by these names, and raises KeyError where one is missing."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda instance: [instance[name] for name in names]
