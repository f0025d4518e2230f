"""The hyperparameters of each family: configurations to start with, and ranges to search."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from types import MappingProxyType
from typing import Protocol

from modelyard_runtimes.train.learners.base import Parameters, Value
from modelyard_runtimes.train.portfolio import PORTFOLIO
from modelyard_runtimes.train.task import Goal

LEARNER = "learner"

TARGET = "target"
VALUE, SQUARE_ROOT = "Value", "SquareRoot"
TARGETS = (VALUE, SQUARE_ROOT)
"""What a candidate fits of a regression's values, where they have square roots."""


def targets_of(goal: Goal) -> tuple[str, ...]:
    """Return what candidates may fit of the target; nothing where there is no choice."""
    return TARGETS if goal.never_negative else ()


class Suggest(Protocol):
    """The part of an Optuna trial that a search space needs."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """Return one of the choices."""
        ...

    def suggest_float(
        self, name: str, low: float, high: float, *, log: bool = False, step: float | None = None
    ) -> float:
        """Return a number of the range."""
        ...

    def suggest_int(
        self, name: str, low: int, high: int, *, log: bool = False, step: int = 1
    ) -> int:
        """Return an integer of the range."""
        ...


def portfolio(learners: Sequence[str], targets: Sequence[str] = ()) -> list[dict[str, Value]]:
    """Return the default configurations of these families, in the order in which they pay.

    Args:
        learners: The families.
        targets: What may be fitted of the target: the first configuration is tried with each of
            two, those of each family take turns.
    """
    found: list[dict[str, Value]] = [
        {LEARNER: learner, **parameters} for learner, parameters in PORTFOLIO if learner in learners
    ]
    if targets:
        found = [*found[:1], *found]  # the first pays most
        turns = {learner: cycle(targets) for learner in learners}
        found = [{**one, TARGET: next(turns[str(one[LEARNER])])} for one in found]
    return found


def choose(trial: Suggest, learners: Sequence[str]) -> str:
    """Return the learner that the sampler chooses."""
    return trial.suggest_categorical(LEARNER, list(learners))


def suggest(trial: Suggest, learner: str, targets: Sequence[str] = ()) -> dict[str, Value]:
    """Return a configuration of a learner that the sampler chooses.

    Args:
        trial: Suggests the values.
        learner: The family.
        targets: What may be fitted of the target.
    """
    found = {LEARNER: learner, **_SPACES[learner](trial)}
    if targets:
        found[TARGET] = trial.suggest_categorical(f"{learner}.{TARGET}", targets)
    return found


def named(parameters: Parameters) -> dict[str, Value]:
    """Return a configuration of a learner under the names the sampler knows."""
    learner = parameters[LEARNER]
    return {f"{learner}.{name}": value for name, value in parameters.items() if name != LEARNER}


def _lightgbm(trial: Suggest) -> dict[str, Value]:
    return {
        "learning_rate": trial.suggest_float("LightGBM.learning_rate", 0.02, 0.2, log=True),
        "num_leaves": trial.suggest_int("LightGBM.num_leaves", 4, 128, log=True),
        "min_child_samples": trial.suggest_int("LightGBM.min_child_samples", 5, 100, log=True),
        "feature_fraction": trial.suggest_float("LightGBM.feature_fraction", 0.3, 1.0),
        "bagging_fraction": trial.suggest_float("LightGBM.bagging_fraction", 0.5, 1.0),
        "lambda_l2": trial.suggest_float("LightGBM.lambda_l2", 1e-2, 30.0, log=True),
        "categories": trial.suggest_categorical(
            "LightGBM.categories", ["Ordinal", "OneHot", "Native"]
        ),
        "interactions": trial.suggest_categorical(
            "LightGBM.interactions", ["None", "Sums", "Ratios"]
        ),
    }


def _xgboost(trial: Suggest) -> dict[str, Value]:
    return {
        "learning_rate": trial.suggest_float("XGBoost.learning_rate", 0.02, 0.2, log=True),
        "max_depth": trial.suggest_int("XGBoost.max_depth", 2, 10),
        "min_child_weight": trial.suggest_float("XGBoost.min_child_weight", 0.5, 50, log=True),
        "colsample_bynode": trial.suggest_float("XGBoost.colsample_bynode", 0.3, 1.0),
        "subsample": trial.suggest_float("XGBoost.subsample", 0.5, 1.0),
        "reg_lambda": trial.suggest_float("XGBoost.reg_lambda", 1e-2, 30.0, log=True),
        "categories": trial.suggest_categorical("XGBoost.categories", ["Ordinal", "OneHot"]),
    }


def _catboost(trial: Suggest) -> dict[str, Value]:
    return {
        "learning_rate": trial.suggest_float("CatBoost.learning_rate", 0.03, 0.2, log=True),
        "depth": trial.suggest_int("CatBoost.depth", 3, 8),
        "l2_leaf_reg": trial.suggest_float("CatBoost.l2_leaf_reg", 0.5, 30.0, log=True),
        "subsample": trial.suggest_float("CatBoost.subsample", 0.5, 1.0),
        "categories": trial.suggest_categorical("CatBoost.categories", ["OneHot", "Ordinal"]),
    }


def _linear(trial: Suggest) -> dict[str, Value]:
    return {
        "penalty": trial.suggest_float("Linear.penalty", 1e-6, 1.0, log=True),
        "knots": trial.suggest_int("Linear.knots", 0, 12),
    }


def _extra_trees(trial: Suggest) -> dict[str, Value]:
    return {
        "min_samples_leaf": trial.suggest_int("ExtraTrees.min_samples_leaf", 1, 32, log=True),
        "max_features": trial.suggest_float("ExtraTrees.max_features", 0.1, 1.0),
        "categories": trial.suggest_categorical("ExtraTrees.categories", ["OneHot", "Ordinal"]),
    }


def _torch_mlp(trial: Suggest) -> dict[str, Value]:
    return {
        "layers": trial.suggest_int("TorchMLP.layers", 1, 4),
        "width": trial.suggest_int("TorchMLP.width", 16, 512, log=True),
        "shape": trial.suggest_categorical("TorchMLP.shape", ["Constant", "Halving"]),
        "blocks": trial.suggest_int("TorchMLP.blocks", 0, 4),
        "dropout": trial.suggest_float("TorchMLP.dropout", 0.0, 0.5),
        "learning_rate": trial.suggest_float("TorchMLP.learning_rate", 5e-4, 2e-2, log=True),
        "weight_decay": trial.suggest_float("TorchMLP.weight_decay", 1e-4, 1.0, log=True),
    }


_SPACES = MappingProxyType(
    {
        "LightGBM": _lightgbm,
        "XGBoost": _xgboost,
        "CatBoost": _catboost,
        "Linear": _linear,
        "ExtraTrees": _extra_trees,
        "TorchMLP": _torch_mlp,
    }
)
