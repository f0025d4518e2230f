"""One row through trees without arrays, for which NumPy takes longer than the trees do.

It knows the models and the rows that are met most: ensembles of trees that get numbers as they are
and categories as levels; rows of numbers, booleans, texts and missing values. For all others, the
faulty ones among them, it has no answer: `Model.predict` does, or says what is wrong.
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
from modelyard_runtimes.model.members import TreeMember
from modelyard_runtimes.model.predictor import Model

_PLAIN = {float, int, type(None)}
_BOOLEANS = {True: 1.0, False: 0.0, None: None}


class SingleRow:
    """Predicts single rows of one model."""

    def __init__(self, model: Model) -> None:
        """Prepare.

        Args:
            model: A model of which `is_known` is true.
        """
        # In the order of an encoder's columns: what becomes a number, then categories.
        features = sorted(model.document.features, key=lambda found: found.type == "Categorical")
        self._names = [feature.name for feature in features]
        self._encoders = [_Encoder(features, encoder) for encoder in model.document.encoders]
        self._members = [
            (document.weight, member.trees, document.encoder)
            for member, document in zip(model.members, model.document.members, strict=True)
            if isinstance(member, TreeMember)
        ]
        self._calibration = model.document.calibration
        self._classification = model.document.task == "Classification"

    @staticmethod
    def is_known(document: ModelDocument) -> bool:
        """Return whether single rows of a model can be predicted here."""
        return (
            bool(document.features)
            and all(
                feature.type in ("Numeric", "Boolean", "Categorical")
                for feature in document.features
            )
            and all(
                member.type == "Trees" and member.precision == "float64"
                for member in document.members
            )
            and all(_keeps_values(encoder) for encoder in document.encoders)
        )

    def predict(self, columns: Mapping[str, Sequence[Any]]) -> list[float] | None:
        """Return the probabilities, or the value, of the row; None where there is no plain one.

        Args:
            columns: Values by column.
        """
        try:
            row = [value for (value,) in map(columns.__getitem__, self._names)]
        except (KeyError, ValueError):  # a feature is absent, or there are other rows than one
            return None
        encoded: list[list[float]] = []
        for encoder in self._encoders:
            found = encoder.encode(row)
            if found is None:
                return None
            encoded.append(found)
        weighted = [
            [weight * output for output in trees.predict_one(encoded[position])]
            for weight, trees, position in self._members
        ]
        outputs = [sum(each, 0.0) for each in zip(*weighted, strict=True)]
        if self._calibration:
            outputs = _calibrated(self._calibration, outputs)
        if self._classification and len(outputs) == 1:
            return [1.0 - outputs[0], *outputs]
        return outputs


class _Encoder:
    """Numbers stay, booleans and categories are looked up."""

    def __init__(self, features: Sequence[FeatureSchema], document: EncoderDocument) -> None:
        levels = iter(document.categorical.levels)
        self._tables: list[tuple[int, Mapping[Any, float | None], float | None]] = []
        for position, feature in enumerate(features):
            if feature.type == "Boolean":
                self._tables.append((position, _BOOLEANS, None))
            if feature.type == "Categorical":
                *known, other, missing = map(float, next(levels))
                table = dict(zip(feature.categories, known, strict=True))
                self._tables.append((position, {**table, None: missing}, other))

    def encode(self, row: list[Any]) -> list[float] | None:
        """Return the columns; None where a value is not plain."""
        if self._tables:
            row = row.copy()
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
        if not _is_plain(row):
            return None
        return [math.nan if value is None else value for value in row] if None in row else row


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


def _is_plain(row: list[Any]) -> bool:
    """Return whether all are finite numbers or None."""
    try:
        # None and 0 add nothing to the sum; whatever is not finite makes it so.
        return set(map(type, row)) <= _PLAIN and math.isfinite(sum(filter(None, row), 0.0))
    except OverflowError:
        return False


def _keeps_values(encoder: EncoderDocument) -> bool:
    """Return whether numbers stay as they are and categories become levels."""
    numeric = encoder.numeric
    return (
        not encoder.texts
        and not numeric.indicators
        and not any(numeric.knots)
        and all(fill is None for fill in numeric.fill)
        and all(mean == 0 for mean in numeric.mean)
        and all(scale == 1 for scale in numeric.scale)
        and (encoder.categorical.style == "Ordinal" or not encoder.categorical.levels)
    )
