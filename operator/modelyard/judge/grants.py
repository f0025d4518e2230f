"""What a Project does not grant: runs beyond its quota, on nodes that it does not know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from modelyard.api.compute import Resources
from modelyard.api.dataset import DatasetSpec
from modelyard.api.deployment import DeploymentSpec
from modelyard.api.experiment import DEFAULT_PARALLELISM, Execution, ExperimentSpec
from modelyard.api.monitor import MonitorSpec
from modelyard.api.project import ProjectSpec, Quota
from modelyard.api.quantity import amount

BESIDE_WORKERS = 2
"""Pods of a RayJob beside its workers: the head, as large as they, and what submits the job."""
REMEDY = "lower the one or raise the other"


class Refusal(NamedTuple):
    """Why an object does not run in a Project: reason, field of the object, what is wrong there."""

    reason: str
    path: tuple[str, ...]
    fault: str

    @property
    def message(self) -> str:
        """The fault with its field, as a sentence."""
        return f"{'.'.join(self.path)}: {self.fault}."


Limited = DatasetSpec | DeploymentSpec | ExperimentSpec | MonitorSpec
"""Specs of what runs pods."""


def refusals(spec: Limited, project: ProjectSpec) -> Iterator[Refusal]:
    """Yield every reason why a Project does not let an object run."""
    if isinstance(spec, ExperimentSpec):
        yield from _experiment(spec, project)
    elif isinstance(spec, DeploymentSpec):
        replicas = spec.autoscaling.max_replicas if spec.autoscaling else spec.replicas
        most = project.quota.pods
        own = spec.mode == "Online" and spec.placement.server == "Dedicated"
        if own and most is not None and replicas > most:
            field = ("autoscaling", "maxReplicas") if spec.autoscaling else ("replicas",)
            yield _exceeded(("spec", *field), f"{replicas} is", "pods", most)
        yield from _beyond(spec.resources, replicas, project.quota)
    else:
        yield from _beyond(spec.resources, 1, project.quota)


def workers(execution: Execution, quota: Quota) -> int:
    """Return how many trials of a search run at once.

    What declares nothing takes no more than is granted; what declares more is refused.
    """
    if execution.parallelism is not None:
        return execution.parallelism
    most = min(DEFAULT_PARALLELISM, quota.parallel_trials)
    if execution.backend == "Ray" and quota.pods is not None:
        most = min(most, quota.pods - BESIDE_WORKERS)
    return max(most, 1)


def _experiment(spec: ExperimentSpec, project: ProjectSpec) -> Iterator[Refusal]:
    path = ("spec", "execution", "parallelism")
    parallelism, most = workers(spec.execution, project.quota), project.quota.parallel_trials
    if parallelism > most:
        yield _exceeded(path, f"{parallelism} is", "parallelTrials", most)
    by_ray = spec.execution.backend == "Ray"
    pods = parallelism + BESIDE_WORKERS if by_ray else 1
    if project.quota.pods is not None and pods > project.quota.pods:
        taken = f"{parallelism} takes {pods} pods with backend {spec.execution.backend}, which is"
        yield _exceeded(path, taken, "pods", project.quota.pods)
    yield from _beyond(spec.resources, parallelism + 1 if by_ray else 1, project.quota)
    if spec.execution.spot == "Prefer" and project.scheduling.spot is None:
        fault = (
            "Prefer needs the Project's spec.scheduling.spot, which does not say which nodes these "
            "are; add it, or set Never"
        )
        yield Refusal("SpotNodesMissing", ("spec", "execution", "spot"), fault)


def _beyond(resources: Resources, pods: int, quota: Quota) -> Iterator[Refusal]:
    asked, explicit = resources.requested(), resources.requests
    for name in ("cpu", "memory", "gpu"):
        each, most = getattr(asked, name), getattr(quota, name)
        if each is None or most is None or amount(str(each)) * pods <= amount(str(most)):
            continue
        part = "limits" if getattr(explicit, name) is None else "requests"
        asking = f"{each} for each of {pods} pods is" if pods > 1 else f"{each} is"
        yield _exceeded(("spec", "resources", part, name), asking, name, most)


def _exceeded(path: tuple[str, ...], found: str, limit: str, most: Any) -> Refusal:
    fault = f"{found} more than the Project's spec.quota.{limit}, {most}; {REMEDY}"
    return Refusal("QuotaExceeded", path, fault)
