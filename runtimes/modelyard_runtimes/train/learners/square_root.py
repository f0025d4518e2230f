"""Fits the square root of a target, and predicts its square.

Of counts and amounts the large ones vary most, and least squares minds little else; roots vary
alike (Bartlett, "The Square Root Transformation in Analysis of Variance", 1936). What is predicted
so lies a little below the mean, by the variance of the roots.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from modelyard_runtimes.model.members import squares
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.encoding import EncodingOptions
from modelyard_runtimes.train.learners.base import (
    Encoded,
    FitRequest,
    Fitted,
    Learner,
    Packed,
    Parameters,
)


class OnSquareRoots(Learner):
    """A family of models on the square roots of a target that is never negative."""

    def __init__(self, inner: Learner) -> None:
        self._inner = inner
        self.iterative = inner.iterative
        self.training = inner.training

    def encoding(self, parameters: Parameters) -> EncodingOptions:
        """Return what the family wants."""
        return self._inner.encoding(parameters)

    def fit(self, request: FitRequest) -> Fitted:
        """Fit one estimator on roots; iterations are the best for these."""
        valid = None if request.valid is None else _rooted(request.valid)
        fitted = self._inner.fit(replace(request, rows=_rooted(request.rows), valid=valid))
        return _Squared(fitted)


class _Squared(Fitted):
    """A fitted estimator of roots."""

    def __init__(self, inner: Fitted) -> None:
        self._inner = inner
        self.losses = inner.losses
        self.parity = 2 * inner.parity  # of a square the relative difference is twice the root's

    def best_iterations(self) -> int:
        """Return those of the estimator of roots."""
        return self._inner.best_iterations()

    def predict(self, columns: Floats) -> Floats:
        """Return values."""
        return squares(self._inner.predict(columns))

    def pack(self) -> Packed:
        """Return what is kept of the estimator of roots."""
        return replace(self._inner.pack(), link="Square")


def _rooted(rows: Encoded) -> Encoded:
    return replace(rows, target=np.sqrt(rows.target))
