"""One version of a Deployment behind one InferenceService: choose, gate, apply, ask the servers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from modelyard.api.deployment import ModelChoice
from modelyard.api.meta import Verdict
from modelyard.api.resources import INFERENCE_SERVICE, POD
from modelyard.api.runtime import ServedModel
from modelyard.build.autoscaling import awake
from modelyard.build.common import Manifest, belongs_to
from modelyard.build.httproute import PREDICTOR_SUFFIX
from modelyard.build.inferenceservice import inference_service
from modelyard.build.pods import pod_needs
from modelyard.judge.autoscaling import may_rest
from modelyard.judge.conditions import (
    Fact,
    Readiness,
    ready_condition,
    sentence,
    stalled,
)
from modelyard.judge.serving import (
    Answers,
    Serving,
    is_at_rest,
    is_settled,
    judge_serving,
    probe_url,
    server_revision,
)
from modelyard.ports.prober import NoAnswer
from modelyard.reconcile.autoscaling import autoscaling_trouble, remove_earlier_autoscaler
from modelyard.reconcile.candidate import (
    Candidate,
    ask_deploy_gate,
    gather_candidate,
    serve_config,
    serve_secrets,
)
from modelyard.reconcile.deployment_context import DeploymentContext
from modelyard.reconcile.fallback import gather_fallback

QUESTIONS = 3
"""How often the servers at one URL are asked at once: a rollout has old and new ones behind it."""
SWITCH_SECONDS = 0.5
"""How soon to ask again while KServe calls ready what still serves an earlier spec."""
POLL_SECONDS = 5.0
MISSING_SECONDS = 15.0
"""How soon to look again whether a backend was installed: nothing else tells."""
LONGEST_NAME = 63


@dataclass(frozen=True)
class Version:
    """What is known of one version of a Deployment."""

    serving: Serving
    why_not: Readiness | None
    """What keeps the version that is asked for from serving; None when it does."""
    verdicts: list[Verdict]
    requeue_after: float | None
    facts: tuple[Fact, ...] = ()
    """What else is true of it besides how far it serves."""


async def serve_version(context: DeploymentContext, choice: ModelChoice, name: str) -> Version:
    """Bring the InferenceService of a name one step nearer to serving what is chosen."""
    candidate = await gather_candidate(choice, context.project, context.ports)
    if isinstance(candidate, Readiness):
        return await look(context, name, candidate)
    gate = await ask_deploy_gate(context.manifest, candidate, context.project, context.ports)
    if gate.closed is not None:
        found = await look(context, name, gate.closed)
        return replace(found, verdicts=gate.verdicts, requeue_after=gate.requeue_after)
    fallback = await gather_fallback(context, candidate)
    verdicts = [*gate.verdicts, *fallback.verdicts]
    if fallback.why_not is not None:
        found = await look(context, name, fallback.why_not)
        facts = fallback.facts(found.serving)
        return replace(found, verdicts=verdicts, requeue_after=fallback.requeue_after, facts=facts)
    existing = await context.ports.cluster.get(INFERENCE_SERVICE, context.namespace, name)
    unfit = _name_trouble(context, name, existing)
    if unfit is not None:
        return Version(await _judge(context, None), unfit, [], None)
    untold = await autoscaling_trouble(context)
    if untold is not None:
        found = await look(context, name, untold)
        return replace(found, verdicts=verdicts, requeue_after=MISSING_SECONDS)
    desired = _desired(context, name, candidate, fallback.candidate)
    version = await _serve(context, desired, existing, verdicts)
    return replace(version, facts=fallback.facts(version.serving))


async def _serve(
    context: DeploymentContext,
    desired: Manifest,
    existing: Manifest | None,
    verdicts: list[Verdict],
) -> Version:
    """Apply an InferenceService and ask its servers; they may rest once they have answered."""
    if may_rest(context.spec) and not await _is_proven(context, existing, desired):
        desired = awake(desired)
    service = await context.ports.cluster.apply(INFERENCE_SERVICE, desired)
    serving = await _judge(context, service)
    left = await remove_earlier_autoscaler(context, service)
    again = left or _may_rest_now(context, desired, serving)
    requeue_after = SWITCH_SECONDS if again else _requeue_after(service, serving)
    return Version(serving, serving.why_not, verdicts, requeue_after)


def _desired(
    context: DeploymentContext, name: str, candidate: Candidate, fallback: Candidate | None
) -> Manifest:
    """Return the InferenceService that serves a candidate."""
    config = serve_config(context.manifest, context.spec, candidate, fallback, context.project)
    secrets = serve_secrets(candidate, context.project)
    needs = pod_needs(context.spec.resources, context.project.spec.scheduling)
    ports = context.ports
    return inference_service(
        context.manifest,
        name,
        context.spec,
        config,
        secrets,
        ports.images,
        needs,
        ports.request_counts,
    )


async def _is_proven(
    context: DeploymentContext, existing: Manifest | None, desired: Manifest
) -> bool:
    """Return whether servers of what is desired have answered, so that they may rest.

    What may rest has: an InferenceService remembers it by the replicas that it asks for.
    """
    if existing is None or server_revision(existing) != server_revision(desired):
        return False
    if existing["spec"]["predictor"].get("minReplicas") == 0:
        return True
    return is_settled(existing, await _ask(probe_url(existing), context))


def _may_rest_now(context: DeploymentContext, desired: Manifest, serving: Serving) -> bool:
    """Return whether what was kept awake to answer has done so."""
    kept_awake = desired["spec"]["predictor"]["minReplicas"] > 0
    return may_rest(context.spec) and kept_awake and serving.up_to_date


def _name_trouble(
    context: DeploymentContext, name: str, found: Manifest | None
) -> Readiness | None:
    """Return why an InferenceService cannot have a name: a name too long, or another's."""
    if len(name) + len(PREDICTOR_SUFFIX) > LONGEST_NAME:
        message = f"KServe cannot name the Service of {name}: give the Deployment a shorter name."
        return stalled("NameTooLong", message)
    if found is None or belongs_to(found, context.manifest):
        return None
    message = f"InferenceService {name} belongs to something else; rename this Deployment."
    return stalled("NameTaken", message)


