"""Tree-structured Parzen estimation, which proposes what is likely of the best results only.

The trials known are parted into the best and the others; of points drawn from the density of the
former that one is proposed whose density is the greatest multiple of that of the latter (Bergstra
et al., "Algorithms for Hyper-Parameter Optimization", 2011). A density is a mixture of one kernel
for each trial, over all hyperparameters at once, and of one over everything. Parts, weights and
widths are those that Watanabe recommends ("Tree-Structured Parzen Estimator", arXiv 2304.11127,
2023) and Optuna has; docs/decisions/2026-11-29-parzen.md says why this is not Optuna's.

Points are arrays with a row for each point: first the shares of the numbers in their ranges, then
the places of the choices.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri  # type: ignore[import-untyped]

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.learners.base import Parameters, Value
from modelyard_runtimes.train.ranges import Range

if TYPE_CHECKING:  # a trial is fitted by engines, which propose by samplers
    from modelyard_runtimes.train.trial import TrialResult

CANDIDATES = 24
"""Points that are drawn for a proposal."""

BEST_SHARE, MOST_BEST = 0.1, 25
"""The part of the trials that are the best, and how many these are at most."""

FULL_WEIGHT = 25
"""The latest trials count fully; those before them the less, the older they are."""

NARROWEST = 100
"""A kernel is at least the range divided by this wide, wider while there are fewer trials."""

REMEMBERED = 150
"""Trials that are kept when some are forgotten, half of them the best and half the latest; and how
many of those that run are minded."""

FORGETS_AT = 200
"""Trials at which some are forgotten. A density takes time for every trial it knows, and hardly
changes by those of the middle."""


_Point = tuple[float, ...]


@dataclass(frozen=True, order=True)
class _Known:
    """A trial that ended: the best first, those that ended early last.

    Attributes:
        rank: What trials are ordered by.
        number: Number of the trial.
        point: Its point; None of a trial that has other hyperparameters.
    """

    rank: tuple[bool, int, float]
    number: int
    point: _Point | None = field(compare=False)


class Parzen:
    """Proposes values of some hyperparameters."""

    def __init__(self, ranges: Mapping[str, Range], sign: int, startup: int, seed: int) -> None:
        """Prepare to propose.

        Args:
            ranges: The values of each hyperparameter.
            sign: 1 where more is better, -1 where less is.
            startup: Trials that are known before any is learned from.
            seed: Seed of the proposals.
        """
        self._ranges = ranges
        self._names = sorted(ranges, key=lambda name: bool(ranges[name].choices))
        self._choices = [len(ranges[name].choices) for name in self._names if ranges[name].choices]
        self._numbers = len(ranges) - len(self._choices)
        self._sign = sign
        self._startup = startup
        self._random = np.random.default_rng(seed)
        self._known: list[_Known] = []
        self._running: dict[int, _Point] = {}
        self._liked = self._density([])

    def ask(self, number: int, given: Parameters | None) -> dict[str, Value]:
        """Return the values of a trial: those that are given, or a proposal."""
        chosen = self._propose() if given is None else given
        values = {name: chosen[name] for name in self._ranges}
        self._running[number] = tuple(
            self._ranges[name].encode(values[name]) for name in self._names
        )
        return values

    def tell(self, result: TrialResult) -> None:
        """Take in how a trial ended, also one of other hyperparameters.

        What is good is judged among all trials, not among those of a family.
        """
        point = self._running.pop(result.number, None)
        if result.state == "Failed":
            return
        early = result.state == "Pruned"
        rank = (early, -len(result.folds) if early else 0, -self._sign * result.value)
        insort(self._known, _Known(rank, result.number, point))
        if len(self._known) >= FORGETS_AT:
            self._forget()

    def _forget(self) -> None:
        """Keep the latest trials, and the best of the others."""
        latest = sorted(self._known, key=_number)[-REMEMBERED // 2 :]
        others = [one for one in self._known if one.number < latest[0].number]
        self._known = sorted(others[: REMEMBERED // 2] + latest)

    def _propose(self) -> Parameters:
        learns = len(self._known) >= self._startup
        point = self._likely() if learns else self._anywhere()
        return {
            name: self._ranges[name].decode(float(at))
            for name, at in zip(self._names, point, strict=True)
        }

    def _likely(self) -> Floats:
        best = min(math.ceil(BEST_SHARE * len(self._known)), MOST_BEST)
        good = _points(self._known[:best])
        if self._liked.points != good:
            self._liked = self._density(good)
        # What runs counts as not good, so that nothing is proposed beside it.
        running = list(self._running.values())[-REMEMBERED:]
        unliked = self._density([*_points(self._known[best:]), *running])
        drawn = self._liked.draw(self._random, CANDIDATES)
        gain = self._liked.log_density(drawn) - unliked.log_density(drawn)
        return np.asarray(drawn[np.argmax(gain)])

    def _density(self, points: Sequence[_Point]) -> _Mixture:
        return _Mixture(points, self._choices, self._numbers)

    def _anywhere(self) -> Floats:
        numbers = self._random.random(self._numbers)
        return np.append(numbers, self._random.integers(self._choices))


def _number(known: _Known) -> int:
    return known.number


def _points(known: Sequence[_Known]) -> list[_Point]:
    """Return the points there are, in the order of the trials."""
    return [one.point for one in sorted(known, key=_number) if one.point is not None]


class _Mixture:
    """A density: a kernel at each of some points, and one that is as wide as the ranges.

    Of numbers a kernel is a product of normal distributions, cut at the ends of the ranges.
    """

    def __init__(self, points: Sequence[_Point], choices: Sequence[int], numbers: int) -> None:
        """Estimate the density.

        Args:
            points: Where kernels are, in the order of their trials.
            choices: How many choices there are for each hyperparameter that has some.
            numbers: How many hyperparameters are numbers.
        """
        self.points = points
        array = np.array(points, dtype=np.float64).reshape(len(points), numbers + len(choices))
        weights = np.append(_weights(len(points)), 1.0)
        self._weights = weights / weights.sum()
        self._means = np.vstack([array[:, :numbers], np.full((1, numbers), 0.5)])
        self._widths = np.vstack([_widths(array[:, :numbers]), np.ones((1, numbers))])
        self._below = ndtr(-self._means / self._widths)
        self._within = ndtr((1 - self._means) / self._widths) - self._below
        places = array[:, numbers:].astype(np.int64)
        self._shares = [_shares(at, count) for at, count in zip(places.T, choices, strict=True)]

    def draw(self, random: np.random.Generator, count: int) -> Floats:
        """Return so many points."""
        kernels = random.choice(len(self._weights), count, p=self._weights)
        means, widths = self._means[kernels], self._widths[kernels]
        below = self._below[kernels] + random.random(means.shape) * self._within[kernels]
        numbers = np.clip(means + widths * ndtri(below), 0.0, 1.0)
        places = [
            (np.cumsum(shares[kernels, :-1], axis=1) < random.random((count, 1))).sum(axis=1)
            for shares in self._shares
        ]
        return np.column_stack([numbers, *places])

    def log_density(self, points: Floats) -> Floats:
        """Return the logarithm of the density at points, but for what all densities share."""
        numbers, places = np.split(points, [self._means.shape[1]], axis=1)
        # (x - m)^2 / w^2 is x^2 / w^2 - 2 x m / w^2 + m^2 / w^2: products of small matrices.
        precision = self._widths**-2
        scaled = self._means * precision
        found = numbers @ scaled.T - numbers**2 @ precision.T / 2
        found -= (self._means * scaled / 2 + np.log(self._widths * self._within)).sum(axis=1)
        found += np.log(self._weights)
        for shares, at in zip(self._shares, places.T, strict=True):
            found += np.log(shares)[:, at.astype(np.int64)].T
        peak = found.max(axis=1)
        return np.asarray(np.log(np.exp(found - peak[:, None]).sum(axis=1)) + peak)


def _weights(count: int) -> Floats:
    """Return how much each of the trials counts, in their order."""
    older = max(count - FULL_WEIGHT, 0)
    return np.append(np.linspace(1 / max(count, 1), 1.0, older), np.ones(count - older))


def _widths(means: Floats) -> Floats:
    """Return the widths of kernels: the distance to the farther of their neighbours.

    The outermost know of one neighbour only; a lone one takes the farther end of the range.
    """
    count, numbers = means.shape
    order = np.argsort(means, axis=0, kind="stable")
    ends = np.zeros((1, numbers)), np.ones((1, numbers))
    gaps = np.diff(np.vstack([ends[0], np.take_along_axis(means, order, axis=0), ends[1]]), axis=0)
    ordered = np.maximum(gaps[:-1], gaps[1:])
    if count > 1:
        ordered[0], ordered[-1] = gaps[1], gaps[-2]
    widths = np.empty_like(means)
    np.put_along_axis(widths, order, ordered, axis=0)
    return np.clip(widths, 1 / min(NARROWEST, count + 2), 1.0)


def _shares(places: npt.NDArray[np.int64], choices: int) -> Floats:
    """Return the share of each choice in each kernel; all choices have some in any."""
    kernels = len(places) + 1
    found = np.full((kernels, choices), 1 / kernels)
    found[np.arange(len(places)), places] += 1
    return np.asarray(found / found.sum(axis=1, keepdims=True))
