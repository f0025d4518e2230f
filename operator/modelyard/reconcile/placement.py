"""Where a Deployment is served, and how it moves: what answered goes on until the other does."""

from __future__ import annotations

from dataclasses import replace

from modelyard.api.deployment import DeploymentStatus
from modelyard.judge.conditions import Readiness
from modelyard.reconcile.dedicated import Dedicated
from modelyard.reconcile.deployment_context import DeploymentContext
from modelyard.reconcile.serving import Placement, Version, serve_version
from modelyard.reconcile.shared import Shared

MOVED_SECONDS = 5.0
"""How long clients have to read the new URL from the status before the old one answers no more."""


async def serve_stable(context: DeploymentContext) -> Version:
    """Bring the version that takes all requests one step nearer to what is chosen."""
    here, there = _placements(context)
    version = await serve_version(context, context.spec.model, here)
    if version.why_not is None:
        if DeploymentStatus.of(context.manifest).url == version.serving.url:
            await there.leave()
            return version
        return replace(version, requeue_after=version.requeue_after or MOVED_SECONDS)
    return await _or_elsewhere(version, version.why_not, there)


async def look_at_stable(context: DeploymentContext, why_not: Readiness) -> Version:
    """Return what serves, changing nothing; `why_not` says why."""
    here, there = _placements(context)
    return await _or_elsewhere(await here.look(why_not), why_not, there)


def _placements(context: DeploymentContext) -> tuple[Placement, Placement]:
    """Return where a Deployment is to be served, and where it may have been before."""
    dedicated, shared = Dedicated(context, context.name), Shared(context)
    if context.spec.placement.server == "Shared":
        return shared, dedicated
    return dedicated, shared


async def _or_elsewhere(version: Version, why_not: Readiness, there: Placement) -> Version:
    """Return a version with what answers elsewhere, where nothing does here."""
    if version.serving.model is not None:
        return version
    earlier = await there.look(why_not)
    if earlier.serving.model is None:
        return version
    serving = replace(earlier.serving, up_to_date=False, facts=version.serving.facts)
    return replace(version, serving=serving, why_not=earlier.why_not)
