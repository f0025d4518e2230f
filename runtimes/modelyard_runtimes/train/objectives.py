"""Chooses the winner by objectives and constraints that only the packed model can tell of."""

from __future__ import annotations

from dataclasses import replace

from modelyard.api.experiment import Constraints, ExperimentSpec, Objective, Select
from modelyard.api.runs import TrainConfig

from modelyard_runtimes.model import InputSchema
from modelyard_runtimes.train import winner
from modelyard_runtimes.train.decision import decide
from modelyard_runtimes.train.executor import Executor
from modelyard_runtimes.train.measure import Measurement, latency, size_mb
from modelyard_runtimes.train.metrics import sign
from modelyard_runtimes.train.pareto import Point, choose, feasible, front
from modelyard_runtimes.train.problem import Problem
from modelyard_runtimes.train.search import CANDIDATES_A_LEARNER
from modelyard_runtimes.train.task import SearchData


def chosen_by_objectives(spec: ExperimentSpec) -> bool:
    """Return whether objectives choose among all candidates, each of which is fitted for that."""
    return spec.objectives is not None or spec.constraints is not None


def most_refits(spec: ExperimentSpec, members: int) -> int:
    """Return how many trials are fitted once more after the search at most.

    Args:
        spec: The experiment.
        members: How many members a winner has at most.
    """
    if not chosen_by_objectives(spec):
        return members
    return CANDIDATES_A_LEARNER * len(spec.search.learners)


def kept_folds(spec: ExperimentSpec, data: SearchData) -> int | None:
    """Return how many fits of a trial are kept; None where it is fitted once, on all rows."""
    return data.fit_count if spec.ensemble.bagging == "Folds" else None


def choose_by_objectives(
    config: TrainConfig, problem: Problem, executor: Executor, choice: winner.Choice
) -> tuple[winner.Choice, dict[str, bytes]]:
    """Return the winner with what was measured of all finalists, and its packed files.

    Without objectives and constraints the best by the metric is the winner, and it alone is fitted.

    Raises:
        RunFailure: no finalist keeps the constraints, or one could not be fitted.
    """
    spec = config.spec
    if not chosen_by_objectives(spec):
        best_by_metric, folds = choice.winner, kept_folds(spec, problem.search)
        fitted = winner.fit(executor, best_by_metric.members, folds)
        decision = decide(spec.evaluation, problem.search.judged, best_by_metric.outputs)
        return choice, winner.pack(problem, config, best_by_metric, fitted, decision)
    packed = _packed(config, problem, executor, choice)
    known = config.measured.latencies if config.measured else {}
    schema = InputSchema(problem.choice.features)
    inputs = problem.search.inputs
    measured = {
        name: Measurement(
            known[name] if name in known else latency(files, schema, inputs), size_mb(files)
        )
        for name, files in packed.items()
    }
    turned = -sign(problem.search.goal.metric)
    points = [
        Point(entry.trial, turned * entry.metric, measured[entry.trial])
        for entry in choice.leaderboard
        if entry.trial in measured
    ]
    objectives = spec.objectives or [Objective(type="Metric")]
    best = front(feasible(points, spec.constraints or Constraints()), objectives)
    chosen = choose(best, objectives, (spec.select or Select()).rule)
    names = {point.name for point in best}
    leaderboard = [
        entry.model_copy(
            update={
                "latency_ms_p95": measured[entry.trial].latency_ms_p95,
                "model_mb": measured[entry.trial].model_mb,
                "pareto": entry.trial in names,
            }
        )
        if entry.trial in measured
        else entry
        for entry in choice.leaderboard
    ]
    best_finalist = choice.finalists[chosen.name]
    return replace(choice, winner=best_finalist, leaderboard=leaderboard), packed[chosen.name]


def _packed(
    config: TrainConfig, problem: Problem, executor: Executor, choice: winner.Choice
) -> dict[str, dict[str, bytes]]:
    """Return the packed files of every finalist; each trial is fitted once."""
    trials = {
        result.number: result
        for finalist in choice.finalists.values()
        for result, _ in finalist.members
    }
    numbers = sorted(trials)
    once = [(trials[number], 1.0) for number in numbers]
    refitted = winner.fit(executor, once, kept_folds(config.spec, problem.search))
    fitted = dict(zip(numbers, refitted, strict=True))
    return {
        name: winner.pack(
            problem,
            config,
            finalist,
            [fitted[result.number] for result, _ in finalist.members],
            decide(config.spec.evaluation, problem.search.judged, finalist.outputs),
        )
        for name, finalist in choice.finalists.items()
    }
