"""Permutation importance on the holdout (Breiman, "Random Forests", 2001)."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelyard_runtimes.model import Model
from modelyard_runtimes.model.schema import Inputs
from modelyard_runtimes.train.evidence.predictions import outputs_of
from modelyard_runtimes.train.metrics import score, sign
from modelyard_runtimes.train.problem import Holdout
from modelyard_runtimes.train.task import Rows, derived_seed

MAX_ROWS = 5000
_SEED = 3


def permutation_importance(
    model: Model, holdout: Holdout, metric: str, repeats: int, seed: int
) -> list[dict[str, Any]]:
    """Return by how much the metric gets worse when a feature is shuffled, largest first.

    Args:
        model: The packed model.
        holdout: The rows; at most 5,000 of them are used.
        metric: The task's metric.
        repeats: Shuffles of each feature; none gives an empty list.
        seed: Seed of the shuffles.
    """
    if repeats == 0:
        return []
    rows = _some_rows(holdout, derived_seed(seed, _SEED))
    inputs, target = holdout.inputs.take(rows), holdout.target[rows]
    baseline = score(metric, target, outputs_of(model.predict_inputs(inputs)))
    found = []
    for position, name in enumerate(model.schema.names):
        generator = np.random.default_rng(derived_seed(seed, _SEED, position))
        drops = [
            sign(metric)
            * (
                baseline
                - score(
                    metric,
                    target,
                    outputs_of(
                        model.predict_inputs(
                            _shuffled(inputs, model, position, generator.permutation(len(rows)))
                        )
                    ),
                )
            )
            for _ in range(repeats)
        ]
        found.append({"feature": name, "mean": float(np.mean(drops)), "std": float(np.std(drops))})
    return sorted(found, key=lambda entry: (-entry["mean"], entry["feature"]))


def _some_rows(holdout: Holdout, seed: int) -> Rows:
    count = len(holdout.target)
    if count <= MAX_ROWS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, MAX_ROWS, replace=False))


def _shuffled(inputs: Inputs, model: Model, feature: int, order: Rows) -> Inputs:
    """Return the inputs with all that comes from one feature in another order of rows."""
    schema = model.schema
    numbers, codes = inputs.numbers.copy(), inputs.codes.copy()
    for column, source in enumerate(schema.number_features):
        if source == feature:
            numbers[:, column] = numbers[order, column]
    for column, source in enumerate(schema.code_features):
        if source == feature:
            codes[:, column] = codes[order, column]
    texts = tuple(
        [text[row] for row in order] if source == feature else text
        for text, source in zip(inputs.texts, schema.text_features, strict=True)
    )
    return Inputs(numbers, codes, texts)
