"""Policy: compile it and run its own tests before it judges anything."""

from __future__ import annotations

from modelyard.api.policy import PolicySpec, PolicyStatus
from modelyard.judge.conditions import Readiness, progressing, ready, stalled
from modelyard.judge.gate import failed_tests
from modelyard.judge.policy_paths import unknown_paths
from modelyard.judge.rego import PolicyInvalid, compile_policy
from modelyard.ports.cluster import Manifest
from modelyard.ports.policy import PolicyEngineUnavailable
from modelyard.reconcile.context import Halt, Observation, Ports

RETRY_SECONDS = 10.0


async def observe(manifest: Manifest, ports: Ports) -> Observation:
    """Return whether a Policy can judge: it compiles and its tests pass."""
    spec = PolicySpec.model_validate(manifest["spec"])
    try:
        module = compile_policy(manifest["metadata"]["name"], spec)
    except PolicyInvalid as error:
        raise Halt(_invalid(str(error))) from error
    try:
        findings = [*unknown_paths(spec), *await ports.engine.check(module)]
        decisions = [await ports.engine.evaluate(module, test.input) for test in spec.tests]
    except PolicyEngineUnavailable as error:
        message = f"The policy engine does not answer: {error}. Gates stay shut."
        raise Halt(progressing("PolicyEngineUnavailable", message), RETRY_SECONDS) from error
    if findings:
        raise Halt(_invalid("; ".join(map(str, findings))))
    failed = failed_tests(spec, decisions)
    status = PolicyStatus(
        digest=module.digest,
        tests_passed=len(spec.tests) - len(failed),
        tests_total=len(spec.tests),
    )
    return Observation(status, _readiness(spec, failed))


def _invalid(findings: str) -> Readiness:
    return stalled(
        "PolicyInvalid", f"{findings}. Mend spec.rego or spec.rules; until then it denies."
    )


def _readiness(spec: PolicySpec, failed: tuple[str, ...]) -> Readiness:
    if failed:
        message = f"{'; '.join(failed[:5])}. Mend the rules or the tests; until then it denies."
        return stalled("PolicyTestsFailed", message)
    tests = f"its {len(spec.tests)} tests pass" if spec.tests else "it has no tests"
    return ready("Judging", f"It judges at {', '.join(spec.gates)}; {tests}.")
