"""KNeighbors: the nearest training rows vote. The packed model holds these rows, encoded."""

from __future__ import annotations

import io

import numpy as np

from modelyard_runtimes.model.format import Votes
from modelyard_runtimes.model.neighbors import Neighbors
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.encoding import EncodingOptions
from modelyard_runtimes.train.learners.base import FitRequest, Fitted, Learner, Packed, Parameters
from modelyard_runtimes.train.task import Goal, Rows

MOST_ROWS = 10_000
"""More are not kept, which bounds the size of the model and the time of a prediction."""


class KNeighbors(Learner):
    """Euclidean distance between standardised numbers and 0/1 columns of the categories."""

    def encoding(self, parameters: Parameters) -> EncodingOptions:
        """Return everything imputed and scaled."""
        del parameters
        return EncodingOptions(
            missing="Impute", scaling="Standard", categories="OneHot", min_count=5
        )

    def fit(self, request: FitRequest) -> Fitted:
        """Keep the rows, or a sample of `MOST_ROWS`; the weight of a row is that of its vote."""
        goal, parameters = request.goal, request.parameters
        kept = request.rows.take(sample(request.rows.target, goal, request.seed))
        stored = np.column_stack([kept.columns, _outputs(kept.target, goal), kept.weights])
        votes = Votes.model_validate(
            {"neighbors": int(parameters["neighbors"]), "weighting": parameters["weighting"]}
        )
        return FittedNeighbors(stored, kept.columns.shape[1], votes)


class FittedNeighbors(Fitted):
    """Rows that vote."""

    def __init__(self, stored: Floats, columns: int, votes: Votes) -> None:
        """Keep the rows.

        Args:
            stored: A line for each: its columns, its outputs and its weight.
            columns: How many of these are columns.
            votes: How many vote, and how much each vote counts.
        """
        stream = io.BytesIO()
        np.save(stream, np.ascontiguousarray(stored, dtype=np.float64))
        self._content = stream.getvalue()
        self._votes = votes
        self._neighbors = Neighbors(self._content, columns, votes)

    def predict(self, columns: Floats) -> Floats:
        """Return probabilities or values."""
        return self._neighbors.predict(columns)

    def pack(self) -> Packed:
        """Return the rows as .npy, and how they vote."""
        return Packed("Neighbors", self._content, votes=self._votes)


def sample(target: Floats, goal: Goal, seed: int) -> Rows:
    """Return the positions of the rows to keep, ascending: all, or `MOST_ROWS` drawn by the seed.

    Each class keeps its share, and at least one row as long as there are not more classes than rows
    to keep.
    """
    if len(target) <= MOST_ROWS:
        return np.arange(len(target))
    drawn = np.random.default_rng(seed).permutation(len(target))
    classes = target[drawn].astype(np.intp) if goal.classes else np.zeros(len(target), np.intp)
    by_class = np.argsort(classes, kind="stable")
    counts = np.bincount(classes)
    before = np.cumsum(counts) - counts
    own = classes[by_class]
    # How much of its class stands before a row: the first of each class has 0.
    parts = (np.arange(len(target)) - before[own]) / counts[own]
    return np.sort(drawn[by_class[np.argsort(parts, kind="stable")[:MOST_ROWS]]])


def _outputs(target: Floats, goal: Goal) -> Floats:
    """Return rows x outputs: whether it is the positive class or each class, or the value."""
    if goal.outputs == 1:
        return target[:, None]
    return np.eye(goal.outputs)[target.astype(np.intp)]
