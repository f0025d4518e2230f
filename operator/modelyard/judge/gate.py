"""Whether a gate is open: which Policies judge, what each says, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from modelyard.api.meta import Verdict
from modelyard.api.policy import Environment, Gate, PolicySpec
from modelyard.judge.rego import Decision, bounded

ProblemReason = Literal["PolicyEngineUnavailable", "PolicyTestsFailed", "PolicyInvalid"]
GateReason = Literal["PoliciesAllow", "NoPolicies", "NoPolicy", "PolicyDenied", ProblemReason]

_MAX_VERDICTS = 20
_REASONS_IN_MESSAGE = 3


@dataclass(frozen=True)
class Problem:
    """Why a Policy gave no decision; it counts as a denial."""

    reason: ProblemReason
    details: tuple[str, ...]
    """The failed tests, the findings of the compiler, or what is wrong with the engine."""


@dataclass(frozen=True)
class Judgement:
    """One Policy at one gate, with what came of asking it."""

    policy: str
    """Name of the Policy."""
    spec: PolicySpec
    digest: str
    """Digest of the module, or `spec_digest` where there is none."""
    outcome: Decision | Problem


@dataclass(frozen=True)
class GateState:
    """Whether the gate is open, as a condition says it, and the verdicts for the status."""

    is_open: bool
    reason: GateReason
    message: str
    verdicts: tuple[Verdict, ...]


def matches(
    spec: PolicySpec,
    gate: Gate,
    environment: Environment,
    labels: Mapping[str, str],
    target_stage: str | None = None,
) -> bool:
    """Return whether a Policy judges an object at a gate.

    Args:
        spec: Spec of the Policy.
        gate: The gate.
        environment: Environment of the Project.
        labels: Labels of the object.
        target_stage: promote: the stage that the ModelVersion is to reach.
    """
    match = spec.match
    stage_judged = gate != "promote" or not match.stages or target_stage in match.stages
    return (
        gate in spec.gates
        and (not match.environments or environment in match.environments)
        and match.labels.items() <= dict(labels).items()
        and stage_judged
    )


def failed_tests(spec: PolicySpec, decisions: Sequence[Decision]) -> tuple[str, ...]:
    """Return what is wrong with a Policy by its own tests; nothing when all pass.

    Args:
        spec: Spec of the Policy.
        decisions: What the engine said to the input of each of `spec.tests`, in order.
    """
    said = {True: "allowed", False: "denied"}
    return tuple(
        f"test {test.name}: {said[decision.allowed]}, must be {said[test.allow]}"
        + "".join(f"; {reason}" for reason in decision.reasons[:1])
        for test, decision in zip(spec.tests, decisions, strict=True)
        if decision.allowed != test.allow
    )


def gate_state(
    gate: Gate, environment: Environment, judgements: Sequence[Judgement], subject: str = ""
) -> GateState:
    """Return whether a gate is open.

    Every Policy with enforcement Deny must allow; what is not an answer denies. With enforcement
    Warn nothing is closed. Where nothing judges the gate is open, but for deployments to
    production, which need a Policy that could deny.

    Args:
        gate: The gate.
        environment: Environment of the Project.
        judgements: Those Policies that judge the object (`matches`), in any order.
        subject: Name of the judged object, when the verdicts stand on another one.
    """
    ordered = sorted(judgements, key=_deny_first)
    verdicts = tuple(_verdict(gate, judgement, subject) for judgement in ordered[:_MAX_VERDICTS])
    able_to_deny = [judgement for judgement in ordered if judgement.spec.enforcement == "Deny"]
    closing = [judgement for judgement in able_to_deny if not _allows(judgement)]
    if closing:
        message = "; ".join(_summary(judgement) for judgement in closing)
        return GateState(False, _closing_reason(closing), message, verdicts)
    if gate == "deploy" and environment == "production" and not able_to_deny:
        message = (
            "No Policy with enforcement Deny judges the deploy gate of this production Project; "
            "commit one whose spec.gates has deploy."
        )
        return GateState(False, "NoPolicy", message, verdicts)
    if not ordered:
        return GateState(True, "NoPolicies", f"No Policy judges the {gate} gate.", verdicts)
    return GateState(True, "PoliciesAllow", _allowed_message(ordered), verdicts)


def _allows(judgement: Judgement) -> bool:
    return isinstance(judgement.outcome, Decision) and judgement.outcome.allowed


def _deny_first(judgement: Judgement) -> tuple[bool, bool, str]:
    """Order by what matters when a status is cut: closing ones, then warnings, then the rest."""
    return _allows(judgement), judgement.spec.enforcement == "Warn", judgement.policy


def _closing_reason(closing: Sequence[Judgement]) -> GateReason:
    """A denial outweighs a problem: it stays when the problem is solved."""
    problems = [j.outcome.reason for j in closing if isinstance(j.outcome, Problem)]
    return problems[0] if len(problems) == len(closing) else "PolicyDenied"


def _reasons(judgement: Judgement) -> tuple[str, ...]:
    if isinstance(judgement.outcome, Decision):
        return judgement.outcome.reasons
    return bounded(f"{judgement.outcome.reason}: {text}" for text in judgement.outcome.details)


def _verdict(gate: Gate, judgement: Judgement, subject: str) -> Verdict:
    return Verdict(
        gate=gate,
        policy=judgement.policy,
        subject=subject,
        allowed=_allows(judgement),
        enforcement=judgement.spec.enforcement,
        reasons=list(_reasons(judgement)),
        policy_digest=judgement.digest,
    )


def _summary(judgement: Judgement) -> str:
    reasons = _reasons(judgement)
    shown = list(reasons[:_REASONS_IN_MESSAGE])
    if len(reasons) > len(shown):
        shown.append("and more in status.verdicts")
    return f"Policy {judgement.policy}: {'; '.join(shown)}"


def _allowed_message(judgements: Sequence[Judgement]) -> str:
    warnings = [_summary(judgement) for judgement in judgements if not _allows(judgement)]
    allowing = len(judgements) - len(warnings)
    text = f"{allowing} of {len(judgements)} Policies allow"
    return f"{text}, warnings: {'; '.join(warnings)}" if warnings else f"{text}."
