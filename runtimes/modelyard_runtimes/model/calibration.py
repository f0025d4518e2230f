"""Turns predicted probabilities into calibrated ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelyard_runtimes.model.format import LEAST, CalibrationCurve
from modelyard_runtimes.model.members import logistic
from modelyard_runtimes.model.schema import Floats


def calibrated(curves: Sequence[CalibrationCurve], outputs: Floats) -> Floats:
    """Return what outputs become, rows x outputs; themselves without curves.

    Args:
        curves: One for each output, or none.
        outputs: The positive class's probability, or that of each of three and more classes.
    """
    if not curves:
        return outputs
    found = np.column_stack(
        [_through(curve, outputs[:, position]) for position, curve in enumerate(curves)]
    )
    if len(curves) == 1:
        return found
    total = found.sum(axis=1, keepdims=True)
    # Curves that all say 0 say nothing: such a row keeps its probabilities.
    scaled: Floats = np.where(total > 0, found / np.where(total > 0, total, 1.0), outputs)
    return scaled


def logits(probabilities: Floats) -> Floats:
    """Return the logarithm of the odds, finite for 0 and 1 too."""
    inside = np.clip(probabilities, LEAST, 1.0 - LEAST)
    odds: Floats = np.log(inside) - np.log1p(-inside)
    return odds


def _through(curve: CalibrationCurve, probabilities: Floats) -> Floats:
    if curve.slope is None:
        return np.asarray(np.interp(probabilities, curve.inputs, curve.values), dtype=np.float64)
    return logistic(curve.slope * logits(probabilities) + curve.intercept)
