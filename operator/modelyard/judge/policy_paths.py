"""Finds paths of a Policy's rules that lead nowhere in the input of its gates.

A value that is missing holds under no operator, so a misspelt path would deny everything for good.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

from modelyard.api.crd import PRESERVE_UNKNOWN, object_schema
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
_ROOT = "the gate's input"
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
    place, walked = _input(gate), ""
    for part in path.split("."):
        below = _below(place, part)
        if below is None:
            return f"{walked or _ROOT} has no {part!r}{_remedy(part, place)}"
        place, walked = below, f"{walked}.{part}" if walked else part
    return None


def _remedy(part: str, place: Schema) -> str:
    known = sorted(place.get("properties", {}))
    close = difflib.get_close_matches(part, known, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    if place.get("type") == "array":
        return ", it is a list; name a position, the first is 0"
    if not known:
        return ", it is a value itself; shorten the path"
    more = ", ..." if len(known) > _SHOWN else ""
    return f"; it has {', '.join(known[:_SHOWN])}{more}"


def _below(place: Schema, part: str) -> Schema | None:
    """Return what may be at a part of a path below a place; None where nothing can."""
    if PRESERVE_UNKNOWN in place:
        return place  # anything, at any depth
    if "properties" in place:
        found: Schema | None = place["properties"].get(part)
        return found
    if place.get("type") == "array":
        return place["items"] if part.isdigit() else None
    return place.get("additionalProperties")


@cache
def _input(gate: Gate) -> Schema:
    """Return the schema of what `gate_input.gate_input` returns."""
    judged = {"kind": _TEXT, "namespace": _TEXT, "labels": _LABELS, "annotations": _LABELS}
    project = {
        "name": _TEXT,
        "environment": _TEXT,
        "owners": {"type": "array", "items": _TEXT},
        "labels": _LABELS,
    }
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
    return {"type": "object", "properties": properties}


def _related(kind: str) -> dict[str, Schema]:
    schema = object_schema(next(one for one in KINDS if one.kind == kind))
    spec, status = (schema["properties"][part] for part in ("spec", "status"))
    for unseen in UNSEEN_STATUS:
        status["properties"].pop(unseen, None)
    return {"name": _TEXT, "spec": spec, "status": status}
