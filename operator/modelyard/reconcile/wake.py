"""Which objects a change concerns: pure, from the objects that were last seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modelyard.api.meta import API_VERSION
from modelyard.api.resources import Key
from modelyard.build.common import KIND_LABEL, NAME_LABEL
from modelyard.build.shared import asks_for_shared

Manifest = Mapping[str, Any]

_READERS = {
    "Project": ("Project", "Dataset", "Experiment", "ModelVersion", "Deployment", "Monitor"),
    "Policy": ("Dataset", "Experiment", "ModelVersion", "Deployment"),
    "Dataset": ("Experiment", "Deployment"),
    "Experiment": ("ModelVersion", "Deployment"),
    "ModelVersion": ("Deployment",),
    "Deployment": ("Monitor",),
}


def owners_of(child: Manifest) -> list[Key]:
    """Return the objects of ours that a child belongs to: one by its labels, else its owners."""
    metadata = child["metadata"]
    labels = metadata.get("labels") or {}
    if KIND_LABEL in labels and NAME_LABEL in labels:
        return [Key(labels[KIND_LABEL], metadata["namespace"], labels[NAME_LABEL])]
    return [
        Key(owner["kind"], metadata["namespace"], owner["name"])
        for owner in metadata.get("ownerReferences") or []
        if owner["apiVersion"] == API_VERSION
    ]


def heir(gone: Manifest, others: Iterable[Manifest]) -> Key | None:
    """Return who takes out of the shared server what a Deployment that is gone had in it.

    One is enough; None where nothing was shared, or nobody is left who does.
    """
    if not asks_for_shared(gone):
        return None
    return next(
        (
            Key(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"])
            for one in others
            if asks_for_shared(one) and one["metadata"]["name"] != gone["metadata"]["name"]
        ),
        None,
    )


def readers(kind: str) -> tuple[str, ...]:
    """Return the kinds of objects whose judgement may read one of a kind in their namespace."""
    return _READERS.get(kind, ())


def reads(reader: Manifest, changed: Manifest) -> bool:
    """Return whether the judgement of an object reads another of its namespace."""
    kind, name = changed["kind"], changed["metadata"]["name"]
    spec = reader.get("spec") or {}
    match kind, reader["kind"]:
        case "Dataset", "Experiment":
            return bool((spec.get("datasetRef") or {}).get("name") == name)
        case "Dataset", "Deployment":
            given = (spec.get("batch") or {}).get("input") or {}
            return bool((given.get("datasetRef") or {}).get("name") == name)
        case "Experiment", "Deployment":
            return name in [choice.get("experiment") for choice in _choices(spec)]
        case "Experiment", "ModelVersion":
            return bool(reader["metadata"]["name"].rpartition("-")[0] == name)
        case "ModelVersion", "Deployment":
            experiment = name.rpartition("-")[0]
            return any(
                name == choice.get("modelVersion") or experiment == choice.get("experiment")
                for choice in _choices(spec)
            )
        case "Deployment", "Monitor":
            return bool((spec.get("deploymentRef") or {}).get("name") == name)
    return reader["kind"] in readers(kind)


def _choices(spec: Manifest) -> list[Manifest]:
    """Return the models that a Deployment asks for."""
    fallback = (spec.get("traffic") or {}).get("fallback")
    return [spec.get("model") or {}, spec.get("canary") or {}, fallback or {}]
