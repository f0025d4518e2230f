"""Successive halving over folds: which mean a trial must reach at each rung to go on.

As in ASHA (Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020), one of
`reduction_factor` trials goes on at each rung. Unlike there the limits are known when a trial
starts, from the results it may see, so that the order in which trials finish changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelyard_runtimes.train.metrics import sign
from modelyard_runtimes.train.trial import TrialResult

MIN_SEEN = 4
"""Results that a rung needs before it stops anything."""


def rungs(folds: int, reduction_factor: int) -> list[int]:
    """Return after how many folds trials are compared: 1, the factor, its square, below `folds`."""
    found, rung = [], 1
    while rung < folds:
        found.append(rung)
        rung *= reduction_factor
    return found


def limits(
    seen: Sequence[TrialResult], folds: int, reduction_factor: int, metric: str
) -> tuple[float | None, ...]:
    """Return for each fold the mean that a trial must reach after it, None for any.

    Args:
        seen: Results of the trials that this one may see.
        folds: Number of folds.
        reduction_factor: One of this many trials goes on.
        metric: What is compared.
    """
    found: list[float | None] = [None] * folds
    for rung in rungs(folds, reduction_factor):
        values = sorted(
            (float(np.mean(result.folds[:rung])) for result in seen if len(result.folds) >= rung),
            key=lambda value: -sign(metric) * value,
        )
        promoted = (len(values) + 1) // reduction_factor
        if len(values) >= MIN_SEEN and promoted >= 1:
            found[rung - 1] = values[promoted - 1]
    return tuple(found)
