"""Calibration: whether predicted probabilities come true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.confidence import resamples
from modelyard_runtimes.train.task import derived_seed

BINS = 10
TOLERATED = 0.05
"""An error up to this does no harm, however sure it is."""

_SEED = 7


@dataclass(frozen=True)
class Calibration:
    """How well probabilities come true.

    Attributes:
        curve: By bin: `from`, `to`, `rows`, and the mean `predicted` and `observed` frequency.
        error: Expected calibration error: the mean distance of both, weighted by rows.
        by_chance: What the error of a calibrated model stays within 95 times of 100 on as many
            rows with these predictions.
    """

    curve: list[dict[str, Any]]
    error: float
    by_chance: float

    @property
    def is_off(self) -> bool:
        """Whether the probabilities are miscalibrated, beyond chance and harm."""
        return self.error > max(TOLERATED, self.by_chance)


def calibration(target: Floats, outputs: Floats, seed: int) -> Calibration:
    """Return the calibration of predictions.

    Two classes: the probability of the positive one against how often it is. More: the probability
    of the most probable class against how often it is right. Ten bins of equal width (Naeini et
    al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015; Guo et al., 2017).
    What chance makes of a calibrated model is found by drawing the truth from the predictions
    (Broecker and Smith, "Increasing the Reliability of Reliability Diagrams", 2007).

    Args:
        target: Position of the class of each row.
        outputs: Predictions, rows x outputs.
        seed: Seed of the run.
    """
    binned = _binned(target, outputs)
    rows = np.bincount(binned.places, minlength=BINS)
    predicted, observed = binned.predicted, binned.observed
    curve = [
        {
            "from": place / BINS,
            "to": (place + 1) / BINS,
            "rows": int(rows[place]),
            "predicted": float(predicted[place] / rows[place]),
            "observed": float(observed[place] / rows[place]),
        }
        for place in np.flatnonzero(rows).tolist()
    ]
    return Calibration(curve, binned.error, _by_chance(binned, seed))


def calibration_error(target: Floats, outputs: Floats) -> float:
    """Return the expected calibration error."""
    return _binned(target, outputs).error


class _Binned(NamedTuple):
    """Predictions in bins.

    Attributes:
        confidence: Probability of each row that is compared.
        places: Bin of each row.
        predicted: Sum of the probabilities of each bin.
        observed: How many rows of each bin came true.
    """

    confidence: Floats
    places: npt.NDArray[np.intp]
    predicted: Floats
    observed: npt.NDArray[Any]

    @property
    def error(self) -> float:
        """The expected calibration error."""
        return float(np.abs(self.predicted - self.observed).sum() / len(self.places))


def _binned(target: Floats, outputs: Floats) -> _Binned:
    if outputs.shape[1] == 1:
        confidence, hit = outputs[:, 0], target == 1
    else:
        confidence, hit = outputs.max(axis=1), target == np.argmax(outputs, axis=1)
    places = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
    predicted: Floats = np.bincount(places, confidence, BINS).astype(np.float64)
    return _Binned(confidence, places, predicted, np.bincount(places, hit, BINS))


def _by_chance(binned: _Binned, seed: int) -> float:
    generator = np.random.default_rng(derived_seed(seed, _SEED))
    rows, errors = len(binned.places), []
    for _ in range(resamples(rows)):
        drawn = generator.random(rows) < binned.confidence
        observed = np.bincount(binned.places, drawn, BINS)
        errors.append(binned._replace(observed=observed).error)
    return float(np.quantile(errors, 0.95))
