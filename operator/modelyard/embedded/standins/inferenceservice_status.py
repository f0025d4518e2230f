"""The status of an InferenceService, in KServe's words.

Fields and reasons are those of KServe v0.20 in Standard mode, where the predictor's conditions come
from its Kubernetes Deployment: a rollout is Unknown with the reason ReplicaSetUpdated while the
earlier revision serves on.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.embedded.client import Object
from modelyard.embedded.standins.attempts import Attempt
from modelyard.embedded.standins.times import rfc3339


@dataclass(frozen=True)
class Observation:
    """What was found about an InferenceService's servers.

    Attributes:
        serving: How many servers of the revision asked for answer.
        previous: Whether one of an earlier revision does.
        created_revision: Number of the revision asked for.
        ready_revision: Number of the revision that was ready last; empty when none was.
        url: Where it answers; empty when nothing ever did.
        failure: The server that ended instead of serving the revision asked for.
        missing: What a server waits for before it can start.
        at_rest: Whether none has to run.
    """

    serving: int
    previous: bool
    created_revision: str
    ready_revision: str
    url: str
    failure: Attempt | None
    missing: str
    at_rest: bool = False


def status_of(current: Object, found: Observation, now: float) -> Object:
    """Return the status of an InferenceService."""
    verdict, reason, message = _verdict(found)
    conditions = {
        "IngressReady": ("True", "", "") if found.url else ("False", reason, "No server yet."),
        "PredictorReady": (verdict, reason, message),
        "Ready": (verdict, reason, message),
    }
    predictor: Object = {"latestCreatedRevision": found.created_revision}
    status: Object = {
        "observedGeneration": current["metadata"].get("generation", 0),
        "conditions": _conditions(current, conditions, now),
        "components": {"predictor": predictor},
        "modelStatus": _model_status(found),
        "deploymentMode": "Standard",
    }
    if found.url:
        status["url"] = found.url
        status["address"] = {"url": found.url}
        predictor["url"] = found.url
        predictor["latestReadyRevision"] = found.ready_revision
    return status


def refused(current: Object, message: str, now: float) -> Object:
    """Return the status of an InferenceService whose spec is not supported."""
    status = dict(current.get("status") or {})
    verdict = ("False", "InvalidPredictorSpec", message)
    states = dict((status.get("modelStatus") or {}).get("states") or {"activeModelState": ""})
    status["observedGeneration"] = current["metadata"].get("generation", 0)
    status["conditions"] = _conditions(current, {"PredictorReady": verdict, "Ready": verdict}, now)
    status["modelStatus"] = {
        "transitionStatus": "InvalidSpec",
        "states": {**states, "targetModelState": "FailedToLoad"},
        "lastFailureInfo": {"reason": "InvalidPredictorSpec", "message": message},
    }
    return status


def _verdict(found: Observation) -> tuple[str, str, str]:
    if found.serving or found.at_rest:
        return "True", "", ""
    if found.missing:
        waits = f"CreateContainerConfigError: {found.missing}"
    elif found.failure is not None:
        waits = f"the model server ended with exit code {found.failure.exit_code}"
    else:
        waits = "the model server is starting"
    if found.previous:
        return (
            "Unknown",
            "ReplicaSetUpdated",
            f"revision {found.created_revision}: {waits}; revision {found.ready_revision} serves",
        )
    return "False", "MinimumReplicasUnavailable", f"revision {found.created_revision}: {waits}"


def _model_status(found: Observation) -> Object:
    active = "Loaded" if found.ready_revision else "Pending"
    if found.serving:
        return {
            "transitionStatus": "UpToDate",
            "states": {"activeModelState": "Loaded", "targetModelState": "Loaded"},
            "copies": {"failedCopies": 0, "totalCopies": found.serving},
        }
    if found.failure is None:
        return {
            "transitionStatus": "InProgress",
            "states": {
                "activeModelState": active,
                "targetModelState": "Pending" if found.missing else "Loading",
            },
            "copies": {"failedCopies": 0, "totalCopies": int(found.previous)},
        }
    return {
        "transitionStatus": "BlockedByFailedLoad",
        "states": {"activeModelState": active, "targetModelState": "FailedToLoad"},
        "copies": {"failedCopies": 1, "totalCopies": int(found.previous)},
        "lastFailureInfo": {
            "location": "predictor",
            "reason": "ModelLoadFailed",
            "message": found.failure.tail(),
            "modelRevisionName": found.created_revision,
            "time": rfc3339(found.failure.finished_at or found.failure.started_at),
            "exitCode": found.failure.exit_code,
        },
    }


def _conditions(
    current: Object, wanted: dict[str, tuple[str, str, str]], now: float
) -> list[Object]:
    """Return the conditions by type; the time of one changes only with its status."""
    known = {
        condition["type"]: condition
        for condition in (current.get("status") or {}).get("conditions", [])
    }
    conditions = dict(known)
    for kind, (verdict, reason, message) in wanted.items():
        condition = {"type": kind, "status": verdict}
        same = kind in known and known[kind]["status"] == verdict
        condition["lastTransitionTime"] = (
            known[kind]["lastTransitionTime"] if same else rfc3339(now)
        )
        if reason:
            condition["reason"] = reason
        if message:
            condition["message"] = message
        conditions[kind] = condition
    return [conditions[kind] for kind in sorted(conditions)]
