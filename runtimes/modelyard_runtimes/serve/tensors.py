"""Open Inference Protocol (KServe V2) over REST: tensors become columns, predictions tensors.

An input is one feature: name, shape [rows] or [rows, 1]. A single input of shape [rows, features]
whose name is no feature holds all features in order. `null` in data is a missing value, which
extends the protocol. `parameters` are accepted and have no effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from modelyard_runtimes.model import ValidationError
from modelyard_runtimes.model.format import category_text
from modelyard_runtimes.model.rows import Columns
from modelyard_runtimes.serve.http import RequestError, shortened, type_name
from modelyard_runtimes.serve.instances import known_features
from modelyard_runtimes.serve.predictor import Predictions, Predictor, Predicts

_Check = tuple[Callable[[Any], bool], str]
"""Whether a value fits a data type, and what its name does not say of those that do."""

FEATURE_DATATYPES = {
    "Numeric": "FP64",
    "Boolean": "BOOL",
    "Ordinal": "BYTES",
    "Categorical": "BYTES",
    "Datetime": "BYTES",
    "Text": "BYTES",
}
_BODY_FIELDS = {"id", "parameters", "inputs", "outputs"}
_INPUT_FIELDS = {"name", "shape", "datatype", "parameters", "data"}
_MAX_NESTING = 2


def parse_tensors(body: dict[str, Any], predictor: Predictor) -> Columns:
    """Return the columns of the input tensors in a V2 body.

    Raises:
        RequestError: a tensor is malformed, unknown, given twice, or a required one is missing.
    """
    _check_fields(body, _BODY_FIELDS, "the body")
    inputs = body.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise RequestError(400, "inputs: expected a list with at least one tensor")
    tensors = [_read_tensor(position, tensor) for position, tensor in enumerate(inputs)]
    name, shape, values = tensors[0]
    if len(tensors) == 1 and len(shape) == 2 and name not in predictor.known:
        return _matrix(shape, values, predictor.names)
    columns: dict[str, Sequence[Any]] = {}
    for position, (name, shape, values) in enumerate(tensors):
        place = f"inputs[{position}]"
        if name not in predictor.known:
            raise RequestError(
                400,
                f"{place}.name: {shortened(name)} is not a feature of the model. "
                f"{known_features(predictor.names)}",
            )
        if name in columns:
            raise RequestError(400, f"{place}.name: {shortened(name)} was given before")
        if len(shape) == 2 and shape[1] != 1:
            raise RequestError(400, f"{place}.shape: a feature has the shape [rows] or [rows, 1]")
        if shape[0] != tensors[0][1][0]:
            raise RequestError(400, f"{place}.shape: has other rows than inputs[0]; send as many")
        columns[name] = values
    for name in predictor.names:
        if name in predictor.required and name not in columns:
            raise RequestError(400, f"inputs: the tensor {name!r} is missing; send it")
    return columns


def predict_tensors(columns: Columns, predictor: Predicts) -> Predictions:
    """Return the predictions of tensors.

    Raises:
        RequestError: a value has the wrong type; it names tensor and position.
    """
    try:
        return predictor.predict(columns)
    except ValidationError as error:
        raise unfit_tensor(error) from None


def unfit_tensor(error: ValidationError) -> RequestError:
    """Return what a client is told of a value of the wrong type."""
    return RequestError(400, f"inputs.{error.field}[{error.row}]: {error.problem}")


def rows_of(columns: Columns, names: Sequence[str]) -> list[Sequence[Any]]:
    """Return rows with the values of all features in order, of columns that may lack some."""
    missing = [None] * len(next(iter(columns.values())))
    return list(zip(*(columns.get(name, missing) for name in names), strict=True))


def output_tensors(predictions: Predictions, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the output tensors: those that `outputs` asks for, or all.

    Raises:
        RequestError: `outputs` is malformed or names an unknown tensor.
    """
    rows, conformal = len(predictions.values), predictions.conformal
    if not predictions.class_names:
        outputs = {"prediction": _tensor("prediction", "FP64", [rows], predictions.values)}
        if conformal is not None:
            ends = [end for value in predictions.values for end in conformal.interval(value)]
            outputs["interval"] = _tensor("interval", "FP64", [rows, 2], ends)
    else:
        labels = [category_text(label) for label in predictions.labels]
        flat = [probability for row in predictions.values for probability in row]
        shape = [rows, len(predictions.class_names)]
        classes = {"classes": ",".join(predictions.class_names)}
        probabilities = _tensor("probabilities", "FP64", shape, flat) | {"parameters": classes}
        outputs = {
            "label": _tensor("label", "BYTES", [rows], labels),
            "score": _tensor("score", "FP64", [rows], list(predictions.scores)),
            "probabilities": probabilities,
        }
        if conformal is not None:
            rows_chosen = zip(predictions.values, predictions.chosen, strict=True)
            inside = [fits for row, one in rows_chosen for fits in conformal.plausible(row, one)]
            plausible = _tensor("plausible", "BOOL", shape, inside)
            outputs["plausible"] = plausible | {"parameters": classes}
    return [outputs[name] for name in requested_outputs(body, list(outputs))]


