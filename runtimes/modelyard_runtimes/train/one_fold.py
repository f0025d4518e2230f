"""Judging candidates on one fold, by a single fit, where time is too short for all folds.

A fold of many rows tells candidates apart nearly as well as all folds do, and a search in which a
candidate costs a fifth looks at five times as many. What is judged so is split into parts like
folds, which say how sure a difference is.
"""

from __future__ import annotations

import numpy as np
from modelyard.api.meta import seconds
from modelyard.api.runs import TrainConfig

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.metrics import needs_every_class
from modelyard_runtimes.train.split import assign_rows
from modelyard_runtimes.train.task import ONLY_FITTED, Goal, Rows, SearchData

VALUES_A_SECOND = 8_000
"""Values of features, times the outputs, for each second of a worker, from which on time is short:
docs/decisions/2026-11-28-recipe.md has the measurements."""

VALUES_A_TEXT = 100
"""Words that a text feature counts as."""

LEAST_OF_A_CLASS = 4
"""Rows of each class in each part of the fold, where the metric needs all classes."""
LEAST_JUDGED = 2
"""Rows of each class in the fold, where it does not."""

MOST_HASTE = 4.0

FITS = 6
"""So many fits of greatest length, one after the other, would fill the budget."""


def judges_one_fold(config: TrainConfig, data: SearchData) -> bool:
    """Return whether candidates are judged on one fold alone."""
    declared, budget = config.spec.validation, config.spec.budget.wall_clock
    if declared.method is not None:
        return declared.method == "OneFold"
    if budget is None or declared.time_column is not None:
        return False
    every = needs_every_class(data.goal.metric, data.goal.classes)
    least = LEAST_OF_A_CLASS * declared.folds if every else LEAST_JUDGED
    if _fewest(data.target, data.goal) < least * declared.folds:
        return False
    return _burden(data, seconds(budget) * config.parallelism) > 1


def haste(config: TrainConfig, data: SearchData) -> float:
    """Return by how much faster than usual boosted trees are to learn, to be done in their time.

    A fit of many rows is ended before its trees are as many as it would want. Fewer that each
    correct more are worth more then: docs/decisions/2026-11-28-recipe.md.
    """
    return float(np.clip(np.sqrt(_shortage(config, data)), 1, MOST_HASTE))


def most_members(config: TrainConfig, data: SearchData) -> int:
    """Return how many members the winner has at most.

    Where a fit is ended before it is done, it has no more than are fitted on all rows at once: the
    time of a further one is worth more to the search.
    """
    declared = config.spec.ensemble
    if declared.type == "None":
        return 1
    if _shortage(config, data) <= 1:
        return declared.max_models
    return min(declared.max_models, config.parallelism)


def _shortage(config: TrainConfig, data: SearchData) -> float:
    """Return the burden of judging on one fold in the time there is; 0 where nothing bounds it."""
    budget = config.spec.budget.wall_clock
    if budget is None or data.fit_count > 1:
        return 0.0
    return _burden(data, seconds(budget) * config.parallelism)


def _burden(data: SearchData, time: int) -> float:
    """Return the values to learn from as a multiple of those that leave time for all folds.

    Args:
        data: The rows.
        time: Seconds of all workers together.
    """
    inputs = data.inputs
    width = inputs.numbers.shape[1] + inputs.codes.shape[1] + VALUES_A_TEXT * len(inputs.texts)
    values = len(inputs) * width * data.goal.outputs
    return float(values / (VALUES_A_SECOND * time))


def first_fold(data: SearchData, parts: int, seed: int) -> Rows:
    """Return the parts of the first fold, and `ONLY_FITTED` for the rows of all others.

    Raises:
        RunFailure: the fold has too few rows, of a class or at all.
    """
    first = np.flatnonzero(data.folds == 0)
    every = needs_every_class(data.goal.metric, data.goal.classes)
    least = parts if every or not data.goal.classes else 1
    if _fewest(data.target[first], data.goal) < least or len(first) < parts:
        raise RunFailure(
            "TooFewRows",
            f"spec.validation.method: the first of {parts} folds has too few rows to be split into "
            f"{parts} parts with every class; set AllFolds",
        )
    found = np.full(len(data.folds), ONLY_FITTED, dtype=np.intp)
    found[first] = assign_rows(data.target[first], parts, seed, stratified=data.goal.classes > 0)
    return found


def _fewest(target: Floats, goal: Goal) -> int:
    """Return the number of rows of the rarest class, or of all rows where there are no classes."""
    if not goal.classes:
        return len(target)
    return int(np.bincount(target.astype(np.intp), minlength=goal.classes).min())


def fit_seconds(data: SearchData, wall_clock: int | None) -> float | None:
    """Return how long the one fit of a candidate may go on; None where nothing bounds it."""
    return wall_clock / FITS if wall_clock is not None and data.fit_count == 1 else None


def refit_share(config: TrainConfig, data: SearchData) -> float:
    """Return the time of fitting a chosen trial once more as a multiple of that of the trial.

    A sparing fit sees seven tenths of the rows, and a fit on all has as many more iterations. Where
    the fits on the folds are kept, they are done again.
    """
    if config.spec.ensemble.bagging == "Folds":
        return 1.0
    if data.fits_sparingly:
        return 2 / data.fit_count
    return 1 / (data.fit_count - 1)
