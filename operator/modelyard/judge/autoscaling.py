"""Whether requests can be followed: who counts them, who reads the count, who sees them at zero."""

from __future__ import annotations

from modelyard.api.deployment import DeploymentSpec
from modelyard.api.request_counts import RequestCounts
from modelyard.judge.conditions import Readiness, stalled

_BY_REQUESTS = "spec.autoscaling.targetRequestsPerSecond"
_TO_ZERO = "spec.autoscaling.minReplicas"


def follows_requests(spec: DeploymentSpec) -> bool:
    """Return whether the number of replicas follows the requests that come."""
    return spec.autoscaling is not None and bool(spec.autoscaling.target_requests_per_second)


def may_rest(spec: DeploymentSpec) -> bool:
    """Return whether no replica has to run while no request comes."""
    return spec.autoscaling is not None and spec.autoscaling.min_replicas == 0


def judge_autoscaling(
    spec: DeploymentSpec, counts: RequestCounts, *, keda: bool
) -> Readiness | None:
    """Return why the requests of a Deployment cannot be followed; None when they can.

    Args:
        spec: The Deployment's spec.
        counts: Where the operator was told that requests are counted.
        keda: Whether KEDA is installed.
    """
    if not follows_requests(spec):
        return None
    if not counts.prometheus_url:
        return stalled(
            "BackendMissing",
            f"{_BY_REQUESTS}: the operator knows no Prometheus that counts requests; start it "
            "with --prometheus-url (autoscaling.prometheusUrl of the chart), or set "
            "targetCPUPercent.",
        )
    if not keda:
        return stalled(
            "BackendMissing",
            f"{_BY_REQUESTS}: ScaledObject (keda.sh/v1alpha1) is not installed in this cluster; "
            "install KEDA, no restart is needed, or set targetCPUPercent.",
        )
    return _judge_rest(spec, counts) if may_rest(spec) else None


def _judge_rest(spec: DeploymentSpec, counts: RequestCounts) -> Readiness | None:
    if not counts.idle_query:
        return stalled(
            "BackendMissing",
            f"{_TO_ZERO}: 0 needs a count of requests that is taken before a server runs; start "
            "the operator with --idle-requests-query (autoscaling.idleRequestsQuery of the "
            "chart), or set minReplicas to 1.",
        )
    if counts.at_the_gateway and spec.gateway is None:
        return stalled(
            "GatewayMissing",
            f"{_TO_ZERO}: 0 needs a Gateway, at which alone requests are counted while no server "
            "runs; set spec.gateway, or minReplicas to 1.",
        )
    return None
