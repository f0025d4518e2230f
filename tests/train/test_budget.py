"""A search ends within `spec.budget.wallClock`, the fits of the winner's members included."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
import pytest
from modelyard.api.experiment import Progress, Search
from modelyard.api.runs import Measured
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.store import Store
from modelyard_runtimes.train import search
from modelyard_runtimes.train.executor import BUDGET, Job, Outcome
from modelyard_runtimes.train.search import Plan, SearchRun, seconds_of_all
from modelyard_runtimes.train.task import Goal
from modelyard_runtimes.train.trial import Trial, TrialResult
from modelyard_runtimes.train.trial_log import open_log

FOLDS = 5
GOAL = Goal("Classification", 2, "roc_auc", "None", 1)
SECONDS = {"LightGBM": 10.0, "Linear": 1.0, "ExtraTrees": 4.0}


class Timed:
    """An executor with one place, on which a trial takes the seconds of its learner."""

    now = 100.0

    def __init__(self) -> None:
        self._jobs: list[tuple[int, Trial]] = []
        self.ran: list[str] = []

    def monotonic(self) -> float:
        return self.now

    def submit(self, key: int, job: Job, deadline: float = inf) -> None:
        assert isinstance(job, Trial)
        self._jobs.append((key, job))

    def wait(self) -> Sequence[Outcome]:
        key, trial = self._jobs.pop(0)
        self.now += SECONDS[trial.learner]
        self.ran.append(trial.learner)
        result = TrialResult(key, trial.parameters, "Complete", (0.5 + key / 1000,) * FOLDS)
        return [Outcome(key, "Done", (result, np.zeros((1, 1))))]

    def close(self) -> None:
        self._jobs.clear()


class Killed(Timed):
    """The same, until the process is killed at a moment."""

    def __init__(self, moment: float) -> None:
        super().__init__()
        self._moment = moment

    def wait(self) -> Sequence[Outcome]:
        found = super().wait()
        if self.now > self._moment:
            raise KeyboardInterrupt
        return found


class EndedByTheBudget(Timed):
    """The same, on which the fourth trial is ended where time is over."""

    def wait(self) -> Sequence[Outcome]:
        (found,) = super().wait()
        late = found.key == 3
        return [Outcome(found.key, "TimedOut", reason=BUDGET) if late else found]


class Failing(Timed):
    """The same, on which every other trial fails."""

    def wait(self) -> Sequence[Outcome]:
        (found,) = super().wait()
        return [found if found.key % 2 == 0 else Outcome(found.key, "Raised", reason="a reason")]


def run(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    learners: list[str],
    wall_clock: int | None,
    measured: Measured | None = None,
    *,
    timed: Timed | None = None,
    told: list[Progress] | None = None,
    failed: int = 3,
) -> tuple[Timed, SearchRun]:
    timed = timed or Timed()
    monkeypatch.setattr(search, "time", timed)
    log, logged = open_log(store, "budget", {})
    declared = Search.model_validate(
        {"trials": 20, "learners": learners, "maxFailedTrials": failed}
    )
    plan = Plan(GOAL, declared, FOLDS, 1, wall_clock, measured, refits=2)
    ran = SearchRun(plan, timed, log, logged, ([] if told is None else told).append)
    try:
        ran.run()
    finally:
        log.close()
    return timed, ran


@pytest.mark.parametrize(
    ("wall_clock", "trials"),
    [
        # A trial takes 10 s, each of two members a quarter of them.
        pytest.param(66, 6, id="the last trial and the fit of the winner just end in time"),
        pytest.param(65, 5, id="the fit of the winner would end too late"),
        pytest.param(1, 1, id="one trial always runs"),
        pytest.param(None, 20, id="no limit"),
    ],
)
def test_no_trial_starts_that_would_end_too_late(
    wall_clock: int | None, trials: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed, ran = run(store, monkeypatch, ["LightGBM"], wall_clock)

    assert len(timed.ran) == trials
    assert ran.cut is (trials < 20)


@pytest.mark.parametrize(
    ("each", "workers", "expected"),
    [
        pytest.param([], 2, 0.0, id="none"),
        pytest.param([3.0, 3.0, 3.0], 2, 6.0, id="the third after one of two"),
        pytest.param([5.0, 1.0, 1.0], 2, 5.0, id="short ones beside a long one"),
        pytest.param([2.0, 3.0], 1, 5.0, id="one after the other"),
    ],
)
def test_jobs_take_workers_until_the_last_one_ends(
    each: list[float], workers: int, expected: float
) -> None:
    assert seconds_of_all(each, workers) == expected


def test_time_is_kept_for_the_best_of_each_family(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow family is always behind, but an ensemble would have its best trial."""
    monkeypatch.setitem(SECONDS, "ExtraTrees", 40.0)
    _, ran = run(store, monkeypatch, ["Linear", "ExtraTrees"], 200)

    kept = {one.learner for one in ran._likely_refits()}
    assert kept == {"Linear", "ExtraTrees"}


def test_what_a_trial_takes_is_told_by_those_of_its_learner(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed, ran = run(store, monkeypatch, ["LightGBM", "Linear", "ExtraTrees"], 70)

    assert ran.cut
    assert set(timed.ran) == {"LightGBM", "Linear", "ExtraTrees"}
    assert 50 < timed.now - Timed.now < 70


def test_a_replay_starts_as_many_trials_however_long_they_take(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed, ran = run(store, monkeypatch, ["LightGBM"], 1, Measured(started=4))

    assert len(timed.ran) == 4
    assert ran.cut


@pytest.mark.parametrize(
    "moment", [pytest.param(125, id="after two trials"), pytest.param(165, id="after six")]
)
def test_a_search_that_was_killed_has_the_rest_of_its_budget(
    moment: float, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(store, monkeypatch, ["LightGBM"], 96, timed=Killed(moment))
    again, ran = run(store, monkeypatch, ["LightGBM"], 96)

    # Undisturbed it has nine trials; what was under way is lost.
    assert len(ran.results) == 9
    assert len(again.ran) == 9 - (int(moment) - 100) // 10
    assert ran.cut


@pytest.mark.parametrize("how", [Timed, EndedByTheBudget], ids=["at a start", "in a trial"])
def test_a_search_that_was_cut_stays_so_when_it_is_opened_again(
    how: type[Timed], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed, before = run(store, monkeypatch, ["LightGBM"], 66, timed=how())
    again, after = run(store, monkeypatch, ["LightGBM"], 66)

    assert timed.ran
    assert again.ran == []
    assert after.ended == before.ended
    assert (after.cut, after.timed) == (before.cut, before.timed) == (True, True)


def test_failures_of_an_earlier_process_count(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(store, monkeypatch, ["LightGBM"], None, timed=Failing(), failed=10)
    for _ in range(2):  # the log is there with fewer allowed, as of a run that was killed
        with pytest.raises(RunFailure, match="maxFailedTrials allows 3") as end:
            run(store, monkeypatch, ["LightGBM"], None, timed=Failing())
        assert end.value.reason == "TooManyFailedTrials"


def test_a_search_whose_trials_all_ended_before_tells_of_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[Progress]] = [[], []]
    for each in told:
        run(store, monkeypatch, ["LightGBM"], None, timed=Failing(), told=each, failed=10)

    assert told[0][-1] == told[1][-1]
    assert (told[1][-1].done, told[1][-1].failed, told[1][-1].total) == (20, 10, 20)
