"""Population based training: good models train on, with other hyperparameters than before.

Jaderberg et al., "Population Based Training of Neural Networks", 2017. A generation is a number of
iterations. After each, a member among the worst quarter becomes a copy of one among the best
quarter, whose hyperparameters are changed from there on; all others go on as they are.

A trial is a member after one generation more. No member waits for the others: it goes on as soon as
its result may be seen, compared with those of its generation that may be seen by then. Trials hand
over no state: see `learners/schedule.py`.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from modelyard.api.experiment import Search

from modelyard_runtimes.train.declared_space import Space
from modelyard_runtimes.train.learners.base import Parameters, Value
from modelyard_runtimes.train.learners.registry import LEARNERS
from modelyard_runtimes.train.learners.schedule import (
    ITERATIONS,
    ORIGIN,
    name_from,
    values_at_end,
)
from modelyard_runtimes.train.ranges import Range
from modelyard_runtimes.train.space import LEARNER
from modelyard_runtimes.train.task import Goal, derived_seed

if TYPE_CHECKING:  # a trial is fitted by engines, which propose by samplers
    from modelyard_runtimes.train.trial import TrialResult

LEAST = 4
"""Members of the smallest population."""

GENERATIONS = 20
"""Most generations, beyond which the population grows instead."""

QUARTER = 4
"""One of so many is replaced, and one of so many is worth a copy."""

FACTORS = (0.8, 1.2)
"""By which a value is changed, as in the paper."""

ANEW = 0.25
"""Probability that a value is drawn anew instead."""


class PopulationSampler:
    """Proposes configurations whose hyperparameters change on the way."""

    def __init__(
        self,
        search: Search,
        goal: Goal,
        space: Space,
        portfolio: Sequence[Parameters],
        warm: int = 0,
    ) -> None:
        """Prepare to propose.

        Args:
            search: The declared search.
            goal: What trials are compared by, and the seed of every proposal.
            space: What is proposed from.
            portfolio: Configurations that members begin with; further ones are drawn.
            warm: How many of these come from earlier runs; all of them are begun with, and a
                default one of each family.
        """
        self.trials = search.trials
        few = warm + len(search.learners) if warm else LEAST
        self.size = max(few, math.isqrt(search.trials), math.ceil(search.trials / GENERATIONS))
        self.portfolio_size = min(len(portfolio), self.size)
        self._portfolio = portfolio
        self._learners = search.learners
        self._ranges = {str(learner): space.ranges(learner) for learner in search.learners}
        self._goal = goal
        self._asked = 0
        self._waiting: deque[TrialResult] = deque()
        self._generations: dict[int, list[TrialResult]] = defaultdict(list)

    def ask(self) -> dict[str, Value]:
        """Return the configuration of the next trial."""
        number = self._asked
        self._asked += 1
        generator = np.random.default_rng(derived_seed(self._goal.seed, number))
        if number < self.size or not self._waiting:
            return self._begun(number, generator)
        member = self._waiting.popleft()
        told = self._generations[_generation(member)]
        ranked = sorted(told, key=lambda one: one.rank(self._goal.metric))
        if not ranked:
            return self._begun(number, generator)
        few = max(1, len(ranked) // QUARTER)
        if member in ranked[: max(1, len(ranked) - few)]:
            return self._carried_on(member.parameters, {})
        copied = ranked[int(generator.integers(few))].parameters
        return self._carried_on(copied, self._changed(copied, generator))

    def tell(self, result: TrialResult) -> None:
        """Take in the result of a trial."""
        self._waiting.append(result)
        if result.state == "Complete":
            self._generations[_generation(result)].append(result)

    def _begun(self, number: int, generator: np.random.Generator) -> dict[str, Value]:
        """Return a new member."""
        if number < self.portfolio_size:
            configuration = dict(self._portfolio[number])
        else:
            learner = self._learners[number % len(self._learners)]
            drawn = {name: _drawn(one, generator) for name, one in self._ranges[learner].items()}
            configuration = {LEARNER: learner, **drawn}
        return {**configuration, ITERATIONS: _iterations(configuration), ORIGIN: number}

    def _carried_on(self, member: Parameters, changed: Mapping[str, Value]) -> dict[str, Value]:
        """Return a member after a generation more, with other values from here on."""
        here = int(member[ITERATIONS])
        later = {name_from(name, here): value for name, value in changed.items()}
        return {**member, **later, ITERATIONS: here + _iterations(member)}

    def _changed(self, member: Parameters, generator: np.random.Generator) -> dict[str, Value]:
        """Return values near those that a member ends with, of what may change during a fit."""
        learner = str(member[LEARNER])
        last = values_at_end(member)
        found: dict[str, Value] = {}
        for name in LEARNERS[learner].changing:
            known = self._ranges[learner][name]
            if generator.random() < ANEW:
                found[name] = _drawn(known, generator)
            else:
                found[name] = near(known, float(last[name]), float(generator.choice(FACTORS)))
        return {name: value for name, value in found.items() if value != last[name]}


def _iterations(member: Parameters) -> int:
    """Return how many iterations a generation has in the family of a member."""
    return LEARNERS[str(member[LEARNER])].generation


def _generation(member: TrialResult) -> int:
    """Return how many generations a member has lived."""
    return int(member.parameters[ITERATIONS]) // _iterations(member.parameters)


def near(known: Range, value: float, factor: float) -> Value:
    """Return a value times a factor, or the next step of a range where that is not as near."""
    step = known.step or (1.0 if known.type == "Integer" else 0.0)
    moved = max(abs(factor - 1) * abs(value), step)
    return known.nearest(value + math.copysign(moved, factor - 1))


def _drawn(known: Range, generator: np.random.Generator) -> Value:
    """Return a value of a range, each as likely."""
    if known.choices:
        return known.choices[int(generator.integers(len(known.choices)))]
    return known.decode(float(generator.random()))
