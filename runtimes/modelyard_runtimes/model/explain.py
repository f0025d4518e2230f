"""Why a packed model predicts what it does: what each feature adds to a prediction.

Every member is explained before its link function, where its SHAP values are exact (of networks and
neighbours approximate), and then carried over to what it predicts: a step of the margin counts by
the mean slope of the link function on the straight line between the expected margin and that of the
row, as in integrated gradients (Sundararajan et al., "Axiomatic Attribution for Deep Networks",
2017). So the values of all members are in one unit, and their weighted mean adds up to the
prediction.

At a second level a member's values are carried on to the scale on which members add up, in
proportion to what it predicts there, and their sum by the mean slope back to the prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from modelyard_runtimes.model.calibration import calibrated
from modelyard_runtimes.model.members import Member
from modelyard_runtimes.model.predictor import Model
from modelyard_runtimes.model.schema import Floats, Inputs
from modelyard_runtimes.model.second_level import off_scale, on_scale

Link = Callable[[Floats], Floats]
"""Makes outputs of others, rows x outputs."""

_POINTS = 64
"""Points of the integration; at 40 units of margin its error is below a billionth."""

_SHORT = 1e-5
"""On a way shorter than this the slope is that at its middle."""

_STILL = 1e-9
"""A prediction that moved by less than this has no slope to speak of."""


def contributions(model: Model, inputs: Inputs) -> tuple[Floats, Floats]:
    """Return what is expected of any row, and what each feature of these rows adds to it.

    Outputs are the positive class's probability for two classes, the probability of each class for
    more, and the value for regression.

    Args:
        model: A packed model.
        inputs: Rows that `model.schema.validate` returned.

    Returns:
        Expected outputs, and rows x outputs x features, features in the order of the schema. Both
        add up to the prediction.
    """
    base: Floats = np.zeros(1)
    values: Floats = np.zeros(1)
    encoded = model.encoded(inputs)
    second_level, curves = model.document.second_level, model.document.calibration
    for member, document in zip(model.members, model.document.members, strict=True):
        columns = encoded[document.encoder]
        margins = member_contributions(model, document.encoder, member, columns)
        expected, found = _linked(member.linked, margins[0, :, -1], margins[:, :, :-1])
        if second_level is not None:
            expected, found = _in_proportion(partial(on_scale, second_level), expected, found)
        base = base + document.weight * expected
        values = values + document.weight * found
    if second_level is not None:
        base = base + second_level.intercepts
        base, values = _linked(partial(off_scale, second_level), base, values)
    return _in_proportion(partial(calibrated, curves), base, values) if curves else (base, values)


def member_contributions(model: Model, encoder: int, member: Member, columns: Floats) -> Floats:
    """Return what each feature adds to the margin of a member.

    Args:
        model: The packed model.
        encoder: Position of the member's transforms.
        member: The member.
        columns: The rows as those transforms make them.

    Returns:
        Rows x outputs x (features + 1), the last the expected margin.
    """
    transforms = model.encoders[encoder]
    # Models packed before there was a center have scaled numbers, whose mean is 0.
    center = model.document.encoders[encoder].center or [0.0] * transforms.width
    by_column = member.contributions(columns, np.array([center]))
    features = len(model.schema.names)
    values = np.zeros((*by_column.shape[:2], features + 1))
    for column, sources in enumerate([*transforms.sources(model.schema), (features,)]):
        # A column made of two features counts half for each.
        for source in sources:
            values[:, :, source] += by_column[:, :, column] / len(sources)
    return values


def _linked(link: Link, expected: Floats, steps: Floats) -> tuple[Floats, Floats]:
    """Return the expected prediction, and what each feature adds to it.

    Args:
        link: Makes predictions of margins.
        expected: The expected margins.
        steps: What each feature adds to the margins, rows x outputs x features.
    """
    margins, distances = expected[None], steps.sum(axis=2)
    base, reached = link(margins), link(margins + distances)
    if np.array_equal(base, margins) and np.array_equal(reached, margins + distances):
        return base[0], steps
    slopes = _mean_slopes(link, margins, distances)
    values = np.einsum("rij,rjf->rif", slopes, steps)
    return base[0], _adding_up(values, reached - base)


def _mean_slopes(link: Link, expected: Floats, distances: Floats) -> Floats:
    """Return the mean derivative of the link function on the way from the expected margin.

    That of softmax is integrated.

    Returns:
        Rows x outputs x outputs: how much an output changes with each margin.
    """
    if distances.shape[1] == 1:
        return _mean_slope(link, expected, distances)[:, :, None]
    slopes = np.zeros((*distances.shape, distances.shape[1]))
    places, weights = np.polynomial.legendre.leggauss(_POINTS)
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        shares = link(expected + place * distances)
        diagonal = shares[:, :, None] * np.eye(shares.shape[1])
        slopes += weight * (diagonal - shares[:, :, None] * shares[:, None, :])
    return slopes


def _mean_slope(link: Link, expected: Floats, distances: Floats) -> Floats:
    """Return the mean derivative for one output: that of a way of some length has a closed form."""
    short = np.abs(distances) < _SHORT
    start = np.where(short, expected + distances / 2 - _SHORT, expected)
    way = np.where(short, 2 * _SHORT, distances)
    slope: Floats = (link(start + way) - link(start)) / way
    return slope


def _in_proportion(change_of: Link, base: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return both as they are after a change of each output: values in proportion to it."""
    change = values.sum(axis=2)
    expected = change_of(base[None])
    wanted = change_of(base + change) - expected
    still = np.abs(change) < _STILL
    slopes = np.where(still, 1.0, wanted / np.where(still, 1.0, change))
    return expected[0], _adding_up(values * slopes[:, :, None], wanted)


def _adding_up(values: Floats, change: Floats) -> Floats:
    """Return values with the rounding of the integration spread over them by their size."""
    sizes = np.abs(values)
    total = sizes.sum(axis=2, keepdims=True)
    shares = sizes / np.where(total > 0, total, 1.0)
    rounded: Floats = shares * (change - values.sum(axis=2))[:, :, None]
    return values + rounded
