r"""Decoding of the few protobuf bodies that kubectl sends and cannot send otherwise.

Kubernetes wraps a message in `k8s\0` and a `runtime.Unknown`. The tables below hold the field
numbers of the kinds that kubectl creates from its own typed clients; any other kind is refused
by name.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelyard.embedded.apiserver.errors import Object, bad_request, unsupported_media_type

MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Field:
    """One field of a message: its JSON name and how to read it."""

    name: str
    kind: str = "string"
    message: str = ""
    repeated: bool = False


def _strings(*names: str) -> dict[int, Field]:
    return {number: Field(name) for number, name in enumerate(names, 1)}


_META = Field("metadata", "message", "ObjectMeta")
_TEXT_MAP, _BYTES_MAP, _QUANTITY_MAP = "map", "bytes_map", "quantity_map"

MESSAGES: dict[str, dict[int, Field]] = {
    "Unknown": {1: Field("type", "message", "TypeMeta"), 2: Field("raw", "raw")},
    "TypeMeta": _strings("apiVersion", "kind"),
    "ObjectMeta": {
        **_strings("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion"),
        8: Field("creationTimestamp", "time"),
        11: Field("labels", _TEXT_MAP),
        12: Field("annotations", _TEXT_MAP),
        13: Field("ownerReferences", "message", "OwnerReference", repeated=True),
        14: Field("finalizers", repeated=True),
    },
    "OwnerReference": {
        1: Field("kind"),
        3: Field("name"),
        4: Field("uid"),
        5: Field("apiVersion"),
        6: Field("controller", "bool"),
        7: Field("blockOwnerDeletion", "bool"),
    },
    "Namespace": {1: _META, 2: Field("spec", "message", "NamespaceSpec")},
    "NamespaceSpec": {1: Field("finalizers", repeated=True)},
    "ConfigMap": {
        1: _META,
        2: Field("data", _TEXT_MAP),
        3: Field("binaryData", _BYTES_MAP),
        4: Field("immutable", "bool"),
    },
    "Secret": {
        1: _META,
        2: Field("data", _BYTES_MAP),
        3: Field("type"),
        4: Field("stringData", _TEXT_MAP),
        5: Field("immutable", "bool"),
    },
    "ServiceAccount": {1: _META, 4: Field("automountServiceAccountToken", "bool")},
    "ResourceQuota": {1: _META, 2: Field("spec", "message", "ResourceQuotaSpec")},
    "ResourceQuotaSpec": {1: Field("hard", _QUANTITY_MAP), 2: Field("scopes", repeated=True)},
    "Role": {1: _META, 2: Field("rules", "message", "PolicyRule", repeated=True)},
    "PolicyRule": {
        number: Field(name, repeated=True)
        for number, name in enumerate(("verbs", "apiGroups", "resources", "resourceNames"), 1)
    },
    "RoleBinding": {
        1: _META,
        2: Field("subjects", "message", "Subject", repeated=True),
        3: Field("roleRef", "message", "RoleRef"),
    },
    "Subject": _strings("kind", "apiGroup", "name", "namespace"),
    "RoleRef": _strings("apiGroup", "kind", "name"),
    "Lease": {1: _META, 2: Field("spec", "message", "LeaseSpec")},
    "LeaseSpec": {
        1: Field("holderIdentity"),
        2: Field("leaseDurationSeconds", "int"),
        3: Field("acquireTime", "micro_time"),
        4: Field("renewTime", "micro_time"),
        5: Field("leaseTransitions", "int"),
    },
    "SelfSubjectAccessReview": {1: _META, 2: Field("spec", "message", "AccessReviewSpec")},
    "AccessReviewSpec": {
        1: Field("resourceAttributes", "message", "ResourceAttributes"),
        2: Field("nonResourceAttributes", "message", "NonResourceAttributes"),
    },
    "ResourceAttributes": _strings(
        "namespace", "verb", "group", "version", "resource", "subresource", "name"
    ),
    "NonResourceAttributes": _strings("path", "verb"),
    "SelfSubjectRulesReview": {1: _META, 2: Field("spec", "message", "RulesReviewSpec")},
    "RulesReviewSpec": _strings("namespace"),
    "SelfSubjectReview": {1: _META},
    "DeleteOptions": {
        1: Field("gracePeriodSeconds", "int"),
        2: Field("preconditions", "message", "Preconditions"),
        3: Field("orphanDependents", "bool"),
        4: Field("propagationPolicy"),
        5: Field("dryRun", repeated=True),
    },
    "Preconditions": _strings("uid", "resourceVersion"),
}
_TOP_LEVEL = {
    "Namespace", "ConfigMap", "Secret", "ServiceAccount", "ResourceQuota", "Role", "RoleBinding",
    "Lease", "SelfSubjectAccessReview", "SelfSubjectRulesReview", "SelfSubjectReview",
    "DeleteOptions",
}  # fmt: skip


def decode(body: bytes) -> Object:
    """Decode a body of type `application/vnd.kubernetes.protobuf`.

    Raises:
        ApiError: 400 if it is malformed, 415 if its kind is not one of those known here.
    """
    if not body.startswith(MAGIC):
        raise bad_request("the body is not Kubernetes protobuf")
    try:
        wrapper = _message(body[len(MAGIC) :], "Unknown")
        kind = wrapper.get("type", {}).get("kind", "")
        if kind not in _TOP_LEVEL:
            raise unsupported_media_type(f"protobuf of kind {kind!r}", ["application/json"])
        return {**wrapper["type"], **_message(wrapper.get("raw", b""), kind)}
    except (IndexError, UnicodeDecodeError, ValueError) as error:
        raise bad_request(f"malformed protobuf: {error}") from None


def _message(data: bytes, name: str) -> Object:
    result: Object = {}
    fields = MESSAGES[name]
    for number, value in _wire(data):
        field = fields.get(number)
        if field is None:
            continue
        if field.kind in {_TEXT_MAP, _BYTES_MAP, _QUANTITY_MAP}:
            key, item = _entry(value, field.kind)
            result.setdefault(field.name, {})[key] = item
        elif field.repeated:
            result.setdefault(field.name, []).append(_value(value, field))
        else:
            decoded = _value(value, field)
            if decoded not in ("", None):
                result[field.name] = decoded
    return result


def _value(value: Any, field: Field) -> Any:
    if field.kind == "message":
        return _message(value, field.message)
    if field.kind == "bool":
        return bool(value)
    if field.kind in {"int", "raw"}:
        return value
    if field.kind in {"time", "micro_time"}:
        return _time(value, field.kind)
    return value.decode()


def _time(data: bytes, kind: str) -> str | None:
    parts = dict(_wire(data))
    if 1 not in parts:
        return None
    moment = datetime.fromtimestamp(parts[1], UTC)
    if kind == "time":
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return moment.replace(microsecond=parts.get(2, 0) // 1000).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _entry(data: bytes, kind: str) -> tuple[str, str]:
    parts = dict(_wire(data))
    value = parts.get(2, b"")
    if kind == _QUANTITY_MAP:
        value = dict(_wire(value)).get(1, b"")
    text = base64.b64encode(value) if kind == _BYTES_MAP else value
    return parts.get(1, b"").decode(), text.decode()


def _wire(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message as they stand on the wire."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield number, value
        elif wire == _BYTES:
            length, position = _varint(data, position)
            if position + length > len(data):
                raise ValueError("a field ends beyond the message")
            yield number, data[position : position + length]
            position += length
        elif wire in {_FIXED64, _FIXED32}:
            position += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {wire}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
