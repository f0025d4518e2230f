"""Greedy selection of an ensemble on out-of-fold predictions.

Caruana et al., "Ensemble Selection from Libraries of Models", ICML 2004: members are added one by
one, with repetition, each the one that makes the mean best; their counts are the weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.metrics import score, sign
from modelyard_runtimes.train.task import SearchData

STEPS = 25
MIN_GAIN = 1e-9
"""A longer selection must be better by more than this, so that rounding decides nothing."""


def select(
    data: SearchData, outputs: Sequence[Floats], max_models: int, left_out: int | None = None
) -> dict[int, float]:
    """Return weights by position in `outputs`; they sum to 1.

    Args:
        data: Target, folds and metric.
        outputs: Out-of-fold predictions of the candidates, best candidate first.
        max_models: Most different members.
        left_out: A fold that the selection must not see; none when unset.
    """
    folds = [fold for fold in range(data.fold_count) if fold != left_out]
    parts = [_part(data, outputs, fold) for fold in folds]
    sums: list[Floats] = [np.zeros_like(part.outputs[0]) for part in parts]
    chosen: list[int] = []
    values: list[float] = []
    for step in range(1, STEPS + 1):
        members = set(chosen)
        allowed = members if len(members) == max_models else range(len(outputs))
        found = {place: _value(data, parts, sums, place, step) for place in sorted(allowed)}
        winner = max(found, key=lambda place: (found[place], -place))
        chosen.append(winner)
        values.append(found[winner])
        sums = [total + part.outputs[winner] for total, part in zip(sums, parts, strict=True)]
    length = next(n for n, value in enumerate(values, 1) if value >= max(values) - MIN_GAIN)
    counts = Counter(chosen[:length])
    return {place: counts[place] / length for place in sorted(counts)}


@dataclass(frozen=True)
class _Part:
    """One fold: its target and the candidates' predictions."""

    target: Floats
    outputs: list[Floats]


def _part(data: SearchData, outputs: Sequence[Floats], fold: int) -> _Part:
    rows = data.folds == fold
    return _Part(np.asarray(data.target[rows]), [output[rows] for output in outputs])


def _value(
    data: SearchData, parts: Sequence[_Part], sums: Sequence[Floats], place: int, step: int
) -> float:
    """Return how good the mean is with one more candidate; more is better."""
    metric = data.goal.metric
    scores = [
        score(metric, part.target, (total + part.outputs[place]) / step)
        for total, part in zip(sums, parts, strict=True)
    ]
    return sign(metric) * float(np.mean(scores))
