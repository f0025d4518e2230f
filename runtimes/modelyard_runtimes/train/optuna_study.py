"""Proposes by a sampler of Optuna, which sees numbers as shares of their ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState

from modelyard_runtimes.train.learners.base import Parameters, Value
from modelyard_runtimes.train.ranges import Range

if TYPE_CHECKING:  # a trial is fitted by engines, which propose by samplers
    from modelyard_runtimes.train.trial import TrialResult

POPULATION = 10
"""Trials of a generation: searches are of a few dozen trials, and a family has a part of them."""

_STATES = {
    "Complete": TrialState.COMPLETE,
    "Pruned": TrialState.PRUNED,
    "Failed": TrialState.FAIL,
}


class OptunaStudy:
    """Proposes values of some hyperparameters."""

    def __init__(self, ranges: Mapping[str, Range], sign: int, algorithm: str, seed: int) -> None:
        """Prepare to propose.

        Args:
            ranges: The values of each hyperparameter.
            sign: 1 where more is better, -1 where less is.
            algorithm: Random or Evolutionary.
            seed: Seed of the proposals.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._ranges = ranges
        sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=seed)
        if algorithm == "Evolutionary":
            sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION)
        self._study = optuna.create_study(
            direction="maximize" if sign > 0 else "minimize", sampler=sampler
        )
        self._running: dict[int, optuna.Trial] = {}

    def ask(self, number: int, given: Parameters | None) -> dict[str, Value]:
        """Return the values of a trial: those that are given, or a proposal."""
        if given is not None:
            self._study.enqueue_trial(
                {
                    name: given[name] if known.choices else known.encode(given[name])
                    for name, known in self._ranges.items()
                }
            )
        trial = self._running[number] = self._study.ask()
        proposed: dict[str, Value] = {
            name: trial.suggest_categorical(name, known.choices)
            if known.choices
            else known.decode(trial.suggest_float(name, 0.0, 1.0))
            for name, known in self._ranges.items()
        }
        return proposed if given is None else {name: given[name] for name in proposed}

    def tell(self, result: TrialResult) -> None:
        """Take in how a trial ended; one of other hyperparameters says nothing about these."""
        trial = self._running.pop(result.number, None)
        if trial is None:
            return
        if result.state == "Pruned":
            trial.report(result.value, step=len(result.folds))
        value = result.value if result.state == "Complete" else None
        self._study.tell(trial, value, state=_STATES[result.state])
