"""KServe V1: instances, by feature name or in feature order, become rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard_runtimes.model import ValidationError
from modelyard_runtimes.model.rows import Rows
from modelyard_runtimes.serve.http import RequestError, shortened, type_name
from modelyard_runtimes.serve.predictor import Predictions, Predictor, Predicts


def parse_instances(body: dict[str, Any], predictor: Predictor) -> Rows:
    """Return the instances in a V1 body, each as its values in feature order.

    Args:
        body: `{"instances": [...]}`; an instance is an object by feature name, which may lack
            features that are not required, or a list of all features in order.
        predictor: The model whose features these are.

    Raises:
        RequestError: an instance has another form, lacks a required feature or has an unknown one.
    """
    for key in body:
        if key != "instances":
            raise RequestError(400, f"{shortened(key)}: unknown field; send {{'instances': [...]}}")
    instances = body.get("instances")
    if not isinstance(instances, list) or not instances:
        raise RequestError(400, "instances: expected a list with at least one instance")
    return [as_row(position, instance, predictor) for position, instance in enumerate(instances)]


def predict_instances(rows: Rows, predictor: Predicts) -> Predictions:
    """Return the predictions of instances.

    Raises:
        RequestError: a value has the wrong type; it names instance and feature.
    """
    try:
        return predictor.predict_rows(rows)
    except ValidationError as error:
        raise unfit_instance(error) from None


def unfit_instance(error: ValidationError) -> RequestError:
    """Return what a client is told of a value of the wrong type."""
    return RequestError(400, f"instances[{error.row}].{error.field}: {error.problem}")


def as_row(position: int, instance: Any, predictor: Predictor) -> Sequence[Any]:
    """Return the values of an instance in feature order.

    Args:
        position: Its place among the instances, for messages.
        instance: It.
        predictor: The model whose features these are.

    Raises:
        RequestError: it has another form, lacks a required feature or has an unknown one.
    """
    if isinstance(instance, list):
        _check_length(position, instance, predictor.names)
        return instance
    if isinstance(instance, dict) and len(instance) == len(predictor.names):
        try:
            return predictor.of_all_features(instance)
        except KeyError:  # it lacks one, and has one that is unknown
            _check_object(position, instance, predictor)
    _check_object(position, instance, predictor)
    return [instance.get(name) for name in predictor.names]


def _check_object(position: int, instance: Any, predictor: Predictor) -> None:
    """Refuse what is no object, lacks a required feature or has an unknown one."""
    if not isinstance(instance, dict):
        raise RequestError(
            400,
            f"instances[{position}]: expected an object by feature name or a list in feature "
            f"order, not {type_name(instance)}",
        )
    keys = instance.keys()
    if not predictor.required <= keys:
        missing = next(
            name for name in predictor.names if name in predictor.required and name not in keys
        )
        raise RequestError(
            400, f"instances[{position}].{missing}: is missing; send it, null if it is not known"
        )
    unknown = [name for name in keys if name not in predictor.known]
    if unknown:
        raise RequestError(
            400,
            f"instances[{position}]: {_not_features(unknown)}. {known_features(predictor.names)}",
        )


def _not_features(unknown: Sequence[str]) -> str:
    """Return a clause that names what is no feature, cut to the first five."""
    names = ", ".join(map(shortened, unknown[:5]))
    if len(unknown) == 1:
        return f"{names} is not a feature of the model; remove it"
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    return f"{names}{more} are not features of the model; remove them"


def _check_length(position: int, values: list[Any], names: Sequence[str]) -> None:
    if len(values) != len(names):
        raise RequestError(
            400,
            f"instances[{position}]: has {len(values)} values, the model has {len(names)} "
            f"features; send one value for each, in order. {known_features(names)}",
        )


def known_features(names: Sequence[str]) -> str:
    """Return a sentence that names the features, cut to the first twenty."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"Features: {', '.join(names[:20])}{more}"
