"""Searches to measure: the data, trials that do nothing, and trials that only take time."""

from __future__ import annotations

import heapq
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from modelyard.api.experiment import Search
from modelyard.api.runtime import StoreConfig
from modelyard_runtimes.model.schema import Inputs
from modelyard_runtimes.store import Store, open_store
from modelyard_runtimes.train.executor import Executor, Job, Outcome
from modelyard_runtimes.train.search import Plan, SearchRun
from modelyard_runtimes.train.space import ranges_of
from modelyard_runtimes.train.task import Goal, SearchData
from modelyard_runtimes.train.trial import Trial, TrialResult
from modelyard_runtimes.train.trial_log import open_log

FOLDS = 5
GOAL = Goal("Regression", 0, "rmse", "None", 1)
CACHE = Path(__file__).parents[2] / ".cache"


def loss(number: int) -> float:
    """Return what the trial of this number is said to lose: all sides learn from the same."""
    return float(np.random.default_rng(number).random())


@dataclass(frozen=True)
class NoOp:
    """A trial that is over at once."""

    number: int
    parameters: dict[str, Any]

    def load(self) -> None:
        """Need nothing."""

    def run(self, data: SearchData) -> tuple[TrialResult, None]:
        """Return the result."""
        return ended(self), None


def ended(trial: Trial | NoOp) -> TrialResult:
    """Return the result of a trial that does nothing."""
    return TrialResult(trial.number, trial.parameters, "Complete", (loss(trial.number),) * FOLDS)


class WithoutWork:
    """An executor that runs `NoOp` in place of each trial."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner

    def submit(self, key: int, job: Job, deadline: float = inf) -> None:
        """Take a job."""
        assert isinstance(job, Trial)
        self._inner.submit(key, NoOp(job.number, job.parameters), deadline)

    def wait(self) -> Sequence[Outcome]:
        """Return outcomes."""
        return self._inner.wait()

    def close(self) -> None:
        """End the processes."""
        self._inner.close()


class Simulated:
    """An executor with a place for every trial, each of which takes so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: list[tuple[float, int, Trial]] = []

    def submit(self, key: int, job: Job, deadline: float = inf) -> None:
        """Start a trial."""
        assert isinstance(job, Trial)
        heapq.heappush(self._ends, (time.monotonic() + self.seconds(key), key, job))

    def seconds(self, number: int) -> float:
        """Return how long a trial takes."""
        return self._seconds

    def wait(self) -> Sequence[Outcome]:
        """Return the trials whose time is over, sleeping until the first is."""
        time.sleep(max(self._ends[0][0] - time.monotonic(), 0))
        found = []
        while self._ends and self._ends[0][0] <= time.monotonic():
            _, key, trial = heapq.heappop(self._ends)
            found.append(Outcome(key, "Done", (ended(trial), None)))
        return found

    def close(self) -> None:
        """Do nothing: there are no processes."""


@contextmanager
def disk_folder() -> Iterator[Path]:
    """Yield a new folder on the disk of this project, for memory needs no syncing."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        yield Path(folder)


@contextmanager
def disk_store() -> Iterator[Store]:
    """Yield a store in such a folder."""
    with disk_folder() as folder:
        yield open_store(StoreConfig(uri=folder.as_uri()))


def search(
    store: Store, executor: Executor, declared: Search, parallelism: int, goal: Goal = GOAL
) -> SearchRun:
    """Run a search with its durable log."""
    log, logged = open_log(store, "run", {})
    plan = Plan(goal, declared, FOLDS, parallelism)
    run = SearchRun(plan, executor, log, logged, lambda progress: None)
    run.run()
    log.close()
    return run


def suggest(trial: Any, learners: Sequence[str]) -> None:
    """Suggest a family and its hyperparameters to a trial of Optuna, as its documentation has it."""
    learner = trial.suggest_categorical("learner", list(learners))
    for name, known in ranges_of(learner).items():
        full = f"{learner}.{name}"
        if known.choices:
            trial.suggest_categorical(full, known.choices)
        elif known.type == "Integer":
            trial.suggest_int(full, int(known.low), int(known.high), log=known.log)
        else:
            trial.suggest_float(full, known.low, known.high, log=known.log)


def rows(count: int) -> SearchData:
    """Return a regression over 20 numbers that trees can learn."""
    random = np.random.default_rng(7)
    numbers = random.normal(size=(count, 20))
    target = numbers[:, 0] * numbers[:, 1] + np.sin(3 * numbers[:, 2]) + numbers[:, 3]
    return SearchData(
        goal=GOAL,
        inputs=Inputs(numbers, np.zeros((count, 0), dtype=np.int32), ((),) * 0),
        categories=(),
        target=target + random.normal(scale=0.3, size=count),
        folds=np.arange(count) % FOLDS,
    )


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that work took, and its result."""
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found
