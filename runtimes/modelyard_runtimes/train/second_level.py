"""Fits what combines members at a second level (Wolpert, "Stacked Generalization", 1992).

Weights are not negative, which is what makes stacking pay (Breiman, "Stacked Regressions", 1996),
and are drawn towards equal ones, which count as `PRIOR` rows do: members that hardly differ, or few
rows to tell them apart, leave them near a plain mean. Where the target runs against all members,
as it may from one stretch of time to the next, no weight is left, and the plain mean is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import lsq_linear, minimize  # type: ignore[import-untyped]

from modelyard_runtimes.model.format import SecondLevel
from modelyard_runtimes.model.members import probabilities
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.model.second_level import on_scale
from modelyard_runtimes.train.task import Rows, SearchData

PRIOR = 30.0
LEAST_WEIGHT = 0.01
"""Members that weigh less are left out: they cost time and say next to nothing."""


@dataclass(frozen=True)
class FittedSecondLevel:
    """A second level.

    Attributes:
        document: What is packed of it besides the weights.
        weights: Weight of each member; 0 of those that are left out.
    """

    document: SecondLevel
    weights: tuple[float, ...]


def fit_second_level(data: SearchData, outputs: Sequence[Floats], rows: Rows) -> FittedSecondLevel:
    """Return the second level of some members; where none of them helps, their plain mean.

    Args:
        data: Target and weights of rows.
        outputs: Out-of-fold predictions of the members.
        rows: Rows that it is fitted on, and none else.
    """
    target, weights = np.asarray(data.target[rows]), data.weights(rows)
    parts = [output[rows] for output in outputs]
    fitted = _fit(data, parts, target, weights, range(len(parts)))
    kept = [place for place, weight in enumerate(fitted.weights) if weight >= LEAST_WEIGHT]
    if 0 < len(kept) < len(parts):
        fitted = _fit(data, parts, target, weights, kept)
    return fitted if any(fitted.weights) else _plain_mean(fitted)


def _plain_mean(fitted: FittedSecondLevel) -> FittedSecondLevel:
    """Return the mean of all members, on the scale on which they add up."""
    members, document = len(fitted.weights), fitted.document
    nothing = [0.0] * len(document.intercepts)
    return FittedSecondLevel(
        document.model_copy(update={"intercepts": nothing}), (1 / members,) * members
    )


def _fit(
    data: SearchData,
    outputs: Sequence[Floats],
    target: Floats,
    weights: Floats,
    kept: Sequence[int],
) -> FittedSecondLevel:
    """Return the second level of the members that are kept; the others weigh nothing."""
    classes = data.goal.classes > 0
    empty = SecondLevel(scale="Logit" if classes else "Identity", intercepts=[])
    # Rows x members x outputs.
    inputs = np.stack([on_scale(empty, outputs[place]) for place in kept], axis=1)
    found, intercepts = (_logistic if classes else _ridge)(inputs, target, weights)
    by_member = dict(zip(kept, found.tolist(), strict=True))
    return FittedSecondLevel(
        empty.model_copy(update={"intercepts": intercepts.tolist()}),
        tuple(by_member.get(place, 0.0) for place in range(len(outputs))),
    )


def _ridge(inputs: Floats, target: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return weights that are not negative, and the intercept, with the least squared error."""
    columns, members = inputs[:, :, 0], inputs.shape[1]
    share = weights / weights.sum()
    center, mean = share @ columns, share @ target
    # In units of the target's deviation, so that the prior counts alike for all targets.
    deviation = float(np.sqrt(share @ np.square(target - mean))) or 1.0
    root = np.sqrt(weights)[:, None] / deviation
    design = np.vstack([root * (columns - center), np.sqrt(PRIOR) * np.eye(members)])
    wanted = np.concatenate(
        [root[:, 0] * (target - mean), np.full(members, np.sqrt(PRIOR) / members)]
    )
    found: Floats = lsq_linear(design, wanted, bounds=(0, np.inf), method="bvls").x
    return found, np.array([mean - center @ found])


def _logistic(inputs: Floats, target: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return weights that are not negative, and the intercepts, with the least log loss."""
    members, outputs = inputs.shape[1:]
    positions = np.arange(max(outputs, 2))
    hits = (target[:, None] == (positions if outputs > 1 else positions[1:])).astype(np.float64)
    equal = np.concatenate([np.full(members, 1 / members), np.zeros(outputs)])

    def loss(parameters: Floats) -> tuple[float, Floats]:
        margins = np.einsum("rmo,m->ro", inputs, parameters[:members]) + parameters[members:]
        distance = parameters - equal
        surprise = _surprise(margins, hits)
        slopes = weights[:, None] * (probabilities(margins) - hits)
        gradient = np.concatenate([np.einsum("rmo,ro->m", inputs, slopes), slopes.sum(axis=0)])
        value = float(weights @ surprise + PRIOR / 2 * distance @ distance)
        return value, gradient + PRIOR * distance

    bounds = [(0.0, None)] * members + [(None, None)] * outputs
    found: Floats = minimize(loss, equal, jac=True, method="L-BFGS-B", bounds=bounds).x
    return found[:members], found[members:]


def _surprise(margins: Floats, hits: Floats) -> Floats:
    """Return the negative log-likelihood of each row."""
    if margins.shape[1] == 1:
        found: Floats = np.logaddexp(0.0, margins[:, 0]) - hits[:, 0] * margins[:, 0]
        return found
    highest = margins.max(axis=1)
    total = highest + np.log(np.exp(margins - highest[:, None]).sum(axis=1))
    surprise: Floats = total - (hits * margins).sum(axis=1)
    return surprise
