"""Whether Kueue lets a run start, from the queue it is put in and the Workloads made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.api.resources import QUEUE_LABEL
from modelyard.judge.conditions import Readiness, progressing

MEND = (
    "mend the queue that is named, or name another in spec.quota.clusterQueue of the Project; then "
    "it goes on by itself"
)


@dataclass(frozen=True)
class Queue:
    """The LocalQueue of a Project's runs.

    Attributes:
        name: Its name; None where runs start at once.
        exists: Whether it is there.
        workloads: The Workloads of the namespace.
    """

    name: str | None = None
    exists: bool = True
    workloads: Sequence[dict[str, Any]] = ()


NO_QUEUE = Queue()


def queue_missing(queue: Queue, what: str) -> Readiness | None:
    """Return that a run must not start, because nobody would admit it."""
    if queue.exists:
        return None
    message = (
        f"The {what} waits for LocalQueue {queue.name}, which spec.quota.clusterQueue of the "
        "Project asks for; the Project's condition Ready says why it is not there."
    )
    return progressing("QueueMissing", message)


def awaiting_admission(queue: Queue, child: dict[str, Any], what: str) -> Readiness | None:
    """Return why Kueue does not let a child start yet; None when it does."""
    put_in = queue_of(child)
    if put_in is None:
        return None
    workload = _latest_of(child, queue.workloads)
    if workload is None:
        unseen = (child.get("spec") or {}).get("suspend")
        return _awaiting_quota(put_in, what, "Kueue has not looked at it yet") if unseen else None
    conditions = {one["type"]: one for one in (workload.get("status") or {}).get("conditions", [])}
    if _holds(conditions, "Admitted"):
        return None
    name = workload["metadata"]["name"]
    if workload["spec"].get("active") is False:
        why = _said(conditions, "Evicted")
        message = f"Kueue has deactivated Workload {name} of the {what}: {why}; set its spec.active"
        return progressing("QueueUnavailable", f"{message} to true, then it goes on by itself.")
    reserved = conditions.get("QuotaReserved") or {}
    if reserved.get("reason") == "Inadmissible":
        why = _said(conditions, "QuotaReserved")
        return progressing("QueueUnavailable", f"Kueue does not admit the {what}: {why}; {MEND}.")
    if _holds(conditions, "QuotaReserved"):
        return _awaiting_quota(put_in, what, "admission checks are not over")
    return _awaiting_quota(put_in, what, _said(conditions, "QuotaReserved"))


def queue_of(child: dict[str, Any]) -> str | None:
    """Return the LocalQueue that a Workflow or a RayJob was put in."""
    pods = (child.get("spec") or {}).get("podMetadata") or {}
    labels = pods if child["kind"] == "Workflow" else child["metadata"]
    found: str | None = (labels.get("labels") or {}).get(QUEUE_LABEL)
    return found


def _awaiting_quota(queue: str, what: str, why: str) -> Readiness:
    message = (
        f"The {what} waits in LocalQueue {queue}: {why}. It starts by itself as soon as Kueue "
        "finds room; what asks for more than there ever is needs lower spec.resources."
    )
    return progressing("AwaitingQuota", message)


def _latest_of(child: dict[str, Any], workloads: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the latest Workload of a child that is not over: a Workflow has one for each try."""
    own = [one for one in workloads if _is_of(child, one) and not _is_finished(one)]
    return max(own, key=lambda one: str(one["metadata"].get("creationTimestamp")), default=None)


def _is_of(child: dict[str, Any], workload: dict[str, Any]) -> bool:
    """Return whether a Workload is of a RayJob, or of a pod that Argo named after its Workflow."""
    metadata = child["metadata"]
    return any(
        owner["uid"] == metadata.get("uid")
        or (owner["kind"] == "Pod" and owner["name"].startswith(f"{metadata['name']}-"))
        for owner in workload["metadata"].get("ownerReferences") or []
    )


def _is_finished(workload: dict[str, Any]) -> bool:
    found = (workload.get("status") or {}).get("conditions") or []
    return any((one["type"], one["status"]) == ("Finished", "True") for one in found)


def _holds(conditions: dict[str, dict[str, Any]], kind: str) -> bool:
    return (conditions.get(kind) or {}).get("status") == "True"


def _said(conditions: dict[str, dict[str, Any]], kind: str) -> str:
    """Return the message of a condition, to go on after it."""
    message: str = (conditions.get(kind) or {}).get("message") or "Kueue does not say why"
    return message.strip().rstrip(".")
