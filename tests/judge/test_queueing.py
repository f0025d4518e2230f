"""Whether Kueue lets a run start, and what there is to do while it does not."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.api.resources import QUEUE_LABEL
from modelyard.judge.queueing import Queue, awaiting_admission, queue_of
from modelyard.judge.run import RunFacts, RunVerdict, judge_run

QUEUE = "modelyard-research"
FULL = (
    "couldn't assign flavors to pod set main: insufficient unused quota for cpu in flavor default, "
    "2 more needed"
)


def workflow(queue: str | None = QUEUE, phase: str = "Running") -> dict[str, Any]:
    """A Workflow; Argo calls it running while its pod waits."""
    labels = {"labels": {QUEUE_LABEL: queue}} if queue else {}
    metadata = {"name": "train-tumor-0123456789", "uid": "w-1"}
    spec = {"podMetadata": labels}
    return {"kind": "Workflow", "metadata": metadata, "spec": spec, "status": {"phase": phase}}


def ray_job(*, suspend: bool = True) -> dict[str, Any]:
    labels = {QUEUE_LABEL: QUEUE}
    metadata = {"name": "train-tumor-0123456789", "uid": "r-1", "labels": labels}
    return {"kind": "RayJob", "metadata": metadata, "spec": {"suspend": suspend}}


def condition(kind: str, status: str, reason: str = "R", message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def workload(
    child: dict[str, Any], *conditions: dict[str, str], created: str = "1", **spec: Any
) -> dict[str, Any]:
    """A Workload as Kueue makes it: of a RayJob, or of one pod of a Workflow."""
    name = child["metadata"]["name"]
    owner = {"kind": "RayJob", "name": name, "uid": child["metadata"]["uid"]}
    if child["kind"] == "Workflow":
        owner = {"kind": "Pod", "name": f"{name}-main-42", "uid": "p-1"}
    metadata = {"name": f"w-{created}", "creationTimestamp": created, "ownerReferences": [owner]}
    return {"metadata": metadata, "spec": spec, "status": {"conditions": list(conditions)}}


PENDING = condition("QuotaReserved", "False", "Pending", FULL)
RESERVED = condition("QuotaReserved", "True")
ADMITTED = condition("Admitted", "True")
FINISHED = condition("Finished", "True")
UNKNOWN_QUEUE = condition(
    "QuotaReserved", "False", "Inadmissible", "ClusterQueue research doesn't exist"
)
EVICTED = condition("Evicted", "True", "Deactivated", "The workload is deactivated")


@pytest.mark.parametrize(
    ("conditions", "spec", "reason", "told"),
    [
        pytest.param([PENDING], {}, "AwaitingQuota", "2 more needed. It starts", id="no room"),
        pytest.param([], {}, "AwaitingQuota", "does not say why", id="just made"),
        pytest.param([RESERVED], {}, "AwaitingQuota", "admission checks", id="being checked"),
        pytest.param(
            [UNKNOWN_QUEUE], {}, "QueueUnavailable", "research doesn't exist; mend the queue",
            id="no such ClusterQueue",
        ),
        pytest.param(
            [PENDING, EVICTED], {"active": False}, "QueueUnavailable",
            "Workload w-1 of the search: The workload is deactivated; set its spec.active",
            id="deactivated",
        ),
        pytest.param([RESERVED, ADMITTED], {}, None, "", id="admitted"),
        pytest.param([PENDING, FINISHED], {}, None, "", id="over"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("child", [workflow(), ray_job(suspend=False)], ids=lambda c: c["kind"])
def test_what_kueue_says_of_a_run_is_told_with_what_to_do(
    child: dict[str, Any],
    conditions: list[dict[str, str]],
    spec: dict[str, Any],
    reason: str | None,
    told: str,
) -> None:
    queue = Queue(QUEUE, workloads=[workload(child, *conditions, **spec)])
    found = awaiting_admission(queue, child, "search")
    assert (found.reason if found else None) == reason
    assert told in (found.message if found else "")


def test_each_try_of_a_workflow_waits_by_itself() -> None:
    first = workload(workflow(), RESERVED, ADMITTED, FINISHED, created="1")
    second = workload(workflow(), PENDING, created="2")
    found = awaiting_admission(Queue(QUEUE, workloads=[second, first]), workflow(), "search")
    assert found is not None
    assert found.reason == "AwaitingQuota"


def test_a_run_that_kueue_has_not_seen_yet_waits_only_if_it_is_suspended() -> None:
    found = awaiting_admission(Queue(QUEUE), ray_job(), "search")
    assert found is not None
    assert "not looked at it yet" in found.message
    assert awaiting_admission(Queue(QUEUE), ray_job(suspend=False), "search") is None
    assert awaiting_admission(Queue(QUEUE), workflow(), "search") is None


def test_the_workload_of_another_run_says_nothing_of_this_one() -> None:
    other = workload(workflow(), PENDING)
    other["metadata"]["ownerReferences"] = [{"kind": "Pod", "name": "train-other-1", "uid": "x"}]
    assert awaiting_admission(Queue(QUEUE, workloads=[other]), workflow(), "search") is None


def verdict(child: dict[str, Any] | None, queue: Queue) -> RunVerdict:
    facts = RunFacts("0" * 64, "train-tumor-0123456789", False, None, child, queue=queue)
    return judge_run(facts, "search")


def test_nothing_starts_while_its_queue_is_not_there() -> None:
    found = verdict(None, Queue(QUEUE, exists=False))
    assert (found.state, found.start) == ("Waiting", False)
    assert found.readiness is not None
    assert found.readiness.reason == "QueueMissing"
    assert verdict(None, Queue(QUEUE)).start


def test_a_run_that_waits_is_not_said_to_run() -> None:
    found = verdict(workflow(), Queue(QUEUE, workloads=[workload(workflow(), PENDING)]))
    assert (found.state, found.clear_child) == ("Waiting", False)
    assert verdict(workflow(), Queue(QUEUE)).state == "Running"


@pytest.mark.parametrize(
    ("child", "queue", "starts_afresh"),
    [
        pytest.param(workflow(phase="Pending"), "modelyard-other", True, id="another queue"),
        pytest.param(workflow(None, "Pending"), QUEUE, True, id="no queue before"),
        pytest.param(workflow(phase="Pending"), None, True, id="no queue any more"),
        pytest.param(workflow(phase="Pending"), QUEUE, False, id="the same queue"),
        pytest.param(workflow(None), QUEUE, False, id="it runs already"),
    ],
)
def test_what_waits_elsewhere_than_it_should_starts_afresh(
    child: dict[str, Any], queue: str | None, starts_afresh: bool
) -> None:
    assert verdict(child, Queue(queue)).clear_child == starts_afresh


def test_what_waits_in_the_queue_before_is_known_by_its_workload() -> None:
    queue = Queue("modelyard-other", workloads=[workload(workflow(), PENDING)])
    assert verdict(workflow(), queue).clear_child


def test_the_queue_of_a_child_is_read_where_kueue_reads_it() -> None:
    assert [queue_of(child) for child in (workflow(), ray_job(), workflow(None))] == [
        QUEUE, QUEUE, None,
    ]  # fmt: skip
