"""The space that an Experiment declares: within that of each family, or a grid of its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from modelyard.api.experiment import Parameter

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.train.learners.base import Parameters, Value
from modelyard_runtimes.train.ranges import Range
from modelyard_runtimes.train.space import (
    LEARNER,
    TARGET,
    TARGETS,
    hastened,
    portfolio,
    ranges_of,
    turns,
)

Declared = Mapping[str, Mapping[str, Parameter]]


class Space:
    """What a search proposes from."""

    def __init__(
        self, learners: Sequence[str], declared: Declared | None, targets: Sequence[str] = ()
    ) -> None:
        """Check what is declared.

        Args:
            learners: The families that may be tried.
            declared: Parameters by family and name.
            targets: What may be fitted of the target.

        Raises:
            RunFailure: there is no such hyperparameter, or it has no such values.
        """
        self._learners = learners
        self._declared = declared or {}
        self._targets = targets
        for learner, parameters in self._declared.items():
            ranges = ranges_of(learner, targets)
            for name, parameter in parameters.items():
                _check(f"spec.search.space.{learner}.{name}", name, parameter, ranges)

    def portfolio(
        self, warm: Sequence[Parameters] = (), haste: float = 1.0
    ) -> list[dict[str, Value]]:
        """Return the configurations to begin with, moved into the declared space, each once.

        Earlier runs that found a configuration of a family have tried its default ones, so of those
        only the first follows what was found since.

        Args:
            warm: Those that come before the default ones.
            haste: By how much faster than usual the default boosted trees are to learn.
        """
        known = self.known(warm)
        default = [
            self._moved(hastened(one, haste)) for one in portfolio(self._learners, self._targets)
        ]
        families = {one[LEARNER] for one in known}
        places = turns(str(one[LEARNER]) for one in default)
        left = [
            one
            for one, turn in zip(default, places, strict=True)
            if turn == 0 or one[LEARNER] not in families
        ]
        found: list[dict[str, Value]] = []
        for configuration in (*known, *left):
            if configuration not in found:
                found.append(configuration)
        return found

    def known(self, earlier: Sequence[Parameters]) -> list[dict[str, Value]]:
        """Return the configurations of earlier runs that are some here, moved into the space.

        Those of a run that an older version began may be none of these families any more.
        """
        return [self._moved(one) for one in map(self._fitting, earlier) if is_known(one)]

    def _moved(self, configuration: Parameters) -> dict[str, Value]:
        """Return a configuration with values that the space has, those nearest to its own."""
        declared = self._declared.get(str(configuration[LEARNER]), {})
        return {
            name: Range.of(declared[name]).nearest(value) if name in declared else value
            for name, value in configuration.items()
        }

    def _fitting(self, configuration: Parameters) -> dict[str, Value]:
        """Return a configuration of another search with what may be fitted in this one."""
        others = {name: value for name, value in configuration.items() if name != TARGET}
        chosen = {TARGET: configuration.get(TARGET, self._targets[0])} if self._targets else {}
        return {**others, **chosen}

    def ranges(self, learner: str) -> dict[str, Range]:
        """Return the values that a family is searched over here, by hyperparameter."""
        declared = self._declared.get(learner, {})
        return {
            name: Range.of(declared[name]) if name in declared else known
            for name, known in ranges_of(learner, self._targets).items()
        }

    def grid(self, trials: int) -> list[dict[str, Value]]:
        """Return every combination of the declared values; the rest as in the first default.

        Raises:
            RunFailure: there are more than so many, or values that cannot be counted.
        """
        found: list[dict[str, Value]] = []
        for learner in self._learners:
            declared = self._declared.get(learner, {})
            values = {
                name: _counted(f"spec.search.space.{learner}.{name}", parameter)
                for name, parameter in declared.items()
            }
            points = math.prod(len(one) for one in values.values())
            if len(found) + points > trials:
                raise RunFailure(
                    "InvalidSearchSpace",
                    f"spec.search.trials: the grid has more than {trials} combinations, {points} "
                    f"of {learner} alone; raise trials or declare fewer values",
                )
            default = portfolio([learner], self._targets)[0]
            for combination in itertools.product(*values.values()):
                found.append({**default, **dict(zip(values, combination, strict=True))})
        return found


def is_known(configuration: Parameters) -> bool:
    """Return whether a family could propose this configuration."""
    targets = TARGETS if TARGET in configuration else ()
    ranges = ranges_of(str(configuration[LEARNER]), targets)
    given = {name: value for name, value in configuration.items() if name != LEARNER}
    return given.keys() == ranges.keys() and all(
        ranges[name].holds(value) for name, value in given.items()
    )


def _check(path: str, name: str, declared: Parameter, ranges: Mapping[str, Range]) -> None:
    allowed = ranges.get(name)
    if allowed is None and name == TARGET:
        raise RunFailure(
            "InvalidSearchSpace",
            f"{path}: only a number that is never negative has square roots, and the target of "
            "these rows is none; remove it",
        )
    if allowed is None:
        near = get_close_matches(name, ranges, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(ranges)}"
        raise RunFailure("InvalidSearchSpace", f"{path}: no such hyperparameter; {hint}")
    wanted = Range.of(declared)
    values = wanted.choices or (wanted.low, wanted.high)
    within = wanted.type == allowed.type and all(map(allowed.holds, values))
    if not within or wanted.low > wanted.high:
        raise RunFailure("InvalidSearchSpace", f"{path}: it must lie within {allowed.told()}")


def _counted(path: str, parameter: Parameter) -> Sequence[Value]:
    if parameter.choices:
        return parameter.choices
    low, high = parameter.low or 0.0, parameter.high or 0.0
    if parameter.step is None and low < high:
        raise RunFailure("InvalidSearchSpace", f"{path}.step: Grid needs it, or low equal to high")
    count = 1 if parameter.step is None else int((high - low) / parameter.step + 1e-9) + 1
    values = [low + place * (parameter.step or 0.0) for place in range(count)]
    return [int(value) for value in values] if parameter.type == "Integer" else values
