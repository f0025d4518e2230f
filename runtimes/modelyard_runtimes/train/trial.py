"""One trial: a candidate compared over the folds. A pure function of its request and the data."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from modelyard_runtimes.model.encoder import Encoder
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.columns import FittedColumns, fit_columns
from modelyard_runtimes.train.engines.registry import learner_of
from modelyard_runtimes.train.learners.base import FitRequest, Fitted, Learner, Value
from modelyard_runtimes.train.learners.schedule import origin_of
from modelyard_runtimes.train.metrics import score, sign
from modelyard_runtimes.train.space import LEARNER
from modelyard_runtimes.train.task import Mask, Rows, SearchData, derived_seed

PARTS = 10
"""Where rows are many, one of so many parts of the training rows tells when to end."""

NOT_FINITE = "the model predicts numbers that are not finite"

State = Literal["Complete", "Pruned", "Failed"]


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
        ended_by_time: Iterations after which the time for its fit was over; None where it was not.
    """

    number: int
    parameters: dict[str, Value]
    state: State
    folds: tuple[float, ...] = ()
    iterations: int | None = None
    reason: str = ""
    ended_by_time: int | None = None

    @property
    def learner(self) -> str:
        """Family of models."""
        return str(self.parameters[LEARNER])

    def rank(self, metric: str) -> tuple[float, int]:
        """Return what complete trials are ordered by: the value, best first, then the number."""
        return -sign(metric) * self.value, self.number

    @cached_property
    def value(self) -> float:
        """Mean of the metric over the folds that were run."""
        return float(np.mean(self.folds))


@dataclass(frozen=True)
class FitTime:
    """How long a fit may go on while it looks for its iterations.

    Attributes:
        seconds: Time after which no iteration begins.
        iterations: What that came to on another machine, in place of the time; None where it is to
            be found.
    """

    seconds: float
    iterations: int | None = None


@dataclass(frozen=True)
class Trial:
    """Request of one trial.

    Attributes:
        number: Number of the trial, from 0.
        parameters: The configuration, its learner among them.
        limits: For each fit, the mean over the folds so far that a trial must reach to go on;
            None where any may. Decided before the trial starts.
        fit_time: How long its one fit may go on; None where nothing bounds that.
    """

    number: int
    parameters: dict[str, Value]
    limits: tuple[float | None, ...]
    fit_time: FitTime | None = None

    @property
    def learner(self) -> str:
        """Family of models."""
        return str(self.parameters[LEARNER])

    def load(self) -> None:
        """Import what its family of models is fitted with."""
        learner_of(self.parameters)[0].load()

    def run(self, data: SearchData) -> tuple[TrialResult, Floats | None]:
        """Return the result and, of a complete trial, its predictions of the judged rows."""
        outputs = np.empty((len(data.target), data.goal.outputs), dtype=np.float64)
        values: list[float] = []
        found: list[float] = []
        for fit in range(data.fit_count):
            rows = np.flatnonzero(data.left_out(fit))
            one = fit_without(data, self, fit)
            outputs[rows] = one.predict(data, rows)
            found += [] if one.iterations is None else [one.iterations]
            if not np.isfinite(outputs[rows]).all():
                raise ArithmeticError(NOT_FINITE)
            folds = (rows[data.folds[rows] == fold] for fold in np.unique(data.folds[rows]))
            values += [score(data.goal.metric, data.target[part], outputs[part]) for part in folds]
            if not np.isfinite(values).all():
                raise ArithmeticError(NOT_FINITE)
            last = fit == data.fit_count - 1
            if not last and _hopeless(values, self.limits[fit], data.goal.metric):
                return self._result("Pruned", values, found), None
        result = replace(self._result("Complete", values, found), ended_by_time=one.ended_by_time)
        return result, outputs[data.folds >= 0]

    def failed(self, reason: str) -> TrialResult:
        """Return the result of a trial that could not end."""
        return TrialResult(self.number, self.parameters, "Failed", reason=reason)

    def _result(self, state: State, values: list[float], found: list[float]) -> TrialResult:
        iterations = round(float(np.median(found))) if found else None
        return TrialResult(self.number, self.parameters, state, tuple(values), iterations)


