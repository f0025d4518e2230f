"""Candidates of two families, for tests of what stands between the rows and any learner."""

from __future__ import annotations

from typing import Any

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
