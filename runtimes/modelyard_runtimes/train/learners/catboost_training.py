"""Fits CatBoost and writes its trees."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import catboost  # type: ignore[import-untyped]
import numpy as np

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.learners.base import (
    Encoded,
    FitRequest,
    Fitted,
    Packed,
    best_iterations,
)
from modelyard_runtimes.train.learners.boosting import MAX_ITERATIONS, PATIENCE
from modelyard_runtimes.train.learners.model_text import (
    MISSING_LEFT,
    Tree,
    in_single_precision,
    model_text,
    objective_of,
    of_single_precision,
)
from modelyard_runtimes.train.task import Goal


def train(request: FitRequest) -> FittedCatBoost:
    """Return trees fitted as the request says."""
    settings = {**_settings(request.goal, request.seed), **request.parameters}
    settings.pop("categories")
    settings["iterations"] = request.iterations or MAX_ITERATIONS
    model = catboost.CatBoost(settings)
    rows = _pool(request.rows)
    if request.valid is None:
        model.fit(rows)
        return FittedCatBoost(model, request.goal, ())
    in_time = [_EndInTime(request.deadline())]
    model.fit(rows, eval_set=_pool(request.valid), use_best_model=False, callbacks=in_time)
    losses = next(iter(model.get_evals_result()["validation"].values()))
    model.shrink(best_iterations(losses))
    return FittedCatBoost(model, request.goal, tuple(losses))


@dataclass(frozen=True)
class _EndInTime:
    """Lets no iteration begin after a moment of `time.monotonic`."""

    deadline: float

    def after_iteration(self, _info: Any) -> bool:
        """Return whether to go on."""
        return time.monotonic() < self.deadline


class FittedCatBoost(Fitted):
    """A CatBoost model."""

    def __init__(self, model: Any, goal: Goal, losses: tuple[float, ...]) -> None:
        self._model = model
        self._goal = goal
        self.losses = losses

    def predict(self, columns: Floats) -> Floats:
        """Return probabilities or values."""
        kind = "RawFormulaVal" if self._goal.task == "Regression" else "Probability"
        predicted = self._model.predict(
            in_single_precision(columns), prediction_type=kind, thread_count=1
        )
        found = np.asarray(predicted, dtype=np.float64).reshape(len(columns), -1)
        return found[:, 1:] if kind == "Probability" and self._goal.outputs == 1 else found

    def pack(self) -> Packed:
        """Return the trees."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.json"
            self._model.save_model(str(file), format="json")
            model = json.loads(file.read_text())
        outputs = self._goal.outputs
        scale, bias = model["scale_and_bias"]
        trees = [
            tree
            for number, written in enumerate(model["oblivious_trees"])
            for tree in _trees(written, scale, bias if number == 0 else [0.0] * outputs)
        ]
        columns = len(model["features_info"]["float_features"])
        return Packed("Trees", model_text(trees, columns, outputs, objective_of(self._goal)))


def _settings(goal: Goal, seed: int) -> dict[str, Any]:
    loss = "MAE" if goal.metric == "mae" else "RMSE"
    if goal.task == "Classification":
        loss = "MultiClass" if goal.outputs > 1 else "Logloss"
    # A fit may see no row of a rare class.
    several = {"classes_count": goal.classes} if goal.outputs > 1 else {}
    return {
        **several,
        "loss_function": loss,
        "random_seed": seed,
        "thread_count": 1,
        "od_type": "Iter",
        "od_wait": PATIENCE,
        "bootstrap_type": "Bernoulli",
        "border_count": 128,
        "verbose": False,
        "allow_writing_files": False,
    }


def _pool(rows: Encoded) -> Any:
    columns = in_single_precision(rows.columns)
    return catboost.Pool(columns, label=rows.target, weight=rows.weights)


def _trees(written: dict[str, Any], scale: float, bias: Sequence[float]) -> Iterator[Tree]:
    """Yield a tree for each output.

    All nodes of a level ask the same: split i decides bit i of the leaf, and the first is the root.
    CatBoost sends a missing number where the smallest go, to the left.
    """
    splits = written["splits"]
    depth = len(splits)
    places = np.arange(2**depth)
    # Leaves from left to right, by the number that CatBoost gives them.
    order = sum(((places >> (depth - 1 - level)) & 1) << level for level in range(depth))
    levels = np.repeat(np.arange(depth), 2 ** np.arange(depth))
    inner = np.arange(2**depth - 1)
    # Children of node n of a complete tree are 2n + 1 and 2n + 2; below the last level are leaves.
    left, right = (
        np.where(child < len(inner), child, -(child - len(inner) + 1))
        for child in (2 * inner + 1, 2 * inner + 2)
    )
    values = np.array(written["leaf_values"], dtype=np.float64).reshape(2**depth, -1)[order]
    rows = np.maximum(np.rint(np.array(written["leaf_weights"])), 1).astype(np.intp)[order]
    borders = of_single_precision(np.array([split["border"] for split in splits], np.float64))
    for output, constant in enumerate(bias):
        yield Tree(
            feature=np.array([split["float_feature_index"] for split in splits], np.intp)[levels],
            threshold=borders[levels],
            decision=np.full(len(inner), MISSING_LEFT),
            left=left,
            right=right,
            value=scale * values[:, output] + constant,
            rows=rows,
            inner_rows=_inner_rows(rows),
        )


def _inner_rows(leaves: Any) -> Any:
    """Return the rows of each inner node of a complete tree, the root first."""
    levels = []
    while len(leaves) > 1:
        leaves = leaves.reshape(-1, 2).sum(axis=1)
        levels.append(leaves)
    return np.concatenate(levels[::-1]) if levels else np.zeros(0, dtype=np.intp)
