"""What FLAML is told of trials, by what it proposes next."""

from __future__ import annotations

import pytest
from modelyard.api.experiment import Search
from modelyard_runtimes.train.task import Goal
from modelyard_runtimes.train.trial import State, TrialResult

pytest.importorskip("flaml", reason="FLAML is not installed (modelyard-runtimes[flaml])")

from modelyard_runtimes.train.engines.flaml_search import FlamlSampler

GOAL = Goal("Classification", 2, "roc_auc", "None", 1)
SEARCH = Search.model_validate({"trials": 20, "learners": ["LightGBM"]})


def proposed(states: list[tuple[State, float]]) -> list[object]:
    """Return what is proposed after trials that ended so."""
    sampler = FlamlSampler(SEARCH, GOAL, (1000, 10))
    for number, (state, value) in enumerate(states):
        folds = (value,) * (5 if state == "Complete" else 1)
        sampler.tell(TrialResult(number, sampler.ask(), state, folds))
    return [sampler.ask() for _ in range(6)]


def test_a_pruned_trial_is_no_better_than_the_worst_that_is_complete() -> None:
    before: list[tuple[State, float]] = [("Complete", 0.8), ("Complete", 0.7)]
    pruned = proposed([*before, ("Pruned", 0.95)])

    assert pruned == proposed([*before, ("Complete", 0.7)])
    assert pruned != proposed([*before, ("Complete", 0.95)])


def test_a_pruned_trial_may_be_worse_than_all() -> None:
    before: list[tuple[State, float]] = [("Complete", 0.8), ("Complete", 0.7)]

    assert proposed([*before, ("Pruned", 0.6)]) == proposed([*before, ("Complete", 0.6)])
