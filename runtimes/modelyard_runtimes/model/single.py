"""One row through a model without arrays, for which NumPy takes longer than its members do.

It knows the models and the rows that are met most: ensembles of trees and linear models of numbers,
booleans and categories; rows of numbers, booleans, texts and missing values. For all others, the
faulty ones among them, it has no answer: `Model.predict` does, or says what is wrong.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import mul
from typing import Any, NamedTuple

from modelyard_runtimes.model.format import (
    LEAST,
    LEAST_STACKED,
    CalibrationCurve,
    MemberDocument,
    ModelDocument,
    SecondLevel,
)
from modelyard_runtimes.model.packed import Packed
from modelyard_runtimes.model.single_encoder import single_encoder
from modelyard_runtimes.model.trees import Trees

PredictOne = Callable[[Sequence[float]], Sequence[float]]
"""Returns the outputs of encoded columns."""


class TreeText(NamedTuple):
    """A member of trees.

    Attributes:
        position: Its place among the members.
        file: Its file's path in the model.
        text: The model text.
        columns: Number of columns that its rows have.
    """

    position: int
    file: str
    text: bytes
    columns: int


class SingleRow:
    """Predicts single rows of one model.

    Attributes:
        asked: How many it was asked for.
    """

    def __init__(self, packed: Packed) -> None:
        """Prepare.

        Args:
            packed: A model of which `is_known` is true.

        Raises:
            ModelError: a member's file does not fit the document.
        """
        self.asked = 0
        self._packed = packed
        document, files = packed
        # In the order of an encoder's columns: what becomes a number, then categories.
        features = sorted(document.features, key=lambda found: found.type == "Categorical")
        positions = [document.features.index(feature) for feature in features]
        self._in_order = positions == list(range(len(positions)))
        self._positions = positions
        self._encoders = [single_encoder(features, encoder) for encoder in document.encoders]
        self._members = [
            (
                member.weight,
                _member(member, files[member.file], self._encoders[member.encoder].width, document),
                member.encoder,
            )
            for member in document.members
        ]
        self._second_level = document.second_level
        self._calibration = document.calibration
        self._classification = document.task == "Classification"

    @staticmethod
    def is_known(document: ModelDocument) -> bool:
        """Return whether single rows of a model can be predicted here."""
        return (
            bool(document.features)
            and all(
                feature.type in ("Numeric", "Boolean", "Ordinal", "Categorical")
                for feature in document.features
            )
            and all(member.type in ("Trees", "Linear") for member in document.members)
            and not any(encoder.texts for encoder in document.encoders)
        )

    def trees(self) -> list[TreeText]:
        """Return the members of trees."""
        document, files = self._packed
        return [
            TreeText(
                position, member.file, files[member.file], self._encoders[member.encoder].width
            )
            for position, member in enumerate(document.members)
            if member.type == "Trees"
        ]

    def evaluate_by(self, position: int, predict_one: PredictOne) -> None:
        """Evaluate a member by what gives the same answers, from the next row on."""
        weight, _, encoder = self._members[position]
        linked = _linked(self._packed.document.members[position], predict_one)
        self._members[position] = (weight, linked, encoder)

    def predict(self, row: Sequence[Any]) -> list[float] | None:
        """Return the probabilities, or the value, of a row; None where it is no plain one.

        Args:
            row: Values in the order of the model's features.
        """
        self.asked += 1
        if not self._in_order:
            row = [row[position] for position in self._positions]
        encoded: list[Sequence[float]] = []
        for encoder in self._encoders:
            found = encoder.encode(row)
            if found is None:
                return None
            encoded.append(found)
        first, *others = [
            [weight * output for output in self._scaled(predict_one(encoded[position]))]
            for weight, predict_one, position in self._members
        ]
        outputs = [sum(each, 0.0) for each in zip(first, *others, strict=True)] if others else first
        if not math.isfinite(sum(outputs)):
            return None
        if self._second_level is not None:
            outputs = _off_scale(self._second_level, outputs)
        if self._calibration:
            outputs = _calibrated(self._calibration, outputs)
        if self._classification and len(outputs) == 1:
            return [1.0 - outputs[0], *outputs]
        return outputs

    def _scaled(self, outputs: Sequence[float]) -> Sequence[float]:
        if self._second_level is None:
            return outputs
        return _on_scale(self._second_level, outputs)


def _member(
    member: MemberDocument, content: bytes, columns: int, document: ModelDocument
) -> PredictOne:
    if member.type == "Trees":
        return _linked(member, Trees(content, columns).predict_one)
    return _linked(member, _linear(member, content, columns, document.task))


def _linked(member: MemberDocument, predict_one: PredictOne) -> PredictOne:
    """Return what becomes of what a member's file predicts, as `members.open_member` does."""
    if member.link == "Identity":
        return predict_one

    def squares(encoded: Sequence[float]) -> list[float]:
        roots = [max(root, 0.0) for root in predict_one(encoded)]
        return [root * root for root in roots]

    return squares


