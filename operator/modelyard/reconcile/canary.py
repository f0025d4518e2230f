"""The canary of a Deployment, and the route that splits requests between it and the stable one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from modelyard.api.deployment import Canary, CanaryStatus, DeploymentStatus
from modelyard.api.resources import HTTP_ROUTE, INFERENCE_SERVICE, Resource
from modelyard.build.common import KIND_LABEL, NAME_LABEL
from modelyard.build.httproute import ROUTE_SUFFIX, http_route
from modelyard.judge.conditions import Fact, Readiness, stalled
from modelyard.judge.traffic import canary_fact, judge_route, split_fact
from modelyard.ports.cluster import BackendMissing
from modelyard.reconcile.dedicated import MISSING_SECONDS, Dedicated
from modelyard.reconcile.deployment_context import DeploymentContext
from modelyard.reconcile.serving import Version, serve_version


@dataclass(frozen=True)
class Rollout:
    """What is known of a canary and of the route."""

    version: Version | None = None
    status: CanaryStatus | None = None
    why_not: Readiness | None = None
    facts: tuple[Fact, ...] = ()
    message: str = ""
    """Added to what a Deployment says that is Ready."""
    requeue_after: float | None = None


def canary_name(context: DeploymentContext) -> str:
    """Return the name of the canary's InferenceService."""
    return f"{context.name}-canary"


async def roll_out(context: DeploymentContext, stable: Version) -> Rollout:
    """Keep the canary and the route as declared; whatever fails leaves the stable version alone."""
    canary = context.spec.canary
    if canary is None:
        # The route first: requests must not go to a canary that is being removed.
        why_not = await _keep_route(context, {context.name: 100})
        await _remove(context, INFERENCE_SERVICE, canary_name(context))
        return Rollout(why_not=why_not, requeue_after=_requeue_after(why_not))
    beside = _beside(context, canary)
    version = await serve_version(beside, canary, Dedicated(beside, canary_name(context)))
    return await _split(context, canary, stable, version)


async def _split(
    context: DeploymentContext, canary: Canary, stable: Version, version: Version
) -> Rollout:
    blocked = version.why_not or _same_version(stable, version)
    percent = _percent(context, canary, version, blocked)
    weights = {context.name: 100 - percent, canary_name(context): percent}
    if version.serving.url is None:
        # A route to a Service that is not there is none: the Gateway would answer with errors.
        weights = {context.name: 100}
    if blocked is not None:
        blocked = replace(blocked, message=f"spec.canary: {blocked.message}")
    unrouted = await _keep_route(context, weights)
    split = split_fact(
        percent,
        version.serving.url,
        gateway=context.spec.gateway is not None,
        why_not=unrouted or (None if percent else blocked),
    )
    model = version.serving.model
    status = CanaryStatus(
        model_version=model.model_version if model else "",
        model_digest=model.model_digest if model else None,
        url=version.serving.url,
        percent=percent if split.holds else 0,
    )
    facts = (canary_fact(blocked), split)
    requeue_after = version.requeue_after or _requeue_after(unrouted)
    return Rollout(version, status, blocked or unrouted, facts, split.message, requeue_after)


def _percent(
    context: DeploymentContext, canary: Canary, version: Version, blocked: Readiness | None
) -> int:
    """Return the canary's share: none before it serves what is asked for, and may.

    What serves keeps the share that it has while its gate cannot be asked: requests must not move
    for that.
    """
    if blocked is None:
        return canary.percent
    before = DeploymentStatus.of(context.manifest).canary
    return min(canary.percent, before.percent) if before and version.goes_on else 0


def _requeue_after(unrouted: Readiness | None) -> float | None:
    """Return when to look again whether the Gateway API was installed: nothing else tells."""
    missing = unrouted is not None and unrouted.reason == "BackendMissing"
    return MISSING_SECONDS if missing else None


def _same_version(stable: Version, version: Version) -> Readiness | None:
    served, beside = stable.serving.model, version.serving.model
    if served is None or beside is None or served.model_version != beside.model_version:
        return None
    message = f"{beside.model_version} is what serves already; name another, or remove spec.canary."
    return stalled("CanaryIsStable", message)


def _beside(context: DeploymentContext, canary: Canary) -> DeploymentContext:
    """Return the Deployment with as many replicas as the canary's share needs.

    A canary does not rest: it is there to be looked at.
    """
    replicas = max(1, math.ceil(context.spec.replicas * canary.percent / 100))
    scaling = context.spec.autoscaling
    if scaling is not None:
        fewest = max(1, scaling.min_replicas)
        scaling = scaling.model_copy(update={"min_replicas": fewest})
    changes = {"replicas": replicas, "autoscaling": scaling}
    return replace(context, spec=context.spec.model_copy(update=changes))


async def _keep_route(context: DeploymentContext, weights: dict[str, int]) -> Readiness | None:
    """Keep the route of the declared Gateway; return why it is not followed, if it is not."""
    name, gateway = f"{context.name}{ROUTE_SUFFIX}", context.spec.gateway
    if gateway is None:
        await _remove(context, HTTP_ROUTE, name)
        return None
    route = http_route(context.manifest, name, gateway, weights)
    try:
        return judge_route(await context.ports.cluster.apply(HTTP_ROUTE, route))
    except BackendMissing as error:
        return stalled("BackendMissing", f"spec.gateway: {error}.")


async def _remove(context: DeploymentContext, resource: Resource, name: str) -> None:
    """Delete a child that is not declared any more; one of another owner stays."""
    found = await context.ports.cluster.get(resource, context.namespace, name)
    labels = (found or {}).get("metadata", {}).get("labels") or {}
    if (labels.get(KIND_LABEL), labels.get(NAME_LABEL)) == ("Deployment", context.name):
        await context.ports.cluster.delete(resource, context.namespace, name)
