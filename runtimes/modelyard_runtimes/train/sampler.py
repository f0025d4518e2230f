"""Proposes configurations: first the portfolio, then what Optuna's samplers make of the results.

One study chooses the family of models, and each family has a study of its own hyperparameters, so
that a proposal takes time for the parameters of one family only. Each proposal is a pure function
of the seed, the trial's number and the results it may see.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import optuna
from modelyard.api.experiment import Search
from optuna.trial import FrozenTrial, TrialState, create_trial

from modelyard_runtimes.train.declared_space import Space
from modelyard_runtimes.train.learners.base import Parameters, Value
from modelyard_runtimes.train.metrics import sign
from modelyard_runtimes.train.space import LEARNER, choose, named
from modelyard_runtimes.train.task import derived_seed

if TYPE_CHECKING:  # a trial is fitted by engines, which propose by samplers
    from modelyard_runtimes.train.trial import TrialResult

REMEMBERED = 150
"""Trials that a study keeps when it forgets: half of them the best, half the latest."""

FORGETS_AT = 200
"""Trials at which a study forgets. An estimator of densities takes time for every trial it knows,
and hardly changes by those of the middle."""

STARTUP = 2
"""From this part of the default configurations on the sampler learns. They are far from each other,
and the results of the last ones are not known yet when the first is to be proposed."""

POPULATION = 10
"""Trials of a generation: searches are of a few dozen trials, and a family has a part of them."""


@dataclass(frozen=True)
class _Asked:
    """One proposal, and the trial of each study that it came from."""

    learner: str
    chosen: optuna.Trial
    configured: optuna.Trial


class Sampler(Protocol):
    """Trials are asked for and told in the order of their numbers."""

    trials: int
    """Most trials that it has configurations for."""

    portfolio_size: int
    """Number of default configurations, which come first."""

    def ask(self) -> dict[str, Value]:
        """Return the configuration of the next trial."""

    def tell(self, result: TrialResult) -> None:
        """Take in the result of a trial."""


def open_sampler(
    search: Search,
    metric: str,
    seed: int,
    warm: Sequence[Parameters] = (),
    targets: Sequence[str] = (),
) -> Sampler:
    """Return the sampler that is declared.

    Args:
        search: The declared search.
        metric: What trials are compared by.
        seed: Seed of every proposal.
        warm: Configurations to begin with.
        targets: What may be fitted of the target.

    Raises:
        RunFailure: the declared space is none of the learners'.
    """
    space = Space(search.learners, search.space, targets)
    if search.algorithm == "Grid":
        return GridSampler(space.grid(search.trials))
    return StudySampler(search, space, space.portfolio(warm), seed, sign(metric))


class GridSampler:
    """Every configuration of a list, one after another."""

    portfolio_size = 0

    def __init__(self, grid: Sequence[dict[str, Value]]) -> None:
        self._left = list(reversed(grid))
        self.trials = len(grid)

    def ask(self) -> dict[str, Value]:
        """Return the configuration of the next trial."""
        return self._left.pop()

    def tell(self, result: TrialResult) -> None:
        """Do nothing: no result changes the grid."""


class StudySampler:
    """Optuna behind ask and tell."""

    def __init__(
        self,
        search: Search,
        space: Space,
        portfolio: Sequence[dict[str, Value]],
        seed: int,
        sign: int,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.trials = search.trials
        self._space = space
        self._learners = list(search.learners)
        self._portfolio = portfolio
        self.portfolio_size = len(self._portfolio)
        self._asked: list[_Asked] = []
        make = partial(_Study, search.algorithm, sign, max(1, self.portfolio_size // STARTUP))
        self._choice = make(derived_seed(seed, 0))
        self._families: dict[str, _Study] = {
            learner: make(derived_seed(seed, place))
            for place, learner in enumerate(search.learners, start=1)
        }

    def ask(self) -> dict[str, Value]:
        """Return the configuration of the next trial."""
        number = len(self._asked)
        given = self._portfolio[number] if number < len(self._portfolio) else None
        chosen = self._choice.ask(None if given is None else {LEARNER: given[LEARNER]})
        learner = choose(chosen, self._learners)
        configured = self._families[learner].ask(None if given is None else named(given))
        self._asked.append(_Asked(learner, chosen, configured))
        return self._space.suggest(_Rounding(configured), learner)

    def tell(self, result: TrialResult) -> None:
        """Take in the result of a trial."""
        asked = self._asked[result.number]
        self._choice.tell(asked.chosen, result)
        for learner, study in self._families.items():
            if learner == asked.learner:
                study.tell(asked.configured, result)
            else:
                study.tell_of_another(result)


class _Study:
    """An Optuna study that remembers its best and its latest trials."""

    def __init__(self, algorithm: str, sign: int, startup: int, seed: int) -> None:
        self._algorithm = algorithm
        self._sign = sign
        self._seed = seed
        self._startup = startup
        self._generation = 0
        self._told = 0
        self._study = self._fresh()

    def ask(self, given: dict[str, Value] | None) -> optuna.Trial:
        """Return a trial that suggests values, or these where they are given."""
        if given is not None:
            self._study.enqueue_trial(given)
        return self._study.ask()

    def tell(self, trial: optuna.Trial, result: TrialResult) -> None:
        """Take in how a trial of this or of a forgotten study ended."""
        state = _STATES[result.state]
        value = result.value if result.state == "Complete" else None
        if result.state == "Pruned":
            trial.report(result.value, step=len(result.folds))
        ended = trial.study.tell(trial, value, state=state)
        if trial.study is not self._study:
            self._study.add_trial(ended)
        self._count()

    def tell_of_another(self, result: TrialResult) -> None:
        """Take in how a trial of another family ended.

        Densities are estimated of what is good among all trials, not of what is good for a family.
        """
        if self._algorithm != "TPE" or result.state == "Failed":
            return
        complete = result.state == "Complete"
        self._study.add_trial(
            create_trial(
                state=_STATES[result.state],
                value=result.value if complete else None,
                intermediate_values={} if complete else {len(result.folds): result.value},
            )
        )
        self._count()

    def _count(self) -> None:
        self._told += 1
        if self._told >= FORGETS_AT:
            self._forget()

    def _forget(self) -> None:
        """Go on with a study of the best trials and of the latest."""
        known = self._study.get_trials(
            deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)
        )
        latest = known[-REMEMBERED // 2 :]
        best = sorted(known[: -REMEMBERED // 2], key=self._rank)[: REMEMBERED // 2]
        self._generation += 1
        self._study = self._fresh()
        self._study.add_trials(sorted(best, key=lambda trial: trial.number) + latest)
        self._told = len(best) + len(latest)

    def _rank(self, trial: FrozenTrial) -> tuple[bool, float, int]:
        pruned = trial.state == TrialState.PRUNED
        return pruned, -self._sign * (trial.value or 0.0), trial.number

    def _fresh(self) -> optuna.Study:
        seed = derived_seed(self._seed, self._generation)
        sampler: optuna.samplers.BaseSampler
        if self._algorithm == "Random":
            sampler = optuna.samplers.RandomSampler(seed=seed)
        elif self._algorithm == "Evolutionary":
            sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION)
        else:
            with warnings.catch_warnings():
                # A group of its own for what some trials lack: those of other families.
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                sampler = optuna.samplers.TPESampler(
                    seed=seed, n_startup_trials=self._startup, multivariate=True, group=True
                )
        return optuna.create_study(
            direction="maximize" if self._sign > 0 else "minimize", sampler=sampler
        )


_STATES = {
    "Complete": TrialState.COMPLETE,
    "Pruned": TrialState.PRUNED,
    "Failed": TrialState.FAIL,
}


class _Rounding:
    """Suggests integers as rounded numbers: densities over whole numbers cost three times more."""

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """Return one of the choices."""
        return str(self._trial.suggest_categorical(name, choices))

    def suggest_float(
        self, name: str, low: float, high: float, *, log: bool = False, step: float | None = None
    ) -> float:
        """Return a number of the range."""
        return self._trial.suggest_float(name, low, high, log=log, step=step)

    def suggest_int(
        self, name: str, low: int, high: int, *, log: bool = False, step: int = 1
    ) -> int:
        """Return an integer of the range."""
        if low == high:
            return low
        if step > 1:
            return int(self._trial.suggest_float(name, low, high, step=step))
        found = self._trial.suggest_float(name, low - 0.5, high + 0.5, log=log)
        return min(max(round(found), low), high)
