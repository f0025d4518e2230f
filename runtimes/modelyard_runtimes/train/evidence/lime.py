"""Local linear models (Ribeiro et al., "Why Should I Trust You?", 2016).

Around a row, some features are kept and the others taken from a row of the search; a ridge
regression on which were kept, weighted by how many, says what keeping each one adds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from modelyard_runtimes.model import Model
from modelyard_runtimes.model.schema import Floats, Inputs
from modelyard_runtimes.train.evidence.exchange import Values, exchanged
from modelyard_runtimes.train.evidence.predictions import outputs_of
from modelyard_runtimes.train.task import derived_seed

SAMPLES = 1000
KERNEL = 0.75
"""Width of the kernel by the square root of the number of features, as in the original."""
PENALTY = 1.0

_SEED = 9


def lime(model: Model, rows: Inputs, others: Inputs, seed: int) -> list[dict[str, Any]]:
    """Return what each feature adds to the prediction of each row, near it.

    Each is `prediction`, `intercept`, `fit` (the share of the variance that is explained) and
    `weights`: `feature`, `value` and `weight`, largest first. The prediction is the probability of
    the positive class, or of the predicted one of three and more classes, or the value.

    Args:
        model: The packed model.
        rows: Rows to explain.
        others: Rows of the search.
        seed: Seed of the run.
    """
    return [
        _explained(model, rows.take(np.array([row])), others, derived_seed(seed, _SEED, row))
        for row in range(len(rows))
    ]


def _explained(model: Model, row: Inputs, others: Inputs, seed: int) -> dict[str, Any]:
    names, generator = model.schema.names, np.random.default_rng(seed)
    kept = generator.random((SAMPLES, len(names))) < generator.random((SAMPLES, 1))
    kept[0] = True
    givers = others.take(generator.integers(0, len(others), SAMPLES))
    repeated = row.take(np.zeros(SAMPLES, dtype=np.intp))
    outputs = outputs_of(model.predict_inputs(exchanged(model.schema, repeated, givers, ~kept)))
    predicted = outputs[:, int(np.argmax(outputs[0]))]
    distance = np.sqrt((~kept).sum(axis=1))
    weights = np.exp(-np.square(distance / (KERNEL * len(names) ** 0.5)) / 2)
    intercept, slopes, fit = _ridge(kept.astype(np.float64), predicted, weights)
    values = Values(model)
    told = [
        {"feature": name, "value": values.of(row, 0, place), "weight": float(slopes[place])}
        for place, name in enumerate(names)
    ]
    told.sort(
        key=lambda one: (-abs(float(slopes[names.index(str(one["feature"]))])), one["feature"])
    )
    return {
        "prediction": float(predicted[0]),
        "intercept": intercept,
        "fit": fit,
        "weights": told,
    }


def _ridge(columns: Floats, target: Floats, weights: Floats) -> tuple[float, Floats, float]:
    """Return intercept, slopes and the share of the variance explained, all weighted."""
    share = weights / weights.sum()
    center, mean = share @ columns, float(share @ target)
    moved, rest = columns - center, target - mean
    normal = (moved * weights[:, None]).T @ moved + PENALTY * np.eye(columns.shape[1])
    slopes: Floats = np.linalg.solve(normal, (moved * weights[:, None]).T @ rest)
    total = float(share @ np.square(rest))
    left = float(share @ np.square(rest - moved @ slopes))
    return mean - float(center @ slopes), slopes, 1 - left / total if total > 0 else 1.0
