"""Asking a gate: gather the Policies that judge an object, ask the engine, conclude."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from modelyard.api.identity import canonical_json, digest
from modelyard.api.meta import Verdict
from modelyard.api.policy import Gate, PolicySpec
from modelyard.api.resources import OURS
from modelyard.judge.conditions import Readiness, progressing, ready_condition, stalled
from modelyard.judge.gate import GateState, Judgement, Problem, ProblemReason, gate_state, matches
from modelyard.judge.gate_input import gate_input
from modelyard.judge.rego import PolicyInvalid, compile_policy, spec_digest
from modelyard.ports.cluster import Manifest
from modelyard.ports.policy import PolicyEngineUnavailable
from modelyard.reconcile.context import Ports, ProjectContext, spec_fault

RETRY_SECONDS = 10.0


@dataclass(frozen=True)
class GateOutcome:
    """What a gate says: the verdicts, and why it is closed if it is."""

    verdicts: list[Verdict]
    closed: Readiness | None
    requeue_after: float | None


async def ask_gate(
    gate: Gate, subject: Manifest, project: ProjectContext, ports: Ports, **context: Any
) -> GateOutcome:
    """Return whether a gate lets an object through. What is no answer denies.

    Args:
        gate: The gate.
        subject: The judged object.
        project: Its Project.
        ports: The outside.
        context: What else Policies see: dataset, experiment, model_version, target_stage.
    """
    policies = await ports.shared.list_objects(OURS["Policy"], subject["metadata"]["namespace"])
    document = gate_input(gate, project.manifest, subject, **context)
    labels = subject["metadata"].get("labels") or {}
    environment, stage = project.spec.environment, context.get("target_stage")
    judgements = []
    for policy in policies:
        try:
            spec = PolicySpec.model_validate(policy["spec"])
        except ValidationError as error:
            judgements += _unread(policy, gate, error)
            continue
        if matches(spec, gate, environment, labels, stage):
            judgements.append(await _judgement(policy, spec, document, ports))
    judged = context.get("model_version")
    name = judged["metadata"]["name"] if judged and judged is not subject else ""
    return _outcome(gate_state(gate, environment, judgements, name))


def _unread(policy: Manifest, gate: Gate, error: ValidationError) -> list[Judgement]:
    """Return that a Policy whose spec cannot be read denies all at the gates that it names."""
    stored = policy["spec"]
    if gate not in stored.get("gates", [gate]):
        return []
    enforcement: Literal["Deny", "Warn"] = "Warn" if stored.get("enforcement") == "Warn" else "Deny"
    spec = PolicySpec.model_construct(gates=[gate], enforcement=enforcement)
    problem = Problem("PolicyInvalid", (spec_fault("Policy", error),))
    stored_digest = digest(canonical_json(stored))
    return [Judgement(policy["metadata"]["name"], spec, stored_digest, problem)]


async def _judgement(
    policy: Manifest, spec: PolicySpec, document: dict[str, Any], ports: Ports
) -> Judgement:
    name = policy["metadata"]["name"]
    try:
        module = compile_policy(name, spec)
    except PolicyInvalid as error:
        findings = tuple(str(finding) for finding in error.findings)
        return Judgement(name, spec, spec_digest(spec), Problem("PolicyInvalid", findings))
    problem = _unready(policy, spec)
    if problem is not None:
        return Judgement(name, spec, module.digest, problem)
    try:
        return Judgement(name, spec, module.digest, await ports.engine.evaluate(module, document))
    except PolicyEngineUnavailable as error:
        problem = Problem("PolicyEngineUnavailable", (str(error),))
        return Judgement(name, spec, module.digest, problem)


def _unready(policy: Manifest, spec: PolicySpec) -> Problem | None:
    """A Policy with tests judges only once they passed at its present generation."""
    condition = ready_condition(policy)
    fresh = condition.get("observedGeneration") == policy["metadata"].get("generation")
    if not spec.tests or (fresh and condition.get("status") == "True"):
        return None
    details = condition["message"] if fresh else "its tests did not run yet"
    reason: ProblemReason = (
        "PolicyEngineUnavailable"
        if condition.get("reason") == "PolicyEngineUnavailable"
        else "PolicyTestsFailed"
    )
    return Problem(reason, (details,))


def _outcome(state: GateState) -> GateOutcome:
    verdicts = list(state.verdicts)
    if state.is_open:
        return GateOutcome(verdicts, None, None)
    if state.reason == "PolicyEngineUnavailable":
        return GateOutcome(verdicts, progressing(state.reason, state.message), RETRY_SECONDS)
    return GateOutcome(verdicts, stalled(state.reason, state.message), None)
