"""What is kept of a window: all of its values while they are few, else counts that can be added.

A sketch of numbers has cells between quantiles of the reference, the same for every part of a
window; of each cell it keeps how many numbers fell into it and their sum. So sketches of parts
merge without loss, bins of the reference's quantiles are counted exactly, and a KS distance is off
by at most the share of the reference within a cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.monitor.statistics import BINS, Floats, Sample, quantile_edges

EXACT_VALUES = 100_000
"""Values up to which all are kept."""
CELLS = 400 * BINS
"""Cells of a sketch between quantiles of the reference, unless values repeat."""
TAIL = 1000
"""Least and greatest values of the reference that have cells of their own."""
MOST_CATEGORIES = 10_000
"""Categories that the reference lacks and that are counted by name; rows with others are counted
together."""
OTHER = "\0other"


class NumericWindow:
    """Numbers of a window, and how many are missing."""

    def __init__(self, reference: Floats) -> None:
        """Start without values.

        Args:
            reference: Sorted values of the reference, none of them NaN.
        """
        self.missing = 0
        self._parts: list[Floats] = []
        self._reference = reference
        self._edges = reference[:0]
        self._counts: npt.NDArray[np.int64] | None = None
        self._sums = np.zeros(0)

    @property
    def size(self) -> int:
        """Number of values that are there."""
        cells = 0 if self._counts is None else int(self._counts.sum())
        return cells + sum(part.size for part in self._parts)

    def add(self, values: Floats) -> None:
        """Add numbers, NaN where missing."""
        there = values[~np.isnan(values)]
        self.missing += values.size - there.size
        self._parts.append(there)
        if self._counts is not None or self.size > EXACT_VALUES:
            self._compress()

    def merge(self, other: NumericWindow) -> None:
        """Add what another window of the same reference has seen."""
        self.missing += other.missing
        self._parts += other._parts
        if other._counts is not None:
            self._counts = self._compress() + other._counts
            self._sums += other._sums
        elif self._counts is not None or self.size > EXACT_VALUES:
            self._compress()

    def sample(self) -> Sample:
        """Return the numbers; of a large window, the mean of each cell with its count."""
        if self._counts is None:
            return Sample(np.sort(np.concatenate(self._parts)) if self._parts else self._edges[:0])
        filled = self._counts > 0
        low = np.append(-np.inf, self._edges)[filled]
        high = np.nextafter(np.append(self._edges, np.inf), -np.inf)[filled]
        # By rounding, the mean of equal values may be next to them, in another cell.
        means = np.clip(self._sums[filled] / self._counts[filled], low, high)
        return Sample(means, self._counts[filled])

    def _compress(self) -> npt.NDArray[np.int64]:
        """Put what is held into cells and return their counts."""
        if self._counts is None:
            if self._reference.size:
                self._edges = _edges(self._reference)
            self._sums = np.zeros(self._edges.size + 1)
            self._counts = np.zeros(self._edges.size + 1, dtype=np.int64)
        cells = self._sums.size
        for part in self._parts:
            found = np.searchsorted(self._edges, part, side="right")
            self._counts += np.bincount(found, minlength=cells)
            self._sums += np.bincount(found, weights=part, minlength=cells)
        self._parts = []
        return self._counts


def _edges(reference: Floats) -> Floats:
    """Return the edges of cells: quantiles, and every value of the tails, which lie far apart."""
    quantiles = np.union1d(quantile_edges(reference, CELLS), quantile_edges(reference))
    tails = np.concatenate([reference[:TAIL], reference[-TAIL:]])
    return np.union1d(quantiles, tails)


class CategoryWindow:
    """Categories of a window, None where missing."""

    def __init__(self, reference: Container[Any]) -> None:
        """Start without values.

        Args:
            reference: Categories of the reference; each is counted by name, however many there are.
        """
        self.counts: Counter[Any] = Counter()
        self._reference = reference
        self._new = 0
        """How many of those counted by name the reference lacks."""

    def add(self, values: Sequence[Any]) -> None:
        """Add categories."""
        self._add(Counter(values))

    def merge(self, other: CategoryWindow) -> None:
        """Add what another window has seen."""
        self._add(other.counts)

    def _add(self, counts: Counter[Any]) -> None:
        for value, count in counts.items():
            self.counts[self._name(value)] += count

    def _name(self, value: Any) -> Any:
        """Return by what name a category is counted."""
        if value is None or value in self._reference or value in self.counts:
            return value
        self._new += 1
        return value if self._new <= MOST_CATEGORIES else OTHER
