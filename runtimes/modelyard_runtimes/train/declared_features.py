"""Declared transforms of features, by name, become steps by position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b

from modelyard.api.features import FeaturePair, Transform

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model.schema import InputSchema
from modelyard_runtimes.train.feature_plan import Step
from modelyard_runtimes.train.target import columns_told

SMOOTHING = 10.0
BINS = 10
BUCKETS = 8
MAX_PAIRS = 10_000
"""Pairs of categories that a Cross may have: each is a number in the packed model."""

_OF_CATEGORIES = ("TargetEncoding", "FrequencyEncoding", "HashEncoding")


def steps_of(transforms: Sequence[Transform], schema: InputSchema) -> tuple[Step, ...]:
    """Return the steps.

    Raises:
        RunFailure: a column is no feature, or of a type that does not fit; names the field.
    """
    return tuple(
        step
        for number, one in enumerate(transforms)
        for step in _steps(f"spec.features.transforms[{number}]", one, schema)
    )


def _steps(field: str, transform: Transform, schema: InputSchema) -> Iterator[Step]:
    smoothing = SMOOTHING if transform.smoothing is None else transform.smoothing
    if transform.pairs is None:
        yield _step(field, transform, smoothing, schema)
    for number, pair in enumerate(transform.pairs or ()):
        yield _pair(f"{field}.pairs[{number}]", pair, smoothing, schema)


def _pair(field: str, pair: FeaturePair, smoothing: float, schema: InputSchema) -> Step:
    kind = "Categorical" if pair.operation == "Cross" else "Numeric"
    left = _place(f"{field}.left", pair.left, kind, schema)
    right = _place(f"{field}.right", pair.right, kind, schema)
    if pair.operation == "Cross":
        known = {one.name: len(one.categories) + 2 for one in schema.features}
        count = known[pair.left] * known[pair.right]
        if count > MAX_PAIRS:
            raise RunFailure(
                "InvalidFeature",
                f"{field}: {pair.left!r} and {pair.right!r} have {count} pairs of categories, a "
                f"Cross takes {MAX_PAIRS}; use TargetEncoding of each",
            )
    return Step(type=pair.operation, columns=(left, right), size=smoothing)


def _step(field: str, transform: Transform, smoothing: float, schema: InputSchema) -> Step:
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
    if transform.type == "HashEncoding":
        return _hashed(columns, transform.buckets or BUCKETS, schema)
    size = smoothing if transform.type == "TargetEncoding" else float(transform.bins or BINS)
    by = _place(f"{field}.by", transform.by, "Categorical", schema) if transform.by else None
    return Step(type=transform.type, columns=tuple(columns), by=by, size=size)


def _hashed(columns: Sequence[int], count: int, schema: InputSchema) -> Step:
    """Return the bucket of each category, by its name, and a sign, so that few add up in one.

    Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", 2009.
    """
    categories = {
        place: feature.categories
        for feature, place in schema.places
        if feature.type == "Categorical"
    }
    buckets = tuple(
        tuple(_bucket(name, count) for name in categories[column]) for column in columns
    )
    return Step(type="HashEncoding", columns=tuple(columns), size=count, buckets=buckets)


def _bucket(name: str, count: int) -> tuple[int, int]:
    number = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")
    return number // 2 % count, 1 if number % 2 else -1


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
