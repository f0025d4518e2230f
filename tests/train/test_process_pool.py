"""A job's time begins when its worker begins with it, and a worker that never does is ended."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from modelyard.api.records import MEASURED_FAILURES
from modelyard_runtimes.train.engines.base import ENGINE
from modelyard_runtimes.train.engines.registry import ENGINES, learner_of
from modelyard_runtimes.train.executor import BUDGET, NOT_READY, TIMEOUT, Job, Outcome, ProcessPool
from modelyard_runtimes.train.learners.base import Parameters
from modelyard_runtimes.train.learners.registry import EXTRAS, LEARNERS
from modelyard_runtimes.train.refit import Refit
from modelyard_runtimes.train.space import LEARNER, SQUARE_ROOT, TARGET
from modelyard_runtimes.train.task import SearchData
from modelyard_runtimes.train.trial import Trial, TrialResult

from .problems import GOALS, make_data

SHORT, LONG = 1.0, 3.0
"""Seconds that a job may take, and more than that."""

ROWS = 30


@dataclass(frozen=True)
class Slow:
    """A job that takes some seconds to load what it needs, or to run."""

    loading: float = 0.0
    running: float = 0.0

    def load(self) -> None:
        time.sleep(self.loading)

    def run(self, data: SearchData) -> int:
        time.sleep(self.running)
        return len(data.target)


@dataclass(frozen=True)
class Loaded:
    """A job that loads what another one needs, and tells whether a module is there when it runs."""

    inner: Job
    module: str

    def load(self) -> None:
        self.inner.load()

    def run(self, data: SearchData) -> bool:
        return self.module in sys.modules


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_data(GOALS["values"], ROWS).save(tmp_path)
    return tmp_path


@pytest.fixture
def shut(folder: Path) -> Path:
    """Return a file that every worker reads before it is ready, and waits for: a pipe."""
    texts = folder / "texts.json"
    texts.unlink()
    os.mkfifo(texts)
    return texts


def ending(folder: Path, job: Job, ready_within: float = 60, deadline: float = math.inf) -> Outcome:
    """Return how a job ends that a worker has to start for."""
    with closing(ProcessPool(1, folder, SHORT, ready_within)) as pool:
        pool.submit(7, job, deadline)
        [outcome] = pool.wait()
    return outcome


def test_the_start_of_its_process_is_none_of_the_time_of_a_job(folder: Path, shut: Path) -> None:
    opening = threading.Timer(LONG, shut.write_text, [f"[{['on time'] * ROWS}]".replace("'", '"')])
    opening.start()
    outcome = ending(folder, Slow())
    opening.join()
    assert outcome == Outcome(7, "Done", ROWS)


def test_loading_what_it_needs_is_none_of_the_time_of_a_job(folder: Path) -> None:
    assert ending(folder, Slow(loading=LONG)) == Outcome(7, "Done", ROWS)


def test_a_job_that_runs_too_long_is_ended_by_its_own_time(folder: Path) -> None:
    outcome = ending(folder, Slow(running=600))
    assert (outcome.status, outcome.key) == ("TimedOut", 7)
    assert outcome.reason == f"it took longer than 1 s, {TIMEOUT}"


def test_a_worker_that_never_gets_ready_is_ended_by_a_bound_of_its_own(
    folder: Path, shut: Path
) -> None:
    outcome = ending(folder, Slow(), ready_within=0.5)
    assert (outcome.status, outcome.key) == ("TimedOut", 7)
    assert outcome.reason == f"it took longer than 0.5 s, {NOT_READY}"
    assert outcome.reason.startswith(MEASURED_FAILURES)


def test_the_budget_ends_also_a_job_that_has_not_begun(folder: Path, shut: Path) -> None:
    outcome = ending(folder, Slow(), deadline=time.monotonic() + 0.5)
    assert outcome.status == "TimedOut"
    assert BUDGET in outcome.reason


def test_what_cannot_be_loaded_fails_as_what_cannot_be_run(folder: Path) -> None:
    outcome = ending(folder, Trial(0, {LEARNER: "Unheard"}, ()))
    assert (outcome.status, outcome.reason) == ("Raised", "KeyError: 'Unheard'")


OPTIONAL = sorted(LEARNERS.keys() & EXTRAS.keys())


@pytest.mark.skipif(not OPTIONAL, reason="no family is installed that an extra brings")
@pytest.mark.parametrize("learner", OPTIONAL)
def test_the_library_of_a_family_is_there_when_the_time_of_its_trial_begins(
    folder: Path, learner: str
) -> None:
    configuration: Parameters = {LEARNER: learner, TARGET: SQUARE_ROOT}
    trial = Trial(0, dict(configuration), ())
    refit = Refit(TrialResult(0, dict(configuration), "Complete"))
    library = EXTRAS[learner]
    assert ending(folder, Loaded(Slow(), library)).value is False
    assert ending(folder, Loaded(trial, library)).value is True
    assert ending(folder, Loaded(refit, library)).value is True


@pytest.mark.parametrize(
    "engine",
    [name for name, engine in ENGINES.items() if engine.package and engine.installed],
)
def test_an_engine_is_there_when_the_time_of_its_trial_begins(folder: Path, engine: str) -> None:
    trial = Trial(0, {ENGINE: engine, LEARNER: "LightGBM"}, ())
    package = ENGINES[engine].package
    assert ending(folder, Loaded(Slow(), package)).value is False
    assert ending(folder, Loaded(trial, package)).value is True


def test_what_a_family_needs_is_named_rightly() -> None:
    for engine in ENGINES.values():
        for name in engine.learners:
            learner, _ = learner_of({ENGINE: engine.name, LEARNER: name})
            assert (learner.training != "") is (bool(engine.package) or name in EXTRAS)
