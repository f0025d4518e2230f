"""Which objects a change concerns: pure, from the objects that were last seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modelyard.api.resources import Key
from modelyard.build.common import KIND_LABEL, NAME_LABEL

Manifest = Mapping[str, Any]

_WHOLE_NAMESPACE = {
    "Project": ("Project", "Dataset", "Experiment", "ModelVersion", "Deployment", "Monitor"),
    "Policy": ("Dataset", "Experiment", "ModelVersion", "Deployment"),
}


def owner_of(child: Manifest) -> Key | None:
    """Return the object of ours that a child belongs to, by its labels."""
    metadata = child["metadata"]
    labels = metadata.get("labels") or {}
    if KIND_LABEL not in labels or NAME_LABEL not in labels:
        return None
    return Key(labels[KIND_LABEL], metadata["namespace"], labels[NAME_LABEL])


def dependents(changed: Manifest, known: Mapping[Key, Manifest]) -> Iterable[Key]:
    """Yield the objects whose judgement reads the changed one."""
    kind, metadata = changed["kind"], changed["metadata"]
    for key, manifest in known.items():
        if key.namespace != metadata["namespace"]:
            continue
        whole = key.kind in _WHOLE_NAMESPACE.get(kind, ())
        if whole or _reads(key.kind, manifest, kind, changed):
            yield key


def _reads(reader_kind: str, reader: Manifest, kind: str, changed: Manifest) -> bool:
    name = changed["metadata"]["name"]
    spec = reader.get("spec") or {}
    if (kind, reader_kind) == ("Dataset", "Experiment"):
        return bool((spec.get("datasetRef") or {}).get("name") == name)
    if (kind, reader_kind) == ("Experiment", "Deployment"):
        return name in [choice.get("experiment") for choice in _choices(spec)]
    if (kind, reader_kind) == ("Experiment", "ModelVersion"):
        return bool(reader["metadata"]["name"].rpartition("-")[0] == name)
    if (kind, reader_kind) == ("ModelVersion", "Deployment"):
        experiment = name.rpartition("-")[0]
        return any(
            name == choice.get("modelVersion") or experiment == choice.get("experiment")
            for choice in _choices(spec)
        )
    if (kind, reader_kind) == ("Deployment", "Monitor"):
        return bool((spec.get("deploymentRef") or {}).get("name") == name)
    return False


def _choices(spec: Manifest) -> list[Manifest]:
    """Return the models that a Deployment asks for."""
    return [spec.get("model") or {}, spec.get("canary") or {}]
