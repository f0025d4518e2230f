"""Stub CustomResourceDefinitions of the kinds that the stand-ins serve, and of two they do not.

They have the names, versions and subresources of the real ones and leave the fields open: what the
embedded plane does not support is refused by the stand-ins, by its name. Kueue's
LocalQueue is only stored and shown, as a quota is: on one machine nobody enforces it. KEDA's
ScaledObject says that requests can be followed: its work is done with that of KServe.
"""

from __future__ import annotations

from typing import Any

from modelyard.embedded.client import Object, Resource
from modelyard.embedded.standins.cronworkflows import CRON_WORKFLOWS
from modelyard.embedded.standins.inferenceservices import INFERENCE_SERVICES
from modelyard.embedded.standins.rayjobs import RAY_JOBS
from modelyard.embedded.standins.workflows import WORKFLOWS

_OPEN: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_LOCAL_QUEUES = Resource("kueue.x-k8s.io", "v1beta2", "localqueues", "LocalQueue")
_SCALED_OBJECTS = Resource("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject")
_AGE = ("Age", "date", ".metadata.creationTimestamp")


def crds() -> list[Object]:
    """Return the definitions; Argo's kinds have no status subresource, as in Argo."""
    return [
        _crd(
            WORKFLOWS,
            ["wf"],
            [("Status", "string", ".status.phase"), _AGE, ("Message", "string", ".status.message")],
        ),
        _crd(
            CRON_WORKFLOWS,
            ["cwf", "cronwf"],
            [("Last", "date", ".status.lastScheduledTime"), _AGE],
        ),
        _crd(
            RAY_JOBS,
            [],
            [
                ("job status", "string", ".status.jobStatus"),
                ("deployment status", "string", ".status.jobDeploymentStatus"),
                ("start time", "date", ".status.startTime"),
                ("end time", "date", ".status.endTime"),
                _AGE,
            ],
            subresources={"status": {}},
        ),
        _crd(
            INFERENCE_SERVICES,
            ["isvc"],
            [
                ("URL", "string", ".status.url"),
                ("Ready", "string", ".status.conditions[?(@.type=='Ready')].status"),
                _AGE,
            ],
            subresources={"status": {}},
        ),
        _crd(
            _LOCAL_QUEUES,
            ["queue", "queues", "lq"],
            [("ClusterQueue", "string", ".spec.clusterQueue"), _AGE],
            subresources={"status": {}},
        ),
        _crd(
            _SCALED_OBJECTS,
            ["so"],
            [
                ("Min", "integer", ".spec.minReplicaCount"),
                ("Max", "integer", ".spec.maxReplicaCount"),
                _AGE,
            ],
            subresources={"status": {}},
        ),
    ]


def _crd(
    resource: Resource,
    short_names: list[str],
    columns: list[tuple[str, str, str]],
    subresources: Object | None = None,
) -> Object:
    version: Object = {
        "name": resource.version,
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "required": ["metadata", "spec"],
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": {"type": "object"},
                    "spec": _OPEN,
                    "status": _OPEN,
                },
            }
        },
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path} for name, kind, path in columns
        ],
    }
    if subresources is not None:
        version["subresources"] = subresources
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced",
            "names": {
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "shortNames": short_names,
            },
            "versions": [version],
        },
    }
