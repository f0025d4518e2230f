"""What the pods of a run or a predictor ask for, and on which nodes they may run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modelyard.api.compute import Resources
from modelyard.api.project import Scheduling
from modelyard.api.resources import QUEUE_LABEL
from modelyard.build.common import Manifest

GPU = "nvidia.com/gpu"


@dataclass(frozen=True)
class PodNeeds:
    """What to add: to the container of the runtime, to the spec of its pod, and who admits it."""

    container: Manifest = field(default_factory=dict)
    pod: Manifest = field(default_factory=dict)
    queue: str | None = None
    """LocalQueue of Kueue in which they wait for room."""

    @property
    def labels(self) -> Manifest:
        """The labels by which Kueue knows the queue."""
        return {} if self.queue is None else {QUEUE_LABEL: self.queue}


NO_NEEDS = PodNeeds()


def pod_needs(
    resources: Resources, scheduling: Scheduling, spot: str = "Never", queue: str | None = None
) -> PodNeeds:
    """Return the needs of the pods of a run or a predictor.

    Args:
        resources: What each pod asks for.
        scheduling: On which nodes the Project's pods may run.
        spot: `Prefer` for spot nodes where there is room, `Never` for none.
        queue: LocalQueue in which they wait for room; None where they start at once.
    """
    return PodNeeds(_container_needs(resources), _placement(scheduling, spot), queue)


def _container_needs(resources: Resources) -> Manifest:
    """Return the field of a container that says what it asks for; nothing where it asks nothing."""
    declared = {"requests": resources.requests, "limits": resources.limits}
    amounts = {part: _amounts(value.to_json()) for part, value in declared.items()}
    gpu = amounts["limits"].get(GPU) or amounts["requests"].get(GPU)
    if gpu is not None:  # Kubernetes wants what it cannot share in both.
        amounts = {part: {**value, GPU: gpu} for part, value in amounts.items()}
    amounts = {part: value for part, value in amounts.items() if value}
    return {"resources": amounts} if amounts else {}


def _amounts(declared: Manifest) -> Manifest:
    names = {"gpu": GPU}
    return {names.get(name, name): str(value) for name, value in declared.items()}


def _placement(scheduling: Scheduling, spot: str) -> Manifest:
    tolerations = list(scheduling.tolerations)
    affinity: Manifest = {}
    if scheduling.spot is not None:
        labels = sorted(scheduling.spot.node_labels.items())
        if spot == "Prefer":
            tolerations += scheduling.spot.tolerations
            term = {"matchExpressions": [_requirement("In", *label) for label in labels]}
            preferred = [{"weight": 100, "preference": term}]
            affinity = {"preferredDuringSchedulingIgnoredDuringExecution": preferred}
        else:  # Terms are alternatives: a node that lacks one of the labels is no spot node.
            terms = [{"matchExpressions": [_requirement("NotIn", *label)]} for label in labels]
            required = {"nodeSelectorTerms": terms}
            affinity = {"requiredDuringSchedulingIgnoredDuringExecution": required}
    fields: dict[str, Any] = {
        "nodeSelector": dict(scheduling.node_selector),
        "tolerations": [toleration.to_json() for toleration in tolerations],
        "affinity": {"nodeAffinity": affinity} if affinity else {},
    }
    return {name: value for name, value in fields.items() if value}


def _requirement(operator: str, key: str, value: str) -> Manifest:
    return {"key": key, "operator": operator, "values": [value]}
