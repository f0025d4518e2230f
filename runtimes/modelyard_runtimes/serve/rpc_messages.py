"""The messages of the Open Inference Protocol over gRPC, package `inference`.

Written as a table, from which Protocol Buffers makes the classes: there is no generated code to
keep. A test compares it with the protocol's own definition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

_NAMED = ("string name", "string version")
_TENSOR = ("string name", "string datatype", "repeated int64 shape")
_PARAMETERS = "map InferParameter parameters"

MESSAGES: dict[str, tuple[str, ...]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("bool live",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("bool ready",),
    "ModelReadyRequest": _NAMED,
    "ModelReadyResponse": ("bool ready",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": (*_NAMED, "repeated string extensions"),
    "ModelMetadataRequest": _NAMED,
    "ModelMetadataResponse.TensorMetadata": _TENSOR,
    "ModelMetadataResponse": (
        "string name",
        "repeated string versions",
        "string platform",
        "repeated ModelMetadataResponse.TensorMetadata inputs",
        "repeated ModelMetadataResponse.TensorMetadata outputs",
    ),
    "InferParameter": ("bool bool_param", "int64 int64_param", "string string_param"),
    "InferTensorContents": (
        "repeated bool bool_contents",
        "repeated int32 int_contents",
        "repeated int64 int64_contents",
        "repeated uint32 uint_contents",
        "repeated uint64 uint64_contents",
        "repeated float fp32_contents",
        "repeated double fp64_contents",
        "repeated bytes bytes_contents",
    ),
    "ModelInferRequest.InferInputTensor": (
        *_TENSOR,
        _PARAMETERS,
        "InferTensorContents contents",
    ),
    "ModelInferRequest.InferRequestedOutputTensor": ("string name", _PARAMETERS),
    "ModelInferRequest": (
        "string model_name",
        "string model_version",
        "string id",
        _PARAMETERS,
        "repeated ModelInferRequest.InferInputTensor inputs",
        "repeated ModelInferRequest.InferRequestedOutputTensor outputs",
        "repeated bytes raw_input_contents",
    ),
    "ModelInferResponse.InferOutputTensor": (
        *_TENSOR,
        _PARAMETERS,
        "InferTensorContents contents",
    ),
    "ModelInferResponse": (
        "string model_name",
        "string model_version",
        "string id",
        _PARAMETERS,
        "repeated ModelInferResponse.InferOutputTensor outputs",
        "repeated bytes raw_output_contents",
    ),
}
"""Fields of each message in the order of their numbers, from 1: `[repeated|map] type name`."""

ONE_OF = {"InferParameter": "parameter_choice"}
"""Messages of which one field is set, with the name of the choice."""

METHODS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
)
"""Methods of the service: each takes `<name>Request` and returns `<name>Response`."""

_Field = descriptor_pb2.FieldDescriptorProto


def messages() -> Callable[[str], Any]:
    """Return what gives the class of a message by its name."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    return lambda name: message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"{PACKAGE}.{name}")
    )


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="modelyard/open_inference.proto", package=PACKAGE, syntax="proto3"
    )
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for name in sorted(MESSAGES, key=lambda name: name.count(".")):
        outer, _, own = name.rpartition(".")
        kept = made[outer].nested_type if outer else file.message_type
        made[name] = kept.add(name=own)
    for name, fields in MESSAGES.items():
        for number, field in enumerate(fields, start=1):
            _add(made[name], f"{PACKAGE}.{name}", number, field)
        if name in ONE_OF:
            made[name].oneof_decl.add(name=ONE_OF[name])
            for added in made[name].field:
                added.oneof_index = 0
    return file


def _add(message: descriptor_pb2.DescriptorProto, path: str, number: int, field: str) -> None:
    *kind, type_name, name = field.split()
    added = message.field.add(
        name=name,
        number=number,
        label=_Field.LABEL_REPEATED if kind else _Field.LABEL_OPTIONAL,
    )
    if kind == ["map"]:
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _add(entry, "", 1, "string key")
        _add(entry, "", 2, f"{type_name} value")
        added.type = _Field.TYPE_MESSAGE
        added.type_name = f".{path}.{entry.name}"
    elif type_name in MESSAGES:
        added.type = _Field.TYPE_MESSAGE
        added.type_name = f".{PACKAGE}.{type_name}"
    else:
        added.type = _Field.Type.Value(f"TYPE_{type_name.upper()}")
