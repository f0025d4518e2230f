"""Permutation importance on the holdout (Breiman, "Random Forests", 2001)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard_runtimes.model import Model
from modelyard_runtimes.model.schema import Floats, Inputs
from modelyard_runtimes.train.evidence.exchange import exchanged, one_feature
from modelyard_runtimes.train.evidence.predictions import outputs_of
from modelyard_runtimes.train.metrics import score, sign
from modelyard_runtimes.train.problem import Holdout
from modelyard_runtimes.train.task import Rows, derived_seed

MIN_ROWS, MAX_ROWS = 200, 2000
MAX_OUTPUTS = 500_000
"""Numbers to predict, over all features, shuffles and classes. Within the bounds above it decides
how many rows are used, so that the cost stays that of a few trials."""

BATCH = 10_000
"""Rows that are predicted at once, which bounds the memory."""

_SEED = 3


@dataclass(frozen=True)
class Importance:
    """Permutation importance.

    Attributes:
        features: `feature`, and `mean` and `std` over the shuffles of by how much the metric gets
            worse; largest mean first.
        rows: Number of holdout rows it was measured on.
        repeats: Shuffles of each feature.
    """

    features: list[dict[str, Any]]
    rows: int
    repeats: int


def permutation_importance(  # noqa: PLR0913, PLR0917  (each is a fact of its own)
    model: Model, holdout: Holdout, metric: str, repeats: int, seed: int, threads: int = 1
) -> Importance:
    """Return by how much the metric gets worse when a feature is shuffled.

    Args:
        model: The packed model.
        holdout: The rows; a sample of them is used where there are many.
        metric: The task's metric.
        repeats: Shuffles of each feature; none measures nothing.
        seed: Seed of the sample and the shuffles.
        threads: Features measured at once; changes no result.
    """
    if repeats == 0:
        return Importance([], 0, 0)
    names = model.schema.names
    predicted = len(names) * repeats * max(len(model.classes), 1)
    threshold = model.document.threshold
    wanted = min(max(MAX_OUTPUTS // predicted, MIN_ROWS), MAX_ROWS)
    rows = some_rows(len(holdout.target), wanted, derived_seed(seed, _SEED))
    if model.classes:
        rows = _with_every_class(rows, holdout.target)
    inputs, target = holdout.inputs.take(rows), holdout.target[rows]
    outputs = outputs_of(model.predict_inputs(inputs))
    baseline = score(metric, target, outputs, threshold)

    def measure(feature: int) -> dict[str, Any]:
        generator = np.random.default_rng(derived_seed(seed, _SEED, feature))
        orders = [generator.permutation(len(rows)) for _ in range(repeats)]
        shuffled = _shuffled_outputs(model, inputs, outputs, feature, orders)
        values = [score(metric, target, one, threshold) for one in shuffled]
        drops = [sign(metric) * (baseline - value) for value in values]
        return {
            "feature": names[feature],
            "mean": float(np.mean(drops)),
            "std": float(np.std(drops)),
        }

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(measure, range(len(names))))
    found.sort(key=lambda entry: (-entry["mean"], entry["feature"]))
    return Importance(found, len(rows), repeats)


def some_rows(count: int, wanted: int, seed: int) -> Rows:
    """Return positions of at most so many of `count` rows, ascending, by a seed."""
    if count <= wanted:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, wanted, replace=False))


def _with_every_class(rows: Rows, target: Floats) -> Rows:
    """Return the rows and one of each class that they lack: some metrics need all."""
    classes, first = np.unique(target, return_index=True)
    lacking = first[~np.isin(classes, target[rows])]
    return np.union1d(rows, lacking)


def _shuffled_outputs(
    model: Model, inputs: Inputs, outputs: Floats, feature: int, orders: Sequence[Rows]
) -> list[Floats]:
    """Return for each order of rows the outputs when a feature's values are in that order.

    A row that gets its own value back is not predicted again, and one that gets the same value in
    several shuffles is predicted once.
    """
    values = _equal_values(model, inputs, feature)
    givers = np.unique(values, return_index=True)[1]
    receivers = np.tile(np.arange(len(inputs)), len(orders))
    given = values[np.concatenate(orders)]
    changed = np.flatnonzero(given != values[receivers])
    pairs, places = np.unique(
        receivers[changed] * len(givers) + given[changed], return_inverse=True
    )
    predicted = [
        outputs_of(
            model.predict_inputs(
                exchanged(
                    model.schema,
                    inputs.take(batch // len(givers)),
                    inputs.take(givers[batch % len(givers)]),
                    one_feature(model.schema, feature),
                )
            )
        )
        for batch in (pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH))
    ]
    result = outputs[receivers]
    if predicted:
        result[changed] = np.concatenate(predicted)[places]
    return np.split(result, len(orders))


def _equal_values(model: Model, inputs: Inputs, feature: int) -> Rows:
    """Return a number from 0 for each row; rows with the same value of the feature share one."""
    schema = model.schema
    columns: list[Rows] = []
    for column, source in enumerate(schema.number_features):
        if source == feature:
            columns.append(np.unique(inputs.numbers[:, column], return_inverse=True)[1])
    for column, source in enumerate(schema.code_features):
        if source == feature:
            columns.append(inputs.codes[:, column].astype(np.intp))
    for texts, source in zip(inputs.texts, schema.text_features, strict=True):
        if source == feature:
            columns.append(np.unique(np.array(texts, dtype=object), return_inverse=True)[1])
    return np.unique(np.column_stack(columns), axis=0, return_inverse=True)[1].reshape(-1)
