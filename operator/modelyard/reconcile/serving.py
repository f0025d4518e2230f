"""One version of a Deployment: choose it, gate it, and have it served where it is to be."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Protocol

from modelyard.api.deployment import ModelChoice
from modelyard.api.meta import Verdict
from modelyard.api.runtime import ServedModel
from modelyard.build.common import Manifest
from modelyard.judge.conditions import Fact, Readiness, ready_condition, sentence
from modelyard.judge.serving import Answers, Serving
from modelyard.ports.prober import NoAnswer
from modelyard.reconcile.candidate import Candidate, ask_deploy_gate, gather_candidate
from modelyard.reconcile.deployment_context import DeploymentContext
from modelyard.reconcile.fallback import gather_fallback

POLL_SECONDS = 5.0
"""How soon to look again: nobody tells when a server starts to answer."""
NOT_SERVED = Serving(up_to_date=False, url=None, model=None, why_not=None, facts=())


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
    asked: str | None = None
    """Name of the version that is asked for; None where that is not known."""

    @property
    def goes_on(self) -> bool:
        """Whether what is asked for serves, though for now nobody can say that it still may."""
        waits = self.why_not is not None and self.why_not.state == "Progressing"
        model = self.serving.model
        served = model is not None and model.model_version == self.asked
        return waits and served and self.serving.up_to_date


class Placement(Protocol):
    """Where versions are served: by servers of their own, or by the shared one."""

    async def serve(
        self, candidate: Candidate, fallback: Candidate | None, verdicts: list[Verdict]
    ) -> Version:
        """Bring what serves one step nearer to a version that may serve."""

    async def look(self, why_not: Readiness) -> Version:
        """Return what is served here, changing nothing; `why_not` says why."""

    async def leave(self) -> None:
        """Remove what there is here, since requests are answered elsewhere; nothing else."""


async def serve_version(
    context: DeploymentContext, choice: ModelChoice, placement: Placement
) -> Version:
    """Bring what serves in a place one step nearer to what is chosen."""
    candidate = await gather_candidate(choice, context.project, context.ports)
    if isinstance(candidate, Readiness):
        return replace(await placement.look(candidate), asked=choice.model_version)
    version = await _serve_candidate(context, candidate, placement)
    return replace(version, asked=candidate.name)


async def _serve_candidate(
    context: DeploymentContext, candidate: Candidate, placement: Placement
) -> Version:
    gate = await ask_deploy_gate(context.manifest, candidate, context.project, context.ports)
    if gate.closed is not None:
        found = await placement.look(gate.closed)
        return replace(found, verdicts=gate.verdicts, requeue_after=gate.requeue_after)
    fallback = await gather_fallback(context, candidate)
    verdicts = [*gate.verdicts, *fallback.verdicts]
    if fallback.why_not is not None:
        found = await placement.look(fallback.why_not)
        facts = fallback.facts(found.serving)
        return replace(found, verdicts=verdicts, requeue_after=fallback.requeue_after, facts=facts)
    version = await placement.serve(candidate, fallback.candidate, verdicts)
    return replace(version, facts=fallback.facts(version.serving))


def unchanged(serving: Serving, why_not: Readiness) -> Version:
    """Return the version that stays as it is; what is told names what goes on serving."""
    if serving.model is not None:
        message = f"{sentence(why_not.message)} {serving.model.model_version} goes on serving."
        why_not = replace(why_not, message=message)
    return Version(serving, why_not, [], None)


def look_again(service: Manifest, serving: Serving, soon: float) -> float | None:
    """Return when to look again; `soon` where a server is ready and has not taken up a version."""
    if serving.why_not is None:
        return None
    called_ready = ready_condition(service).get("status") == "True"
    return soon if called_ready and serving.why_not.reason == "Loading" else POLL_SECONDS


async def ask(url: str | None, context: DeploymentContext, questions: int) -> Answers:
    """Ask model servers a few times at once: each question may reach another replica."""
    if url is None:
        return Answers()

    async def question() -> ServedModel | NoAnswer:
        try:
            return await context.ports.prober.served_model(url, context.name)
        except NoAnswer as problem:
            return problem

    found = await asyncio.gather(*(question() for _ in range(questions)))
    failure = next((one.failure for one in found if one.failure is not None), None)
    problems = [str(one) for one in found if isinstance(one, NoAnswer)]
    if problems:
        return Answers(problem=problems[0], failure=failure)
    models = [one for one in found if isinstance(one, ServedModel)]
    return Answers(models, failure=failure)
