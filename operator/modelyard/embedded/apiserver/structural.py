"""Pruning and defaulting by structural schemas, as apiextensions defines them."""

import copy
from typing import Any

from modelyard.embedded.apiserver.errors import Object

PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED_ROOT = ("apiVersion", "kind", "metadata")


def prune(value: Any, schema: Object, path: str = "") -> list[str]:
    """Drop the fields that the schema does not know, in place.

    Returns:
        The paths of what was dropped, for example `spec.bogus`.
    """
    if isinstance(value, list):
        items = schema.get("items") or {PRESERVE: True}
        return [
            unknown
            for index, item in enumerate(value)
            for unknown in prune(item, items, f"{path}[{index}]")
        ]
    if not isinstance(value, dict):
        return []
    dropped: list[str] = []
    for name in list(value):
        child_path = f"{path}.{name}" if path else name
        child = child_schema(schema, name)
        if child is not None:
            dropped += prune(value[name], child, child_path)
        elif not _keeps(schema, name):
            del value[name]
            dropped.append(child_path)
    return dropped


def default(value: Any, schema: Object) -> None:
    """Fill in the schema's defaults, in place.

    A null where null is not allowed counts as absent, as in Kubernetes.
    """
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for item in value:
                default(item, items)
        return
    if not isinstance(value, dict):
        return
    _drop_nulls(value, schema)
    for name, child in schema.get("properties", {}).items():
        if name not in value and "default" in child:
            value[name] = copy.deepcopy(child["default"])
    for name, item in value.items():
        found = child_schema(schema, name)
        if found is not None:
            default(item, found)


def _drop_nulls(value: Object, schema: Object) -> None:
    for name in [name for name, item in value.items() if item is None]:
        child = child_schema(schema, name)
        if child is not None and not allows_null(child):
            del value[name]


def allows_null(schema: Object) -> bool:
    """Whether null is a value of its own under this schema."""
    untyped = "type" not in schema and PRESERVE in schema
    return bool(schema.get("nullable")) or untyped


def child_schema(schema: Object, name: str) -> Object | None:
    """The schema of a field of an object, or None where there is none."""
    properties = schema.get("properties", {})
    if name in properties:
        found: Object = properties[name]
        return found
    additional = schema.get("additionalProperties")
    return additional if isinstance(additional, dict) else None


def _keeps(schema: Object, name: str) -> bool:
    embedded = schema.get("x-kubernetes-embedded-resource") and name in _EMBEDDED_ROOT
    return bool(schema.get(PRESERVE) or schema.get("additionalProperties") is True or embedded)
