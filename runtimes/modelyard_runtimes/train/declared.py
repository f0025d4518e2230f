"""What is declared for after the search is checked before it, so that no search is in vain."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.api.experiment import ExperimentSpec

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model.schema import InputSchema
from modelyard_runtimes.train.target import columns_told


def check_declared(spec: ExperimentSpec, schema: InputSchema, classes: int) -> None:
    """Check that threshold and explanations fit the target and the features.

    Raises:
        RunFailure: one does not; names the field.
    """
    evaluation, explain = spec.evaluation, spec.explain
    if evaluation is not None and evaluation.threshold is not None and classes != 2:
        raise RunFailure(
            "InvalidThreshold",
            f"spec.evaluation.threshold: the target has {classes} classes, and only among two a "
            "threshold decides; remove it",
        )
    drawn = explain.partial_dependence or []
    _check_features("spec.explain.partialDependence", drawn, schema)
    if explain.counterfactuals is not None:
        fixed = explain.counterfactuals.immutable
        _check_features("spec.explain.counterfactuals.immutable", fixed, schema)
    texts = {feature.name for feature in schema.features if feature.type == "Text"}
    for name in drawn:
        if name in texts:
            raise RunFailure(
                "InvalidFeature",
                f"spec.explain.partialDependence: {name!r} is a Text, which has no values to go "
                "along; remove it",
            )


def _check_features(field: str, columns: Sequence[str], schema: InputSchema) -> None:
    for column in columns:
        if column not in schema.names:
            raise RunFailure(
                "UnknownColumn",
                f"{field}: {column!r} is no feature of the model; "
                f"{columns_told(column, list(schema.names))}",
            )
