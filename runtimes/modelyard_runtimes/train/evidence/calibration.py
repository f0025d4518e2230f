"""Calibration: whether predicted probabilities come true."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelyard_runtimes.model.schema import Floats

BINS = 10


def calibration(target: Floats, outputs: Floats) -> dict[str, Any]:
    """Return the calibration curve and its expected calibration error.

    Two classes: the probability of the positive one against how often it is. More: the probability
    of the most probable class against how often it is right. Ten bins of equal width; the error is
    the mean distance of both, weighted by the bins' rows (Naeini et al., "Obtaining Well Calibrated
    Probabilities Using Bayesian Binning", 2015; Guo et al., 2017).

    Args:
        target: Position of the class of each row.
        outputs: Predictions, rows x outputs.
    """
    if outputs.shape[1] == 1:
        confidence, hit = outputs[:, 0], target == 1
    else:
        confidence, hit = outputs.max(axis=1), target == np.argmax(outputs, axis=1)
    places = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
    curve = []
    error = 0.0
    for place in range(BINS):
        inside = places == place
        count = int(inside.sum())
        if count:
            predicted, observed = float(confidence[inside].mean()), float(hit[inside].mean())
            error += count / len(target) * abs(predicted - observed)
            curve.append(
                {
                    "from": place / BINS,
                    "to": (place + 1) / BINS,
                    "rows": count,
                    "predicted": predicted,
                    "observed": observed,
                }
            )
    return {"curve": curve, "expected_calibration_error": error}
