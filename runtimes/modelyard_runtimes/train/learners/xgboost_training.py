"""Fits XGBoost and writes its trees."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xgboost as xgb

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.learners.base import (
    Encoded,
    FitRequest,
    Fitted,
    Packed,
    Parameters,
    best_iterations,
)
from modelyard_runtimes.train.learners.boosting import MAX_ITERATIONS, PATIENCE
from modelyard_runtimes.train.learners.model_text import (
    MISSING_LEFT,
    MISSING_RIGHT,
    Tree,
    child_names,
    in_single_precision,
    model_text,
    objective_of,
    of_single_precision,
)
from modelyard_runtimes.train.task import Goal


def train(request: FitRequest) -> FittedXGBoost:
    """Return trees fitted as the request says."""
    goal = request.goal
    settings = {**_settings(goal, request.seed), **request.parameters}
    settings.pop("categories")
    # Trees fit what this constant leaves of the target.
    base = float(np.float32(np.mean(request.rows.target))) if goal.task == "Regression" else 0.5
    settings["base_score"] = base
    rows = _matrix(request.rows)
    # Two classes: the constant is a probability of a half, whose margin is 0.
    margin = 0.0 if goal.outputs == 1 and goal.task == "Classification" else base
    change = _Change(request.changes)
    if request.valid is None:
        booster = xgb.train(settings, rows, request.iterations, callbacks=[change])
        return FittedXGBoost(booster, goal, margin, ())
    found: dict[str, dict[str, list[float]]] = {}
    booster = xgb.train(
        settings,
        rows,
        request.iterations or MAX_ITERATIONS,
        evals=[(_matrix(request.valid), "valid")],
        early_stopping_rounds=PATIENCE,
        evals_result=found,
        verbose_eval=False,
        callbacks=[change, _EndInTime(request.deadline())],
    )
    losses = tuple(next(iter(found["valid"].values())))
    return FittedXGBoost(booster[: best_iterations(losses)], goal, margin, losses)


class _Change(xgb.callback.TrainingCallback):
    """Changes hyperparameters before the iterations from which on they are others."""

    def __init__(self, changes: Mapping[int, Parameters]) -> None:
        self._changes = changes

    def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Change what changes here, and return that boosting does not end."""
        del evals_log
        if epoch in self._changes:
            model.set_param(dict(self._changes[epoch]))
        return False


class _EndInTime(xgb.callback.TrainingCallback):
    """Lets no iteration begin after a moment of `time.monotonic`."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Return whether to end."""
        del model, epoch, evals_log
        return time.monotonic() >= self._deadline


class FittedXGBoost(Fitted):
    """An XGBoost booster."""

    parity = 1e-5
    """XGBoost adds up its trees in float32, a packed model in float64."""

    def __init__(
        self, booster: xgb.Booster, goal: Goal, margin: float, losses: tuple[float, ...]
    ) -> None:
        """Take a booster, and the constant that its sums of leaves begin with."""
        self._booster = booster
        self._goal = goal
        self._margin = margin
        self.losses = losses

    def predict(self, columns: Floats) -> Floats:
        """Return probabilities or values."""
        predicted = self._booster.predict(xgb.DMatrix(in_single_precision(columns)))
        return np.asarray(predicted, dtype=np.float64).reshape(len(columns), -1)

    def pack(self) -> Packed:
        """Return the trees."""
        model = json.loads(self._booster.save_raw("json"))["learner"]["gradient_booster"]["model"]
        outputs = self._goal.outputs
        trees = list(_trees(model["trees"], self._margin, outputs))
        columns = self._booster.num_features()
        return Packed("Trees", model_text(trees, columns, outputs, objective_of(self._goal)))


def _settings(goal: Goal, seed: int) -> dict[str, Any]:
    objective = "reg:absoluteerror" if goal.metric == "mae" else "reg:squarederror"
    if goal.task == "Classification":
        objective = "multi:softprob" if goal.outputs > 1 else "binary:logistic"
    settings: dict[str, Any] = {
        "objective": objective,
        "seed": seed,
        "nthread": 1,
        "tree_method": "hist",
        "verbosity": 0,
    }
    if goal.outputs > 1:
        settings["num_class"] = goal.classes
    return settings


def _matrix(rows: Encoded) -> xgb.DMatrix:
    columns = in_single_precision(rows.columns)
    return xgb.DMatrix(columns, label=rows.target, weight=rows.weights)


def _trees(trees: list[dict[str, Any]], margin: float, outputs: int) -> Iterator[Tree]:
    """Yield the trees; the first of each output takes in the constant."""
    for number, tree in enumerate(trees):
        children = np.array(tree["left_children"]), np.array(tree["right_children"])
        leaf = children[0] < 0
        inner = ~leaf
        names = child_names(leaf)
        conditions = np.array(tree["split_conditions"], dtype=np.float32)
        missing_left = np.array(tree["default_left"], dtype=bool)[inner]
        # Left is below the condition, so at most the number next to it.
        below = np.nextafter(conditions[inner], np.float32(-np.inf)).astype(np.float64)
        # The weight of rows is their count in squared loss, and less where a class is certain.
        rows = np.maximum(np.rint(np.array(tree["sum_hessian"])), 1).astype(np.intp)
        yield Tree(
            feature=np.array(tree["split_indices"], dtype=np.intp)[inner],
            threshold=of_single_precision(below),
            decision=np.where(missing_left, MISSING_LEFT, MISSING_RIGHT),
            left=names[children[0][inner]],
            right=names[children[1][inner]],
            value=conditions[leaf].astype(np.float64) + (margin if number < outputs else 0.0),
            rows=rows[leaf],
            inner_rows=rows[inner],
        )
