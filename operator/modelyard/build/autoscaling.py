"""What a predictor says of replicas, and by what their number varies."""

from __future__ import annotations

from string import Template
from typing import Any, Literal, NamedTuple

from modelyard.api.deployment import DeploymentSpec
from modelyard.api.request_counts import NOT_A_PREDICTION, REQUESTS_METRIC, RequestCounts
from modelyard.build.common import Manifest
from modelyard.build.httproute import PREDICTOR_SUFFIX, ROUTE_SUFFIX

DEFAULT_CPU_PERCENT = 70
WINDOW = "1m"
"""Over which served requests are averaged: four scrapes at the usual quarter of a minute."""


class Replicas(NamedTuple):
    """KServe's class of autoscaler, and the fields of the predictor that belong to it.

    Where something else counts replicas, their number is nowhere in what is applied.
    """

    autoscaler: Literal["none", "hpa", "keda"]
    predictor: dict[str, Any]


def replicas(owner: Manifest, name: str, spec: DeploymentSpec, counts: RequestCounts) -> Replicas:
    """Return what the InferenceService of a name says of replicas."""
    scaling = spec.autoscaling
    if scaling is None:
        return Replicas("none", {"minReplicas": spec.replicas, "maxReplicas": spec.replicas})
    limits = {"minReplicas": scaling.min_replicas, "maxReplicas": scaling.max_replicas}
    if scaling.target_requests_per_second is None:
        percent = scaling.target_cpu_percent or DEFAULT_CPU_PERCENT
        return Replicas("hpa", {**limits, "scaleMetric": "cpu", "scaleTarget": percent})
    # KServe passes the value on as KEDA's threshold, which is that of one replica.
    target = {"type": "Value", "value": str(scaling.target_requests_per_second)}
    metric = {
        "backend": "prometheus",
        "serverAddress": counts.prometheus_url,
        "query": _requests_per_second(owner, name, spec, counts),
    }
    external = {"type": "External", "external": {"metric": metric, "target": target}}
    return Replicas("keda", {**limits, "autoScaling": {"metrics": [external]}})


def awake(service: Manifest) -> Manifest:
    """Return an InferenceService that keeps one replica at least."""
    predictor = service["spec"]["predictor"]
    return {**service, "spec": {"predictor": {**predictor, "minReplicas": 1}}}


def _requests_per_second(
    owner: Manifest, name: str, spec: DeploymentSpec, counts: RequestCounts
) -> str:
    """Return the query of the requests per second.

    Servers count what they answer, which is nothing where there is none: what may rest follows
    who stands before the servers.
    """
    namespace, service = owner["metadata"]["namespace"], f"{name}{PREDICTOR_SUFFIX}"
    if spec.autoscaling is not None and spec.autoscaling.min_replicas == 0:
        return Template(counts.idle_query).substitute(
            namespace=namespace,
            service=service,
            hostname=spec.gateway.hostname if spec.gateway else "",
            route=f"{owner['metadata']['name']}{ROUTE_SUFFIX}",
        )
    labels = f'namespace="{namespace}",pod=~"{service}-.+",protocol!="{NOT_A_PREDICTION}"'
    return f"sum(rate({REQUESTS_METRIC}{{{labels}}}[{WINDOW}]))"
