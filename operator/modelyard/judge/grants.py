"""What a Project does not grant: runs beyond its quota, on nodes that it does not know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from modelyard.api.compute import Resources, amount
from modelyard.api.dataset import DatasetSpec
from modelyard.api.deployment import DeploymentSpec
from modelyard.api.experiment import ExperimentSpec
from modelyard.api.monitor import MonitorSpec
from modelyard.api.project import ProjectSpec, Quota

REMEDY = "lower the one or raise the other"


class Refusal(NamedTuple):
    """Why an object does not run in a Project: reason, field of the object, message."""

    reason: str
    path: tuple[str, ...]
    message: str


Limited = DatasetSpec | DeploymentSpec | ExperimentSpec | MonitorSpec
"""Specs of what runs pods."""


def refusals(spec: Limited, project: ProjectSpec) -> Iterator[Refusal]:
    """Yield every reason why a Project does not let an object run."""
    if isinstance(spec, ExperimentSpec):
        yield from _experiment(spec, project)
    elif isinstance(spec, DeploymentSpec):
        replicas = spec.autoscaling.max_replicas if spec.autoscaling else spec.replicas
        yield from _beyond(spec.resources, replicas, project.quota)
    else:
        yield from _beyond(spec.resources, 1, project.quota)


def _experiment(spec: ExperimentSpec, project: ProjectSpec) -> Iterator[Refusal]:
    parallelism, most = spec.execution.parallelism, project.quota.parallel_trials
    if parallelism > most:
        yield _exceeded(
            ("spec", "execution", "parallelism"), f"is {parallelism}", "parallelTrials", most
        )
    pods = parallelism + 1 if spec.execution.backend == "Ray" else 1
    if project.quota.pods is not None and pods > project.quota.pods:
        yield _exceeded(
            ("spec", "execution", "parallelism"),
            f"takes {pods} pods with backend {spec.execution.backend}",
            "pods",
            project.quota.pods,
        )
    yield from _beyond(spec.resources, pods, project.quota)
    if spec.execution.spot == "Prefer" and project.scheduling.spot is None:
        message = (
            "spec.execution.spot is Prefer, but the Project's spec.scheduling.spot does not say "
            "which nodes these are; add it, or set Never."
        )
        yield Refusal("SpotNodesMissing", ("spec", "execution", "spot"), message)


def _beyond(resources: Resources, pods: int, quota: Quota) -> Iterator[Refusal]:
    asked, explicit = resources.requested(), resources.requests
    for name in ("cpu", "memory", "gpu"):
        each, most = getattr(asked, name), getattr(quota, name)
        if each is None or most is None or amount(str(each)) * pods <= amount(str(most)):
            continue
        part = "limits" if getattr(explicit, name) is None else "requests"
        shared = f"is {each} for each of {pods} pods" if pods > 1 else f"is {each}"
        yield _exceeded(("spec", "resources", part, name), shared, name, most)


def _exceeded(path: tuple[str, ...], found: str, limit: str, most: Any) -> Refusal:
    message = f"{'.'.join(path)} {found}, the Project's spec.quota.{limit} is {most}; {REMEDY}."
    return Refusal("QuotaExceeded", path, message)
