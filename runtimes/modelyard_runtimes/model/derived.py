"""Numbers that are made of validated inputs, one column each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelyard_runtimes.model.format import (
    Bins,
    CategoryNumbers,
    CategoryPairNumbers,
    Derived,
    NumberPair,
)
from modelyard_runtimes.model.schema import Floats, Inputs


def derived_columns(transforms: Sequence[Derived], inputs: Inputs) -> Floats:
    """Return rows x transforms."""
    columns = np.empty((len(inputs), len(transforms)), dtype=np.float64)
    for place, transform in enumerate(transforms):
        columns[:, place] = _column(transform, inputs)
    return columns


def with_numbers(inputs: Inputs, columns: Floats) -> Inputs:
    """Return the inputs with further columns of numbers behind theirs."""
    return Inputs(np.hstack([inputs.numbers, columns]), inputs.codes, inputs.texts)


def _column(transform: Derived, inputs: Inputs) -> Floats:
    match transform:
        case CategoryNumbers():
            by_code: Floats = np.array(transform.values)[inputs.codes[:, transform.code]]
            return by_code
        case Bins():
            numbers = inputs.numbers[:, transform.number]
            places = np.searchsorted(transform.edges, numbers, side="right").astype(np.float64)
            return np.where(np.isnan(numbers), np.nan, places)
        case NumberPair():
            return _of_numbers(transform, inputs)
        case CategoryPairNumbers():
            left, right = (inputs.codes[:, place] for place in (transform.left, transform.right))
            by_codes: Floats = np.array(transform.values)[left, right]
            return by_codes


def _of_numbers(pair: NumberPair, inputs: Inputs) -> Floats:
    left, right = inputs.numbers[:, pair.left], inputs.numbers[:, pair.right]
    with np.errstate(all="ignore"):
        match pair.operation:
            case "Sum":
                found = left + right
            case "Difference":
                found = left - right
            case "Product":
                found = left * right
            case "Ratio":
                found = left / right
    return np.where(np.isfinite(found), found, np.nan)