class FoundFit(NamedTuple):
    """A fit of a trial.

    Attributes:
        columns: Its transforms, and the rows that it saw.
        fitted: The model.
        iterations: For a fit on all rows; None where the learner has none.
        ended_by_time: Iterations after which its time was over; None where it was not.
    """

    columns: FittedColumns
    fitted: Fitted
    iterations: float | None = None
    ended_by_time: int | None = None

    def predict(self, data: SearchData, rows: Rows) -> Floats:
        """Return the outputs for rows of the search."""
        encoded = Encoder(self.columns.document).transform(data.inputs.take(rows))
        return self.fitted.predict(encoded)


def fit_without(data: SearchData, trial: Trial, fit: int) -> FoundFit:
    """Fit transforms and model as a refit does on all rows, without those that are left out.

    A fit on all rows bears as many more iterations as it has more rows. What the fit is judged by
    has no say in them either: they are found on rows that it sees. Where that must be had for less,
    the fit that finds them predicts.
    """
    learner, hyperparameters = learner_of(trial.parameters)
    columns = fit_columns(data, fit, learner.encoding(hyperparameters))
    origin = origin_of(trial.parameters, trial.number)
    seed = derived_seed(data.goal.seed, origin, fit)
    request = FitRequest(data.goal, columns.document, columns.rows, hyperparameters, seed)
    if not learner.iterative:
        return FoundFit(columns, learner.fit(request))
    valid = validation_rows(data, fit)[~data.left_out(fit)]
    found, ended = _timed(learner, _validated(request, valid), trial.fit_time)
    iterations = found.best_iterations()
    rows = len(valid) - int(valid.sum())
    if not data.fits_sparingly:
        found, rows = learner.fit(replace(request, iterations=iterations)), len(valid)
    return FoundFit(columns, found, iterations * len(data.target) / rows, ended)


def _timed(
    learner: Learner, request: FitRequest, limit: FitTime | None
) -> tuple[Fitted, int | None]:
    """Return a fit within its time, and after how many iterations that was over, if it was."""
    if limit is None:
        return learner.fit(request), None
    if limit.iterations is not None:
        return learner.fit(replace(request, iterations=limit.iterations)), limit.iterations
    since = time.monotonic()
    fitted = learner.fit(replace(request, seconds=limit.seconds))
    over = time.monotonic() - since >= limit.seconds
    # Who tells no losses was not ended by time: an engine's own fit ends by itself.
    return fitted, len(fitted.losses) if over and fitted.losses else None


def validation_rows(data: SearchData, fit: int) -> Mask:
    """Return the rows on which to find the iterations of a fit.

    They are those of the next fold, so that they follow the same plan as all others: a stretch of
    time, or the same ratio of the classes. Of two folds it is every other row of the next one, and
    where fits are sparing so few that they are a tenth of those that the fit sees. Where no other
    row of a class would be left to fit on, one is.
    """
    parts = PARTS if data.fits_sparingly else 2
    if data.fit_count == 1:
        following, step = ~data.left_out(fit), parts
    else:
        following = data.folds == (fit + 1) % data.fit_count
        step = max(1, parts // (data.fit_count - 1))
    rows, seen = np.flatnonzero(following), ~data.left_out(fit)
    chosen = _spread(data, rows, step)
    if not data.goal.classes or _has_all(data.target[seen & ~chosen], data.target[chosen]):
        return chosen
    classes, first = np.unique(data.target[rows], return_index=True)
    elsewhere = np.isin(classes, data.target[seen & ~following])
    others = np.delete(rows, first[~elsewhere])
    return _spread(data, others, step) if len(others) else chosen


def _has_all(target: Floats, wanted: Floats) -> bool:
    return bool(np.isin(wanted, target).all())


def _spread(data: SearchData, rows: Rows, step: int) -> Mask:
    """Return one of so many of the rows, spread over the target; of fewer rows the last one."""
    chosen: Mask = np.zeros(len(data.folds), dtype=np.bool_)
    ordered = rows[np.argsort(data.target[rows], kind="stable")]
    chosen[ordered[min(step, len(rows)) - 1 :: step]] = True
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
