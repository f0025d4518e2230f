"""Finds paths of a Policy's rules that lead nowhere in the input of its gates.

A value that is missing holds under no operator, so a misspelt path would deny everything for good.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

from modelyard.api.kinds import KINDS
from modelyard.api.policy import Gate, PolicySpec
from modelyard.judge.gate_input import UNSEEN_STATUS
from modelyard.judge.policy_lint import Finding

Schema = Mapping[str, Any]

KIND_AT: Mapping[Gate, str] = MappingProxyType(
    {"dataset": "Dataset", "train": "Experiment", "promote": "ModelVersion", "deploy": "Deployment"}
)
"""Kind of the object that a gate judges."""

_TEXT: Schema = {"type": "string"}
_LABELS: Schema = {"type": "object", "additionalProperties": _TEXT}
_SHOWN = 12
"""Most names that a message lists."""


def unknown_paths(spec: PolicySpec) -> list[Finding]:
    """Return the rules of a Policy whose paths lead nowhere."""
    return [
        Finding(f"spec.rules[{index}].path", 0, 0, trouble)
        for index, rule in enumerate(spec.rules)
        if (trouble := unknown_path(rule.path, spec.gates)) is not None
    ]


def unknown_path(path: str, gates: Sequence[Gate]) -> str | None:
    """Return why a path leads nowhere at any of these gates; None where it may lead somewhere."""
    troubles = [_trouble(path, gate) for gate in gates]
    return None if None in troubles else troubles[0]


def _trouble(path: str, gate: Gate) -> str | None:
    """Return the first part of a path that the input of a gate does not have, and what it has."""
    places: list[Schema] = [_input(gate)]
    walked = "the gate's input"
    for part in path.split("."):
        above = places
        known = sorted({name for place in above for name in place.get("properties", {})})
        places = [found for place in above for found in _below(place, part)]
        if not places:
            return f"{walked} has no {part!r}{_remedy(part, known, above)}"
        walked = part if walked == "the gate's input" else f"{walked}.{part}"
    return None


def _remedy(part: str, known: Sequence[str], above: Sequence[Schema]) -> str:
    close = difflib.get_close_matches(part, known, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    if any(place.get("type") == "array" for place in above):
        return ", it is a list; name a position, the first is 0"
    if not known:
        return ", it is a value itself; shorten the path"
    more = ", ..." if len(known) > _SHOWN else ""
    return f"; it has {', '.join(known[:_SHOWN])}{more}"


def _below(place: Schema, part: str) -> Iterator[Schema]:
    """Yield what may be at a part of a path below a place: several schemas, or none."""
    if not place:  # anything
        yield place
    elif part in place.get("properties", {}):
        yield from _resolved(place["properties"][part], place["$defs"])
    elif "properties" not in place and place.get("type") == "object":
        yield from _resolved(place.get("additionalProperties") or {}, place.get("$defs", {}))
    elif place.get("type") == "array" and part.isdigit():
        yield from _resolved(place.get("items") or {}, place.get("$defs", {}))


def _resolved(schema: Any, definitions: Schema) -> Iterator[Schema]:
    """Yield the alternatives of a schema without references, each with the definitions."""
    if not isinstance(schema, Mapping):  # additionalProperties: true
        yield {}
    elif "$ref" in schema:
        yield from _resolved(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    elif "anyOf" in schema or "oneOf" in schema:
        for one in schema.get("anyOf") or schema["oneOf"]:
            yield from _resolved(one, definitions)
    elif "type" in schema or "properties" in schema:
        yield {"$defs": definitions, **schema}
    elif "const" in schema or "enum" in schema:
        yield {**_TEXT, "$defs": definitions}
    else:
        yield {}


@cache
def _input(gate: Gate) -> Schema:
    """Return the schema of what `gate_input.gate_input` returns."""
    judged = {"kind": _TEXT, "namespace": _TEXT, "labels": _LABELS, "annotations": _LABELS}
    project = {"name": _TEXT, "environment": _TEXT, "owners": {"type": "array"}, "labels": _LABELS}
    return _object(
        {
            "gate": _TEXT,
            "targetStage": _TEXT,
            "project": _object(project),
            "object": _object({**judged, **_related(KIND_AT[gate])}),
            "dataset": _object(_related("Dataset")),
            "experiment": _object(_related("Experiment")),
            "modelVersion": _object({"stage": _TEXT, **_related("ModelVersion")}),
        }
    )


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "$defs": {}}


def _related(kind: str) -> dict[str, Schema]:
    found = next(one for one in KINDS if one.kind == kind)
    spec, status = (model.model_json_schema(by_alias=True) for model in (found.spec, found.status))
    for unseen in UNSEEN_STATUS:
        status["properties"].pop(unseen, None)
    return {"name": _TEXT, "spec": spec, "status": status}