def requested_outputs(body: dict[str, Any], known: list[str]) -> list[str]:
    """Return the names of the outputs that a body asks for; all when it names none."""
    requested = body.get("outputs")
    if requested is None:
        return known
    if not isinstance(requested, list):
        raise RequestError(400, f"outputs: expected a list, not {type_name(requested)}")
    names: list[str] = []
    for position, output in enumerate(requested):
        name = output.get("name") if isinstance(output, dict) else None
        if name not in known:
            raise RequestError(400, f"outputs[{position}].name: expected one of {', '.join(known)}")
        names.append(name)
    return names or known


def metadata(predictor: Predictor) -> dict[str, list[dict[str, Any]]]:
    """Return inputs and outputs of the model for its V2 metadata."""
    inputs = [
        {"name": feature.name, "datatype": FEATURE_DATATYPES[feature.type], "shape": [-1]}
        for feature in predictor.document.features
    ]
    classes = len(predictor.document.classes)
    sure = predictor.document.conformal is not None
    if not classes:
        outputs = [{"name": "prediction", "datatype": "FP64", "shape": [-1]}]
        if sure:
            outputs.append({"name": "interval", "datatype": "FP64", "shape": [-1, 2]})
    else:
        outputs = [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "score", "datatype": "FP64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, classes]},
        ]
        if sure:
            outputs.append({"name": "plausible", "datatype": "BOOL", "shape": [-1, classes]})
    return {"inputs": inputs, "outputs": outputs}


def _tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def _matrix(shape: list[int], values: list[Any], names: Sequence[str]) -> Columns:
    if shape[1] != len(names):
        raise RequestError(
            400,
            f"inputs[0].shape: has {shape[1]} columns, the model has {len(names)} features. "
            f"{known_features(names)}",
        )
    return {name: values[index :: len(names)] for index, name in enumerate(names)}


def _read_tensor(position: int, tensor: Any) -> tuple[str, list[int], list[Any]]:
    """Return name, shape and flat values of a tensor."""
    place = f"inputs[{position}]"
    if not isinstance(tensor, dict):
        raise RequestError(400, f"{place}: expected an object, not {type_name(tensor)}")
    _check_fields(tensor, _INPUT_FIELDS, place)
    parameters = tensor.get("parameters") or {}
    if isinstance(parameters, dict) and "binary_data_size" in parameters:
        raise RequestError(400, f"{place}.parameters: binary data is not supported; send JSON")
    name, datatype, data = tensor.get("name"), tensor.get("datatype"), tensor.get("data")
    if not isinstance(name, str):
        raise RequestError(400, f"{place}.name: expected a text, not {type_name(name)}")
    if not isinstance(datatype, str) or datatype not in _CHECKS:
        raise RequestError(400, f"{place}.datatype: expected one of {', '.join(sorted(_CHECKS))}")
    shape = _read_shape(place, tensor.get("shape"))
    if not isinstance(data, list):
        raise RequestError(400, f"{place}.data: expected a list, not {type_name(data)}")
    values = _flatten(data)
    if len(values) != math.prod(shape):
        raise RequestError(
            400, f"{place}.data: has {len(values)} values, the shape {shape} asks for others"
        )
    fits, detail = _CHECKS[datatype]
    for index, value in enumerate(values):
        if value is not None and not fits(value):
            found = value if type(value) in (int, float) else type_name(value)
            raise RequestError(
                400, f"{place}.data[{index}]: expected {datatype}{detail}, not {found}"
            )
    return name, shape, values


def _read_shape(place: str, shape: Any) -> list[int]:
    valid = (
        isinstance(shape, list)
        and 1 <= len(shape) <= _MAX_NESTING
        and all(type(length) is int and length >= 1 for length in shape)
    )
    if not valid:
        raise RequestError(
            400, f"{place}.shape: expected [rows] or [rows, columns], 1 or more each"
        )
    result: list[int] = shape
    return result


def _flatten(data: list[Any]) -> list[Any]:
    """Return the values of a list of values or of lists of values, in row-major order."""
    if not any(isinstance(value, list) for value in data):
        return data
    flat: list[Any] = []
    for value in data:
        flat.extend(value if isinstance(value, list) else [value])
    return flat


def _integers(sign: str, bits: int) -> _Check:
    low, high = (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return (
        lambda value: type(value) is int and low <= value <= high,
        f", a whole number from {low} to {high}",
    )


_REAL: _Check = (lambda value: type(value) in (int, float), "")
_CHECKS: dict[str, _Check] = {
    "BOOL": (lambda value: isinstance(value, bool), ""),
    "BYTES": (lambda value: isinstance(value, str), ""),
    **{f"{sign}INT{bits}": _integers(sign, bits) for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **dict.fromkeys(("FP16", "FP32", "FP64"), _REAL),
}


def _check_fields(value: dict[str, Any], known: set[str], place: str) -> None:
    for key in value:
        if key not in known:
            raise RequestError(
                400,
                f"{place}: unknown field {shortened(key)}; known are {', '.join(sorted(known))}",
            )
