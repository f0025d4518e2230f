"""How sure a metric is: confidence intervals of 95 %."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from modelyard.api.experiment import Interval
from scipy import stats  # type: ignore[import-untyped]

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.metrics import ROW_METRICS, score
from modelyard_runtimes.train.task import derived_seed

LEVEL = 0.95
MIN_RESAMPLES, MAX_RESAMPLES = 50, 200
MAX_ROWS = 4_000_000
"""Rows of all resamples; within the bounds above it decides how many there are."""

_SEED = 6


def resamples(rows: int) -> int:
    """Return how many resamples of so many rows are drawn."""
    return min(max(MAX_ROWS // rows, MIN_RESAMPLES), MAX_RESAMPLES)


def interval_of_folds(values: Sequence[float]) -> Interval:
    """Return where the mean over folds lies, by Student's t.

    Folds share most of their training rows, so that it is a little too narrow (Bengio and
    Grandvalet, "No Unbiased Estimator of the Variance of K-Fold Cross-Validation", 2004).
    """
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    radius = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * deviation / len(values) ** 0.5
    return Interval(low=mean - radius, high=mean + radius)


def interval_of_rows(
    metric: str, target: Floats, outputs: Floats, threshold: float, seed: int
) -> Interval | None:
    """Return where a metric of the holdout lies, by the bootstrap (Efron, 1979).

    Resamples that lack a class do not count where the metric means nothing, or another thing, for
    them: scikit-learn answers 0 for the precision of a class without rows.

    Args:
        metric: The metric.
        target: Position of the class, or the value, of each row.
        outputs: Predictions, rows x outputs.
        threshold: Two classes: positive from this probability on.
        seed: Seed of the run.

    Returns:
        The interval; None where too few resamples can be judged.
    """
    generator = np.random.default_rng(derived_seed(seed, _SEED))
    values: list[float] = []
    needed = 0 if metric in ROW_METRICS else len(np.unique(target))
    for _ in range(resamples(len(target))):
        rows = generator.integers(0, len(target), len(target))
        if needed and len(np.unique(target[rows])) < needed:
            continue
        try:
            values.append(score(metric, target[rows], outputs[rows], threshold))
        except ValueError:
            continue
    if len(values) < MIN_RESAMPLES:
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(low=float(low), high=float(high))
