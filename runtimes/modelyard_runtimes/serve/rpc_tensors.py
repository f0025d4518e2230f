"""Tensors of gRPC messages as those of the REST protocol, and back: one code reads both."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from modelyard_runtimes.serve.http import RequestError

_CONTENTS = {
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
}
"""Field of the contents by data type; FP16 has none and comes raw."""
_RAW = {
    "BOOL": "?",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
}
_LENGTH = struct.Struct("<I")


def body_of(request: Any) -> dict[str, Any]:
    """Return a ModelInferRequest as the body of a REST request.

    Raises:
        RequestError: the contents of a tensor cannot be read.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise RequestError(
            400, f"raw_input_contents: has {len(raw)} tensors, inputs has {len(request.inputs)}"
        )
    inputs = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "data": _data(f"inputs[{position}]", tensor, raw[position] if raw else None),
        }
        for position, tensor in enumerate(request.inputs)
    ]
    outputs = [{"name": output.name} for output in request.outputs]
    return {"inputs": inputs, **({"outputs": outputs} if outputs else {})}


def fill(response: Any, outputs: Sequence[dict[str, Any]], *, raw: bool) -> None:
    """Put the output tensors of the REST protocol into a ModelInferResponse.

    Args:
        response: The message.
        outputs: Tensors of FP64, BYTES and BOOL.
        raw: Whether their contents stand in `raw_output_contents`, as the client's did.
    """
    for output in outputs:
        tensor = response.outputs.add(
            name=output["name"], datatype=output["datatype"], shape=output["shape"]
        )
        for name, value in output.get("parameters", {}).items():
            tensor.parameters[name].string_param = value
        data = output["data"]
        if output["datatype"] == "BYTES":
            data = [text.encode() for text in data]
        if raw:
            response.raw_output_contents.append(_packed(output["datatype"], data))
        else:
            getattr(tensor.contents, _CONTENTS[output["datatype"]]).extend(data)


def _data(place: str, tensor: Any, raw: bytes | None) -> list[Any]:
    datatype = tensor.datatype
    if raw is not None:
        values = _unpacked(place, datatype, raw)
    elif datatype in _CONTENTS:
        values = list(getattr(tensor.contents, _CONTENTS[datatype]))
    else:  # FP16, which has no field, or no data type at all, which is refused with the rest
        values = []
    if datatype != "BYTES":
        return values
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError:
        raise RequestError(400, f"{place}: a text is not UTF-8") from None


def _unpacked(place: str, datatype: str, raw: bytes) -> list[Any]:
    """Return the values of raw contents: little-endian, texts behind their lengths."""
    if datatype == "BYTES":
        return _texts(place, raw)
    if datatype not in _RAW:
        return []
    size = struct.calcsize(f"<{_RAW[datatype]}")
    if len(raw) % size:
        raise RequestError(400, f"{place}: {len(raw)} raw bytes are no whole number of {datatype}")
    return list(struct.unpack(f"<{len(raw) // size}{_RAW[datatype]}", raw))


def _texts(place: str, raw: bytes) -> list[bytes]:
    texts: list[bytes] = []
    start = 0
    while start < len(raw):
        begin = start + _LENGTH.size
        end = begin + _LENGTH.unpack_from(raw, start)[0] if begin <= len(raw) else begin
        if end > len(raw):
            raise RequestError(400, f"{place}: a raw text ends behind its tensor")
        texts.append(raw[begin:end])
        start = end
    return texts


def _packed(datatype: str, values: Sequence[Any]) -> bytes:
    if datatype == "BYTES":
        return b"".join(_LENGTH.pack(len(value)) + value for value in values)
    return struct.pack(f"<{len(values)}{_RAW[datatype]}", *values)
