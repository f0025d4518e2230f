"""Whether conformal intervals, or sets of classes, hold what they promise on the holdout."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelyard_runtimes.model import Model
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.evidence.facts import Facts


def told(facts: Facts) -> str:
    """Return in a sentence what intervals, or sets of classes, hold; empty where none is told."""
    found = facts.conformal
    if found is None:
        return ""
    what, size = "intervals", f"an interval is {found['mean_size']:.4g} wide"
    if facts.document.classes:
        what, size = "sets", f"a set holds {found['mean_size']:.4g} classes"
    return (
        f"{found['coverage']:.4g} of the holdout lies inside the conformal {what}, "
        f"{found['declared_coverage']:g} was declared; {size} on average."
    )


def intervals(model: Model, target: Floats, predicted: Floats) -> dict[str, Any] | None:
    """Return how many rows lie inside; None where no intervals were declared.

    Args:
        model: The packed model.
        target: Position of the class, or the value, of each row of the holdout.
        predicted: What the model predicts for them.
    """
    conformal = model.document.conformal
    if conformal is None:
        return None
    if model.document.task == "Regression":
        lower, upper = model.interval(predicted)
        inside = (lower <= target) & (target <= upper)
        size = float(np.mean(upper - lower))
    else:
        sets = model.are_plausible(predicted)
        inside = sets[np.arange(len(sets)), target.astype(np.intp)]
        size = float(np.mean(sets.sum(axis=1)))
    return {
        "declared_coverage": conformal.coverage,
        "coverage": float(np.mean(inside)),
        "mean_size": size,
        "radius": conformal.radius,
    }
