"""The configurations that every search starts with, and how they were found.

They were chosen from about forty by how much each added to the greedy ensemble out of fold, over
splits of the telco, adult, titanic and california data sets of `make bench ROW=quality`; the order
is by what they gained for their seconds, over all sets. docs/decisions/2026-11-28-recipe.md has the
numbers. Few and broad rather than fitted to these sets: each differs from the others in family,
size of the trees or columns, since an ensemble gains most where members err apart.
"""

from __future__ import annotations

from typing import Any

from modelyard_runtimes.train.learners.base import Parameters

Default = tuple[str, Parameters]
"""A family and one of its configurations."""


def _lightgbm(**changes: Any) -> Default:
    usual = {
        "learning_rate": 0.06,
        "num_leaves": 31,
        "min_child_samples": 20,
        "feature_fraction": 0.4,
        "bagging_fraction": 0.8,
        "lambda_l2": 5.0,
        "categories": "Ordinal",
        "interactions": "None",
    }
    return "LightGBM", {**usual, **changes}


def _xgboost(**changes: Any) -> Default:
    usual = {
        "learning_rate": 0.05,
        "max_depth": 3,
        "min_child_weight": 5.0,
        "colsample_bynode": 0.5,
        "subsample": 0.8,
        "reg_lambda": 5.0,
        "categories": "OneHot",
    }
    return "XGBoost", {**usual, **changes}


def _catboost(**changes: Any) -> Default:
    usual = {
        "learning_rate": 0.08,
        "depth": 6,
        "l2_leaf_reg": 3.0,
        "subsample": 0.8,
        "categories": "OneHot",
    }
    return "CatBoost", {**usual, **changes}


def _linear(penalty: float, knots: int) -> Default:
    return "Linear", {"penalty": penalty, "knots": knots}


def _extra_trees(min_samples_leaf: int, max_features: float, categories: str) -> Default:
    return "ExtraTrees", {
        "min_samples_leaf": min_samples_leaf,
        "max_features": max_features,
        "categories": categories,
    }


def _neighbors(neighbors: int, weighting: str) -> Default:
    return "KNeighbors", {"neighbors": neighbors, "weighting": weighting}


PORTFOLIO: tuple[Default, ...] = (
    _lightgbm(learning_rate=0.05, feature_fraction=0.8, bagging_fraction=0.9, lambda_l2=1.0),
    _lightgbm(num_leaves=8, min_child_samples=30, feature_fraction=0.25, categories="OneHot"),
    _linear(penalty=3e-4, knots=8),
    _lightgbm(learning_rate=0.05, num_leaves=16, feature_fraction=0.35),
    _catboost(),
    _xgboost(),
    _lightgbm(num_leaves=48, interactions="Ratios"),
    _lightgbm(learning_rate=0.05, num_leaves=16, lambda_l2=10.0, categories="Native"),
    _extra_trees(min_samples_leaf=3, max_features=0.5, categories="Ordinal"),
    _neighbors(neighbors=20, weighting="Distance"),
    _linear(penalty=1e-3, knots=0),
    _lightgbm(num_leaves=48, feature_fraction=0.3, interactions="Sums"),
    _lightgbm(
        learning_rate=0.05,
        num_leaves=4,
        min_child_samples=30,
        feature_fraction=0.3,
        categories="OneHot",
    ),
    (
        "TorchMLP",
        {
            "layers": 1,
            "width": 64,
            "shape": "Constant",
            "blocks": 0,
            "members": 4,
            "dropout": 0.0,
            "learning_rate": 1e-2,
            "weight_decay": 0.1,
        },
    ),
    _linear(penalty=1e-3, knots=4),
    _catboost(learning_rate=0.06, depth=4),
    _xgboost(
        max_depth=7,
        min_child_weight=3.0,
        colsample_bynode=0.6,
        reg_lambda=3.0,
        categories="Ordinal",
    ),
    _extra_trees(min_samples_leaf=8, max_features=0.3, categories="OneHot"),
    _neighbors(neighbors=60, weighting="Distance"),
    _neighbors(neighbors=5, weighting="Uniform"),
)
"""The first of a family is its default."""
