"""The search: asks for candidates, runs them, and keeps the order that makes it repeatable.

Trial n is proposed, and its pruning limits are set, from the results of the trials up to n - lag
and of no others, whichever finished first. So equal seeds give equal searches on any machine, under
any load, and after any number of restarts.
"""

from __future__ import annotations

import logging
import math
import time
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import heapreplace

from modelyard.api.experiment import EarlyStopping, Progress, Search
from modelyard.api.runs import Measured

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.engines.registry import engine_of
from modelyard_runtimes.train.executor import BUDGET, KILLED, NOT_READY, TIMEOUT, Executor, Outcome
from modelyard_runtimes.train.pruning import Pruner
from modelyard_runtimes.train.sampler import NO_START, Start
from modelyard_runtimes.train.space import LEARNER, turns
from modelyard_runtimes.train.task import Goal
from modelyard_runtimes.train.trial import FitTime, Trial, TrialResult
from modelyard_runtimes.train.trial_log import TrialLog

log = logging.getLogger("modelyard")

RETRIES = 1
"""How often a trial is tried again whose process was killed."""

LAG = 4
"""How many times the parallelism is the lag at most. At 1 all wait for the slowest: where times
differ as those of families do, two workers are idle for a quarter of the time, four for half."""

CANDIDATES_A_LEARNER = 5
"""The ensemble chooses from so many of the best of each family of models: among more, those that
the sampler found near each other crowd out the families that err otherwise."""

REASONS_TOLD = 5
MAX_TOLD = 400
"""Failures that the progress tells, and the most characters of each."""


@dataclass(frozen=True)
class Plan:
    """What a search needs to know.

    Attributes:
        goal: What is predicted.
        search: The declared search.
        fits: Number of fits of a trial.
        parallelism: How many trials run at once at most; decides which results one may see.
        wall_clock: Seconds within which trials, and the fits of the winner's members, are to end;
            None for no such limit.
        measured: What the machine decided in the run that is replayed; None in a run of its own.
        start: Where it begins.
        refits: Most trials that are fitted once more after the search.
        shape: Rows and features of the data.
        fit_seconds: Time of the one fit of a trial; None where nothing bounds it.
        refit: Time of fitting a trial once more as a multiple of that of the trial.
        refit_fits: Fits that it is done by, several of which run at once.
    """

    goal: Goal
    search: Search
    fits: int
    parallelism: int
    wall_clock: int | None = None
    measured: Measured | None = None
    start: Start = NO_START
    refits: int = 1
    shape: tuple[int, int] = (0, 0)
    fit_seconds: float | None = None
    refit: float = 0.25
    refit_fits: int = 1