async def look(context: DeploymentContext, name: str, why_not: Readiness) -> Version:
    """Return what an InferenceService serves, changing nothing; `why_not` says why."""
    service = await context.ports.cluster.get(INFERENCE_SERVICE, context.namespace, name)
    serving = await _judge(context, service)
    if serving.model is not None:
        message = f"{sentence(why_not.message)} {serving.model.model_version} goes on serving."
        why_not = Readiness(why_not.state, why_not.reason, message)
    return Version(serving, why_not, [], None)


async def _judge(context: DeploymentContext, service: Manifest | None) -> Serving:
    # Nobody is asked while none runs: the question would start one.
    answers = Answers() if is_at_rest(service) else await _ask(probe_url(service), context)
    pods: list[Manifest] = []
    if service is not None and not is_settled(service, answers):
        pods = await context.ports.cluster.list_objects(POD, context.namespace)
    checks = context.spec.smoke_test.checks if context.spec.smoke_test else []
    return judge_serving(service, answers, pods, len(checks))


async def _ask(url: str | None, context: DeploymentContext) -> Answers:
    """Ask a few times at once: each question may reach another replica."""
    if url is None:
        return Answers()

    async def ask() -> ServedModel | NoAnswer:
        try:
            return await context.ports.prober.served_model(url, context.name)
        except NoAnswer as problem:
            return problem

    found = await asyncio.gather(*(ask() for _ in range(QUESTIONS)))
    problems = [str(one) for one in found if isinstance(one, NoAnswer)]
    if problems:
        return Answers(problem=problems[0])
    return Answers([one for one in found if isinstance(one, ServedModel)])


def _requeue_after(service: Manifest, serving: Serving) -> float | None:
    """Return when to look again: nobody tells when a server starts to answer."""
    if serving.why_not is None:
        return None
    called_ready = ready_condition(service).get("status") == "True"
    switching = called_ready and serving.why_not.reason == "Loading"
    return SWITCH_SECONDS if switching else POLL_SECONDS
