"""Packs what other libraries fitted as our own families pack what they fit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.learners.base import Encoded, Fitted, Packed
from modelyard_runtimes.train.learners.boosting import FittedBooster
from modelyard_runtimes.train.learners.extra_trees import FittedTrees
from modelyard_runtimes.train.learners.linear import FittedLinear
from modelyard_runtimes.train.task import Goal


def packable(learner: str, model: Any, goal: Goal, margin: float = 0.0) -> Fitted:
    """Return a fitted model that can be packed.

    Args:
        learner: Its family.
        model: A booster of LightGBM or XGBoost, a model of CatBoost, a forest or linear model of
            scikit-learn.
        goal: What it predicts.
        margin: What the trees of XGBoost begin with.
    """
    if learner == "LightGBM":
        return FittedBooster(model, ())
    if learner == "XGBoost":
        from modelyard_runtimes.train.learners.xgboost_training import (  # noqa: PLC0415
            FittedXGBoost,
        )

        # It is asked for rows of plain numbers.
        model.feature_names = model.feature_types = None
        return FittedXGBoost(model, goal, margin, ())
    if learner == "CatBoost":
        from modelyard_runtimes.train.learners.catboost_training import (  # noqa: PLC0415
            FittedCatBoost,
        )

        return FittedCatBoost(model, goal, ())
    return FittedTrees(model) if learner == "ExtraTrees" else FittedLinear(model)


def xgboost_constant(goal: Goal, rows: Encoded) -> tuple[float, float]:
    """Return what the trees of XGBoost begin with, as a prediction and as a margin.

    It is what XGBoost would find itself, and not tell.
    """
    if goal.outputs > 1:
        return 0.5, 0.5
    mean = float(np.float32(np.average(rows.target, weights=rows.weights)))
    return mean, mean if goal.task == "Regression" else math.log(mean / (1 - mean))


class Stopped(Fitted):
    """A fit that its library stopped, and that tells after how many iterations it was best."""

    def __init__(self, inner: Fitted, iterations: int) -> None:
        """Take the fit, and its best number of iterations."""
        self._inner = inner
        self._iterations = iterations
        self.parity = inner.parity

    def best_iterations(self) -> int:
        """Return the number of iterations."""
        return self._iterations

    def predict(self, columns: Floats) -> Floats:
        """Return predictions, rows x outputs."""
        return self._inner.predict(columns)

    def pack(self) -> Packed:
        """Return what a packed model keeps."""
        return self._inner.pack()
