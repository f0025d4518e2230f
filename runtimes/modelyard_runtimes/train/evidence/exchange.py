"""Rows with some features taken from other rows, and the values of features as a person reads them.

What a model would predict if a feature were different is asked with values that were observed: so
every kind of feature is treated alike, and none gets a value that it cannot have.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.model import Model
from modelyard_runtimes.model.schema import Floats, Inputs, InputSchema

HIDDEN = "(hidden)"
"""Stands for values of columns with personal data."""

Value = str | float | bool | None

Mask = npt.NDArray[np.bool_]


def exchanged(schema: InputSchema, rows: Inputs, givers: Inputs, features: Mask) -> Inputs:
    """Return the rows with some features of each taken from the giver at the same place.

    Args:
        schema: The features.
        rows: The rows.
        givers: As many rows.
        features: Rows x features, or the same features of every row: which are taken.
    """
    mask = np.broadcast_to(features, (len(rows), len(schema.names)))
    texts = tuple(
        [other if taken else own for own, other, taken in zip(*texts, mask[:, source], strict=True)]
        for *texts, source in zip(rows.texts, givers.texts, schema.text_features, strict=True)
    )
    return Inputs(
        np.where(mask[:, schema.number_features], givers.numbers, rows.numbers),
        np.where(mask[:, schema.code_features], givers.codes, rows.codes),
        texts,
    )


def one_feature(schema: InputSchema, feature: int) -> Mask:
    """Return the mask of a single feature."""
    mask = np.zeros(len(schema.names), dtype=np.bool_)
    mask[feature] = True
    return mask


class Values:
    """Reads values of features from validated rows.

    Attributes:
        hidden: Positions of features whose values nobody may read.
    """

    def __init__(self, model: Model) -> None:
        self._schema = model.schema
        secret = {*model.document.never_logged, *model.document.privacy}
        self.hidden = {place for place, name in enumerate(model.schema.names) if name in secret}

    def of(self, inputs: Inputs, row: int, feature: int) -> Value:
        """Return the value of a feature in a row, None where it is missing."""
        return HIDDEN if feature in self.hidden else value_of(self._schema, inputs, row, feature)


def value_of(schema: InputSchema, inputs: Inputs, row: int, feature: int) -> Value:
    """Return the value of a feature in a row as a request would give it, None where missing."""
    described = schema.features[feature]
    if described.type == "Text":
        return str(inputs.texts[schema.text_features.index(feature)][row])
    if described.type == "Categorical":
        code = int(inputs.codes[row, schema.code_features.index(feature)])
        known = described.categories
        if code < len(known):
            return known[code]
        return "(other)" if code == len(known) else None
    number = float(inputs.numbers[row, schema.number_features.index(feature)])
    if np.isnan(number):
        return None
    if described.type == "Ordinal":
        return described.categories[int(number)]
    if described.type == "Boolean":
        return bool(number)
    if described.type == "Datetime":
        return datetime.fromtimestamp(number * 86400, UTC).isoformat(timespec="seconds")
    return number


def distances(schema: InputSchema, row: Inputs, others: Inputs, scale: Floats) -> Floats:
    """Return how far each feature of other rows is from that of one row, others x features.

    Numbers by their scale, everything else 0 or 1 (Gower, "A General Coefficient of Similarity",
    1971); a missing value is as far from a present one as can be.

    Args:
        schema: The features.
        row: A single row.
        others: Rows that it is compared with.
        scale: By what the distance of each column of numbers is divided.
    """
    found = np.zeros((len(others), len(schema.names)))
    steps = np.abs(others.numbers - row.numbers) / scale
    one_missing = np.isnan(others.numbers) != np.isnan(row.numbers)
    steps = np.where(one_missing, 1.0, np.nan_to_num(np.minimum(steps, 1.0)))
    for column, feature in enumerate(schema.number_features):
        found[:, feature] = np.maximum(found[:, feature], steps[:, column])
    for column, feature in enumerate(schema.code_features):
        found[:, feature] = others.codes[:, column] != row.codes[0, column]
    for texts, own, feature in zip(others.texts, row.texts, schema.text_features, strict=True):
        found[:, feature] = [text != own[0] for text in texts]
    return found


def scale_of(inputs: Inputs) -> Floats:
    """Return the range of each column of numbers, 1 where it has none."""
    if not len(inputs):
        return np.ones(inputs.numbers.shape[1])
    filled = np.where(np.isnan(inputs.numbers), np.nan, inputs.numbers)
    present = ~np.isnan(filled).all(axis=0)
    spans = np.ones(filled.shape[1])
    if present.any():
        columns = filled[:, present]
        spans[present] = np.nanmax(columns, axis=0) - np.nanmin(columns, axis=0)
    return np.where(spans > 0, spans, 1.0)
