"""What Kustomize must be told of the kinds: which fields name objects, which lists merge by key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelyard.api.crd import model_of, object_schema
from modelyard.api.kinds import KINDS
from modelyard.api.meta import GROUP, REFERS_TO, VERSION, Model


def references(model: type[Model], path: str = "spec") -> Iterator[tuple[str, str]]:
    """Yield (kind, path) of every field under a model that holds the name of an object."""
    for name, field in model.model_fields.items():
        here = f"{path}/{field.alias or name}"
        extra = field.json_schema_extra
        kind = extra.get(REFERS_TO) if isinstance(extra, dict) else None
        child = model_of(field.annotation)
        if kind is not None:
            yield str(kind), here if child is None else f"{here}/name"
        elif child is not None and issubclass(child, Model):
            yield from references(child, here)


def name_references() -> dict[str, Any]:
    """Return the Kustomize configuration by which names follow into the fields that hold them."""
    fields: dict[str, list[dict[str, str]]] = {}
    for kind in KINDS:
        for named, path in references(kind.spec):
            field = {"path": path, "group": GROUP, "kind": kind.kind}
            fields.setdefault(named, []).append(field)
    ours = {kind.kind for kind in KINDS}
    return {
        "nameReference": [
            {**({"group": GROUP} if named in ours else {}), "kind": named, "fieldSpecs": specs}
            for named, specs in sorted(fields.items())
        ]
    }


def merge_schema() -> dict[str, Any]:
    """Return the OpenAPI definitions by which Kustomize merges patches of our keyed lists."""
    definitions = {}
    for kind in KINDS:
        keyed = _keyed_lists(object_schema(kind)["properties"]["spec"])
        if keyed:
            definitions[f"dev.modelyard.{VERSION}.{kind.kind}"] = {
                "x-kubernetes-group-version-kind": [
                    {"group": GROUP, "version": VERSION, "kind": kind.kind}
                ],
                "type": "object",
                "properties": {"spec": keyed},
            }
    return {"definitions": definitions}


def _keyed_lists(schema: dict[str, Any]) -> dict[str, Any]:
    """Return of a schema only what leads to lists that merge by a key; empty without any."""
    keys = schema.get("x-kubernetes-list-map-keys")
    if keys:
        return {
            "type": "array",
            "x-kubernetes-patch-strategy": "merge",
            "x-kubernetes-patch-merge-key": keys[0],
            "items": _keyed_lists(schema["items"]) or {"type": "object"},
        }
    below = {name: _keyed_lists(child) for name, child in schema.get("properties", {}).items()}
    found = {name: child for name, child in below.items() if child}
    return {"type": "object", "properties": found} if found else {}
