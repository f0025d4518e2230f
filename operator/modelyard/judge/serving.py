"""Whether an InferenceService serves what its spec says, by its model servers' own answers.

KServe alone does not tell: in Standard mode an InferenceService is Ready all through a rollout,
and its observedGeneration is that of the Deployment it made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.api.meta import MODEL_VERSION, SERVER_REVISION
from modelyard.api.runtime import SMOKE_TEST_FAILED, SMOKE_TEST_STATUS, LoadFailure, ServedModel
from modelyard.judge.conditions import (
    Fact,
    Readiness,
    progressing,
    ready_condition,
    sentence,
    stalled,
)
from modelyard.judge.run import secret_missing

STEPS = ("ModelLoaded", "SmokeTestPassed", "TrafficReady")
"""The conditions that say how far the present spec of an InferenceService is, in their order."""

_SERVER = "kserve-container"


@dataclass(frozen=True)
class Answers:
    """What was found at the URL of an InferenceService."""

    models: Sequence[ServedModel] = ()
    """What answered; several replicas may answer differently."""
    problem: str = ""
    """Why nothing answered; empty when something did, or nobody was asked."""
    failure: LoadFailure | None = None
    """What keeps a shared server from serving what it was told to, as it says itself."""


@dataclass(frozen=True)
class Serving:
    """How far an InferenceService is with its present spec."""

    up_to_date: bool
    url: str | None
    model: ServedModel | None
    """What answers all requests now, of whatever spec; None when that is not known."""
    why_not: Readiness | None
    facts: tuple[Fact, ...]
    replicas: int = 0
    at_rest: bool = False
    """Whether none runs, none has to, and the present spec has served before."""


@dataclass(frozen=True)
class Ended:
    """How a model server ended that should serve."""

    exit_code: int
    message: str


def probe_url(service: dict[str, Any] | None) -> str | None:
    """Return where the operator asks: the address within the cluster, else the public one."""
    status = (service or {}).get("status") or {}
    url: str | None = (status.get("address") or {}).get("url") or status.get("url")
    return url


def server_revision(service: dict[str, Any]) -> str:
    """Return what the servers of the present spec say of themselves."""
    annotations = service["metadata"].get("annotations") or {}
    return str(annotations.get(SERVER_REVISION) or "")


def answers_present_spec(service: dict[str, Any], answers: Answers) -> bool:
    """Return whether every server that answered is one of the present spec."""
    revision = server_revision(service)
    return bool(answers.models) and all(model.revision == revision for model in answers.models)


def is_at_rest(service: dict[str, Any] | None) -> bool:
    """Return whether an InferenceService may have no server, and has none that is ready.

    It may once its servers have answered; until then it has to have one.
    """
    predictor = ((service or {}).get("spec") or {}).get("predictor") or {}
    return predictor.get("minReplicas") == 0 and not ready_servers(service or {})


def is_settled(service: dict[str, Any], answers: Answers) -> bool:
    """Return whether KServe calls ready what all answers are of: pods could say nothing more."""
    called_ready = ready_condition(service).get("status") == "True"
    return called_ready and answers_present_spec(service, answers)


def judge_serving(
    service: dict[str, Any] | None,
    answers: Answers,
    pods: Sequence[dict[str, Any]] = (),
    checks: int = 0,
) -> Serving:
    """Return whether an InferenceService serves its present spec, and what it serves.

    Args:
        service: The InferenceService.
        answers: What was found at its URL.
        pods: Pods of its namespace, which say more of a server that does not start than KServe
            does.
        checks: Number of checks in the smoke test.
    """
    if service is None:
        starting = progressing("Starting", "The model server is being started.")
        return Serving(False, None, None, starting, steps(0, starting, checks))
    status = service.get("status") or {}
    url = status.get("url")
    model = answers.models[0] if len(set(map(_identity, answers.models))) == 1 else None
    passed, why_not = _progress(service, answers, pods)
    if why_not is not None and model is not None:
        until = f"{sentence(why_not.message)} {_earlier(service, model)} serves until it does."
        why_not = Readiness(why_not.state, why_not.reason, until)
    facts = steps(passed, why_not, checks)
    resting = why_not is None and is_at_rest(service)
    replicas = ready_servers(service)
    return Serving(why_not is None, url, model, why_not, facts, replicas, resting)


def ready_servers(service: dict[str, Any]) -> int:
    """Return how many servers of an InferenceService are ready."""
    state = (service.get("status") or {}).get("modelStatus") or {}
    return (state.get("copies") or {}).get("totalCopies") or 0


def _earlier(service: dict[str, Any], model: ServedModel) -> str:
    """Name what answers meanwhile: by its version alone, the one that fails could be meant."""
    wanted = (service["metadata"].get("annotations") or {}).get(MODEL_VERSION)
    earlier = "The earlier server of " if model.model_version == wanted else ""
    return f"{earlier}{model.model_version}"


def _progress(
    service: dict[str, Any], answers: Answers, pods: Sequence[dict[str, Any]]
) -> tuple[int, Readiness | None]:
    """Return how many steps are done, and what keeps the next one from being."""
    if is_at_rest(service):
        return _progress_at_rest(service, pods)
    if ready_condition(service).get("status") == "True":
        if answers_present_spec(service, answers):
            return len(STEPS), None
        if answers.problem:
            message = f"KServe calls it ready, and {probe_url(service)} does not answer: "
            return 0, progressing("NoAnswer", f"{message}{answers.problem}.")
    return trouble(service, pods)


def _progress_at_rest(
    service: dict[str, Any], pods: Sequence[dict[str, Any]]
) -> tuple[int, Readiness | None]:
    """Return how many steps are done: all, unless a server that a request has started ails."""
    if ready_condition(service).get("status") == "True":
        return len(STEPS), None
    passed, why_not = trouble(service, pods)
    starting = why_not.reason == "Loading" and not _waits(service, pods)
    return (len(STEPS), None) if starting else (passed, why_not)


def _identity(model: ServedModel) -> tuple[str, str]:
    return model.model_version, model.model_digest


def trouble(service: dict[str, Any], pods: Sequence[dict[str, Any]]) -> tuple[int, Readiness]:
    """Return how many steps are done, and what keeps the next one from being."""
    ended = _told_by_kserve(service) or _told_by_pods(service, pods)
    if ended is not None and ended.exit_code == SMOKE_TEST_STATUS:
        answered = ended.message.strip().rpartition(SMOKE_TEST_FAILED)[2]
        wanted = (service["metadata"].get("annotations") or {}).get(MODEL_VERSION)
        return 1, smoke_test_failed(str(wanted), answered)
    if ended is not None:
        return 0, stalled("ModelLoadFailed", f"The model server failed: {ended.message}")
    waits = "; ".join(_waits(service, pods))
    told = f"{ready_condition(service).get('message') or ''} {waits}"
    loading = progressing("Loading", f"The model server is loading the model. {waits}".strip())
    return 0, secret_missing("model server", told) or loading


def smoke_test_failed(version: str, answered: str) -> Readiness:
    """Return what is said of a version that answers a check otherwise than expected."""
    message = f"{version} fails spec.smokeTest and gets no requests: {answered}."
    return stalled("SmokeTestFailed", message)


def _told_by_kserve(service: dict[str, Any]) -> Ended | None:
    """Return how the server ended by the status, when it is about the present spec.

    KServe says nothing while an earlier server is available; a pod does.
    """
    status = service.get("status") or {}
    state = status.get("modelStatus") or {}
    observed = status.get("observedGeneration") == service["metadata"].get("generation")
    if not observed or state.get("transitionStatus") not in ("BlockedByFailedLoad", "InvalidSpec"):
        return None
    failure = state.get("lastFailureInfo") or {}
    message = failure.get("message") or failure.get("reason") or "no message"
    return Ended(int(failure.get("exitCode") or 0), message)


def _told_by_pods(service: dict[str, Any], pods: Sequence[dict[str, Any]]) -> Ended | None:
    for status in _servers(service, pods):
        for state in (status.get("state") or {}, status.get("lastState") or {}):
            terminated = state.get("terminated")
            if terminated and terminated.get("exitCode"):
                message = terminated.get("message") or terminated.get("reason") or "no message"
                return Ended(int(terminated["exitCode"]), message)
    return None


def _waits(service: dict[str, Any], pods: Sequence[dict[str, Any]]) -> list[str]:
    """Return what the model servers of the present spec wait for, as far as Kubernetes says."""
    waiting = [
        (status.get("state") or {}).get("waiting") or {} for status in _servers(service, pods)
    ]
    unplaced = [
        condition
        for pod in _present(service, pods)
        for condition in (pod.get("status") or {}).get("conditions") or []
        if (condition["type"], condition["status"]) == ("PodScheduled", "False")
    ]
    told = [found for found in (*waiting, *unplaced) if found.get("message")]
    return sorted({f"{found['reason']}: {found['message']}" for found in told})


def _servers(service: dict[str, Any], pods: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the states of those model servers that are of the present spec."""
    return [
        status
        for pod in _present(service, pods)
        for status in (pod.get("status") or {}).get("containerStatuses") or []
        if status.get("name") == _SERVER
    ]


