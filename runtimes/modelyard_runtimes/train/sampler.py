"""Proposes configurations: first the portfolio, then what Optuna's sampler makes of the results.

Each proposal is a pure function of the seed, the trial's number and the results it may see.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna

from modelyard_runtimes.train.learners.base import Value
from modelyard_runtimes.train.metrics import sign
from modelyard_runtimes.train.space import named, portfolio, suggest
from modelyard_runtimes.train.task import derived_seed
from modelyard_runtimes.train.trial import TrialResult


class Sampler:
    """Optuna behind ask and tell; trials are asked for and told in the order of their numbers."""

    def __init__(self, algorithm: str, learners: Sequence[str], metric: str, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._algorithm = algorithm
        self._learners = list(learners)
        self._seed = seed
        self._portfolio = portfolio(learners)
        self._asked: list[optuna.Trial] = []
        self._study = optuna.create_study(
            direction="maximize" if sign(metric) > 0 else "minimize",
            sampler=optuna.samplers.RandomSampler(seed=seed),
        )

    @property
    def portfolio_size(self) -> int:
        """Number of default configurations, which come first."""
        return len(self._portfolio)

    def ask(self) -> dict[str, Value]:
        """Return the configuration of the next trial."""
        number = len(self._asked)
        self._study.sampler = self._fresh_sampler(number)
        if number < len(self._portfolio):
            self._study.enqueue_trial(named(self._portfolio[number]))
        trial = self._study.ask()
        self._asked.append(trial)
        return suggest(trial, self._learners)

    def tell(self, result: TrialResult) -> None:
        """Take in the result of a trial."""
        trial = self._asked[result.number]
        if result.state == "Complete":
            self._study.tell(trial, result.value)
        elif result.state == "Pruned":
            trial.report(result.value, step=len(result.folds))
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def _fresh_sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Return a sampler whose random state depends on nothing that ran before."""
        seed = derived_seed(self._seed, number)
        if self._algorithm == "Random":
            return optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            # `group` is what makes the estimator treat each family's parameters as a joint space.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                seed=seed,
                n_startup_trials=len(self._portfolio),
                multivariate=True,
                group=True,
            )
