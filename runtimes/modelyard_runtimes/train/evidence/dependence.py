"""Partial dependence and individual conditional expectation (Friedman, 2001; Goldstein, 2015)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.model import Model
from modelyard_runtimes.model.schema import Inputs
from modelyard_runtimes.train.evidence.exchange import Values, exchanged, one_feature
from modelyard_runtimes.train.evidence.importance import some_rows
from modelyard_runtimes.train.evidence.predictions import outputs_of
from modelyard_runtimes.train.task import derived_seed

MAX_ROWS, MAX_POINTS, LINES = 500, 20, 20
"""Rows that are averaged, values of a feature that are tried, rows that are drawn on their own."""

_SEED = 8


def partial_dependence(
    model: Model, inputs: Inputs, features: list[int], seed: int
) -> list[dict[str, Any]]:
    """Return for each feature what is predicted when all rows have one value of it.

    Each is `feature`, `values` that were tried, `mean` prediction of each value by output, and
    `rows`: the same for single rows.

    Args:
        model: The packed model.
        inputs: Rows; a sample of them is used where there are many.
        features: Positions of features that are no Text.
        seed: Seed of the run.
    """
    chosen = inputs.take(some_rows(len(inputs), MAX_ROWS, derived_seed(seed, _SEED)))
    return [_curve(model, chosen, feature) for feature in features]


def _curve(model: Model, inputs: Inputs, feature: int) -> dict[str, Any]:
    schema = model.schema
    mask, rows = one_feature(schema, feature), len(inputs)
    points = _points(model, inputs, feature)
    found = np.stack(
        [
            outputs_of(
                model.predict_inputs(
                    exchanged(schema, inputs, inputs.take(np.full(rows, point)), mask)
                )
            )
            for point in points
        ]
    )
    values = Values(model)
    return {
        "feature": schema.names[feature],
        "values": [values.of(inputs, int(point), feature) for point in points],
        "mean": found.mean(axis=1).tolist(),
        "rows": found[:, :LINES].transpose(1, 0, 2).tolist(),
    }


def _points(model: Model, inputs: Inputs, feature: int) -> npt.NDArray[np.intp]:
    """Return rows whose values of a feature stand for all: its levels, or its quantiles."""
    schema = model.schema
    if schema.features[feature].type == "Categorical":
        codes = inputs.codes[:, schema.code_features.index(feature)]
        levels, first, count = np.unique(codes, return_index=True, return_counts=True)
        frequent = np.argsort(-count, kind="stable")[:MAX_POINTS]
        order = frequent[np.argsort(levels[frequent])]
        return np.asarray(first[order], dtype=np.intp)
    numbers = inputs.numbers[:, schema.number_features.index(feature)]
    present = np.flatnonzero(~np.isnan(numbers))
    if schema.features[feature].type == "Ordinal" and len(present):
        _, first = np.unique(numbers[present], return_index=True)
        if len(first) <= MAX_POINTS:
            return present[first]
    order = present[np.argsort(numbers[present], kind="stable")]
    wanted = np.unique(np.linspace(0, len(order) - 1, MAX_POINTS).round().astype(np.intp))
    points = order[wanted] if len(order) else np.zeros(1, dtype=np.intp)
    _, first = np.unique(numbers[points], return_index=True)
    return points[first]