def _present(service: dict[str, Any], pods: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pods of the present spec."""
    mark = f'"revision":"{server_revision(service)}"'
    name = service["metadata"]["name"]
    return [
        pod
        for pod in pods
        if (pod["metadata"].get("labels") or {}).get("serving.kserve.io/inferenceservice") == name
        and any(mark in (variable.get("value") or "") for variable in _environment(pod))
    ]


def _environment(pod: dict[str, Any]) -> list[dict[str, Any]]:
    containers = (pod.get("spec") or {}).get("containers") or []
    return [variable for container in containers for variable in container.get("env") or []]


def steps(passed: int, why_not: Readiness | None, checks: int) -> tuple[Fact, ...]:
    """Return the conditions: so many steps hold, the others wait for the same."""
    holding = (
        Fact(
            STEPS[0], True, "Loaded", "The model is loaded, and its bytes are those of its digest."
        ),
        _smoke_test_passed(checks),
        Fact(STEPS[2], True, "Answering", "Every request goes to servers of the model asked for."),
    )
    if why_not is None:
        return holding
    waiting = [Fact(step, False, why_not.reason, why_not.message) for step in STEPS[passed:]]
    return (*holding[:passed], *waiting)


def _smoke_test_passed(checks: int) -> Fact:
    if not checks:
        message = "spec.smokeTest declares no checks: the server is ready, no instance was sent."
        return Fact(STEPS[1], True, "NoChecks", message)
    return Fact(STEPS[1], True, "AsExpected", f"Answered {checks} of {checks} checks as expected.")