def lag_of(parallelism: int, trials: int) -> int:
    """Return how far before a trial are the latest results that it may see.

    So far that who ends early need not wait for the others, but for that no more than a quarter of
    all trials.

    Args:
        parallelism: How many trials run at once at most.
        trials: How many there are.
    """
    if parallelism == 1:
        return 1
    return max(parallelism, min(LAG * parallelism, trials // 4))


class Stopwatch:
    """Times trials, so that what a further one takes can be foreseen."""

    def __init__(self) -> None:
        self._started: dict[int, float] = {}
        self._taken: dict[int, float] = {}
        self._of_learner: dict[str, list[float]] = {}

    def start(self, number: int) -> None:
        """Start to time a trial."""
        self._started[number] = time.monotonic()

    def stop(self, number: int, learner: str) -> None:
        """Note that a trial of a learner ended."""
        self.note(number, learner, time.monotonic() - self._started.pop(number))

    def note(self, number: int, learner: str, taken: float) -> None:
        """Note the seconds that a trial of a learner took, here or in an earlier process."""
        self._taken[number] = taken
        self._of_learner.setdefault(learner, []).append(taken)

    def taken(self, number: int) -> float:
        """Return the seconds that a trial took; 0 where it did not run."""
        return self._taken.get(number, 0.0)

    def expected(self, learner: str) -> float:
        """Return the mean seconds that trials of a learner took, or all trials; 0 before any.

        About every other one takes longer: it is ended where it would be late.
        """
        taken = self._of_learner.get(learner) or list(self._taken.values())
        return sum(taken) / len(taken) if taken else 0.0


class SearchRun:
    """One run of a search.

    Attributes:
        results: Trials that ended, by number.
        cut: Whether the wall-clock budget kept trials from starting, or from ending.
    """

    def __init__(
        self,
        plan: Plan,
        executor: Executor,
        trial_log: TrialLog,
        logged: dict[int, TrialResult],
        report: Callable[[Progress], None],
    ) -> None:
        """Prepare the search.

        Args:
            plan: What to search.
            executor: Where trials run.
            trial_log: Where trials that ended are kept.
            logged: Trials that ended in an earlier process.
            report: Told of the progress after every trial.
        """
        self.results: dict[int, TrialResult] = {}
        self.cut = False
        self._plan = plan
        self._executor = executor
        self._log = trial_log
        self._logged = logged
        self._report = report
        engine = engine_of(plan.search)
        self._sampler = engine.sampler(plan.search, plan.goal, plan.shape, plan.start)
        self._lag = lag_of(plan.parallelism, self._sampler.trials)
        stopping = plan.search.early_stopping
        if plan.search.algorithm == "PBT":  # replaces whom it would stop, by their latest results
            self._lag, stopping = plan.parallelism, EarlyStopping(type="None")
        self._pruner = Pruner(stopping, plan.fits, plan.goal.metric)
        self._best: list[TrialResult] = []
        self._failures: list[str] = []
        self._running: dict[int, Trial] = {}
        self._deaths: dict[int, int] = {}
        self._stopwatch = Stopwatch()
        self._asked = 0
        self._told = 0
        self._run_here = 0
        self._began_here = time.monotonic()
        self._started_at = self._began_here - trial_log.elapsed

    def run(self) -> Sequence[TrialResult]:
        """Run all trials and return them by number.

        Raises:
            RunFailure: too many trials failed, or none was completed.
        """
        self._tell_progress()
        self._ask_ready()
        while self._running:
            self._finish(self._executor.wait())
            self._ask_ready()
        self._tell_progress()
        if not self._best:
            raise RunFailure(
                "NoTrialCompleted",
                f"none of {len(self.results)} trials was completed: {self._reasons()}. "
                f"{remedy(self._failed_reasons())}",
            )
        return self.ended

    @property
    def timed(self) -> bool:
        """Whether the time that something took decides what is found."""
        return self.cut or any(one.ended_by_time is not None for one in self.results.values())

    @property
    def ended(self) -> list[TrialResult]:
        """Trials that ended, in the order of their numbers."""
        return [self.results[number] for number in sorted(self.results)]

    def _ask_ready(self) -> None:
        """Start every trial whose predecessors have ended as far as it may see them."""
        most = self._plan.parallelism
        while self._asked < self._sampler.trials and len(self._running) < most:
            if self.cut and self._asked not in self._logged:
                return
            visible = self._asked - self._lag + 1
            if any(number not in self.results for number in range(self._told, visible)):
                return
            while self._told < visible:
                self._sampler.tell(self.results[self._told])
                self._pruner.tell(self.results[self._told])
                self._told += 1
            self._ask()

    def _ask(self) -> None:
        number = self._asked
        parameters = self._sampler.ask()
        earlier = self._logged.get(number)
        if earlier is None and self._is_cut(str(parameters[LEARNER])):
            self.cut = True
            return
        self._asked += 1
        trial = Trial(number, parameters, self._limits(number), self._fit_time(number))
        measured = self._plan.measured
        if measured is not None and number in measured.failed:
            self._take(trial.failed(measured.failed[number]))
            self._keep([(self.results[number], None)])
            return
        if earlier is not None and earlier.parameters == trial.parameters:
            self._take_again(earlier)
            return
        self._running[number] = trial
        self._stopwatch.start(number)
        self._executor.submit(number, trial, self._deadline(number))

    def _fit_time(self, number: int) -> FitTime | None:
        seconds, measured = self._plan.fit_seconds, self._plan.measured
        if seconds is None:
            return None
        if measured is None:
            return FitTime(seconds)
        known = measured.iterations.get(number)
        return None if known is None else FitTime(seconds, known)

    def _deadline(self, number: int) -> float:
        """Return when a trial is ended; never one of the first, without which there is no model."""
        limit = self._plan.wall_clock
        if limit is None or self._plan.measured is not None or number < self._plan.parallelism:
            return math.inf
        return self._started_at + limit - self._refit_seconds()

    def _limits(self, number: int) -> tuple[float | None, ...]:
        if number < self._sampler.portfolio_size:
            return self._pruner.wide_limits()
        return self._pruner.limits(number)

    def _is_cut(self, learner: str) -> bool:
        """Return whether the wall-clock budget has no time for a further trial of a learner."""
        measured = self._plan.measured
        if measured is not None:
            return measured.started is not None and self._asked >= measured.started
        limit = self._plan.wall_clock
        if limit is None or self._asked == 0:
            return False
        needed = self._stopwatch.expected(learner) + self._refit_seconds()
        if time.monotonic() - self._started_at + needed < limit:
            return False
        log.warning("spec.budget.wallClock leaves no time for a further trial; none starts")
        return True

    def _refit_seconds(self) -> float:
        """Return about how long the fits of the winner take."""
        taken = (self._stopwatch.taken(one.number) for one in self._likely_refits())
        fits = self._plan.refit_fits
        each = (one * self._plan.refit / fits for one in taken for _ in range(fits))
        return seconds_of_all(each, self._plan.parallelism)

    def _likely_refits(self) -> list[TrialResult]:
        """Return who would be fitted now: the best of each family, then the next ones."""
        places = zip(turns(one.learner for one in self._best), self._best, strict=True)
        ordered = sorted(places, key=lambda one: one[0])
        return [result for _, result in ordered[: self._plan.refits]]

    def _finish(self, outcomes: Sequence[Outcome]) -> None:
        """Take in trials that ended: they count once all of them are durable."""
        ended: list[tuple[TrialResult, Floats | None]] = []
        for outcome in outcomes:
            trial = self._running[outcome.key]
            if outcome.status == "Died" and self._deaths.get(outcome.key, 0) < RETRIES:
                self._deaths[outcome.key] = self._deaths.get(outcome.key, 0) + 1
                log.warning("trial %d is tried again: %s", outcome.key, outcome.reason)
                self._executor.submit(outcome.key, trial, self._deadline(outcome.key))
                continue
            del self._running[outcome.key]
            self._stopwatch.stop(outcome.key, trial.learner)
            done = outcome.status == "Done"
            ended.append(outcome.value if done else (trial.failed(outcome.reason), None))
            self.cut = self.cut or BUDGET in outcome.reason
        for result, _ in ended:
            self._take(result)
        likely = {one.number for one in self._best}
        self._keep(
            [(result, outputs if result.number in likely else None) for result, outputs in ended]
        )
        self._run_here += len(ended)
        self._tell_progress()
        for result, _ in ended:
            if result.state == "Failed" and BUDGET not in result.reason:
                log.warning("trial %d failed: %s", result.number, result.reason)
                self._check_failures()

    def _keep(self, ended: Sequence[tuple[TrialResult, Floats | None]]) -> None:
        """Make trials that ended durable, with the time that they and the search took."""
        self._log.record(
            ended,
            {result.number: self._stopwatch.taken(result.number) for result, _ in ended},
            time.monotonic() - self._started_at,
        )

    def _take_again(self, earlier: TrialResult) -> None:
        """Take in a trial that ended in an earlier process: it decides here what it did there."""
        self._take(earlier)
        self._stopwatch.note(
            earlier.number, earlier.learner, self._log.seconds.get(earlier.number, 0.0)
        )
        self.cut = self.cut or BUDGET in earlier.reason
        self._check_failures()

    def _take(self, result: TrialResult) -> None:
        self.results[result.number] = result
        if result.state == "Failed" and BUDGET not in result.reason:
            told = f"trial {result.number} ({result.learner}): {result.reason}"
            self._failures.append(told[:MAX_TOLD])
        if result.state == "Complete":
            insort(self._best, result, key=lambda one: one.rank(self._plan.goal.metric))
            self._best = candidates(self._best)  # who is none now will never be one

    def _check_failures(self) -> None:
        if len(self._failures) > self._plan.search.max_failed_trials:
            raise RunFailure(
                "TooManyFailedTrials",
                f"{len(self._failures)} trials failed, spec.search.maxFailedTrials allows "
                f"{self._plan.search.max_failed_trials}: {self._reasons()}. "
                f"{remedy(self._failed_reasons())}",
            )

    def _reasons(self) -> str:
        told = self._failures
        more = f"; and {len(told) - REASONS_TOLD} more" if len(told) > REASONS_TOLD else ""
        return "; ".join(told[:REASONS_TOLD]) + more

    def _failed_reasons(self) -> list[str]:
        return [result.reason for result in self.results.values() if result.reason]

    def _tell_progress(self) -> None:
        self._report(
            Progress(
                done=len(self.results),
                failed=len(self._failures),
                failures=self._failures[:REASONS_TOLD] or None,
                total=self._sampler.trials,
                best_metric=self._best[0].value if self._best else None,
                eta=self._eta(),
            )
        )

    def _eta(self) -> str:
        left = self._sampler.trials - len(self.results)
        if not self._run_here or not left or self.cut:
            return ""
        now = time.monotonic()
        seconds = left * (now - self._began_here) / self._run_here
        limit = self._plan.wall_clock
        if limit is not None:
            seconds = min(seconds, max(self._started_at + limit - now, 1))
        return duration(seconds)


def seconds_of_all(each: Iterable[float], workers: int) -> float:
    """Return when the last of several jobs ends, each begun by the first worker that is free."""
    busy_until = [0.0] * workers
    for job in each:
        heapreplace(busy_until, busy_until[0] + job)
    return max(busy_until)


def remedy(reasons: Iterable[str]) -> str:
    """Return what a person may do about these reasons of failed trials."""
    told = list(reasons)
    advice: list[str] = []
    if any(TIMEOUT in reason for reason in told):
        advice.append("raise spec.search.trialTimeout")
    if any(NOT_READY in reason for reason in told):
        advice.append("lower spec.execution.parallelism, so that fewer processes start at once")
    if any(KILLED in reason for reason in told):
        advice.append("lower spec.execution.parallelism or give the run more memory")
    advice.append("remove the learners that fail from spec.search.learners")
    text = "; or ".join(advice)
    return text[0].upper() + text[1:]


def ranked(results: Iterable[TrialResult], metric: str) -> list[TrialResult]:
    """Return the complete trials, best first, equals by number."""
    complete = (result for result in results if result.state == "Complete")
    return sorted(complete, key=lambda one: one.rank(metric))


def candidates(best: Sequence[TrialResult]) -> list[TrialResult]:
    """Return the trials that an ensemble may be made of.

    Args:
        best: Complete trials, best first; the candidates are so, too.
    """
    places = turns(result.learner for result in best)
    return [
        result for result, turn in zip(best, places, strict=True) if turn < CANDIDATES_A_LEARNER
    ]


def duration(seconds: float) -> str:
    """Return seconds as a short text: 40s, 5m, 2h."""
    if seconds < 120:
        return f"{max(round(seconds), 1)}s"
    return f"{round(seconds / 60)}m" if seconds < 7200 else f"{round(seconds / 3600)}h"
