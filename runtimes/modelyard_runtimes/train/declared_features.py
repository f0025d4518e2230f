"""Declared transforms of features, by name, become steps by position."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.api.features import Transform

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model.schema import InputSchema
from modelyard_runtimes.train.feature_plan import Step
from modelyard_runtimes.train.target import columns_told

SMOOTHING = 10.0
BINS = 10

_OF_CATEGORIES = ("TargetEncoding", "FrequencyEncoding")


def steps_of(transforms: Sequence[Transform], schema: InputSchema) -> tuple[Step, ...]:
    """Return the steps.

    Raises:
        RunFailure: a column is no feature, or of a type that does not fit; names the field.
    """
    return tuple(_step(number, one, schema) for number, one in enumerate(transforms))


def _step(number: int, transform: Transform, schema: InputSchema) -> Step:
    field = f"spec.features.transforms[{number}]"
    kind = "Categorical" if transform.type in _OF_CATEGORIES else "Numeric"
    fitting = [one.name for one in schema.features if one.type == kind]
    columns = [
        _place(f"{field}.columns", name, kind, schema) for name in transform.columns or fitting
    ]
    if not columns:
        raise RunFailure(
            "InvalidFeature",
            f"{field}: {transform.type} is made of {kind} features, and there are none; remove it",
        )
    if transform.type == "TargetEncoding":
        size = SMOOTHING if transform.smoothing is None else transform.smoothing
    else:
        size = float(transform.bins or BINS)
    by = _place(f"{field}.by", transform.by, "Categorical", schema) if transform.by else None
    return Step(type=transform.type, columns=tuple(columns), by=by, size=size)


def _place(field: str, name: str, kind: str, schema: InputSchema) -> int:
    for feature, place in schema.places:
        if feature.name == name and feature.type == kind:
            return place
        if feature.name == name:
            raise RunFailure(
                "InvalidFeature",
                f"{field}: {name!r} is {feature.type}, and this transform takes {kind}; remove it, "
                "or declare the column's type in the Dataset",
            )
    raise RunFailure(
        "UnknownColumn",
        f"{field}: {name!r} is no feature of the model; {columns_told(name, list(schema.names))}",
    )
