"""Asks FLAML for configurations.

It is what FLAML's own AutoML does with `learner_selector="roundrobin"` and `sample=False`: each
estimator has a search space for the size of the data, a cheap configuration to begin with, and a
search by CFO (Wu et al., "Frugal Optimization for Cost-related Hyperparameters", 2021). No time
enters: FLAML's other selector weighs seconds, and its limit of memory is that of the machine.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from flaml.automl.task.factory import task_factory
from flaml.tune.searcher.blendsearch import CFO
from modelyard.api.experiment import Search

from modelyard_runtimes.train.engines.base import ENGINE
from modelyard_runtimes.train.learners.base import Value
from modelyard_runtimes.train.metrics import sign
from modelyard_runtimes.train.space import LEARNER
from modelyard_runtimes.train.task import Goal, derived_seed
from modelyard_runtimes.train.trial import TrialResult

ESTIMATOR = "estimator"
"""Names in a configuration the estimator, as FLAML's `estimator_list` does."""

FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "lgbm": "LightGBM",
        "xgboost": "XGBoost",
        "xgb_limitdepth": "XGBoost",
        "catboost": "CatBoost",
        "extra_tree": "ExtraTrees",
        "lrl1": "Linear",
        "enet": "Linear",
    }
)
"""Families of FLAML's estimators: `lrl1` is of classes only, `enet` of values."""

TRIES = 1000
"""How often FLAML is asked: it answers with nothing where it was about to repeat itself."""

LOSS = "loss"

# FLAML tells what it does at every step.
logging.getLogger("flaml").setLevel(logging.WARNING)


class FlamlSampler:
    """The estimators of the declared families take turns, each with a search of its own."""

    portfolio_size = 0

    def __init__(self, search: Search, goal: Goal, shape: tuple[int, int]) -> None:
        """Prepare the searches.

        Args:
            search: The declared search.
            goal: What is predicted, and the seed.
            shape: Rows and features of the data.
        """
        self.trials = search.trials
        self._sign = sign(goal.metric)
        other = "lrl1" if goal.task == "Regression" else "enet"
        chosen = [
            name
            for learner in search.learners
            for name, family in FAMILIES.items()
            if family == learner and name != other
        ]
        self._searches = [
            _EstimatorSearch(name, goal, shape, derived_seed(goal.seed, place))
            for place, name in enumerate(chosen)
        ]
        self._asked: list[_EstimatorSearch] = []
        self._worst = -math.inf

    def ask(self) -> dict[str, Value]:
        """Return the configuration of the next trial."""
        number = len(self._asked)
        self._asked.append(self._searches[number % len(self._searches)])
        return self._asked[number].ask(number)

    def tell(self, result: TrialResult) -> None:
        """Take in the result of a trial; one that was pruned is no better than any complete one.

        It was judged on some folds only, and these may be the easy ones.
        """
        loss = None if result.state == "Failed" else -self._sign * result.value
        if loss is not None and result.state == "Complete":
            self._worst = max(self._worst, loss)
        elif loss is not None:
            loss = max(self._worst, loss)
        self._asked[result.number].tell(result.number, loss)


class _EstimatorSearch:
    """The search of one estimator."""

    def __init__(self, name: str, goal: Goal, shape: tuple[int, int], seed: int) -> None:
        self._named = {ENGINE: "FLAML", LEARNER: FAMILIES[name], ESTIMATOR: name}
        task = task_factory(task_name(goal))
        space = task.estimator_class_from_str(name).search_space(data_size=shape, task=task)
        self._start = dict(_given(space, "init_value"))
        self._search = CFO(
            metric=LOSS,
            mode="min",
            space=dict(_given(space, "domain")),
            points_to_evaluate=[dict(self._start)],
            low_cost_partial_config=dict(_given(space, "low_cost_init_value")),
            seed=seed,
        )
        self._configurations: dict[int, dict[str, Any]] = {}

    def ask(self, number: int) -> dict[str, Value]:
        for _ in range(TRIES):
            configuration = self._search.suggest(str(number))
            if configuration is not None:
                self._configurations[number] = configuration
                return {**self._named, **{k: _plain(v) for k, v in configuration.items()}}
        raise RuntimeError(f"FLAML proposes nothing more for {self._named[ESTIMATOR]}")

    def tell(self, number: int, loss: float | None) -> None:
        result = {"config": self._configurations[number], LOSS: loss}
        failed = loss is None
        self._search.on_trial_complete(str(number), None if failed else result, error=failed)


def task_name(goal: Goal) -> str:
    """Return what FLAML calls this task."""
    if goal.task == "Regression":
        return "regression"
    return "multiclass" if goal.outputs > 1 else "binary"


def _given(space: dict[str, dict[str, Any]], what: str) -> Iterator[tuple[str, Any]]:
    return ((name, told[what]) for name, told in space.items() if what in told)


def _plain(value: Any) -> Value:
    """Return a value in the type that JSON has for it."""
    plain: Value = value.item() if isinstance(value, np.generic) else value
    return plain
