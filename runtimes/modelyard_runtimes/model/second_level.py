"""Combines the outputs of members: by their weighted mean, or at a second level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelyard_runtimes.model.format import LEAST_STACKED, SecondLevel
from modelyard_runtimes.model.members import probabilities
from modelyard_runtimes.model.schema import Floats


def combined(
    second_level: SecondLevel | None, weights: Sequence[float], outputs: Sequence[Floats]
) -> Floats:
    """Return what an ensemble predicts, rows x outputs.

    Args:
        second_level: How members are combined; None for their weighted mean.
        weights: Weight of each member.
        outputs: What each member predicts.
    """
    if second_level is None:
        return _weighted_sum(weights, outputs)
    scaled = [on_scale(second_level, output) for output in outputs]
    return off_scale(second_level, _weighted_sum(weights, scaled) + second_level.intercepts)


def on_scale(second_level: SecondLevel, outputs: Floats) -> Floats:
    """Return what a member predicts on the scale on which members add up."""
    if second_level.scale == "Identity":
        return outputs
    logarithms: Floats = np.log(np.maximum(outputs, LEAST_STACKED))
    if outputs.shape[1] > 1:
        return logarithms
    return logarithms - np.log(np.maximum(1.0 - outputs, LEAST_STACKED))


def off_scale(second_level: SecondLevel, combined: Floats) -> Floats:
    """Return the probabilities or values of what members add up to."""
    return combined if second_level.scale == "Identity" else probabilities(combined)


def _weighted_sum(weights: Sequence[float], outputs: Sequence[Floats]) -> Floats:
    total: Floats = np.zeros_like(outputs[0])
    for weight, output in zip(weights, outputs, strict=True):
        total = total + weight * output
    return total
