"""One trial: a candidate compared over the folds. A pure function of its request and the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from modelyard_runtimes.model.encoder import Encoder
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.encoding import fit_encoder
from modelyard_runtimes.train.learners.base import Encoded, FitRequest, Fitted, Value
from modelyard_runtimes.train.learners.registry import LEARNERS
from modelyard_runtimes.train.metrics import score, sign
from modelyard_runtimes.train.space import LEARNER
from modelyard_runtimes.train.task import SearchData, derived_seed

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
        iterations: Iterations that were best over all folds, where the learner has some.
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
        folds: list[_Fold] = []
        for fold in range(data.fold_count):
            folds.append(_fit_fold(data, self, fold))
            iterations = best_iterations([one.fitted for one in folds])
            predictions = [one.fitted.predict(one.valid.columns, iterations) for one in folds]
            values = tuple(
                score(data.goal.metric, one.valid.target, predicted)
                for one, predicted in zip(folds, predictions, strict=True)
            )
            if not np.isfinite(values).all() or not np.isfinite(predictions[-1]).all():
                raise ArithmeticError(NOT_FINITE)
            last = fold == data.fold_count - 1
            if not last and _hopeless(values, self.limits[fold], data.goal.metric):
                return self._result("Pruned", values, iterations), None
        outputs = np.empty((len(data.target), data.goal.outputs), dtype=np.float64)
        for fold, predicted in enumerate(predictions):
            outputs[data.folds == fold] = predicted
        return self._result("Complete", values, iterations), outputs

    def failed(self, reason: str) -> TrialResult:
        """Return the result of a trial that could not end."""
        return TrialResult(self.number, self.parameters, "Failed", reason=reason)

    def _result(
        self, state: State, values: tuple[float, ...], iterations: int | None
    ) -> TrialResult:
        return TrialResult(self.number, self.parameters, state, values, iterations)


@dataclass(frozen=True)
class _Fold:
    fitted: Fitted
    valid: Encoded


def _fit_fold(data: SearchData, trial: Trial, fold: int) -> _Fold:
    """Fit transforms and model on the other folds; this one only measures the loss."""
    learner = LEARNERS[str(trial.parameters[LEARNER])]
    hyperparameters = {k: v for k, v in trial.parameters.items() if k != LEARNER}
    train_rows = np.flatnonzero(data.folds != fold)
    valid_rows = np.flatnonzero(data.folds == fold)
    train_inputs = data.inputs.take(train_rows)
    document = fit_encoder(train_inputs, data.categories, learner.encoding(hyperparameters))
    encoder = Encoder(document)
    train, valid = (
        Encoded(encoder.transform(inputs), np.asarray(data.target[rows]), data.weights(rows))
        for inputs, rows in (
            (train_inputs, train_rows),
            (data.inputs.take(valid_rows), valid_rows),
        )
    )
    seed = derived_seed(data.goal.seed, trial.number, fold)
    request = FitRequest(data.goal, document, train, hyperparameters, seed, valid=valid)
    return _Fold(learner.fit(request), valid)


def best_iterations(fits: Sequence[Fitted]) -> int | None:
    """Return the number of iterations with the least mean loss over the folds.

    One number for all folds, as a hyperparameter is; so no fold chooses its own on the rows that
    it is judged by. A fold that stopped earlier keeps its last loss.
    """
    if not fits[0].losses:
        return None
    longest = max(len(fit.losses) for fit in fits)
    padded = [[*fit.losses, *[fit.losses[-1]] * (longest - len(fit.losses))] for fit in fits]
    return int(np.argmin(np.mean(padded, axis=0))) + 1


def _hopeless(values: Sequence[float], limit: float | None, metric: str) -> bool:
    return limit is not None and sign(metric) * (float(np.mean(values)) - limit) < 0
