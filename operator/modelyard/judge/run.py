"""Where a run stands, from its child object and what it left in the artifact store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from modelyard.api.artifacts import Failure
from modelyard.api.meta import RunStatus
from modelyard.api.runtime import UNTOLD_STATUS
from modelyard.judge.conditions import Fact, Readiness, progressing, sentence, stalled
from modelyard.judge.queueing import (
    NO_QUEUE,
    Queue,
    awaiting_admission,
    queue_missing,
    queue_of,
)

State = Literal["Waiting", "Running", "Succeeded", "Failed"]
RETRY_SECONDS = 20.0
"""How long a run rests that failed for a reason outside of it, which may be gone by then."""

SUSPENDED = "Suspended"
"""Reason of an object whose run is stopped until its spec says otherwise; nothing to wait for."""

UNCONFIGURED = "CreateContainerConfigError"
"""What the kubelet says of a container whose Secret, or a key in it, is not there."""


@dataclass(frozen=True)
class RunFacts:
    """What is known of the run with the present identity."""

    identity: str
    child_name: str
    recorded: bool
    failure: Failure | None
    child: dict[str, Any] | None
    suspended: bool = False
    cancelled: bool = False
    rested: float = 0.0
    """Seconds since the child ended; 0 while it has not."""
    queue: Queue = NO_QUEUE

    @property
    def lasting_failure(self) -> Failure | None:
        """The stored failure, unless the same run may succeed when tried again."""
        return None if self.failure is None or self.failure.retryable else self.failure


@dataclass(frozen=True)
class RunVerdict:
    """Where the run stands and what follows."""

    state: State
    readiness: Readiness | None
    """Why the object is not ready because of its run; None when the run succeeded."""
    start: bool = False
    """Whether the child must be applied."""
    clear_child: bool = False
    """Whether the child must be deleted: what it has stored stays, and the run goes on from there
    when it is started again."""
    look_again: bool = False
    """Whether time alone may change this: what runs makes progress in its folder, and what failed
    rests. All else is told by the child."""
    failure_to_record: Failure | None = None
    """A failure that only the operator saw; it is stored so that the run never starts again."""

    def status(self, facts: RunFacts, code_version: str) -> RunStatus:
        """Return the run's part of the status."""
        return RunStatus(
            identity=facts.identity,
            state=self.state,
            child=facts.child_name,
            code_version=code_version,
        )


def outdated(made_by: str, code_version: str) -> Fact:
    """Return whether a result was made by another version of Modelyard than the present one."""
    other = made_by != code_version
    ask = f", this is {code_version}; a new spec.run.token runs it again." if other else "."
    message = f"The run was made by Modelyard {made_by}{ask}"
    return Fact("Outdated", other, "OtherVersion" if other else "SameVersion", message)


def judge_run(facts: RunFacts, what: str) -> RunVerdict:
    """Return where a run stands. A record or a failure is final, whatever became of the child.

    Only a failure that may be gone when the same run is tried again (a store that did not answer,
    keys that were wrong) is not final.

    Args:
        facts: What is known of the run.
        what: What runs, for messages: `snapshot` or `search`.
    """
    if facts.recorded:
        return RunVerdict("Succeeded", None)
    failure = facts.lasting_failure or _unrecorded_failure(facts, what)
    if failure is not None:
        told = sentence(failure.message)
        message = f"{told} Nothing runs again until the data, the spec or spec.run.token changes."
        return RunVerdict(
            "Failed",
            stalled(failure.reason, message),
            failure_to_record=None if facts.lasting_failure else failure,
        )
    if facts.suspended:
        # Deleted, not suspended: a suspended Workflow of Argo lets a running pod run on.
        message = f"The {what} is suspended; set spec.suspend to false to go on."
        return RunVerdict(
            "Waiting", progressing(SUSPENDED, message), clear_child=facts.child is not None
        )
    return _unfinished(facts, what)


