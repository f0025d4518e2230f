"""The document that Policies see at a gate as `input`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.api.meta import GROUP
from modelyard.api.policy import Gate

_MANAGED_ANNOTATIONS = (f"{GROUP}/", "kubectl.kubernetes.io/")
UNSEEN_STATUS = ("verdicts", "preview")
"""Verdicts would make a gate depend on its own answer; a preview holds rows of data."""


def gate_input(  # noqa: PLR0913 - one argument for each part of the document
    gate: Gate,
    project: Mapping[str, Any],
    subject: Mapping[str, Any],
    *,
    dataset: Mapping[str, Any] | None = None,
    experiment: Mapping[str, Any] | None = None,
    model_version: Mapping[str, Any] | None = None,
    target_stage: str | None = None,
) -> dict[str, Any]:
    """Return the input of a gate.

    ```yaml
    gate: promote
    project: {name, environment, owners, labels}
    object: {kind, name, namespace, labels, annotations, spec, status}
    dataset: {name, spec, status}                # where the object has one, and so on
    experiment: {name, spec, status}
    modelVersion: {name, stage, spec, status}
    targetStage: Production                      # promote only
    ```

    Secrets are never in it: specs only name them. Left out besides are annotations that tools
    write, times of conditions, earlier verdicts and previews of rows.

    Args:
        gate: The gate.
        project: The Project, as the Kubernetes API gives it; so are all others.
        subject: The object that is judged.
        dataset: The Dataset it stems from.
        experiment: The Experiment it stems from.
        model_version: The ModelVersion that is to be promoted or deployed.
        target_stage: The stage that a ModelVersion is to reach.
    """
    spec = project.get("spec") or {}
    document: dict[str, Any] = {
        "gate": gate,
        "project": {
            "name": project["metadata"]["name"],
            "environment": spec.get("environment", "development"),
            "owners": spec.get("owners") or [],
            "labels": project["metadata"].get("labels") or {},
        },
        "object": _judged(subject),
    }
    if dataset is not None:
        document["dataset"] = _related(dataset)
    if experiment is not None:
        document["experiment"] = _related(experiment)
    if model_version is not None:
        status = model_version.get("status") or {}
        stage = status.get("stage") or "None"
        document["modelVersion"] = {**_related(model_version), "stage": stage}
    if target_stage is not None:
        document["targetStage"] = target_stage
    return document


def _judged(manifest: Mapping[str, Any]) -> dict[str, Any]:
    metadata = manifest["metadata"]
    annotations = metadata.get("annotations") or {}
    return {
        "kind": manifest["kind"],
        **_related(manifest),
        "namespace": metadata["namespace"],
        "labels": metadata.get("labels") or {},
        "annotations": {
            key: value
            for key, value in annotations.items()
            if not key.startswith(_MANAGED_ANNOTATIONS)
        },
    }


def _related(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": manifest["metadata"]["name"],
        "spec": manifest.get("spec") or {},
        "status": _status(manifest.get("status") or {}),
    }


def _status(status: Mapping[str, Any]) -> dict[str, Any]:
    seen = {key: value for key, value in status.items() if key not in UNSEEN_STATUS}
    if "conditions" in seen:
        seen["conditions"] = [
            {key: value for key, value in condition.items() if key != "lastTransitionTime"}
            for condition in seen["conditions"]
        ]
    return seen
