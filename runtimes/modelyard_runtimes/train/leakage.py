"""Looks for features that give the target away."""

from __future__ import annotations

import numpy as np

from modelyard_runtimes.model.schema import Floats, InputSchema
from modelyard_runtimes.train.task import SearchData

SAME = 0.9999
"""Correlation from which a number counts as the target in another form."""

MAX_VALUES = 50
"""A feature with more values than this decides classes by chance too easily to be told apart."""


def warn_of_leaks(schema: InputSchema, data: SearchData) -> list[str]:
    """Return a sentence for each feature that alone determines the target of the search's rows."""
    columns = [
        *zip(schema.number_features, data.inputs.numbers.T, strict=True),
        *zip(schema.code_features, data.inputs.codes.T.astype(np.float64), strict=True),
    ]
    found = {
        schema.names[feature]
        for feature, values in columns
        if _determines(values, data.target, data.goal.task)
    }
    return [
        f"Column {name!r} alone determines the target: it may be known only afterwards. "
        "If so, list it in spec.features.exclude."
        for name in schema.names
        if name in found
    ]


def _determines(values: Floats, target: Floats, task: str) -> bool:
    present = ~np.isnan(values)
    values, target = values[present], target[present]
    if len(values) < 2 or np.all(values == values[0]):
        return False
    if task == "Regression":
        return bool(np.std(target) > 0 and abs(np.corrcoef(values, target)[0, 1]) > SAME)
    distinct, groups = np.unique(values, return_inverse=True)
    if len(distinct) > MAX_VALUES or len(np.unique(target)) < 2:
        return False
    low = np.full(len(distinct), np.inf)
    high = np.full(len(distinct), -np.inf)
    np.minimum.at(low, groups, target)
    np.maximum.at(high, groups, target)
    return bool(np.all(low == high))
