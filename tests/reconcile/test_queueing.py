"""Runs of a Project with a ClusterQueue: Kueue's part is played by the test."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.api.resources import QUEUE_LABEL, WORKLOAD

QUEUE = "modelyard-research"
FULL = "insufficient unused quota for cpu in flavor default, 2 more needed"
PENDING = ("QuotaReserved", "False", "Pending", FULL)
EXPERIMENT: dict[str, Any] = {
    "datasetRef": {"name": "cells"},
    "task": {"type": "Classification", "target": "target"},
}


async def queued_search(world: Any, backend: str) -> dict[str, Any]:
    """Start a search in a queue; return its child."""
    await world.trained(quota={"clusterQueue": "research"})
    wanted = EXPERIMENT | {"seed": 1, "execution": {"backend": backend}}
    await world.commit("Experiment", "tumor", wanted)
    await world.settle()
    return child_of(world)


def child_of(world: Any) -> dict[str, Any]:
    status = world.get("Experiment", "tumor")["status"]
    children = (*world.children("Workflow"), *world.children("RayJob"))
    found: dict[str, Any] = next(
        one for one in children if one["metadata"]["name"] == status["run"]["child"]
    )
    return found


async def say(world: Any, child: dict[str, Any], *conditions: tuple[str, str, str, str]) -> None:
    """Say of a child what Kueue says: of a RayJob by itself, of a Workflow by its pod."""
    name, kind, uid = child["metadata"]["name"], child["kind"], child["metadata"]["uid"]
    if kind == "Workflow":
        name, kind, uid = f"{name}-main-42", "Pod", "p-1"
    owner = {"kind": kind, "name": name, "uid": uid}
    metadata = {"name": "w", "namespace": "n", "ownerReferences": [owner]}
    names = ("type", "status", "reason", "message")
    told = [dict(zip(names, one, strict=True)) for one in conditions]
    body = {"metadata": metadata, "spec": {"queueName": QUEUE}, "status": {"conditions": told}}
    await world.cluster.apply(WORKLOAD, body)


async def test_a_project_makes_the_queue_and_its_runs_are_put_in_it(world: Any) -> None:
    await queued_search(world, "Argo")
    assert world.get("LocalQueue", QUEUE)["spec"] == {"clusterQueue": "research"}
    for run in world.children("Workflow"):
        assert run["spec"]["podMetadata"]["labels"] == {QUEUE_LABEL: QUEUE}


@pytest.mark.parametrize("backend", ["Argo", "Ray"])
async def test_a_search_that_waits_says_so_and_starts_when_kueue_admits_it(
    world: Any, backend: str
) -> None:
    child = await queued_search(world, backend)
    await say(world, child, PENDING)
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("False", "AwaitingQuota")
    assert FULL in world.message("Experiment", "tumor")
    assert QUEUE in world.message("Experiment", "tumor")
    assert world.get("Experiment", "tumor")["status"]["run"]["state"] == "Waiting"
    assert child_of(world)["metadata"]["uid"] == child["metadata"]["uid"]
    await say(world, child, ("QuotaReserved", "True", "R", ""), ("Admitted", "True", "R", ""))
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("False", "SearchRunning")
    await world.finish_experiment("tumor")
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("True", "SearchFinished")


async def test_a_snapshot_waits_too(world: Any) -> None:
    await world.commit("Project", "team", {"quota": {"clusterQueue": "research"}})
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    await world.settle()
    (run,) = world.children("Workflow")
    await say(world, run, PENDING)
    await world.settle()
    assert world.ready("Dataset", "cells") == ("False", "AwaitingQuota")


async def test_a_run_that_waits_moves_to_the_queue_that_is_declared_next(world: Any) -> None:
    child = await queued_search(world, "Ray")
    await say(world, child, ("QuotaReserved", "False", "Inadmissible", "it doesn't exist"))
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("False", "QueueUnavailable")
    await world.commit("Project", "team", {"quota": {"clusterQueue": "other"}})
    await world.settle()
    moved = child_of(world)
    assert moved["metadata"]["uid"] != child["metadata"]["uid"]
    assert moved["metadata"]["labels"][QUEUE_LABEL] == "modelyard-other"
    assert [one["metadata"]["name"] for one in world.children("LocalQueue")] == ["modelyard-other"]


async def test_without_kueue_nothing_starts_until_it_is_installed(world: Any) -> None:
    world.cluster.missing.add("LocalQueue")
    await world.commit("Project", "team", {"quota": {"clusterQueue": "research", "cpu": 4}})
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    await world.settle()
    assert world.ready("Project", "team") == ("False", "BackendMissing")
    assert world.message("Project", "team").startswith("spec.quota.clusterQueue: LocalQueue (kueue")
    assert world.get("ResourceQuota", "modelyard")["spec"] == {"hard": {"requests.cpu": "4"}}
    assert world.ready("Dataset", "cells") == ("False", "QueueMissing")
    assert world.children("Workflow") == []
    world.cluster.missing.clear()
    await world.settle()
    assert world.ready("Project", "team") == ("True", "StoreReachable")
    assert len(world.children("Workflow")) == 1


async def test_what_serves_or_watches_never_waits(world: Any) -> None:
    version = await world.trained(quota={"clusterQueue": "research"})
    await world.commit("Deployment", "api", {"model": {"modelVersion": version}})
    await world.settle()
    world.serve("api")
    await world.commit("Monitor", "watch", {"deploymentRef": {"name": "api"}})
    await world.settle()
    for kind in ("InferenceService", "CronWorkflow"):
        (child,) = world.children(kind)
        assert QUEUE_LABEL not in str(child)
