"""The reference page of the kinds, from the same schemas that the API server gets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from modelyard.api.crd import INT_OR_STRING, object_schema
from modelyard.api.kinds import KINDS, Kind
from modelyard.api.meta import API_VERSION


def reference_page() -> str:
    """Return the reference of all kinds as Markdown."""
    parts = [
        "# The seven kinds\n\n"
        "<!-- Written by `make generate` from the models; change those, not this page. -->\n\n"
        f"All kinds belong to `{API_VERSION}` and live in a namespace. Each has `spec`, which git "
        "owns, and `status`, which the operator writes.\n"
    ]
    parts += [_kind_section(kind) for kind in KINDS]
    return "\n".join(parts)


def _kind_section(kind: Kind) -> str:
    schema = object_schema(kind)
    lines = [
        f"## {kind.kind}\n",
        f"{kind.description}\n",
        f"Plural `{kind.plural}`, short name `{kind.short_name}`.\n",
    ]
    for part in ("spec", "status"):
        lines.append(f"### {kind.kind} {part}\n")
        lines.append("| field | type | description |\n|---|---|---|")
        lines += [_row(*field) for field in _fields(schema["properties"][part], part)]
        lines.append("")
        rules = list(_rules(schema["properties"][part], part))
        if rules:
            lines.append("Rules:\n")
            lines += [f"- `{path}`: {message}." for path, message in rules]
            lines.append("")
    return "\n".join(lines)


def _fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    required = schema.get("required", [])
    for name, child in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        yield here, child, name in required
        yield from _fields(child, here)
        if "items" in child:
            yield from _fields(child["items"], f"{here}[]")


def _rules(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for rule in schema.get("x-kubernetes-validations", []):
        yield path, rule["message"]
    for name, child in schema.get("properties", {}).items():
        yield from _rules(child, f"{path}.{name}")
        if "items" in child:
            yield from _rules(child["items"], f"{path}.{name}[]")


def _row(path: str, schema: dict[str, Any], required: bool) -> str:  # noqa: FBT001 - a fact shown
    text = schema.get("description", "")
    if required:
        text += " Required."
    if "enum" in schema:
        text += " One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + "."
    default = schema.get("default")
    if default not in (None, {}, [], ""):
        text += f" Default `{json.dumps(default)}`."
    return f"| `{path}` | {_type(schema)} | {text} |"


def _type(schema: dict[str, Any]) -> str:
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"map of {_type(schema['additionalProperties'])}"
    if INT_OR_STRING in schema:
        return "integer or string"
    return str(schema.get("type", "any"))
