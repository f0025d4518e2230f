"""Early stopping over folds: which mean a trial must reach at each rung to go on.

As in ASHA (Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020), one of
`reductionFactor` trials goes on at each rung. Unlike there the limits are known when a trial
starts, from the results it may see, so that the order in which trials finish changes nothing.

Hyperband (Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization",
2018) hedges against folds that mislead: trials are dealt to brackets, each of which skips one rung
more than the one before, and are compared within their bracket.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import defaultdict

import numpy as np
from modelyard.api.experiment import EarlyStopping

from modelyard_runtimes.train.metrics import sign
from modelyard_runtimes.train.trial import TrialResult

WIDE = 1.25
"""How many times the least error of a first fold a default configuration may have there."""

MIN_SEEN = 4
"""Results that a rung needs before it stops anything."""


def rungs(folds: int, reduction_factor: int) -> list[int]:
    """Return after how many folds trials are compared: 1, the factor, its square, below `folds`."""
    found, rung = [], 1
    while rung < folds:
        found.append(rung)
        rung *= reduction_factor
    return found


def bracket_sizes(rung_count: int, reduction_factor: int) -> list[int]:
    """Return how many trials in a turn go to each bracket of Hyperband, so that all cost alike.

    The bracket at position s skips s rungs, and the last one all of them.
    """
    brackets = rung_count + 1
    return [
        math.ceil(brackets * reduction_factor ** (brackets - 1 - skipped) / (brackets - skipped))
        for skipped in range(brackets)
    ]


class Pruner:
    """Remembers the results at each rung, and says what a further trial must reach."""

    def __init__(self, stopping: EarlyStopping, folds: int, metric: str) -> None:
        """Prepare the rungs.

        Args:
            stopping: The declared early stopping.
            folds: Number of folds.
            metric: What is compared.
        """
        self._factor = stopping.reduction_factor
        self._folds = folds
        self._sign = sign(metric)
        self._rungs = rungs(folds, self._factor) if stopping.type != "None" else []
        hyperband = stopping.type == "Hyperband"
        sizes = bracket_sizes(len(self._rungs), self._factor) if hyperband else [1]
        self._turn = [bracket for bracket, size in enumerate(sizes) for _ in range(size)]
        self._losses: dict[tuple[int, int], list[float]] = defaultdict(list)
        self._best_first: float | None = None

    def tell(self, result: TrialResult) -> None:
        """Take in the result of a trial."""
        if result.folds:
            first = result.folds[0]
            if self._best_first is None or self._sign * (first - self._best_first) > 0:
                self._best_first = first
        for rung in self._rungs:
            if len(result.folds) >= rung:
                loss = -self._sign * float(np.mean(result.folds[:rung]))
                insort(self._losses[self._bracket(result.number), rung], loss)

    def limits(self, number: int) -> tuple[float | None, ...]:
        """Return for each fold the mean that a trial must reach after it, None for any."""
        found: list[float | None] = [None] * self._folds
        bracket = self._bracket(number)
        for rung in self._rungs[bracket:]:
            losses = self._losses[bracket, rung]
            promoted = (len(losses) + 1) // self._factor
            if len(losses) >= MIN_SEEN and promoted >= 1:
                found[rung - 1] = -self._sign * losses[promoted - 1]
        return tuple(found)

    def wide_limits(self) -> tuple[float | None, ...]:
        """Return the limits of a default configuration, which may be worse, yet err otherwise.

        It ends after the first fold where its error is so far above the least one there that an
        ensemble would hardly give it a weight. Of a fold without any error that says nothing.
        """
        found: list[float | None] = [None] * self._folds
        perfect = 1.0 if self._sign > 0 else 0.0
        if self._rungs and self._best_first is not None and self._best_first != perfect:
            found[0] = perfect + WIDE * (self._best_first - perfect)
        return tuple(found)

    def _bracket(self, number: int) -> int:
        return self._turn[number % len(self._turn)]
