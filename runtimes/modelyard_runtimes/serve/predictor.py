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


@dataclass(slots=True)
class Predictions:
    """Predictions of some rows.

    Attributes:
        values: The probabilities of each row, or one value a row for regression.
        labels: Class of each row; none for regression.
        scores: Probability of that class; none for regression.
        class_names: Classes as texts, in the order of `values`; none for regression.
    """

    values: list[Any]
    labels: Sequence[Label]
    scores: Sequence[float]
    class_names: Sequence[str]

    def to_json(self) -> list[Any]:
        """Return a number a row, or `{"label", "score", "probabilities"}` for classification.

        `score` is the probability of `label`; `probabilities` are by class.
        """
        if not self.class_names:
            return self.values
        return [
            {
                "label": label,
                "score": score,
                "probabilities": dict(zip(self.class_names, row, strict=True)),
            }
            for label, score, row in zip(self.labels, self.scores, self.values, strict=True)
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
        values = self._values(columns)
        if not self._class_names:
            return Predictions(values, (), (), ())
        chosen = self.model.chosen(values)
        labels = [self._classes[position] for position in chosen]
        scores = [row[position] for row, position in zip(values, chosen, strict=True)]
        return Predictions(values, labels, scores, self._class_names)

    def _values(self, columns: Columns) -> list[Any]:
        single = self._single and self._single.predict(columns)
        if single:
            return [single] if self._class_names else single
        values: list[Any] = self.model.predict(columns).tolist()
        return values


def _getter(names: Sequence[str]) -> Callable[[dict[str, Any]], Sequence[Any]]:
    """Return what returns the values by these names, and raises KeyError where one is missing."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda instance: [instance[name] for name in names]
