"""A candidate against unequal treatment, measured and offered; it is never served by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.evidence.fairness import (
    Groups,
    Judged,
    by_group,
    odds_spread,
    rates,
    spread,
)
from modelyard_runtimes.train.metrics import predicted_classes

NAME = "GroupThresholds"


def group_thresholds(
    search: Judged, search_groups: Groups, holdout: Judged, holdout_groups: Groups
) -> list[dict[str, Any]]:
    """Return for each sensitive column a threshold by group, and what they would change.

    With them every group has, out of fold, the rate of positive predictions that all rows have
    now (Hardt et al., "Equality of Opportunity in Supervised Learning", 2016, for parity).

    Args:
        search: The winner's out-of-fold predictions, which the thresholds are found on.
        search_groups: Group of each of these rows by sensitive column.
        holdout: Predictions that they are judged on.
        holdout_groups: Group of each of these rows by sensitive column.
    """
    return [
        _candidate(column, search, np.array(search_groups[column]), holdout, np.array(names))
        for column, names in holdout_groups.items()
    ]


def _candidate(
    column: str, search: Judged, search_groups: Any, holdout: Judged, groups: Any
) -> dict[str, Any]:
    rate = float(np.mean(search.outputs[:, 0] >= search.threshold))
    thresholds = {
        group: _threshold(search.outputs[search_groups == group, 0], rate)
        for group in sorted(set(search_groups.tolist()))
    }
    own = np.array([thresholds.get(group, holdout.threshold) for group in groups.tolist()])
    # Moved so that one threshold for all says what the groups' own ones do.
    moved = replace(holdout, outputs=(holdout.outputs[:, 0] >= own).astype(np.float64)[:, None])
    moved = replace(moved, metric="accuracy", threshold=0.5)
    return {
        "name": NAME,
        "column": column,
        "thresholds": thresholds,
        "before": _effect(replace(holdout, metric="accuracy"), column, groups),
        "after": _effect(moved, column, groups),
    }


def _threshold(probabilities: Floats, rate: float) -> float:
    """Return from where on this share of the rows lies, as nearly as equal ones allow."""
    values, counts = np.unique(probabilities, return_counts=True)
    # From the threshold before each value on there are so many rows; none from beyond the last.
    above = np.append(np.cumsum(counts[::-1])[::-1], 0)
    place = int(np.argmin(np.abs(above - rate * len(probabilities))))
    if place == 0:
        return float(values[0])
    if place == len(values):
        return float(np.nextafter(values[-1], 2.0))
    return float((values[place - 1] + values[place]) / 2)


def _effect(judged: Judged, column: str, groups: Any) -> dict[str, float | None]:
    found = by_group(judged, {column: groups.tolist()})[column]
    chosen = predicted_classes(judged.outputs, judged.threshold)
    return {
        "demographic_parity_difference": spread(found, "selection_rate"),
        "equalized_odds_difference": odds_spread(found),
        "accuracy": float(np.mean(chosen == judged.target)),
        "selection_rate": rates(judged.target, chosen)["selection_rate"],
    }
