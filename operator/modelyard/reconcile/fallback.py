"""The version that answers where the one that serves cannot: chosen and gated like that one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from modelyard.api.meta import Verdict
from modelyard.judge.conditions import Fact, Readiness
from modelyard.judge.serving import Serving
from modelyard.reconcile.candidate import Candidate, ask_deploy_gate, gather_candidate
from modelyard.reconcile.deployment_context import DeploymentContext

FALLBACK = "FallbackReady"


@dataclass(frozen=True)
class FallbackChoice:
    """What is known of the fallback of a version; nothing where none is declared."""

    candidate: Candidate | None = None
    """What the servers load besides the model."""
    why_not: Readiness | None = None
    """What keeps the declared fallback, and with it the model, from being served."""
    verdicts: tuple[Verdict, ...] = ()
    requeue_after: float | None = None
    same: str = ""
    """The declared fallback, where it is the model that serves."""

    def facts(self, serving: Serving) -> tuple[Fact, ...]:
        """Return the condition that says whether servers answer by it where their model fails."""
        if self.same:
            message = f"{self.same} is what serves, and nothing answers where it fails."
            return (Fact(FALLBACK, False, "FallbackIsServed", f"spec.traffic.fallback: {message}"),)
        why_not = self.why_not or (serving.why_not if self.candidate else None)
        if why_not is not None:
            return (Fact(FALLBACK, False, why_not.reason, why_not.message),)
        if self.candidate is None:
            return ()
        message = f"{self.candidate.name} answers where the model fails."
        return (Fact(FALLBACK, True, "Loaded", message),)


async def gather_fallback(context: DeploymentContext, served: Candidate) -> FallbackChoice:
    """Return the declared fallback of a version, or why it must not answer."""
    declared = context.spec.traffic.fallback if context.spec.traffic else None
    if declared is None:
        return FallbackChoice()
    found = await gather_candidate(declared, context.project, context.ports)
    if isinstance(found, Readiness):
        return FallbackChoice(why_not=_at_its_field(found))
    if found.artifact.digest == served.artifact.digest:
        # A rollback to it must not be held up.
        return FallbackChoice(same=found.name)
    gate = await ask_deploy_gate(context.manifest, found, context.project, context.ports)
    if gate.closed is not None:
        closed = _at_its_field(gate.closed)
        return FallbackChoice(None, closed, tuple(gate.verdicts), gate.requeue_after)
    return FallbackChoice(found, verdicts=tuple(gate.verdicts))


def _at_its_field(why_not: Readiness) -> Readiness:
    return replace(why_not, message=f"spec.traffic.fallback: {why_not.message}")
