"""Candidates of two families, for tests of what stands between the rows and any learner."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

LINEAR: dict[str, Any] = {"learner": "Linear", "penalty": 1e-3, "knots": 2}
LIGHTGBM: dict[str, Any] = {
    "learner": "LightGBM",
    "learning_rate": 0.1,
    "num_leaves": 8,
    "min_child_samples": 10,
    "feature_fraction": 1.0,
    "bagging_fraction": 1.0,
    "lambda_l2": 1.0,
    "categories": "Native",
    "interactions": "Sums",
}

DEEP_TREES = {"ExtraTrees": {"min_samples_leaf": {"type": "Integer", "low": 1, "high": 1}}}
"""A space of large and slow models: each tree ends at single rows."""


def many_classes(rows: int = 240) -> tuple[pa.Table, dict[str, str]]:
    """Return rows of ten classes, whose bounds bend so that trees tell more than a linear model.

    A forest has trees for each class: it is thousands of times as large as a linear model, and ten
    times as slow.
    """
    generator = np.random.default_rng(11)
    first, second, third = generator.normal(size=(3, rows))
    score = first * second + 0.5 * third + generator.normal(scale=0.3, size=rows)
    kinds = np.digitize(score, np.quantile(score, np.arange(1, 10) / 10))
    names = [f"kind {number}" for number in kinds]
    table = pa.table({"first": first, "second": second, "third": third, "kind": names})
    types = dict.fromkeys(("first", "second", "third"), "Numeric")
    return table, {**types, "kind": "Categorical"}
