"""Differences between the groups of declared sensitive columns, on the holdout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from modelyard.api.modelversion import GroupDifference

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.metrics import predicted_classes, score
from modelyard_runtimes.train.problem import Holdout


@dataclass(frozen=True)
class Fairness:
    """What was found.

    Attributes:
        differences: The largest difference of each measure by sensitive column.
        groups: Rows and value of the measure by column and group; None where it is undefined.
    """

    differences: list[GroupDifference]
    groups: dict[str, list[dict[str, Any]]]


def fairness(holdout: Holdout, outputs: Floats, metric: str, classes: int) -> Fairness:
    """Return the differences.

    Args:
        holdout: The rows with their groups.
        outputs: Predictions, rows x outputs.
        metric: The task's metric; regression compares the mean error instead.
        classes: Number of classes; 0 for regression.
    """
    differences: list[GroupDifference] = []
    details: dict[str, list[dict[str, Any]]] = {}
    for column, groups in holdout.groups.items():
        found = _by_group(holdout.target, outputs, np.array(groups), metric, classes)
        details[column] = found
        values = [entry["value"] for entry in found if entry["value"] is not None]
        rates = _rates(holdout.target, outputs, groups) if classes == 2 else {}
        differences.append(
            GroupDifference(
                column=column,
                metric_difference=max(values) - min(values) if len(values) > 1 else None,
                **rates,
            )
        )
    return Fairness(differences, details)


def _rates(target: Floats, outputs: Floats, groups: list[str]) -> dict[str, float]:
    # Loading fairlearn takes seconds, which only experiments with sensitive columns pay.
    from fairlearn.metrics import (  # type: ignore[import-untyped]  # noqa: PLC0415
        demographic_parity_difference,
        equalized_odds_difference,
    )

    truth, chosen = target.astype(np.intp), predicted_classes(outputs)
    return {
        "demographic_parity_difference": float(
            demographic_parity_difference(truth, chosen, sensitive_features=groups)
        ),
        "equalized_odds_difference": float(
            equalized_odds_difference(truth, chosen, sensitive_features=groups)
        ),
    }


def _by_group(
    target: Floats, outputs: Floats, groups: Any, metric: str, classes: int
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for group in sorted(set(groups.tolist())):
        rows = groups == group
        value: float | None
        if classes == 0:
            value = float(np.mean(outputs[rows, 0] - target[rows]))
        elif len(np.unique(target[rows])) < classes:
            # A group that lacks a class has no rank metrics, and its others are not comparable.
            value = None
        else:
            value = score(metric, target[rows], outputs[rows])
        found.append({"group": group, "rows": int(rows.sum()), "value": value})
    return found