def _unfinished(facts: RunFacts, what: str) -> RunVerdict:
    missing = queue_missing(facts.queue, what)
    if missing is not None:
        return RunVerdict("Waiting", missing, look_again=True)
    child = facts.child
    state, message = child_state(child) if child else ("Pending", "It is being started.")
    held = awaiting_admission(facts.queue, child, what) if child else None
    over = state == "Failed"
    trouble = facts.failure or (_untold(what) if over else None)
    if trouble is not None:
        told = sentence(trouble.message)
        readiness = progressing(trouble.reason, f"{told} It is tried again by itself.")
    else:
        readiness = (
            held
            or secret_missing(what, message)
            or progressing(
                f"{what.capitalize()}Running", f"The {what} is running. {message}".strip()
            )
        )
    return RunVerdict(
        "Running" if state == "Running" and held is None else "Waiting",
        readiness,
        start=not over,
        clear_child=(over and facts.rested >= RETRY_SECONDS) or _waits_elsewhere(facts, held),
        look_again=over or state == "Running" or held is not None,
    )


def _waits_elsewhere(facts: RunFacts, held: Readiness | None) -> bool:
    """Return whether a child waits in another queue than it would be put in now."""
    if facts.child is None or queue_of(facts.child) == facts.queue.name:
        return False
    return held is not None or child_state(facts.child)[0] == "Pending"


def _untold(what: str) -> Failure:
    message = (
        f"The artifact store did not answer the {what}; check spec.artifactStore of the Project "
        "and its connection"
    )
    return Failure(reason="StoreUnavailable", message=message, retryable=True)


def secret_missing(what: str, message: str) -> Readiness | None:
    """Return that a container waits for a Secret, if that is what its pod's message says."""
    _, found, absent = message.partition(UNCONFIGURED)
    if not found:
        return None
    told = f"The {what} cannot start: {absent.lstrip(': ')}; create the Secret, then it starts."
    return progressing("SecretMissing", told)


def child_state(child: dict[str, Any]) -> tuple[str, str]:
    """Return (Pending | Running | Succeeded | Failed, message) of a Workflow or a RayJob."""
    if child["metadata"].get("deletionTimestamp"):
        return "Pending", "The one before is still being stopped."
    status = child.get("status") or {}
    message = status.get("message") or ""
    if child["kind"] == "RayJob":
        state = {
            "SUCCEEDED": "Succeeded",
            "FAILED": "Failed",
            "STOPPED": "Failed",
            "RUNNING": "Running",
        }.get(status.get("jobStatus", ""), "Pending")
        if status.get("jobDeploymentStatus") == "Failed":
            state = "Failed"
        return state, message
    state = {"Error": "Failed"}.get(status.get("phase", ""), status.get("phase") or "Pending")
    return state, _pod_message(status) or message


def is_under_way(child: dict[str, Any]) -> bool:
    """Return whether a Workflow or a RayJob has an end before it that it was not told of yet."""
    stopping = child["metadata"].get("deletionTimestamp") is not None
    return not stopping and child_state(child)[0] in ("Pending", "Running")


def _pod_message(workflow_status: dict[str, Any]) -> str:
    """Return what the last failed pod said: the Workflow itself speaks of retries only."""
    failed = [
        node
        for node in (workflow_status.get("nodes") or {}).values()
        if node.get("type") == "Pod" and node.get("phase") in ("Failed", "Error")
    ]
    last: dict[str, Any] = max(failed, key=lambda node: node.get("finishedAt") or "", default={})
    message: str = last.get("message") or ""
    return message


def _unrecorded_failure(facts: RunFacts, what: str) -> Failure | None:
    if facts.cancelled:
        return Failure(reason="Cancelled", message=f"The {what} was cancelled by spec.run.cancel.")
    if facts.child is None:
        return None
    state, message = child_state(facts.child)
    if state == "Failed" and (facts.failure or f"exit code {UNTOLD_STATUS}" in message):
        return None
    name = f"{facts.child['kind']}/{facts.child['metadata']['name']}"
    if state == "Failed":
        message = f"{name} failed: {message or 'no message'}; `modelyard logs` shows its output."
        return Failure(reason="ChildFailed", message=message)
    if state == "Succeeded":
        return Failure(reason="RecordMissing", message=f"{name} ended without leaving a record.")
    return None
