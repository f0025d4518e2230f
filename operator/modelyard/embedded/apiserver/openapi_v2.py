"""OpenAPI v2, which sync engines still ask for, as JSON and as the protobuf that client-go reads.

Its definitions say how objects merge: types, fields and the keys of lists. Paths are told by v3
alone.
"""

from collections.abc import Iterator

import orjson

from modelyard.embedded.apiserver.discovery import VERSION
from modelyard.embedded.apiserver.errors import Object
from modelyard.embedded.apiserver.meta_schema import OBJECT_META
from modelyard.embedded.apiserver.openapi import META_NAME, identity, schema_name
from modelyard.embedded.apiserver.registry import Registry

PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_ASKED_FOR = (PROTOBUF, PROTOBUF.replace("v2.v1.0", "v2@v1.0"))
"""The older name, which clients still ask by, is no valid media type: nothing is answered by it."""
_UNTYPED = ("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")


def document(registry: Registry) -> Object:
    """The OpenAPI v2 document of everything that is served."""
    meta = {"$ref": f"#/definitions/{META_NAME}"}
    definitions = {META_NAME: _merging(OBJECT_META)}
    for resource in registry:
        fields = resource.schema["properties"].items()
        definitions[schema_name(resource)] = {
            "type": "object",
            "properties": {name: _merging(child) for name, child in fields} | {"metadata": meta},
            "x-kubernetes-group-version-kind": [identity(resource)],
        }
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
        "paths": {},
        "definitions": definitions,
    }


def wants_protobuf(accept: str) -> bool:
    """Whether a client asks for protobuf."""
    return any(name in accept for name in _ASKED_FOR)


def encode(found: Object) -> bytes:
    """The document as a gnostic `openapi.v2.Document`."""
    info = _text(1, found["info"]["title"]) + _text(2, found["info"]["version"])
    definitions = _named_schemas(found["definitions"])
    return _text(1, "2.0") + _part(2, info) + _part(8, b"") + _part(9, definitions)


def _merging(schema: Object) -> Object:
    """What of a schema decides how objects merge.

    What may hold fields that no schema names has no type, as in Kubernetes: a typed reader refuses
    fields that are not declared.
    """
    if any(schema.get(name) for name in _UNTYPED):
        return {}
    kept = ("x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type")
    result: Object = {key: schema[key] for key in kept if key in schema}
    if "type" in schema:
        result["type"] = schema["type"]
    if "properties" in schema:
        fields = schema["properties"].items()
        result["properties"] = {name: _merging(child) for name, child in fields}
    for below in ("items", "additionalProperties"):
        if isinstance(schema.get(below), dict):
            result[below] = _merging(schema[below])
    return result


def _schema(schema: Object) -> bytes:
    return b"".join(_schema_parts(schema))


def _schema_parts(schema: Object) -> Iterator[bytes]:
    if "$ref" in schema:
        yield _text(1, schema["$ref"])
    if "additionalProperties" in schema:
        yield _part(21, _part(1, _schema(schema["additionalProperties"])))
    if "type" in schema:
        yield _part(22, _text(1, schema["type"]))
    if "items" in schema:
        yield _part(23, _part(1, _schema(schema["items"])))
    if "properties" in schema:
        yield _part(25, _named_schemas(schema["properties"]))
    for key, value in schema.items():
        if key.startswith("x-"):
            yield _part(31, _text(1, key) + _part(2, _part(2, orjson.dumps(value))))


def _named_schemas(schemas: Object) -> bytes:
    named = (_text(1, name) + _part(2, _schema(schema)) for name, schema in schemas.items())
    return b"".join(_part(1, entry) for entry in named)


def _text(number: int, value: str) -> bytes:
    return _part(number, value.encode())


def _part(number: int, value: bytes) -> bytes:
    """One field of a message that has a length: a text or a message within."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)
