"""Tree-structured Parzen estimation, which proposes what is likely of the best results only.

The trials known are parted into the best and the others; of points drawn from the density of the
former that one is proposed whose density is the greatest multiple of that of the latter (Bergstra
et al., "Algorithms for Hyper-Parameter Optimization", 2011). A density is a mixture of one kernel
for each trial, over all hyperparameters at once as in BOHB (Falkner et al., 2018), and of one over
everything. Parts, weights and widths are those of Optuna 5, which Watanabe explains
("Tree-Structured Parzen Estimator", arXiv 2304.11127, 2023); docs/decisions/2026-11-29-parzen.md
says why this is not Optuna's.

A point has first the shares of the numbers in their ranges, then the places of the choices; what
has one value only is left out.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
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

REPLACING = 16
"""So many trials take the place of one of an earlier search, the least telling ones first."""

REMEMBERED = 150
"""Trials that are kept when some are forgotten: half of them the best, half the latest."""

FORGETS_AT = 200
"""Trials at which some are forgotten. A density takes time for every trial it knows, and hardly
changes by those of the middle."""

MINDED = 50
"""How many of the trials that run are minded, the latest: each takes time as those known do."""


@dataclass(frozen=True, order=True)
class _Known:
    """What is known of a trial that ended.

    Attributes:
        rank: What trials are ordered by: the best first, those that ended early last.
        number: Number of the trial.
        row: Where its point is; None of a trial that has other hyperparameters.
    """

    rank: tuple[bool, int, float]
    number: int
    row: int | None = field(compare=False)


class Parzen:
    """Proposes values of some hyperparameters."""

    def __init__(
        self,
        ranges: Mapping[str, Range],
        sign: int,
        startup: int,
        seed: int,
        liked: Sequence[Parameters] = (),
    ) -> None:
        """Prepare to propose.

        Args:
            ranges: The values of each hyperparameter.
            sign: 1 where more is better, -1 where less is.
            startup: Trials that are known before any is learned from.
            seed: Seed of the proposals.
            liked: Values that were good in earlier searches, the most telling ones first.
        """
        self._ranges = ranges
        free = [name for name, known in ranges.items() if not known.fixed]
        self._names = sorted(free, key=lambda name: bool(ranges[name].choices))
        self._choices = [len(ranges[name].choices) for name in free if ranges[name].choices]
        self._numbers = len(free) - len(self._choices)
        self._sign = sign
        self._startup = startup
        self._random = np.random.default_rng(seed)
        self._known: list[_Known] = []
        self._told = 0
        self._running: dict[int, int] = {}
        self._table = np.empty((FORGETS_AT, len(free)))
        self._rows = 0
        self._good: list[int] = []
        self._earlier = [self._keep(self._encoded(one)) for one in reversed(liked)]
        self._liked = self._density([])

    def ask(self, number: int, given: Parameters | None) -> dict[str, Value]:
        """Return the values of a trial: those that are given, or a proposal.

        Args:
            number: Number of the trial.
            given: Its values, all of them in the ranges, and perhaps others; None for a proposal.
        """
        if given is None:
            point = self._propose()
            at = dict(zip(self._names, point, strict=True))
            given = {name: known.decode(at.get(name, 0.0)) for name, known in self._ranges.items()}
        else:
            point = self._encoded(given)
        self._running[number] = self._keep(point)
        return {name: given[name] for name in self._ranges}

    def tell(self, result: TrialResult) -> None:
        """Take in how a trial ended, also one of other hyperparameters.

        What is good is judged among all trials, not among those of a family.
        """
        row = self._running.pop(result.number, None)
        if result.state == "Failed":
            return
        self._told += 1
        early = result.state == "Pruned"
        rank = (early, -len(result.folds) if early else 0, -self._sign * result.value)
        insort(self._known, _Known(rank, result.number, row))
        if len(self._known) >= FORGETS_AT:
            self._forget()

    def _forget(self) -> None:
        """Keep the latest trials, and the best of the others."""
        latest = sorted(self._known, key=attrgetter("number"))[-REMEMBERED // 2 :]
        others = [one for one in self._known if one.number < latest[0].number]
        self._known = sorted(others[: REMEMBERED // 2] + latest)

    def _propose(self) -> list[float]:
        if len(self._known) >= self._startup:
            return self._likely()
        numbers = self._random.random(self._numbers)
        return [*map(float, numbers), *map(float, self._random.integers(self._choices))]

    def _likely(self) -> list[float]:
        best = min(math.ceil(BEST_SHARE * len(self._known)), MOST_BEST)
        replaced = self._told // REPLACING
        good = [*self._earlier[replaced:], *_rows(self._known[:best])]
        if self._good != good:
            self._good, self._liked = good, self._density(good)
        # What runs counts as not good, so that nothing is proposed beside it.
        running = list(self._running.values())[-MINDED:]
        unliked = self._density([*_rows(self._known[best:]), *running])
        drawn = self._liked.draw(self._random, CANDIDATES)
        gain = self._liked.log_density(drawn) - unliked.log_density(drawn)
        return [float(at) for at in drawn[np.argmax(gain)]]

    def _encoded(self, given: Parameters) -> list[float]:
        return [self._ranges[name].encode(given[name]) for name in self._names]

    def _density(self, rows: Sequence[int]) -> _Mixture:
        return _Mixture(self._table[rows], self._choices)

    def _keep(self, point: Sequence[float]) -> int:
        """Return the row of the table in which a point is kept."""
        if self._rows == len(self._table):
            self._table = np.concatenate([self._table, np.empty_like(self._table)])
        self._table[self._rows] = point
        self._rows += 1
        return self._rows - 1


def _rows(known: Sequence[_Known]) -> list[int]:
    """Return where the points of trials are, in the order of the trials."""
    return sorted(one.row for one in known if one.row is not None)


class _Mixture:
    """A density: a kernel at each of some points, and one that is as wide as the ranges.

    Of numbers a kernel is a product of normal distributions, cut at the ends of the ranges.
    """

    def __init__(self, points: Floats, choices: Sequence[int]) -> None:
        """Estimate the density.

        Args:
            points: Where kernels are, a row each, in the order of their trials.
            choices: How many choices there are for each hyperparameter that has some.
        """
        count, numbers = len(points), points.shape[1] - len(choices)
        self._numbers = numbers
        self._means = np.full((count + 1, numbers), 0.5)
        self._means[:count] = points[:, :numbers]
        self._widths = np.ones((count + 1, numbers))
        self._widths[:count] = _widths(points[:, :numbers])
        self._below = ndtr(-self._means / self._widths)
        self._within = ndtr((1 - self._means) / self._widths) - self._below
        # (x - m)^2 / w^2 is x^2 / w^2 - 2 x m / w^2 + m^2 / w^2: products of small matrices.
        self._precision = self._widths**-2
        self._scaled = self._means * self._precision
        lost = self._means * self._scaled / 2 + np.log(self._widths * self._within)
        self._weights = _weights(count)
        self._heights = np.log(self._weights) - lost.sum(axis=1)
        places = points[:, numbers:].astype(np.int64)
        self._shares = [_shares(at, size) for at, size in zip(places.T, choices, strict=True)]

    def draw(self, random: np.random.Generator, count: int) -> Floats:
        """Return so many points."""
        ends = np.cumsum(self._weights[:-1])
        kernels = np.searchsorted(ends, random.random(count))
        means, widths = self._means[kernels], self._widths[kernels]
        below = self._below[kernels] + random.random(means.shape) * self._within[kernels]
        points = np.empty((count, self._numbers + len(self._shares)))
        points[:, : self._numbers] = (means + widths * ndtri(below)).clip(0.0, 1.0)
        for place, shares in enumerate(self._shares, start=self._numbers):
            ends = np.cumsum(shares[kernels, :-1], axis=1)
            points[:, place] = (ends < random.random((count, 1))).sum(axis=1)
        return points

    def log_density(self, points: Floats) -> Floats:
        """Return the logarithm of the density at points, but for what all densities share."""
        numbers, places = points[:, : self._numbers], points[:, self._numbers :].astype(np.int64)
        if not self._numbers and len(self._shares) == 1:  # as for the family: no products to add up
            return np.asarray(np.log(self._weights @ self._shares[0])[places[:, 0]])
        found = numbers @ self._scaled.T - numbers**2 @ self._precision.T / 2 + self._heights
        for shares, at in zip(self._shares, places.T, strict=True):
            found += np.log(shares).T[at]
        peak = found.max(axis=1, keepdims=True)
        return np.asarray(np.log(np.exp(found - peak).sum(axis=1)) + peak[:, 0])


@lru_cache(MINDED + FORGETS_AT)
def _weights(count: int) -> Floats:
    """Return how much each kernel counts: of the trials in their order, then the wide one."""
    older = max(count - FULL_WEIGHT, 0)
    weights = np.append(np.linspace(1 / max(count, 1), 1.0, older), np.ones(count - older + 1))
    return np.asarray(weights / weights.sum())


def _widths(means: Floats) -> Floats:
    """Return the widths of kernels: the distance to the farther of their neighbours.

    The outermost know of one neighbour only; a lone one takes the farther end of the range.
    """
    count, numbers = means.shape
    order = np.argsort(means, axis=0, kind="stable"), np.arange(numbers)
    ends = np.zeros((count + 2, numbers))
    ends[1:-1], ends[-1] = means[order], 1.0
    gaps = ends[1:] - ends[:-1]
    ordered = np.maximum(gaps[:-1], gaps[1:])
    if count > 1:
        ordered[0], ordered[-1] = gaps[1], gaps[-2]
    widths = np.empty_like(means)
    widths[order] = ordered
    return widths.clip(1 / min(NARROWEST, count + 2), 1.0)


def _shares(places: npt.NDArray[np.int64], choices: int) -> Floats:
    """Return the share of each choice in each kernel; all choices have some in any."""
    kernels = len(places) + 1
    found = np.full((kernels, choices), 1 / kernels)
    found[np.arange(len(places)), places] += 1
    return np.asarray(found / found.sum(axis=1, keepdims=True))
