"""The values of one hyperparameter, and where in them a value lies."""

from __future__ import annotations

import math
from dataclasses import dataclass

from modelyard.api.experiment import Parameter

from modelyard_runtimes.train.learners.base import Value


@dataclass(frozen=True)
class Range:
    """Values of a hyperparameter.

    Attributes:
        type: Float, Integer or Categorical.
        low: Least value.
        high: Greatest value.
        log: Whether proposals are spread evenly over its logarithm.
        step: Distance of the values from low on; None for any.
        choices: Values of a Categorical.
    """

    type: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[str, ...] = ()

    @classmethod
    def of(cls, declared: Parameter) -> Range:
        """Return the values that are declared."""
        return cls(
            declared.type,
            declared.low or 0.0,
            declared.high or 0.0,
            declared.log,
            declared.step,
            tuple(declared.choices or ()),
        )

    @property
    def fixed(self) -> bool:
        """Whether there is one value only."""
        return len(self.choices) == 1 if self.choices else self.low == self.high

    def holds(self, value: Value) -> bool:
        """Return whether a value is one of the range."""
        if self.choices:
            return value in self.choices
        return not isinstance(value, str) and self.low <= value <= self.high

    def nearest(self, value: Value) -> Value:
        """Return the value of the range that is nearest to one; of other choices the first."""
        if self.choices:
            return value if value in self.choices else self.choices[0]
        moved = min(max(float(value), self.low), self._last())
        if self.step is not None:
            moved = self.low + round((moved - self.low) / self.step) * self.step
        return round(moved) if self.type == "Integer" else moved

    def encode(self, value: Value) -> float:
        """Return the place of a choice among the choices, or the share of a number in the range.

        Args:
            value: A value of the range.

        Raises:
            ValueError: there is no such choice.
        """
        if self.choices:
            return float(self.choices.index(str(value)))
        if self.fixed:
            return 0.5
        low, high = self._edges()
        number = math.log(float(value)) if self.log else float(value)
        return (number - low) / (high - low)

    def decode(self, number: float) -> Value:
        """Return the value at a place or share."""
        if self.choices:
            return self.choices[int(number)]
        low, high = self._edges()
        at = low + number * (high - low)
        return self.nearest(math.exp(at) if self.log else at)

    def told(self) -> str:
        """Return the range for people."""
        if self.choices:
            return f"Categorical, {', '.join(self.choices)}"
        return f"{self.type} from {self.low:g} to {self.high:g}"

    def _last(self) -> float:
        """Return the greatest value that steps come to."""
        if self.step is None:
            return self.high
        steps = int((self.high - self.low) / self.step + 1e-9)
        return min(self.low + steps * self.step, self.high)

    def _edges(self) -> tuple[float, float]:
        """Return the ends, by half of a step wider, so that each value has a part as wide."""
        apart = self.step or (1.0 if self.type == "Integer" else 0.0)
        low, high = self.low - apart / 2, self._last() + apart / 2
        return (math.log(low), math.log(high)) if self.log else (low, high)
