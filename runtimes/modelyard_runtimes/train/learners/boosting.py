"""LightGBM: gradient boosted trees."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import lightgbm as lgb
import numpy as np

from modelyard_runtimes.model.format import EncoderDocument
from modelyard_runtimes.model.members import probabilities
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.model.trees import parts
from modelyard_runtimes.train.encoding import EncodingOptions, Interactions
from modelyard_runtimes.train.learners.base import (
    MAX_DEPTH,
    Encoded,
    FitRequest,
    Fitted,
    Learner,
    Packed,
    Parameters,
    best_iterations,
)
from modelyard_runtimes.train.learners.model_text import END_OF_TREES
from modelyard_runtimes.train.task import Goal

MAX_ITERATIONS = 1500
_INTERACTIONS: Mapping[str, Interactions] = MappingProxyType(
    {"None": "None", "Sums": "Sums", "Ratios": "Ratios"}
)
PATIENCE = 40
"""Iterations without a lower validation loss after which boosting ends."""

GENERATION = 50
"""Iterations between two changes of hyperparameters, where there are some."""


class Boosting(Learner):
    """Gradient boosted trees of any library; the number of iterations is found on the folds."""

    iterative = True

    def encoding(self, parameters: Parameters) -> EncodingOptions:
        """Return categories as the candidate wants them, missing values as they are."""
        return EncodingOptions(
            missing="Keep",
            scaling="None",
            categories="OneHot" if parameters["categories"] == "OneHot" else "Ordinal",
            min_count=5,
            interactions=_INTERACTIONS[str(parameters.get("interactions", "None"))],
        )


class LightGBM(Boosting):
    """Gradient boosted trees, packed as they are."""

    # Not bagging_fraction: where that changes, LightGBM 4.7 writes beyond its memory.
    changing = ("learning_rate", "num_leaves", "min_child_samples", "feature_fraction", "lambda_l2")
    generation = GENERATION

    def fit(self, request: FitRequest) -> Fitted:
        """Boost until the validation loss rests, or for exactly the given iterations."""
        settings = {**_settings(request.goal, request.seed), **request.parameters}
        native = settings.pop("categories") == "Native"
        settings.pop("interactions")
        categorical = _categorical_columns(request.encoder) if native else []
        train = _dataset(request.rows, categorical, None)
        losses: dict[str, dict[str, list[float]]] = {}
        trees: list[int] = []
        sets: list[lgb.Dataset] = []
        callbacks: list[Callable[..., Any]] = [_Change(request.changes)]
        if request.valid is not None:
            sets = [_dataset(request.valid, categorical, train)]
            callbacks += [
                lgb.early_stopping(PATIENCE, verbose=False),
                lgb.record_evaluation(losses),
                lambda env: trees.append(env.model.current_iteration()),
                _EndInTime(request.deadline()),
            ]
        booster = lgb.train(
            settings,
            train,
            num_boost_round=request.iterations or MAX_ITERATIONS,
            valid_sets=sets,
            callbacks=callbacks,
        )
        found = next(iter(losses["valid_0"].values())) if losses else []
        return FittedBooster(booster, tuple(found), trees)


class FittedBooster(Fitted):
    """A LightGBM booster."""

    def __init__(
        self, booster: lgb.Booster, losses: tuple[float, ...], trees: Sequence[int] = ()
    ) -> None:
        """Keep the booster.

        Args:
            booster: The booster.
            losses: Loss after each iteration, where there were rows to validate on.
            trees: Iterations that it has after each, which are fewer where one found no split.
        """
        self._booster = booster
        self._iterations = trees[best_iterations(losses) - 1] if losses else -1
        self.losses = losses

    def predict(self, columns: Floats) -> Floats:
        """Return probabilities or values."""
        trees_an_iteration = self._booster.num_model_per_iteration()
        if trees_an_iteration == 1:
            predicted = self._booster.predict(columns, num_iteration=self._iterations)
            return np.asarray(predicted, dtype=np.float64).reshape(len(columns), -1)
        count = self._iterations if self._iterations > 0 else self._booster.current_iteration()
        margins = np.zeros((len(columns), trees_an_iteration))
        for start, some in parts(count, trees_an_iteration):
            margins += self._booster.predict(
                columns, start_iteration=start, num_iteration=some, raw_score=True
            )
        return probabilities(margins)

    def pack(self) -> Packed:
        """Return header and trees of the model text; its record of training parameters is cut."""
        text = self._booster.model_to_string(num_iteration=self._iterations)
        trees = text[: text.index(END_OF_TREES) + len(END_OF_TREES)]
        return Packed("Trees", trees.encode())


class _Change:
    """Changes hyperparameters before the iterations from which on they are others."""

    def __init__(self, changes: Mapping[int, Parameters]) -> None:
        self._changes = changes
        self.before_iteration = True
        self.order = 10

    def __call__(self, env: lgb.callback.CallbackEnv) -> None:
        """Change what changes here."""
        if env.iteration in self._changes:
            cast(lgb.Booster, env.model).reset_parameter(dict(self._changes[env.iteration]))


class _EndInTime:
    """Lets no iteration begin after a moment of `time.monotonic`."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self.order = 40  # after the loss was recorded, and the best iteration noted

    def __call__(self, env: lgb.callback.CallbackEnv) -> None:
        """End where the time is over."""
        if time.monotonic() >= self._deadline:
            raise lgb.callback.EarlyStopException(env.iteration, env.evaluation_result_list or [])


def _settings(goal: Goal, seed: int) -> dict[str, Any]:
    """Return what makes LightGBM deterministic, and its objective."""
    settings: dict[str, Any] = {
        "objective": "regression_l1" if goal.metric == "mae" else "regression",
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
        "bagging_freq": 1,
        "max_depth": MAX_DEPTH,
        "feature_pre_filter": False,
    }
    if goal.task == "Classification":
        settings["objective"] = "binary" if goal.outputs == 1 else "multiclass"
    if goal.outputs > 1:
        settings["num_class"] = goal.classes
    return settings


def _dataset(rows: Encoded, categorical: list[int], reference: lgb.Dataset | None) -> lgb.Dataset:
    # Names of the data never reach LightGBM, which refuses some; packed encoders map columns back.
    return lgb.Dataset(
        rows.columns,
        label=rows.target,
        weight=rows.weights,
        feature_name=[f"c{column}" for column in range(rows.columns.shape[1])],
        categorical_feature=categorical,
        reference=reference,
        free_raw_data=False,
    )


def _categorical_columns(encoder: EncoderDocument) -> list[int]:
    """Return the positions of ordinal levels among the encoded columns."""
    numeric = encoder.numeric
    start = len(numeric.fill) + len(numeric.indicators) + len(numeric.interactions)
    return list(range(start, start + len(encoder.categorical.levels)))
