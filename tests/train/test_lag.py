"""What a trial sees is decided by its number, and so that who ends early goes on."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
import pytest
from modelyard.api.experiment import Search
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.executor import Job, Outcome
from modelyard_runtimes.train.search import Plan, SearchRun, lag_of
from modelyard_runtimes.train.task import Goal
from modelyard_runtimes.train.trial import Trial, TrialResult
from modelyard_runtimes.train.trial_log import open_log

FOLDS = 5
GOAL = Goal("Regression", 0, "rmse", "None", 1)


@pytest.mark.parametrize(
    ("parallelism", "trials", "lag"),
    [
        pytest.param(1, 60, 1, id="alone nobody waits"),
        pytest.param(2, 60, 8, id="four times the parallelism"),
        pytest.param(8, 60, 15, id="no more than a quarter of the trials"),
        pytest.param(16, 20, 16, id="at least the parallelism"),
    ],
)
def test_a_trial_sees_what_its_number_says(parallelism: int, trials: int, lag: int) -> None:
    assert lag_of(parallelism, trials) == lag


class SomeSlow:
    """An executor on which some trials end only when nothing else is left to do.

    Attributes:
        most: How many ran at once at most.
        waits: How many trials had ended whenever it waited for a slow one.
        asked: What was to be run, by number.
    """

    def __init__(self, slow: set[int]) -> None:
        self._slow = slow
        self._running: dict[int, Trial] = {}
        self._ended = 0
        self.asked: dict[int, Trial] = {}
        self.most = 0
        self.waits: list[int] = []

    def submit(self, key: int, job: Job, deadline: float = inf) -> None:
        assert isinstance(job, Trial)
        self._running[key] = job
        self.asked[key] = job
        self.most = max(self.most, len(self._running))

    def wait(self) -> Sequence[Outcome]:
        quick = [key for key in self._running if key not in self._slow]
        if not quick:
            self.waits.append(self._ended)
        key = quick[0] if quick else min(self._running)
        job = self._running.pop(key)
        self._ended += 1
        result = TrialResult(key, job.parameters, "Complete", (1 + 1 / (1 + key),) * FOLDS)
        return [Outcome(key, "Done", (result, np.zeros((1, 1))))]

    def close(self) -> None:
        self._running.clear()


def run(store: Store, name: str, parallelism: int, slow: set[int]) -> SomeSlow:
    executor = SomeSlow(slow)
    log, logged = open_log(store, name, {})
    declared = Search.model_validate({"trials": 40, "learners": ["LightGBM", "Linear"]})
    plan = Plan(GOAL, declared, FOLDS, parallelism)
    SearchRun(plan, executor, log, logged, lambda progress: None).run()
    log.close()
    return executor


def test_a_worker_goes_on_while_another_is_slow(store: Store) -> None:
    executor = run(store, "slow", 2, {3})
    assert executor.most == 2
    # Trials 0 to 2 and 4 to 10 ended; what trial 11 sees ends with the slow one.
    assert executor.waits == [10]


def test_the_same_is_proposed_whichever_ends_first(store: Store) -> None:
    alike = run(store, "alike", 2, set()).asked
    assert len(alike) == 40
    assert any(limit is not None for trial in alike.values() for limit in trial.limits)
    assert run(store, "odd", 2, {1, 7, 20, 21, 33}).asked == alike
