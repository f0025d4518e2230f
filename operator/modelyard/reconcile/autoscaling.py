"""What a version needs so that its replicas follow its load, and what it may not keep."""

from __future__ import annotations

from modelyard.api.resources import HORIZONTAL_POD_AUTOSCALER, SCALED_OBJECT, Resource
from modelyard.build.common import Manifest, belongs_to
from modelyard.build.httproute import PREDICTOR_SUFFIX
from modelyard.build.inferenceservice import AUTOSCALER_CLASS
from modelyard.judge.autoscaling import follows_requests, judge_autoscaling
from modelyard.judge.conditions import Readiness
from modelyard.reconcile.deployment_context import DeploymentContext

OF_OTHERS: dict[str, Resource] = {
    "none": SCALED_OBJECT,
    "hpa": SCALED_OBJECT,
    "keda": HORIZONTAL_POD_AUTOSCALER,
}
"""By KServe's class of autoscaler: what KServe made for another class, and leaves behind."""


async def autoscaling_trouble(context: DeploymentContext) -> Readiness | None:
    """Return why the load of a Deployment cannot be followed; None when it can."""
    ports = context.ports
    keda = follows_requests(context.spec) and await ports.cluster.serves(SCALED_OBJECT)
    return judge_autoscaling(context.spec, ports.request_counts, keda=keda)


async def remove_earlier_autoscaler(context: DeploymentContext, service: Manifest) -> bool:
    """Delete what counted the replicas by another measure; return whether there was any.

    KServe stops keeping it and lets it be: two would fight, and KEDA takes no workload that has a
    HorizontalPodAutoscaler.
    """
    metadata = service["metadata"]
    resource = OF_OTHERS[metadata["annotations"][AUTOSCALER_CLASS]]
    name = f"{metadata['name']}{PREDICTOR_SUFFIX}"
    found = await context.ports.cluster.get(resource, context.namespace, name)
    if found is None or not belongs_to(found, service):
        return False
    await context.ports.cluster.delete(resource, context.namespace, name)
    return True