def _linear(member: MemberDocument, content: bytes, columns: int, task: str) -> PredictOne:
    """Return what `members.LinearMember` predicts."""
    from modelyard_runtimes.model.members import coefficients  # noqa: PLC0415 - NumPy is slow

    *weights, intercepts = coefficients(member, content, columns).tolist()
    by_output = list(zip(zip(*weights, strict=True), intercepts, strict=True))

    def margins(encoded: Sequence[float]) -> list[float]:
        return [sum(map(mul, encoded, own), 0.0) + intercept for own, intercept in by_output]

    if task == "Regression":
        return margins
    return lambda encoded: _probabilities(margins(encoded))


def _probabilities(margins: list[float]) -> list[float]:
    """Return the probability of the positive class, or of each of three and more classes."""
    if len(margins) == 1:
        return [_logistic(margins[0])]
    highest = max(margins)
    exponentials = [math.exp(margin - highest) for margin in margins]
    total = sum(exponentials)
    return [exponential / total for exponential in exponentials]


def _logistic(margin: float) -> float:
    bounded = math.exp(-abs(margin))
    return (1.0 if margin >= 0 else bounded) / (1.0 + bounded)


def _on_scale(second_level: SecondLevel, outputs: Sequence[float]) -> Sequence[float]:
    """Return outputs of a member as `second_level.on_scale` does it for many rows."""
    if second_level.scale == "Identity":
        return outputs
    logarithms = [math.log(max(output, LEAST_STACKED)) for output in outputs]
    if len(outputs) > 1:
        return logarithms
    return [logarithms[0] - math.log(max(1.0 - outputs[0], LEAST_STACKED))]


def _off_scale(second_level: SecondLevel, sums: Sequence[float]) -> list[float]:
    """Return what members add up to as `second_level.off_scale` does it for many rows."""
    combined = [one + own for one, own in zip(sums, second_level.intercepts, strict=True)]
    return combined if second_level.scale == "Identity" else _probabilities(combined)


def _calibrated(curves: Sequence[CalibrationCurve], outputs: list[float]) -> list[float]:
    """Return what outputs become, as `calibration.calibrated` does it for many rows."""
    found = [_through(curve, output) for curve, output in zip(curves, outputs, strict=True)]
    total = sum(found)
    if len(found) == 1:
        return found
    return [value / total for value in found] if total > 0 else outputs


def _through(curve: CalibrationCurve, probability: float) -> float:
    if curve.slope is not None:
        inside = min(max(probability, LEAST), 1.0 - LEAST)
        odds = math.log(inside) - math.log1p(-inside)
        return _logistic(curve.slope * odds + curve.intercept)
    place = bisect_right(curve.inputs, probability)
    if place in (0, len(curve.inputs)):
        return curve.values[max(place - 1, 0)]
    low, high = curve.inputs[place - 1], curve.inputs[place]
    share = (probability - low) / (high - low)
    return curve.values[place - 1] + share * (curve.values[place] - curve.values[place - 1])
