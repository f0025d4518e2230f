"""Sets of fields, and the typed walk over objects that server-side apply is made of.

A field's path is a tuple of elements in the notation of `fieldsV1`: `f:name` for a field,
`k:{"type":"Ready"}` for an item of a list map, `v:"a"` for an item of a list set. The rules are
those of Kubernetes' structured-merge-diff: maps are granular and lists atomic unless the schema
says otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from modelyard.embedded.apiserver.errors import Object, bad_request

FieldPath = tuple[str, ...]
FieldSet = set[FieldPath]

_MISSING = object()
_MEMBER = "."


@dataclass
class Difference:
    """Which fields differ between two states of an object."""

    added: FieldSet = field(default_factory=set)
    modified: FieldSet = field(default_factory=set)
    removed: FieldSet = field(default_factory=set)


def fields_of(value: Any, schema: Object | None) -> FieldSet:
    """The fields that an applied configuration sets."""
    found: FieldSet = set()
    _collect(value, schema, (), found)
    return found


def compare(old: Any, new: Any, schema: Object | None) -> Difference:
    """The fields by which two states of an object differ."""
    difference = Difference()
    _compare(old, new, schema, (), difference)
    return difference


def merge(live: Any, config: Any, schema: Object | None) -> Any:
    """The live value with an applied configuration laid over it."""
    if isinstance(live, dict) and isinstance(config, dict) and not _atomic_map(schema):
        merged = dict(live)
        for name, value in config.items():
            child, _ = _field_schema(schema, name)
            merged[name] = merge(live[name], value, child) if name in live else value
        return merged
    if isinstance(live, list) and isinstance(config, list) and _granular_list(schema):
        return _merge_lists(live, config, schema or {})
    return config


def remove(value: Any, doomed: FieldSet, schema: Object | None) -> Any:
    """The value without some of its fields and items."""
    return _remove(value, _trie(doomed), schema)


def closure(fields: Iterable[FieldPath]) -> FieldSet:
    """The fields with all that contain them."""
    return {path[:length] for path in fields for length in range(1, len(path) + 1)}


def encode(fields: FieldSet) -> Object:
    """The `fieldsV1` of a set of fields."""
    return _simplify(_trie(fields))


def decode(encoded: Object) -> FieldSet:
    """The set of fields of a `fieldsV1`."""
    found: FieldSet = set()

    def walk(node: Object, path: FieldPath) -> None:
        if path and (not node or _MEMBER in node):
            found.add(path)
        for element, child in node.items():
            if element != _MEMBER:
                walk(child, (*path, element))

    walk(encoded, ())
    return found


def describe(path: FieldPath) -> str:
    """A path as messages show it: `.status.conditions[type="Ready"].status`."""
    text = ""
    for element in path:
        kind, body = element.split(":", 1)
        if kind == "f":
            text += f".{body}"
        elif kind == "k":
            pairs = json.loads(body).items()
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in pairs) + "]"
        else:
            text += f"[={body}]"
    return text


def _collect(value: Any, schema: Object | None, path: FieldPath, found: FieldSet) -> None:
    if isinstance(value, dict) and not _atomic_map(schema):
        for name, item in value.items():
            child, declared = _field_schema(schema, name)
            child_path = (*path, f"f:{name}")
            _collect(item, child, child_path, found)
            if item == {} or not declared:
                found.add(child_path)
    elif isinstance(value, list) and _granular_list(schema):
        for element, item in _elements(value, schema or {}).items():
            child_path = (*path, element)
            found.add(child_path)
            if isinstance(item, dict | list):
                _collect(item, _item_schema(schema), child_path, found)
    else:
        found.add(path)


def _compare(
    old: Any, new: Any, schema: Object | None, path: FieldPath, result: Difference
) -> None:
    before, after = _parts(old, schema), _parts(new, schema)
    replaced = (before is None and old is not _MISSING) or (after is None and new is not _MISSING)
    if replaced:  # a leaf, or a container that took the place of one
        _note(old, new, path, result)
        return
    before, after = before or {}, after or {}
    for element in [*before, *(element for element in after if element not in before)]:
        _compare(
            before.get(element, _MISSING),
            after.get(element, _MISSING),
            _element_schema(schema, element),
            (*path, element),
            result,
        )
    if old is _MISSING or new is _MISSING:
        _note(old, new, path, result)


def _note(old: Any, new: Any, path: FieldPath, result: Difference) -> None:
    if old is _MISSING:
        result.added.add(path)
    elif new is _MISSING:
        result.removed.add(path)
    elif old != new:
        result.modified.add(path)


def _parts(value: Any, schema: Object | None) -> dict[str, Any] | None:
    """The parts of a granular container by path element; None for everything else."""
    if isinstance(value, dict) and not _atomic_map(schema):
        return {f"f:{name}": item for name, item in value.items()}
    if isinstance(value, list) and _granular_list(schema):
        return _elements(value, schema or {})
    return None


def _merge_lists(live: list[Any], config: list[Any], schema: Object) -> list[Any]:
    """Items keep their live order; new ones follow in the order of the configuration."""
    merged = _elements(live, schema)
    for element, item in _elements(config, schema).items():
        known = element in merged
        merged[element] = merge(merged[element], item, _item_schema(schema)) if known else item
    return list(merged.values())


def _remove(value: Any, doomed: Object, schema: Object | None) -> Any:
    if isinstance(value, dict):
        kept = {}
        for name, item in value.items():
            node = doomed.get(f"f:{name}")
            if node is None:
                kept[name] = item
            elif _MEMBER not in node:
                kept[name] = _remove(item, node, _field_schema(schema, name)[0])
        return kept
    if isinstance(value, list) and _granular_list(schema):
        items = []
        for element, item in _elements(value, schema or {}).items():
            node = doomed.get(element)
            if node is None:
                items.append(item)
            elif _MEMBER not in node:
                items.append(_remove(item, node, _item_schema(schema)))
        return items
    return value


def _elements(items: list[Any], schema: Object) -> dict[str, Any]:
    """The items of a granular list by path element, in order.

    Raises:
        ApiError: 400 if two items have the same key.
    """
    found: dict[str, Any] = {}
    for item in items:
        element = _element(item, schema)
        if element in found:
            raise bad_request(f"duplicate entries for key {describe((element,))}")
        found[element] = item
    return found


def _element(item: Any, schema: Object) -> str:
    if schema["x-kubernetes-list-type"] == "set":
        return "v:" + _compact(item)
    keys = schema["x-kubernetes-list-map-keys"]
    properties = (schema.get("items") or {}).get("properties", {})
    item = item if isinstance(item, dict) else {}
    defaults = {key: properties.get(key, {}).get("default") for key in keys}
    return "k:" + _compact({key: item.get(key, defaults[key]) for key in sorted(keys)})


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _field_schema(schema: Object | None, name: str) -> tuple[Object | None, bool]:
    """The schema of a field, and whether it is a declared one rather than a key of a map."""
    if schema is None:
        return None, False
    declared = schema.get("properties", {})
    if name in declared:
        return declared[name], True
    additional = schema.get("additionalProperties")
    return (additional if isinstance(additional, dict) else None), False


def _item_schema(schema: Object | None) -> Object | None:
    return None if schema is None else schema.get("items")


def _element_schema(schema: Object | None, element: str) -> Object | None:
    if element.startswith("f:"):
        return _field_schema(schema, element[2:])[0]
    return _item_schema(schema)


def _atomic_map(schema: Object | None) -> bool:
    return schema is not None and schema.get("x-kubernetes-map-type") == "atomic"


def _granular_list(schema: Object | None) -> bool:
    return schema is not None and schema.get("x-kubernetes-list-type") in {"set", "map"}


def _trie(fields: FieldSet) -> Object:
    root: Object = {}
    for path in sorted(fields):
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node[_MEMBER] = {}
    return root


def _simplify(node: Object) -> Object:
    """A member without parts is written `{}`, one with parts has a `.` beside them."""
    if set(node) == {_MEMBER}:
        return {}
    return {
        element: {} if element == _MEMBER else _simplify(child) for element, child in node.items()
    }
