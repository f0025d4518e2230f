"""Finds values that are later than the moment at which a prediction is asked for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from modelyard.api.experiment import Validation

from modelyard_runtimes.model.columns import arrow_values
from modelyard_runtimes.model.schema import InputSchema
from modelyard_runtimes.train.leakage.finding import Finding
from modelyard_runtimes.train.snapshot import Snapshot

TOLERATED = 0.01
"""Share of rows in which clocks may disagree."""


def later_columns(
    snapshot: Snapshot, schema: InputSchema, time_column: str | None
) -> Iterator[Finding]:
    """Yield each moment among the features that lies after the row's time."""
    if time_column is None or snapshot.types.get(time_column) != "Datetime":
        return
    known = np.asarray(arrow_values(snapshot.table.column(time_column)))
    for feature in schema.features:
        if feature.type != "Datetime" or feature.name == time_column:
            continue
        values = np.asarray(arrow_values(snapshot.table.column(feature.name)))
        present = ~(np.isnat(values) | np.isnat(known))
        if present.any() and float(np.mean(values[present] > known[present])) > TOLERATED:
            yield Finding(
                (feature.name,),
                f"Column {feature.name!r} lies after {time_column!r}, the time of the row that "
                "spec.validation.timeColumn names: it is not known yet when a prediction is asked "
                "for. List it in spec.features.exclude; if it is planned before, in "
                "spec.leakage.accept.",
            )


def undeclared_time(schema: InputSchema, validation: Validation) -> Iterator[str]:
    """Yield a warning where rows have a time and are split at random all the same."""
    names = [feature.name for feature in schema.features if feature.type == "Datetime"]
    if names and validation.time_column is None:
        yield (
            f"Column {names[0]!r} is a time and rows were split at random: where a model predicts "
            "what comes later, name it in spec.validation.timeColumn."
        )
