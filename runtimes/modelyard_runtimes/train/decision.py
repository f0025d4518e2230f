"""What predictions become once the winner is fixed, decided on its out-of-fold predictions only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from modelyard.api.experiment import ErrorCosts, Evaluation
from sklearn.isotonic import IsotonicRegression  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

from modelyard_runtimes.model.calibration import calibrated, logits
from modelyard_runtimes.model.format import CalibrationCurve, ConformalDocument
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.metrics import THRESHOLD
from modelyard_runtimes.train.task import SearchData

_LEAST_SLOPE = 1e-6
_ROUNDING = 1e-12
"""What differences of floats may be off by, relative to them; far more than they are."""


@dataclass(frozen=True)
class Decision:
    """What is packed with the members.

    Attributes:
        calibration: A curve for each output; none when predictions stay as they are.
        threshold: Two classes: positive from this probability on.
        conformal: How sure a prediction is; None when that was not asked for.
    """

    calibration: Sequence[CalibrationCurve] = ()
    threshold: float = THRESHOLD
    conformal: ConformalDocument | None = None


def decide(evaluation: Evaluation | None, data: SearchData, outputs: Floats) -> Decision:
    """Return what is decided.

    Args:
        evaluation: What was declared.
        data: The rows of the search.
        outputs: The winner's out-of-fold predictions, rows x outputs.
    """
    if evaluation is None:
        return Decision()
    target = np.asarray(data.target)
    curves = _curves(evaluation.calibration, target, outputs)
    outputs = calibrated(curves, outputs)
    declared = evaluation.threshold
    threshold = declared.value if declared and declared.value is not None else THRESHOLD
    if declared and declared.costs:
        threshold = cheapest_threshold(target, outputs[:, 0], declared.costs)
    conformal = None
    if evaluation.intervals is not None:
        conformal = ConformalDocument(
            coverage=evaluation.intervals.coverage,
            radius=_radius(_strangeness(target, outputs, data), evaluation.intervals.coverage),
        )
    return Decision(curves, threshold, conformal)


def error_cost(target: Floats, probabilities: Floats, threshold: float, costs: ErrorCosts) -> float:
    """Return the mean cost of a row when rows are positive from a threshold on."""
    chosen = probabilities >= threshold
    wrong = np.mean(chosen & (target == 0)), np.mean(~chosen & (target == 1))
    return float(costs.false_positive * wrong[0] + costs.false_negative * wrong[1])


def cheapest_threshold(target: Floats, probabilities: Floats, costs: ErrorCosts) -> float:
    """Return the threshold with the least cost.

    It lies halfway between two predicted probabilities. Of equals the one nearest to what is the
    cheapest for calibrated probabilities (Elkan, "The Foundations of Cost-Sensitive Learning",
    2001).
    """
    order = np.argsort(probabilities, kind="stable")
    values, positive = probabilities[order], target[order] == 1
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1], [True]]))
    missed = np.concatenate([[0], np.cumsum(positive)])[starts]
    alarms = np.concatenate([[0], np.cumsum(~positive)])
    cost = costs.false_negative * missed + costs.false_positive * (alarms[-1] - alarms[starts])
    # The last lies beyond 1, so that a row of probability 1 can be negative too.
    edges = np.concatenate([[0.0], np.unique(values), [1.0 + 1e-9]])
    thresholds = (edges[1:] + edges[:-1]) / 2
    ideal = costs.false_positive / (costs.false_positive + costs.false_negative)
    cheapest = np.flatnonzero(cost == cost.min())
    return float(thresholds[cheapest[np.argmin(np.abs(thresholds[cheapest] - ideal))]])


def _curves(method: str, target: Floats, outputs: Floats) -> list[CalibrationCurve]:
    if method == "None":
        return []
    fit = _platt if method == "Platt" else _isotonic
    if outputs.shape[1] == 1:
        return [fit(outputs[:, 0], target == 1)]
    return [fit(outputs[:, place], target == place) for place in range(outputs.shape[1])]


def _platt(probabilities: Floats, hits: Floats) -> CalibrationCurve:
    """Fit a logistic curve to the log-odds (Platt, "Probabilistic Outputs for SVMs", 1999)."""
    model = LogisticRegression(C=1e6, tol=1e-8, max_iter=1000)
    model.fit(logits(probabilities)[:, None], hits)
    slope = float(model.coef_[0, 0])
    if slope > _LEAST_SLOPE:
        return CalibrationCurve(slope=slope, intercept=float(model.intercept_[0]))
    # A falling curve would turn the ranking round: these probabilities tell no more than the share.
    share = logits(np.array([hits.mean()]))
    return CalibrationCurve(slope=_LEAST_SLOPE, intercept=float(share[0]))


def _isotonic(probabilities: Floats, hits: Floats) -> CalibrationCurve:
    """Fit a rising curve (Zadrozny and Elkan, "Transforming Classifier Scores", 2002)."""
    # No finite number of rows proves that something never happens.
    rarest = 1.0 / (len(hits) + 2)
    model = IsotonicRegression(y_min=rarest, y_max=1.0 - rarest, out_of_bounds="clip")
    model.fit(probabilities, hits)
    return CalibrationCurve(
        inputs=model.X_thresholds_.tolist(), values=model.y_thresholds_.tolist()
    )


def _strangeness(target: Floats, outputs: Floats, data: SearchData) -> Floats:
    """Return how badly the truth of each row fits its prediction.

    Rounded up: the row that decides the radius, and all that tie with it, have to lie inside, and
    `1 - (1 - p)` may be more than `p`.
    """
    if data.goal.classes == 0:
        largest = np.maximum(np.abs(target), np.abs(outputs[:, 0]))
        return np.asarray(np.abs(target - outputs[:, 0]) + _ROUNDING * largest)
    if data.goal.classes == 2:
        true = np.where(target == 1, outputs[:, 0], 1 - outputs[:, 0])
    else:
        true = outputs[np.arange(len(target)), target.astype(np.intp)]
    return np.asarray(1 - true + _ROUNDING)


def _radius(strangeness: Floats, coverage: float) -> float:
    """Return what the strangeness of a new row stays within (Vovk et al., 2005)."""
    count = len(strangeness)
    place = min(int(np.ceil((count + 1) * coverage)), count)
    return float(np.sort(strangeness)[place - 1])
