"""The space that an Experiment declares: within that of each family, or a grid of its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from modelyard.api.experiment import Parameter

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.train.learners.base import Parameters, Value
from modelyard_runtimes.train.space import LEARNER, TARGET, TARGETS, Suggest, portfolio, suggest

Declared = Mapping[str, Mapping[str, Parameter]]


@dataclass(frozen=True)
class Range:
    """Values that a family is searched over when nothing is declared.

    Attributes:
        type: Float, Integer or Categorical.
        low: Least value.
        high: Greatest value.
        choices: Values of a Categorical.
    """

    type: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()

    def holds(self, value: Value) -> bool:
        """Return whether a value is one of the range."""
        if self.choices:
            return value in self.choices
        return not isinstance(value, str) and self.low <= value <= self.high

    def told(self) -> str:
        """Return the range for people."""
        if self.choices:
            return f"Categorical, {', '.join(self.choices)}"
        return f"{self.type} from {self.low:g} to {self.high:g}"


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

    def portfolio(self, warm: Sequence[Parameters] = ()) -> list[dict[str, Value]]:
        """Return the configurations to begin with, moved into the declared space, each once.

        Args:
            warm: Those that come before the default ones.
        """
        found: list[dict[str, Value]] = []
        default = portfolio(self._learners, self._targets)
        for configuration in (*map(self._fitting, warm), *default):
            declared = self._declared.get(str(configuration[LEARNER]), {})
            moved = {
                name: _nearest(declared[name], value) if name in declared else value
                for name, value in configuration.items()
            }
            if moved not in found:
                found.append(moved)
        return found

    def _fitting(self, configuration: Parameters) -> dict[str, Value]:
        """Return a configuration of another search with what may be fitted in this one."""
        others = {name: value for name, value in configuration.items() if name != TARGET}
        chosen = {TARGET: configuration.get(TARGET, self._targets[0])} if self._targets else {}
        return {**others, **chosen}

    def suggest(self, trial: Suggest, learner: str) -> dict[str, Value]:
        """Return a configuration of a learner that the sampler chooses."""
        narrowed = _Narrowed(trial, self._declared.get(learner, {}))
        return suggest(narrowed, learner, self._targets)

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


class _Narrowed:
    """Suggests what is declared in place of what a family asks for."""

    def __init__(self, inner: Suggest, declared: Mapping[str, Parameter]) -> None:
        self._inner = inner
        self._declared = declared

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """Return one of the choices."""
        parameter = self._declared.get(_short(name))
        return self._inner.suggest_categorical(
            name, choices if parameter is None else parameter.choices or ()
        )

    def suggest_float(
        self, name: str, low: float, high: float, *, log: bool = False, step: float | None = None
    ) -> float:
        """Return a number of the range."""
        parameter = self._declared.get(_short(name))
        if parameter is not None:
            low, high = _bounds(parameter)
            log, step = parameter.log, parameter.step
        return self._inner.suggest_float(name, low, high, log=log, step=step)

    def suggest_int(
        self, name: str, low: int, high: int, *, log: bool = False, step: int = 1
    ) -> int:
        """Return an integer of the range."""
        parameter = self._declared.get(_short(name))
        if parameter is not None:
            low, high = map(int, _bounds(parameter))
            log, step = parameter.log, int(parameter.step or 1)
        return self._inner.suggest_int(name, low, high, log=log, step=step)


class _Ranges:
    """Notes what a family asks for."""

    def __init__(self) -> None:
        self.found: dict[str, Range] = {}

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        self.found[_short(name)] = Range("Categorical", choices=tuple(choices))
        return choices[0]

    def suggest_float(
        self, name: str, low: float, high: float, *, log: bool = False, step: float | None = None
    ) -> float:
        self.found[_short(name)] = Range("Float", low, high)
        return low

    def suggest_int(
        self, name: str, low: int, high: int, *, log: bool = False, step: int = 1
    ) -> int:
        self.found[_short(name)] = Range("Integer", low, high)
        return low


def ranges_of(learner: str, targets: Sequence[str] = ()) -> dict[str, Range]:
    """Return the values that a family is searched over, by hyperparameter."""
    ranges = _Ranges()
    suggest(ranges, learner, targets)
    return ranges.found


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
    if allowed.type == declared.type == "Categorical":
        within = set(declared.choices or ()) <= set(allowed.choices)
    else:
        low, high = _bounds(declared)
        within = allowed.type == declared.type and allowed.low <= low <= high <= allowed.high
    if not within:
        raise RunFailure("InvalidSearchSpace", f"{path}: it must lie within {allowed.told()}")


def _counted(path: str, parameter: Parameter) -> Sequence[Value]:
    if parameter.choices:
        return parameter.choices
    low, high = _bounds(parameter)
    if parameter.step is None and low < high:
        raise RunFailure("InvalidSearchSpace", f"{path}.step: Grid needs it, or low equal to high")
    count = 1 if parameter.step is None else int((high - low) / parameter.step + 1e-9) + 1
    values = [low + place * (parameter.step or 0.0) for place in range(count)]
    return [int(value) for value in values] if parameter.type == "Integer" else values


def _nearest(parameter: Parameter, value: Value) -> Value:
    """Return the declared value nearest to a default."""
    if parameter.choices:
        return value if value in parameter.choices else parameter.choices[0]
    low, high = _bounds(parameter)
    moved = min(max(float(value), low), high)
    if parameter.step is not None:
        places = int((high - low) / parameter.step + 1e-9)
        moved = low + min(round((moved - low) / parameter.step), places) * parameter.step
    return int(moved) if parameter.type == "Integer" else moved


def _bounds(parameter: Parameter) -> tuple[float, float]:
    """Return low and high, which a rule of the kind demands of numbers."""
    return parameter.low or 0.0, parameter.high or 0.0


def _short(name: str) -> str:
    """Return the name of a hyperparameter without that of its family."""
    return name.rpartition(".")[2]
