"""The kinds as CustomResourceDefinitions and as JSON Schemas, from the pydantic models."""

from __future__ import annotations

import copy
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from modelyard.api.kinds import AGE, KINDS, MESSAGE, READY, REASON, REVISION, Kind
from modelyard.api.meta import API_VERSION, GROUP, UNJUDGED, VERSION, Model

CATEGORY = "modelyard"
INT_OR_STRING = "x-kubernetes-int-or-string"
PRESERVE_UNKNOWN = "x-kubernetes-preserve-unknown-fields"
_KEPT = (
    "type", "description", "format", "enum", "pattern", "minLength", "maxLength", "minItems",
    "maxItems", "minProperties", "maxProperties", "minimum", "maximum", "required", "default",
)  # fmt: skip

_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_METADATA = {
    "type": "object",
    "description": "Standard Kubernetes object metadata.",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "description": "Name, the only one of its kind in a namespace."},
        "namespace": {"type": "string", "description": "Namespace, which has one Project."},
        "labels": {**_TEXTS, "description": "Names and values by which objects are selected."},
        "annotations": {**_TEXTS, "description": "Notes for people and tools."},
    },
}
"""What editors tell of the metadata that people write; there is more, which they leave alone."""


def crd(kind: Kind) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind."""
    columns = (READY, REASON, *kind.columns, AGE, MESSAGE, REVISION)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short_name],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": _subresources(kind),
                    "additionalPrinterColumns": [_printer_column(column) for column in columns],
                    "schema": {"openAPIV3Schema": object_schema(kind)},
                }
            ],
        },
    }


def _subresources(kind: Kind) -> dict[str, Any]:
    if not kind.scalable:
        return {"status": {}}
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    return {"status": {}, "scale": paths}


def crds() -> list[dict[str, Any]]:
    """Return the CustomResourceDefinitions of all kinds."""
    return [crd(kind) for kind in KINDS]


def object_schema(kind: Kind) -> dict[str, Any]:
    """Return the structural schema of an object of a kind."""
    spec = structural_schema(kind.spec)
    if not kind.spec_required:
        spec["default"] = {}
    return {
        "type": "object",
        "description": kind.description,
        # An empty list is not kept by the API server: git would differ from it for ever.
        **({"required": ["spec"]} if kind.spec_required else {}),
        "properties": {
            "apiVersion": {"type": "string", "description": "Group and version of the kind."},
            "kind": {"type": "string", "description": "Name of the kind."},
            # An API server knows what metadata is, and refuses to be told.
            "metadata": {"type": "object"},
            "spec": {**spec, "description": f"Desired state of the {kind.kind}."},
            "status": {
                **structural_schema(kind.status),
                "description": f"Observed state of the {kind.kind}; written by the operator.",
                "default": {"observedGeneration": UNJUDGED},
            },
        },
    }


def json_schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema of a kind's manifests for editors: strict about unknown fields."""
    schema = _strict(object_schema(kind))
    schema["$schema"] = "http://json-schema.org/draft-07/schema#"
    schema["title"] = kind.kind
    properties = schema["properties"]
    properties["apiVersion"]["const"] = API_VERSION
    properties["kind"]["const"] = kind.kind
    properties["metadata"] = copy.deepcopy(_METADATA)
    schema["required"] = ["apiVersion", "kind", "metadata", *schema.get("required", [])]
    return schema


def bundle_schema() -> dict[str, Any]:
    """Return one JSON Schema that accepts a manifest of any of the kinds."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Modelyard",
        "oneOf": [json_schema(kind) for kind in KINDS],
    }


def structural_schema(model: type[Model]) -> dict[str, Any]:
    """Return the structural schema of a model, its CEL rules among it."""
    raw = model.model_json_schema(by_alias=True)
    definitions = raw.get("$defs", {})
    schema = _structural(raw, definitions)
    _add_rules(schema, model)
    return schema


def _printer_column(column: Any) -> dict[str, Any]:
    entry = {"name": column.name, "type": column.type, "jsonPath": column.json_path}
    return {**entry, "priority": column.priority} if column.priority else entry


def _structural(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    node = _resolve(node, definitions)
    result = {key: copy.deepcopy(node[key]) for key in _KEPT if key in node}
    result.update({key: value for key, value in node.items() if key.startswith("x-kubernetes-")})
    if INT_OR_STRING in result:
        del result["type"]
    for source, target in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if source in node:
            result[target] = node[source]
            result[source] = True
    if "properties" in node:
        result["properties"] = {
            name: _structural(child, definitions) for name, child in node["properties"].items()
        }
    if "items" in node:
        result["items"] = _structural(node["items"], definitions)
    extra = node.get("additionalProperties")
    if isinstance(extra, dict):
        result["additionalProperties"] = _structural(extra, definitions)
    if "default" in result:
        result["default"] = _without_nulls(result["default"])
        if result["default"] is None:
            del result["default"]
    return result


def _without_nulls(value: Any) -> Any:
    """Return a default as a manifest would have it: unset fields are absent, not null."""
    if isinstance(value, dict):
        return {key: _without_nulls(child) for key, child in value.items() if child is not None}
    if isinstance(value, list):
        return [_without_nulls(child) for child in value]
    return value


def _resolve(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference and the `or null` of an optional field; keep what stands beside them."""
    beside = {key: value for key, value in node.items() if key not in ("$ref", "anyOf", "title")}
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        return _resolve({**target, **beside}, definitions)
    if "anyOf" in node:
        options = [option for option in node["anyOf"] if option.get("type") != "null"]
        return _resolve({**options[0], **beside}, definitions)
    if "const" in node:
        return {**beside, "enum": [node["const"]]}
    return beside


def _add_rules(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Put each model's CEL rules beside its part of the schema, down to nested models."""
    rules = getattr(model, "cel_rules", ())
    if rules:
        schema["x-kubernetes-validations"] = [_validation(rule) for rule in rules]
    for name, field in model.model_fields.items():
        child = model_of(field.annotation)
        if child is None:
            continue
        part = schema["properties"][field.alias or name]
        while "items" in part or "additionalProperties" in part:
            part = part.get("items") or part["additionalProperties"]
        _add_rules(part, child)


def _validation(rule: Any) -> dict[str, str]:
    entry = {"rule": _escape(rule.rule), "message": rule.message}
    return {**entry, "fieldPath": rule.field_path} if rule.field_path else entry


def _escape(rule: str) -> str:
    """Kubernetes CEL spells fields that are CEL keywords with underscores around them."""
    return rule.replace(".import", ".__import__")


def model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model in an annotation such as Model, Model | None or list[Model]."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    for argument in get_args(annotation):
        found = model_of(argument)
        if found is not None:
            return found
    return None


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a copy for editors: closed objects, bounds as draft 7 has them, no extensions."""
    result: dict[str, Any] = {}
    if INT_OR_STRING in schema:
        result["type"] = ["integer", "string"]
    for key, value in schema.items():
        if key.startswith("x-kubernetes-"):
            continue
        if key == "properties":
            result[key] = {name: _strict(child) for name, child in value.items()}
        elif key in ("items", "additionalProperties"):
            result[key] = _strict(value)
        else:
            result[key] = copy.deepcopy(value)
    for source, target in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if result.get(source) is True:
            result[source] = result.pop(target)
    closed = "properties" in result and "additionalProperties" not in result
    if closed and not schema.get(PRESERVE_UNKNOWN):
        result["additionalProperties"] = False
    return result
