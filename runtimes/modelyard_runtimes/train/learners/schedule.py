"""Hyperparameters that change while a model is fitted.

A schedule is written into a configuration: `learning_rate from 50` is the learning rate from
iteration 50 on, `iterations` how many the fit has, and `origin` the trial whose seeds it takes. So
what carries on another trial need not be handed its state: with the same seeds and the same
beginning it comes to the same model on the way, wherever and whenever it is fitted.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from modelyard_runtimes.train.encoding import EncodingOptions
from modelyard_runtimes.train.learners.base import (
    FitRequest,
    Fitted,
    Learner,
    Parameters,
    Value,
)

ITERATIONS = "iterations"
ORIGIN = "origin"
_FROM = " from "


def name_from(name: str, iteration: int) -> str:
    """Return the name of a hyperparameter's value from an iteration on."""
    return f"{name}{_FROM}{iteration}"


def origin_of(configuration: Parameters, number: int) -> int:
    """Return the number of the trial whose seeds the trial of a number takes: mostly its own."""
    return int(configuration.get(ORIGIN, number))


def values_at_end(configuration: Parameters) -> dict[str, Value]:
    """Return what a configuration ends with, without its schedule."""
    first, changes = parts(configuration)
    for iteration in sorted(changes):
        first |= changes[iteration]
    return first


def parts(configuration: Parameters) -> tuple[dict[str, Value], dict[int, dict[str, Value]]]:
    """Return what a fit begins with, and what changes from which iteration on."""
    first: dict[str, Value] = {}
    changes: dict[int, dict[str, Value]] = defaultdict(dict)
    for name, value in configuration.items():
        own, later, iteration = name.partition(_FROM)
        if later:
            changes[int(iteration)][own] = value
        elif name not in (ITERATIONS, ORIGIN):
            first[name] = value
    return first, dict(changes)


class OnSchedule(Learner):
    """A family of models whose hyperparameters follow a schedule, which also tells its end."""

    def __init__(self, inner: Learner) -> None:
        self._inner = inner
        self.training = inner.training

    def encoding(self, parameters: Parameters) -> EncodingOptions:
        """Return what the family wants."""
        return self._inner.encoding(parts(parameters)[0])

    def fit(self, request: FitRequest) -> Fitted:
        """Fit for the iterations of the schedule."""
        first, changes = parts(request.parameters)
        iterations = int(request.parameters[ITERATIONS])
        return self._inner.fit(
            replace(request, parameters=first, changes=changes, iterations=iterations)
        )
