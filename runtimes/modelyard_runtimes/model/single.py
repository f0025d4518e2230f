"""One row through trees without arrays, for which NumPy takes longer than the trees do.

It knows the models and the rows that are met most: ensembles of trees that get all features or
some, numbers as they are, pairs of numbers and categories as levels; rows of numbers, booleans,
texts and missing values. For all others, the faulty ones among them, it has no answer:
`Model.predict` does, or says what is wrong.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from modelyard_runtimes.model.format import (
    LEAST,
    CalibrationCurve,
    EncoderDocument,
    FeatureSchema,
    ModelDocument,
)
from modelyard_runtimes.model.packed import Packed
from modelyard_runtimes.model.trees import Trees

_FLOATS = {float}
_PLAIN = {float, int, type(None)}
_BOOLEANS = {True: 1.0, False: 0.0, None: None}


class SingleRow:
    """Predicts single rows of one model."""

    def __init__(self, packed: Packed) -> None:
        """Prepare.

        Args:
            packed: A model of which `is_known` is true.

        Raises:
            ModelError: a member's file is no text of trees.
        """
        document, files = packed
        # In the order of an encoder's columns: what becomes a number, then categories.
        features = sorted(document.features, key=lambda found: found.type == "Categorical")
        positions = [document.features.index(feature) for feature in features]
        self._in_order = positions == list(range(len(positions)))
        self._positions = positions
        self._encoders = [_Encoder(features, encoder) for encoder in document.encoders]
        self._members = [
            (
                member.weight,
                Trees(files[member.file], self._encoders[member.encoder].width),
                member.encoder,
            )
            for member in document.members
        ]
        self._calibration = document.calibration
        self._classification = document.task == "Classification"

    @staticmethod
    def is_known(document: ModelDocument) -> bool:
        """Return whether single rows of a model can be predicted here."""
        return (
            bool(document.features)
            and all(
                feature.type in ("Numeric", "Boolean", "Categorical")
                for feature in document.features
            )
            and all(member.type == "Trees" for member in document.members)
            and all(_keeps_values(encoder) for encoder in document.encoders)
        )

    def predict(self, row: Sequence[Any]) -> list[float] | None:
        """Return the probabilities, or the value, of a row; None where it is no plain one.

        Args:
            row: Values in the order of the model's features.
        """
        if not self._in_order:
            row = [row[position] for position in self._positions]
        encoded: list[Sequence[float]] = []
        for encoder in self._encoders:
            found = encoder.encode(row)
            if found is None:
                return None
            encoded.append(found)
        first, *others = [
            [weight * output for output in trees.predict_one(encoded[position])]
            for weight, trees, position in self._members
        ]
        outputs = [sum(each, 0.0) for each in zip(first, *others, strict=True)] if others else first
        if self._calibration:
            outputs = _calibrated(self._calibration, outputs)
        if self._classification and len(outputs) == 1:
            return [1.0 - outputs[0], *outputs]
        return outputs


class _Encoder:
    """Numbers stay, booleans and categories are looked up, and pairs of numbers are combined.

    Attributes:
        width: Number of columns it makes.
    """

    def __init__(self, features: Sequence[FeatureSchema], document: EncoderDocument) -> None:
        """Prepare.

        Args:
            features: Those of a row, in its order: what becomes a number first.
            document: The transforms.
        """
        self._seen = _seen(features, document)
        self._numbers = len(document.numeric.fill)
        self._pairs = [
            (pair.kind == "Sum", pair.left, pair.right, *pair.weights)
            for pair in document.numeric.interactions
        ]
        seen = range(len(features)) if self._seen is None else self._seen
        self.width = len(seen) + len(self._pairs)
        levels = iter(document.categorical.levels)
        self._tables: list[tuple[int, Mapping[Any, float | None], float | None]] = []
        for position, feature in enumerate(features):
            if feature.type == "Boolean":
                self._tables.append((position, _BOOLEANS, None))
            if feature.type == "Categorical":
                # A category that is not seen may still be no list or object.
                unseen = [0] * (len(feature.categories) + 2)
                found = next(levels) if position in seen else unseen
                *known, other, missing = map(float, found)
                table = dict(zip(feature.categories, known, strict=True))
                self._tables.append((position, {**table, None: missing}, other))

    def encode(self, values: Sequence[Any]) -> Sequence[float] | None:
        """Return the columns; None where a value is not plain."""
        row = self._looked_up(values)
        if row is not None and self._seen is not None:
            row = [row[position] for position in self._seen]
        if row is None or not self._pairs:
            return row
        return self._combined([*map(float, row)])

    def _combined(self, row: list[float]) -> list[float]:
        """Return the columns with those of the pairs, as `encoder.Encoder` makes them for many."""
        nan, finite = math.nan, math.isfinite
        # One expression for all, since a call for each would take longer than the trees do.
        row[self._numbers : self._numbers] = [
            row[left] * first + row[right] * second
            if is_sum
            else ratio
            if (divisor := row[right]) and finite(ratio := row[left] / divisor)
            else nan
            for is_sum, left, right, first, second in self._pairs
        ]
        return row

    def _looked_up(self, values: Sequence[Any]) -> Sequence[float] | None:
        if not self._tables:
            return _plain(values)
        row = list(values)
        for position, table, other in self._tables:
            value = row[position]
            try:
                row[position] = table[value]
            except KeyError:
                if other is None or type(value) is not str:
                    return None
                row[position] = other
            except TypeError:  # a list or an object
                return None
        return _plain(row)


def _seen(features: Sequence[FeatureSchema], document: EncoderDocument) -> list[int] | None:
    """Return where in a row the features are that a member sees; None where it sees all."""
    selection = document.selection
    if selection is None:
        return None
    numbers = sum(feature.type != "Categorical" for feature in features)
    return [*selection.numbers, *(numbers + column for column in selection.codes)]


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
        margin = curve.slope * odds + curve.intercept
        bounded = math.exp(-abs(margin))
        return (1.0 if margin >= 0 else bounded) / (1.0 + bounded)
    place = bisect_right(curve.inputs, probability)
    if place in (0, len(curve.inputs)):
        return curve.values[max(place - 1, 0)]
    low, high = curve.inputs[place - 1], curve.inputs[place]
    share = (probability - low) / (high - low)
    return curve.values[place - 1] + share * (curve.values[place] - curve.values[place - 1])


def _plain(row: Sequence[Any]) -> Sequence[float] | None:
    """Return a row of finite numbers and None, which becomes NaN; None for any other row."""
    types = set(map(type, row))
    if not types <= _PLAIN:
        return None
    known = row if types == _FLOATS else [value for value in row if value is not None]
    try:
        if not math.isfinite(sum(known, 0.0)):  # whatever is not finite makes the sum so
            return None
    except OverflowError:
        return None
    if len(known) == len(row):
        return row
    return [math.nan if value is None else value for value in row]


def _keeps_values(encoder: EncoderDocument) -> bool:
    """Return whether numbers stay as they are, but for pairs, and categories become levels."""
    numeric = encoder.numeric
    return (
        not encoder.texts
        and not encoder.derived
        and not numeric.indicators
        and not any(numeric.knots)
        and all(fill is None for fill in numeric.fill)
        and all(mean == 0 for mean in numeric.mean)
        and all(scale == 1 for scale in numeric.scale)
        and (encoder.categorical.style == "Ordinal" or not encoder.categorical.levels)
    )
