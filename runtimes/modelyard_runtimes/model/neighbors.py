"""Predicts a row by the stored rows that are nearest to it, with NumPy alone."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.model.arrays import read_array
from modelyard_runtimes.model.errors import ModelError
from modelyard_runtimes.model.format import Votes
from modelyard_runtimes.model.schema import Floats

PRODUCTS = 2**18
"""Distances that are looked at together, which bounds the memory."""

TURNS = 256
"""Columns that turn into those of a row together, for the same reason."""

LARGEST = 1e100
"""Columns are kept within this, so that no distance is infinite."""

_SEED = 0
"""Of the order in which columns turn; one for all rows, so that equal rows are explained alike."""


class Neighbors:
    """Stored rows, of which the nearest by Euclidean distance vote on what a row is.

    What a row gets depends on nothing but it: neither on the rows that are asked for with it nor on
    how a library multiplies matrices. Of stored rows that are equally near the first come first.

    Attributes:
        outputs: Numbers that a row gets: 1, or the number of classes.
    """

    def __init__(self, content: bytes, columns: int, votes: Votes) -> None:
        """Read the stored rows.

        Args:
            content: An array in the .npy format with a line for each of them: its encoded columns,
                its outputs (share of the positive class or of each class, or the value) and its
                weight.
            columns: Number of columns that rows have.
            votes: How many vote, and how much each vote counts. Where fewer rows are stored, all.

        Raises:
            ModelError: the content is not that.
        """
        stored = _read(content, columns)
        self.outputs = stored.shape[1] - columns - 1
        # Fancy indices of it give whole rows, one after the other in memory.
        self._rows = np.ascontiguousarray(_bounded(stored[:, :columns]))
        self._outputs, self._weights = stored[:, columns:-1], stored[:, -1]
        self._columns = np.ascontiguousarray(self._rows.T)
        self._halves = np.square(self._rows).sum(axis=1) / 2
        self._count = min(votes.neighbors, len(stored))
        self._by_distance = votes.weighting == "Distance"

    def predict(self, rows: Floats) -> Floats:
        """Return rows x `outputs`: the weighted mean of the outputs of the nearest stored rows."""
        rows = _bounded(rows)
        predictions = np.empty((len(rows), self.outputs))
        step = max(1, PRODUCTS // len(self._rows))
        for start in range(0, len(rows), step):
            found = self._candidates(rows[start : start + step])
            for place, candidates in enumerate(found, start):
                predictions[place] = self._vote(rows[place], candidates)
        return predictions

    def contributions(self, rows: Floats, reference: Floats) -> Floats:
        """Return how each column moves the output away from that of a reference row.

        The columns of the reference turn into those of the row one after the other, in an order
        drawn once and in its reverse; a column adds the mean of what it changes. These are Shapley
        values sampled from two orders (Castro et al., "Polynomial Calculation of the Shapley Value
        Based on Sampling", 2009; Strumbelj and Kononenko, "Explaining Prediction Models and
        Individual Predictions with Feature Contributions", 2014). They add up exactly; as shares of
        single columns they approximate Shapley values.

        Args:
            rows: Rows to explain, rows x columns.
            reference: One row, 1 x columns.

        Returns:
            Rows x `outputs` x (columns + 1), the last the output of the reference.
        """
        order = np.random.default_rng(_SEED).permutation(rows.shape[1])
        values = np.zeros((len(rows), self.outputs, rows.shape[1] + 1))
        values[:, :, -1] = self.predict(reference)
        for row, own in zip(rows, values, strict=True):
            # Where a column is as the reference has it, there is nothing to turn.
            turning = order[row[order] != reference[0, order]]
            forth = self._changes(row, reference[0], turning)
            back = self._changes(row, reference[0], turning[::-1])
            own[:, turning] = (forth + back[::-1]).T / 2
        return values

    def _changes(self, row: Floats, reference: Floats, turning: npt.NDArray[np.intp]) -> Floats:
        """Return what each column changes as they turn in this order, columns x outputs."""
        changes = np.empty((len(turning), self.outputs))
        for start in range(0, len(turning), TURNS):
            part = turning[start : start + TURNS]
            points = np.tile(reference, (len(part) + 1, 1))
            for place, column in enumerate(part, start=1):
                points[place:, column] = row[column]
            changes[start : start + TURNS] = np.diff(self.predict(points), axis=0)
            reference = points[-1]
        return changes

    def _candidates(self, rows: Floats) -> Iterator[npt.NDArray[np.intp]]:
        """Yield for each row the positions of all stored rows that may be among the nearest.

        A product of matrices ranks distances fast, with a rounding that is not the same everywhere
        but has a bound (Higham, "Accuracy and Stability of Numerical Algorithms", 2002): who might
        be near enough within it is a candidate.
        """
        # Half of the squared distance, less what is equal for all stored rows.
        ranks = self._halves - rows @ self._columns
        limits = np.finfo(np.float64)
        share = 4 * (rows.shape[1] + 8) * limits.eps
        sizes = np.square(rows).sum(axis=1) + 2 * self._halves.max()
        last = self._count - 1
        farthest = np.partition(ranks, last, axis=1)[:, last]
        within = farthest + 2 * (share * sizes + limits.tiny)
        yield from map(np.flatnonzero, ranks <= within[:, None])

    def _vote(self, row: Floats, candidates: npt.NDArray[np.intp]) -> Floats:
        """Return the outputs of one row."""
        squares = np.square(self._rows[candidates] - row).sum(axis=1)
        nearest = np.argsort(squares, kind="stable")[: self._count]
        chosen = candidates[nearest]
        weights = self._weights[chosen]
        if self._by_distance:
            weights = weights * _closeness(np.sqrt(squares[nearest]))
        voted: Floats = (weights[:, None] * self._outputs[chosen]).sum(axis=0) / weights.sum()
        return voted


def _closeness(distances: Floats) -> Floats:
    """Return 1 / distance of rising distances; where some are 0, these alone count."""
    if distances[0] == 0:
        return np.where(distances == 0, 1.0, 0.0)
    return 1.0 / distances


def _bounded(columns: Floats) -> Floats:
    return np.clip(columns, -LARGEST, LARGEST)


def _read(content: bytes, columns: int) -> Floats:
    stored = read_array(io.BytesIO(content))
    if stored.ndim != 2 or not len(stored) or stored.shape[1] < columns + 2:
        raise ModelError(f"an array of shape {stored.shape} holds no rows of {columns} columns")
    if not np.isfinite(stored).all() or not (stored[:, -1] > 0).all():
        raise ModelError("it holds numbers that are not finite, or weights that are not positive")
    return stored
