"""One trial: a candidate compared over the folds. A pure function of its request and the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.model.encoder import Encoder
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.columns import fit_columns
from modelyard_runtimes.train.engines.registry import learner_of
from modelyard_runtimes.train.learners.base import FitRequest, Value
from modelyard_runtimes.train.metrics import score, sign
from modelyard_runtimes.train.space import LEARNER
from modelyard_runtimes.train.task import SearchData, derived_seed

PARTS = 10
"""Where rows are many, one of so many parts of the training rows tells when to end."""

NOT_FINITE = "the model predicts numbers that are not finite"

State = Literal["Complete", "Pruned", "Failed"]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended.

    Attributes:
        number: Number of the trial.
        parameters: The configuration, its learner among them.
        state: Complete over all folds, Pruned before, or Failed.
        folds: Value of the metric on each fold that was run.
        iterations: Iterations for a refit on all folds, where the learner has some.
        reason: Why it failed.
    """

    number: int
    parameters: dict[str, Value]
    state: State
    folds: tuple[float, ...] = ()
    iterations: int | None = None
    reason: str = ""

    @property
    def learner(self) -> str:
        """Family of models."""
        return str(self.parameters[LEARNER])

    @cached_property
    def value(self) -> float:
        """Mean of the metric over the folds that were run."""
        return float(np.mean(self.folds))


@dataclass(frozen=True)
class Trial:
    """Request of one trial.

    Attributes:
        number: Number of the trial, from 0.
        parameters: The configuration, its learner among them.
        limits: For each fold, the mean over the folds so far that a trial must reach to go on;
            None where any may. Decided before the trial starts.
    """

    number: int
    parameters: dict[str, Value]
    limits: tuple[float | None, ...]

    @property
    def learner(self) -> str:
        """Family of models."""
        return str(self.parameters[LEARNER])

    def run(self, data: SearchData) -> tuple[TrialResult, Floats | None]:
        """Return the result and, of a complete trial, its out-of-fold predictions."""
        outputs = np.empty((len(data.target), data.goal.outputs), dtype=np.float64)
        values: list[float] = []
        found: list[float] = []
        for fold in range(data.fold_count):
            rows = data.folds == fold
            outputs[rows], iterations = _fit_fold(data, self, fold)
            found += [] if iterations is None else [iterations]
            if not np.isfinite(outputs[rows]).all():
                raise ArithmeticError(NOT_FINITE)
            values.append(score(data.goal.metric, data.target[rows], outputs[rows]))
            if not np.isfinite(values[-1]):
                raise ArithmeticError(NOT_FINITE)
            last = fold == data.fold_count - 1
            if not last and _hopeless(values, self.limits[fold], data.goal.metric):
                return self._result("Pruned", values, found), None
        return self._result("Complete", values, found), outputs

    def failed(self, reason: str) -> TrialResult:
        """Return the result of a trial that could not end."""
        return TrialResult(self.number, self.parameters, "Failed", reason=reason)

    def _result(self, state: State, values: list[float], found: list[float]) -> TrialResult:
        iterations = round(float(np.median(found))) if found else None
        return TrialResult(self.number, self.parameters, state, tuple(values), iterations)


def _fit_fold(data: SearchData, trial: Trial, fold: int) -> tuple[Floats, float | None]:
    """Fit transforms and model on the other folds, as a refit does on all, and predict this one.

    Also returned is the number of iterations for a fit on all rows, where the learner has some: it
    bears as many more as it has more rows. What this fold is judged by has no say in it either: it
    is found on the other folds. Where rows are many the fit that finds it predicts as well.
    """
    learner, hyperparameters = learner_of(trial.parameters)
    fitted = fit_columns(data, fold, learner.encoding(hyperparameters))
    seed = derived_seed(data.goal.seed, trial.number, fold)
    request = FitRequest(data.goal, fitted.document, fitted.rows, hyperparameters, seed)
    judged = Encoder(fitted.document).transform(
        data.inputs.take(np.flatnonzero(data.folds == fold))
    )
    if not learner.iterative:
        return learner.fit(request).predict(judged), None
    valid = validation_rows(data, fold)[data.folds != fold]
    found = learner.fit(_validated(request, valid))
    iterations = found.best_iterations()
    rows = len(valid) - int(valid.sum())
    if not data.has_many_rows:
        found, rows = learner.fit(replace(request, iterations=iterations)), len(valid)
    return found.predict(judged), iterations * len(data.target) / rows


def validation_rows(data: SearchData, fold: int) -> Mask:
    """Return the rows on which to find the iterations of the fit without this fold.

    They are those of the next fold, so that they follow the same plan as all others: a stretch of
    time, or the same ratio of the classes. Of two folds it is every other row of the next one, and
    where rows are many so few that they are a tenth of those that are not judged.
    """
    following: Mask = data.folds == (fold + 1) % data.fold_count
    parts = PARTS if data.has_many_rows else 2
    step = max(1, parts // (data.fold_count - 1))
    rows = np.flatnonzero(following)
    chosen: Mask = np.zeros(len(data.folds), dtype=np.bool_)
    chosen[rows[np.argsort(data.target[rows], kind="stable")][step - 1 :: step]] = True
    return chosen


def _validated(request: FitRequest, valid: Mask) -> FitRequest:
    """Return the request to fit on the other rows until the loss on these rests."""
    return replace(
        request,
        rows=request.rows.take(np.flatnonzero(~valid)),
        valid=request.rows.take(np.flatnonzero(valid)),
    )


def _hopeless(values: Sequence[float], limit: float | None, metric: str) -> bool:
    return limit is not None and sign(metric) * (float(np.mean(values)) - limit) < 0
