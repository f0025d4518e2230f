"""The served model: columns in, predictions of both protocols out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from modelyard_runtimes.model import Model
from modelyard_runtimes.model.columns import category_text
from modelyard_runtimes.model.format import Label
from modelyard_runtimes.model.single import SingleRow

Columns = Mapping[str, Sequence[Any]]
Rows = Sequence[Sequence[Any]]


@dataclass(slots=True)
class Predictions:
    """Predictions of some rows.

    Attributes:
        values: The probabilities of each row, or one value a row for regression.
        chosen: Position of each row's class; none for regression.
        classes: The classes, in the order of probabilities; none for regression.
        class_names: The same as texts.
    """

    values: list[Any]
    chosen: Sequence[int]
    classes: Sequence[Label]
    class_names: Sequence[str]

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

    def to_json(self) -> list[Any]:
        """Return a number a row, or `{"label", "score", "probabilities"}` for classification.

        `score` is the probability of `label`; `probabilities` are by class.
        """
        if not self.classes:
            return self.values
        return [
            {
                "label": self.classes[position],
                "score": row[position],
                "probabilities": dict(zip(self.class_names, row, strict=True)),
            }
            for row, position in zip(self.values, self.chosen, strict=True)
        ]


class Predictor:
    """A loaded model that several threads may use.

    Attributes:
        model: The model.
        names: Names of its features, in order.
        known: The same names, for look-ups.
        of_all_features: Returns the values of an object that has all features, in order.
        required: Names of those that every instance must have.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.names: tuple[str, ...] = model.schema.names
        self.known = frozenset(self.names)
        self.of_all_features: Callable[[dict[str, Any]], Sequence[Any]] = _getter(self.names)
        self.required = frozenset(
            feature.name for feature in model.document.features if feature.required
        )
        self._classes = model.classes
        self._single = SingleRow(model) if SingleRow.is_known(model.document) else None
        self._class_names = [category_text(label) for label in model.classes]

    def predict(self, columns: Columns) -> Predictions:
        """Return the predictions of rows given by column.

        Raises:
            ValidationError: a value does not fit the schema; it names field and row.
        """
        return self._shaped(self.model.predict(columns).tolist())

    def predict_rows(self, rows: Rows) -> Predictions:
        """Return the predictions of rows, each with the values of all features in order.

        Raises:
            ValidationError: a value does not fit the schema; it names field and row.
        """
        if len(rows) == 1 and self._single is not None:
            values = self._single.predict(rows[0])
            if values is not None:
                return self._shaped([values] if self._classes else values)
        return self.predict(dict(zip(self.names, zip(*rows, strict=True), strict=True)))

    def _shaped(self, values: list[Any]) -> Predictions:
        chosen = self.model.chosen(values) if self._classes else ()
        return Predictions(values, chosen, self._classes, self._class_names)


def _getter(names: Sequence[str]) -> Callable[[dict[str, Any]], Sequence[Any]]:
    """Return what returns the values by these names, and raises KeyError where one is missing."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda instance: [instance[name] for name in names]
