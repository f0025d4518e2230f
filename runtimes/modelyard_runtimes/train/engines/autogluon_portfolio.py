"""AutoGluon's portfolio: the configurations of its presets `high_quality` and `best_quality`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from autogluon.tabular.configs.hyperparameter_configs import (  # type: ignore[import-not-found]
    get_hyperparameter_config,
)
from autogluon.tabular.models import (  # type: ignore[import-not-found]
    CatBoostModel,
    LGBModel,
    LinearModel,
    XGBoostModel,
    XTModel,
)

from modelyard_runtimes.train.engines.base import ENGINE
from modelyard_runtimes.train.learners.base import Value
from modelyard_runtimes.train.space import LEARNER
from modelyard_runtimes.train.task import Goal

MODEL = "model"
"""Names in a configuration the model, as AutoGluon's `hyperparameters` do."""

MODELS: Mapping[str, tuple[str, Any]] = MappingProxyType(
    {
        "GBM": ("LightGBM", LGBModel),
        "CAT": ("CatBoost", CatBoostModel),
        "XGB": ("XGBoost", XGBoostModel),
        "XT": ("ExtraTrees", XTModel),
        "LR": ("Linear", LinearModel),
    }
)
"""Family and class of AutoGluon's models."""


def portfolio(learners: Collection[str], goal: Goal) -> list[dict[str, Value]]:
    """Return the configurations of these families in the order in which AutoGluon fits them.

    Left out are those of other kinds of task, and trees of CatBoost that are not symmetric, which
    are not packed. The portfolio has no linear models; AutoGluon's default stands for them.
    """
    listed = {**get_hyperparameter_config("zeroshot"), "LR": {}}
    found: list[tuple[int, dict[str, Value]]] = []
    for name, (learner, model) in MODELS.items():
        named: dict[str, Value] = {ENGINE: "AutoGluon", LEARNER: learner, MODEL: name}
        several = listed[name] if isinstance(listed[name], list) else [listed[name]]
        for configuration in several if learner in learners else ():
            told = configuration.pop("ag_args", {})
            suited = problem_type(goal) in told.get("problem_types", [problem_type(goal)])
            if suited and configuration.get("grow_policy", "SymmetricTree") == "SymmetricTree":
                found.append((told.get("priority", model.ag_priority), {**named, **configuration}))
    return [one for _, one in sorted(found, key=lambda entry: -entry[0])]


def problem_type(goal: Goal) -> str:
    """Return what AutoGluon calls this kind of task."""
    if goal.task == "Regression":
        return "regression"
    return "multiclass" if goal.outputs > 1 else "binary"
