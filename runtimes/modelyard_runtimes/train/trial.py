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
from modelyard_runtimes.train.learners.base import FitRequest, Learner, Value
from modelyard_runtimes.train.learners.registry import LEARNERS
from modelyard_runtimes.train.metrics import score, sign
from modelyard_runtimes.train.space import LEARNER
from modelyard_runtimes.train.task import SearchData, derived_seed

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

    def run(self, data: SearchData) -> tuple[TrialResult, Floats | None]:
        """Return the result and, of a complete trial, its out-of-fold predictions."""
        outputs = np.empty((len(data.target), data.goal.outputs), dtype=np.float64)
        values: list[float] = []
        found: list[int] = []
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

    def _result(self, state: State, values: list[float], found: list[int]) -> TrialResult:
        # A refit has the rows of one more fold, and bears as many more iterations.
        folds = len(self.limits)
        iterations = round(float(np.median(found)) * folds / (folds - 1)) if found else None
        return TrialResult(self.number, self.parameters, state, tuple(values), iterations)


def _fit_fold(data: SearchData, trial: Trial, fold: int) -> tuple[Floats, int | None]:
    """Fit transforms and model on the other folds, as a refit does on all, and predict this one.

    Also returned is the number of iterations, where the learner has some. What this fold is judged
    by has no say in it either: it is found on the other folds.
    """
    learner = LEARNERS[str(trial.parameters[LEARNER])]
    hyperparameters = {k: v for k, v in trial.parameters.items() if k != LEARNER}
    fitted = fit_columns(data, fold, learner.encoding(hyperparameters))
    seed = derived_seed(data.goal.seed, trial.number, fold)
    request = FitRequest(data.goal, fitted.document, fitted.rows, hyperparameters, seed)
    if learner.iterative:
        valid = validation_rows(data, fold)[data.folds != fold]
        request = replace(request, iterations=best_iterations(learner, request, valid))
    judged = Encoder(fitted.document).transform(
        data.inputs.take(np.flatnonzero(data.folds == fold))
    )
    return learner.fit(request).predict(judged), request.iterations


def validation_rows(data: SearchData, fold: int) -> Mask:
    """Return the rows on which to find the iterations of the fit without this fold.

    They are those of the next fold, so that they follow the same plan as all others: a stretch of
    time, or the same ratio of the classes. Of two folds it is every other row of the next one.
    """
    following: Mask = data.folds == (fold + 1) % data.fold_count
    if data.fold_count > 2:
        return following
    rows = np.flatnonzero(following)
    chosen: Mask = np.zeros(len(data.folds), dtype=np.bool_)
    chosen[rows[np.argsort(data.target[rows], kind="stable")][1::2]] = True
    return chosen


def best_iterations(learner: Learner, request: FitRequest, valid: Mask) -> int:
    """Return the number of iterations with the least loss on these rows of a fit on the others."""
    search = replace(
        request,
        rows=request.rows.take(np.flatnonzero(~valid)),
        valid=request.rows.take(np.flatnonzero(valid)),
    )
    return int(np.argmin(learner.fit(search).losses)) + 1


def _hopeless(values: Sequence[float], limit: float | None, metric: str) -> bool:
    return limit is not None and sign(metric) * (float(np.mean(values)) - limit) < 0
