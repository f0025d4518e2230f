"""How many rows of a class the split needs, and which classes have too few of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from modelyard.api.experiment import ExperimentSpec, Validation

from modelyard_runtimes.model.format import Label, category_text
from modelyard_runtimes.train.copies import originals
from modelyard_runtimes.train.metrics import metric_of, needs_every_class
from modelyard_runtimes.train.snapshot import Snapshot
from modelyard_runtimes.train.task import Rows

ALWAYS_FITTED = 2
"""Rows of a class of which one at least is fitted on, whichever fold is left out."""

MAX_TOLD = 10


def least_rows(spec: ExperimentSpec, classes: int) -> int:
    """Return how many rows of each of so many classes the search must have."""
    by_time = spec.validation.time_column is not None
    if by_time or needs_every_class(metric_of(spec.task, classes), classes):
        return spec.validation.folds
    return ALWAYS_FITTED


def suffices(count: int, validation: Validation, least: int) -> bool:
    """Return whether so many rows of a class leave the search as many as it must have."""
    # One row of leeway: the split rounds the share of each class.
    return count - max(1, math.ceil(count * validation.holdout)) >= least


def rare_classes(
    snapshot: Snapshot, rows: Rows, labels: Sequence[Label], spec: ExperimentSpec
) -> dict[Label, int]:
    """Return the classes with too few rows, the rarest first, and how many rows each has.

    Equal rows count once, as they do in the split.

    Args:
        snapshot: The rows.
        rows: Positions of those that have a target.
        labels: Their classes.
        spec: How they are split, and by which metric they are judged.
    """
    by_time = spec.validation.time_column is not None
    different = range(len(rows)) if by_time else np.unique(originals(snapshot, spec, rows))
    counts = Counter(labels[row] for row in different)
    kept = set(counts)
    # Of two classes the usual metric is another than of three, and needs more rows of each.
    while few := {one for one in kept if not _has_enough(counts[one], spec, len(kept))}:
        kept -= few
    rare = sorted(counts.keys() - kept, key=lambda label: (counts[label], category_text(label)))
    total = Counter(labels)
    return {label: total[label] for label in rare}


def _has_enough(count: int, spec: ExperimentSpec, classes: int) -> bool:
    return suffices(count, spec.validation, least_rows(spec, classes))


def told(rare: Mapping[Label, int]) -> str:
    """Name rare classes with the rows that each has, and count those that are not named."""
    named = [f"{category_text(label)!r} ({count})" for label, count in rare.items()]
    more = f" and {len(named) - MAX_TOLD} more" if len(named) > MAX_TOLD else ""
    return ", ".join(named[:MAX_TOLD]) + more
