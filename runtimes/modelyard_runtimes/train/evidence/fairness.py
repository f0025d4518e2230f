"""Differences between the groups of declared sensitive columns, on the holdout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from modelyard.api.experiment import CLASSIFICATION_METRICS, FairnessLimits
from modelyard.api.modelversion import GroupDifference

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.metrics import predicted_classes, score, sign
from modelyard_runtimes.train.task import Rows

DEFAULT_LIMITS = FairnessLimits(demographic_parity=0.1, equalized_odds=0.1)

Groups = Mapping[str, Sequence[str]]
"""Group of each row by column."""


@dataclass(frozen=True)
class Judged:
    """Predictions that are compared between groups.

    Attributes:
        target: Position of the class, or the value, of each row.
        outputs: Predictions, rows x outputs.
        metric: The task's metric; regression compares the mean error instead.
        classes: Number of classes; 0 for regression.
        threshold: Two classes: positive from this probability on.
    """

    target: Floats
    outputs: Floats
    metric: str
    classes: int
    threshold: float = 0.5


@dataclass(frozen=True)
class Fairness:
    """What was found.

    Attributes:
        differences: The largest difference of each measure by sensitive column.
        groups: What was measured by column and group: `rows`, `value` of the metric, and for two
            classes `selection_rate`, `true_positive_rate` and `false_positive_rate`; None where
            one is undefined.
    """

    differences: list[GroupDifference]
    groups: dict[str, list[dict[str, Any]]]


def fairness(judged: Judged, groups: Groups, limits: FairnessLimits | None = None) -> Fairness:
    """Return the differences.

    Args:
        judged: The predictions.
        groups: Group of each row by sensitive column.
        limits: Largest differences that are tolerated; the default ones when None.
    """
    measured = by_group(judged, groups)
    limits = limits or DEFAULT_LIMITS
    differences = [_difference(column, found, limits) for column, found in measured.items()]
    return Fairness(differences, measured)


def by_group(judged: Judged, groups: Groups) -> dict[str, list[dict[str, Any]]]:
    """Return what is measured for each group, by column."""
    return {column: _measured(judged, np.array(names)) for column, names in groups.items()}


def worst_first(found: Sequence[Mapping[str, Any]], metric: str) -> list[Mapping[str, Any]]:
    """Return groups in the order of their value, those without one last.

    Args:
        found: What was measured of each group.
        metric: What `value` is: a metric, or the mean error, which is worse the farther off 0.
    """
    direction = sign(metric) if metric in CLASSIFICATION_METRICS else 0

    def goodness(entry: Mapping[str, Any]) -> float:
        value = float(entry["value"])
        return direction * value if direction else -abs(value)

    known = [entry for entry in found if entry["value"] is not None]
    unknown = [entry for entry in found if entry["value"] is None]
    return [*sorted(known, key=goodness), *unknown]


def rates(target: Floats, chosen: Rows) -> dict[str, float | None]:
    """Return how many rows of two classes are chosen, of all, of the positive, of the negative."""
    return {
        "selection_rate": _mean(chosen),
        "true_positive_rate": _mean(chosen[target == 1]),
        "false_positive_rate": _mean(chosen[target == 0]),
    }


def spread(found: Sequence[Mapping[str, Any]], measure: str) -> float | None:
    """Return the largest difference of a measure between groups that have it."""
    values = [entry[measure] for entry in found if entry.get(measure) is not None]
    return max(values) - min(values) if len(values) > 1 else None


def odds_spread(found: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the larger difference of true and of false positive rates (Hardt et al., 2016)."""
    both = [spread(found, "true_positive_rate"), spread(found, "false_positive_rate")]
    return max((value for value in both if value is not None), default=None)


def _difference(
    column: str, found: Sequence[Mapping[str, Any]], limits: FairnessLimits
) -> GroupDifference:
    measured = {
        "demographicParity": (spread(found, "selection_rate"), limits.demographic_parity),
        "equalizedOdds": (odds_spread(found), limits.equalized_odds),
        "metric": (spread(found, "value"), limits.metric),
    }
    return GroupDifference(
        column=column,
        demographic_parity_difference=measured["demographicParity"][0],
        equalized_odds_difference=measured["equalizedOdds"][0],
        metric_difference=measured["metric"][0],
        exceeded=[
            name
            for name, (value, limit) in measured.items()
            if value is not None and limit is not None and value > limit
        ],
    )


def _measured(judged: Judged, groups: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for group in sorted(set(groups.tolist())):
        rows = groups == group
        target, outputs = judged.target[rows], judged.outputs[rows]
        value: float | None
        if judged.classes == 0:
            value = float(np.mean(outputs[:, 0] - target))
        elif judged.metric != "log_loss" and len(np.unique(target)) < judged.classes:
            # A group that lacks a class has no rank metrics, and its others are not comparable.
            # The log loss is a mean over rows, whichever classes they have.
            value = None
        else:
            value = score(judged.metric, target, outputs, judged.threshold)
        entry = {"group": group, "rows": int(rows.sum()), "value": value}
        if judged.classes == 2:
            entry |= rates(target, predicted_classes(outputs, judged.threshold))
        found.append(entry)
    return found


def _mean(chosen: Rows) -> float | None:
    return float(np.mean(chosen)) if len(chosen) else None
