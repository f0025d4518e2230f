"""What is declared for after the search is checked before it, so that no search is in vain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelyard.api.experiment import ExperimentSpec

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model.schema import InputSchema
from modelyard_runtimes.train.target import columns_told


def check_declared(
    spec: ExperimentSpec, schema: InputSchema, left_out: Mapping[str, str], classes: int
) -> None:
    """Check that threshold and explanations fit the target and the features.

    Args:
        spec: What is declared.
        schema: The features.
        left_out: Reason by name of each column that is no feature.
        classes: Number of classes of the target; 0 for regression.

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
    _check_features("spec.explain.partialDependence", drawn, schema, left_out)
    if explain.counterfactuals is not None:
        fixed = explain.counterfactuals.immutable
        _check_features("spec.explain.counterfactuals.immutable", fixed, schema, left_out)
    texts = {feature.name for feature in schema.features if feature.type == "Text"}
    for index, name in enumerate(drawn):
        if name in texts:
            raise RunFailure(
                "InvalidFeature",
                f"spec.explain.partialDependence[{index}]: {name!r} is a Text, which has no values "
                "to go along; remove the entry",
            )


def _check_features(
    field: str, columns: Sequence[str], schema: InputSchema, left_out: Mapping[str, str]
) -> None:
    for index, column in enumerate(columns):
        if column in schema.names:
            continue
        told, remedy = columns_told(column, list(schema.names)), "correct the name or remove"
        if column in left_out:
            told, remedy = left_out[column], "remove"
        raise RunFailure(
            "UnknownColumn",
            f"{field}[{index}]: {column!r} is no feature of the model ({told}); {remedy} the entry",
        )
