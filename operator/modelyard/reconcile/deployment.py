"""Deployment: keep what git chose serving, and say what does by the servers' own answers."""

from __future__ import annotations

from modelyard.api.deployment import DeploymentSpec, DeploymentStatus, Served
from modelyard.api.meta import SOURCE_REVISION
from modelyard.api.runtime import ServedModel
from modelyard.build.common import Manifest
from modelyard.judge.conditions import kept_facts, progressing, ready
from modelyard.judge.history import with_version
from modelyard.reconcile import batch
from modelyard.reconcile.canary import Rollout, roll_out
from modelyard.reconcile.candidate import payload_uri
from modelyard.reconcile.context import Observation, Ports, check_grants, gather_project
from modelyard.reconcile.deployment_context import DeploymentContext
from modelyard.reconcile.placement import look_at_stable, serve_stable
from modelyard.reconcile.serving import Version

SUSPENDED = "Nothing changes; set spec.suspend to false to go on."

MOST_VERDICTS = 20


async def observe(manifest: Manifest, ports: Ports) -> Observation:
    """Bring a Deployment one step nearer to serving its model and return what is true now."""
    spec = DeploymentSpec.model_validate(manifest["spec"])
    if spec.mode == "Batch":
        return await batch.observe(manifest, ports)
    project = await gather_project(manifest["metadata"]["namespace"], ports)
    check_grants(spec, project)
    context = DeploymentContext(manifest, spec, project, ports)
    if spec.suspend:
        stable = await look_at_stable(context, progressing("Suspended", SUSPENDED))
        told = {fact.type for fact in (*stable.serving.facts, *stable.facts)}
        kept = tuple(fact for fact in kept_facts(manifest) if fact.type not in told)
        status = DeploymentStatus.of(manifest).canary
        return _observation(context, stable, Rollout(status=status, facts=kept))
    stable = await serve_stable(context)
    return _observation(context, stable, await roll_out(context, stable))


def _observation(context: DeploymentContext, stable: Version, rollout: Rollout) -> Observation:
    """Return the status: what serves is told by the servers, whatever is wanted next."""
    before = DeploymentStatus.of(context.manifest)
    model, canary = stable.serving.model, rollout.version
    status = DeploymentStatus(
        url=stable.serving.url,
        model_version=model.model_version if model else before.model_version,
        model_digest=model.model_digest if model else before.model_digest,
        canary=rollout.status,
        replicas=stable.serving.replicas,
        payload_uri=payload_uri(context.project, context.manifest),
        verdicts=[*stable.verdicts, *(canary.verdicts if canary else [])][:MOST_VERDICTS],
        history=_history(context, before.history, model),
    )
    readiness = stable.why_not or rollout.why_not
    if readiness is None and stable.serving.at_rest:
        message = f"{status.model_version} has no replica, and starts with the next request."
        readiness = ready("AtRest", f"{message} {rollout.message}".strip())
    if readiness is None:
        split = rollout.status.percent if rollout.status else 0
        share = f"{100 - split} % of the requests" if split else "all requests"
        message = f"{status.model_version} serves {share}. {rollout.message}".strip()
        readiness = ready("Serving", message)
    delays = (stable.requeue_after, rollout.requeue_after)
    requeue_after = min((delay for delay in delays if delay is not None), default=None)
    facts = [*stable.serving.facts, *stable.facts, *rollout.facts]
    return Observation(status, readiness, facts, requeue_after)


def _history(
    context: DeploymentContext, before: list[Served], model: ServedModel | None
) -> list[Served]:
    if model is None:
        return before
    served = Served(
        model_version=model.model_version,
        model_digest=model.model_digest,
        source_revision=(context.manifest["metadata"].get("annotations") or {}).get(
            SOURCE_REVISION
        ),
        since=context.ports.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    return with_version(before, served)
