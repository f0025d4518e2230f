"""Proposes configurations: first the portfolio, then what the results so far make likely.

One proposer chooses the family of models, and each family has one for its own hyperparameters, so
that a proposal takes time for the parameters of one family only. Each proposal is a pure function
of the seed, the trial's number and the results it may see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from modelyard.api.experiment import Search

from modelyard_runtimes.train.declared_space import Space
from modelyard_runtimes.train.learners.base import Parameters, Value
from modelyard_runtimes.train.metrics import sign
from modelyard_runtimes.train.optuna_study import OptunaStudy
from modelyard_runtimes.train.parzen import Parzen
from modelyard_runtimes.train.population import PopulationSampler
from modelyard_runtimes.train.ranges import Range
from modelyard_runtimes.train.space import LEARNER, targets_of
from modelyard_runtimes.train.task import Goal, derived_seed

if TYPE_CHECKING:  # a trial is fitted by engines, which propose by samplers
    from modelyard_runtimes.train.trial import TrialResult

STARTUP = 2
"""From this part of the default configurations on the sampler learns. They are far from each other,
and the results of the last ones are not known yet when the first is to be proposed."""


@dataclass(frozen=True)
class Start:
    """Where a search begins.

    Attributes:
        warm: Configurations to begin with, before the default ones.
        liked: Those that were good in earlier runs, those of the run that is most alike first.
        haste: By how much faster than usual the default boosted trees are to learn.
    """

    warm: tuple[Parameters, ...] = ()
    liked: tuple[Parameters, ...] = ()
    haste: float = 1.0


NO_START = Start()


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


class Proposer(Protocol):
    """Proposes values of some hyperparameters."""

    def ask(self, number: int, given: Parameters | None) -> dict[str, Value]:
        """Return the values of the trial of a number: those that are given, or a proposal."""

    def tell(self, result: TrialResult) -> None:
        """Take in how a trial ended, also one that others were asked for."""


def open_sampler(search: Search, goal: Goal, start: Start = NO_START) -> Sampler:
    """Return the sampler that is declared.

    Args:
        search: The declared search.
        goal: What trials are compared by, and the seed of every proposal.
        start: Where it begins.

    Raises:
        RunFailure: the declared space is none of the learners'.
    """
    space = Space(search.learners, search.space, targets_of(goal))
    if search.algorithm == "Grid":
        return GridSampler(space.grid(search.trials))
    portfolio = space.portfolio(start.warm, start.haste)
    if search.algorithm == "PBT":
        return PopulationSampler(search, goal, space, portfolio, len(space.known(start.warm)))
    return FamilySampler(search, goal, space, portfolio, space.known(start.liked))


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


class FamilySampler:
    """Proposes the family of models, then its hyperparameters."""

    def __init__(
        self,
        search: Search,
        goal: Goal,
        space: Space,
        portfolio: Sequence[dict[str, Value]],
        liked: Sequence[Parameters],
    ) -> None:
        """Prepare to propose.

        Args:
            search: The declared search.
            goal: What trials are compared by, and the seed of every proposal.
            space: What is proposed from.
            portfolio: Configurations to begin with.
            liked: Those that were good in earlier runs, the most telling ones first.
        """
        self.trials = search.trials
        self.portfolio_size = len(portfolio)
        self._portfolio = portfolio
        self._asked = 0

        def proposer(
            ranges: Mapping[str, Range], place: int, earlier: Sequence[Parameters]
        ) -> Proposer:
            own = derived_seed(goal.seed, place)
            if search.algorithm == "TPE":
                startup = max(1, len(portfolio) // STARTUP)
                return Parzen(ranges, sign(goal.metric), startup, own, earlier)
            return OptunaStudy(ranges, sign(goal.metric), search.algorithm, own)

        families = Range("Categorical", choices=tuple(search.learners))
        # Which family is the best, earlier runs may not have asked: they may have had fewer.
        self._choice = proposer({LEARNER: families}, 0, ())
        self._families: dict[str, Proposer] = {
            learner: proposer(
                space.ranges(learner), place, [one for one in liked if one[LEARNER] == learner]
            )
            for place, learner in enumerate(search.learners, start=1)
        }

    def ask(self) -> dict[str, Value]:
        """Return the configuration of the next trial."""
        number = self._asked
        self._asked += 1
        given = self._portfolio[number] if number < self.portfolio_size else None
        chosen = self._choice.ask(number, given)
        return {**chosen, **self._families[str(chosen[LEARNER])].ask(number, given)}

    def tell(self, result: TrialResult) -> None:
        """Take in the result of a trial."""
        for proposer in (self._choice, *self._families.values()):
            proposer.tell(result)
