"""RayJobs run as processes and report what KubeRay reports."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from modelyard.embedded.client import Object

from .conftest import Cluster, entries, eventually, is_alive


def ray_job(module: str, environment: dict[str, Any], **fields: Any) -> Object:
    head = {"name": "ray-head", "image": "modelyard/runtime:0", "env": entries(environment)}
    head.update(fields.pop("container", {}))
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": "search"},
        "spec": {
            "entrypoint": f"python -m {module}",
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 60,
            "rayClusterSpec": {
                "rayVersion": "2.60.0",
                "headGroupSpec": {
                    "rayStartParams": {},
                    "template": {"spec": {"containers": [head]}},
                },
                "workerGroupSpecs": [],
            },
            **fields,
        },
    }


async def deployment(cluster: Cluster, word: str) -> Object:
    return await cluster.status(
        "RayJob", "search", lambda status: status.get("jobDeploymentStatus") == word
    )


def exits(cluster: Cluster, codes: str) -> dict[str, Any]:
    return {"EXITS": codes, "RUNS": cluster.file("runs")}


def waits(cluster: Cluster) -> dict[str, Any]:
    return {"PIDS": cluster.file("pids"), "UNTIL": cluster.file("go")}


async def test_it_runs_to_its_end(cluster: Cluster) -> None:
    await cluster.create(ray_job("tiny_wait", waits(cluster)))
    status = await deployment(cluster, "Running")
    assert status["jobStatus"] == "RUNNING"
    assert status["observedGeneration"] == 1
    cluster.file("go").touch()
    status = await deployment(cluster, "Complete")
    assert (status["jobStatus"], status["succeeded"], status["failed"]) == ("SUCCEEDED", 1, 0)
    assert status["startTime"] <= status["rayJobInfo"]["endTime"] <= status["endTime"]


@pytest.mark.parametrize(
    ("codes", "limit", "word", "counts"),
    [
        pytest.param("[1]", 0, "Failed", (0, 1), id="failure"),
        pytest.param('["SIGKILL", 0]', 1, "Complete", (1, 1), id="tried again"),
        pytest.param("[3]", 2, "Failed", (0, 3), id="tried too often"),
    ],
)
async def test_it_is_tried_again_up_to_the_backoff_limit(
    cluster: Cluster, codes: str, limit: int, word: str, counts: tuple[int, int]
) -> None:
    await cluster.create(ray_job("tiny_exit", exits(cluster, codes), backoffLimit=limit))
    status = await deployment(cluster, word)
    assert (status["succeeded"], status["failed"]) == counts
    if word == "Failed":
        code = codes.strip("[]")
        assert status["jobStatus"] == "FAILED"
        assert status["reason"] == "AppFailed"
        assert status["message"] == f"Job entrypoint command failed with exit code {code}"


async def test_a_deadline_stops_it(cluster: Cluster) -> None:
    await cluster.create(ray_job("tiny_wait", waits(cluster), activeDeadlineSeconds=1))
    status = await deployment(cluster, "Failed")
    assert status["reason"] == "DeadlineExceeded"


async def test_suspending_it_stops_the_process_and_resuming_starts_another(
    cluster: Cluster,
) -> None:
    await cluster.create(ray_job("tiny_wait", waits(cluster), suspend=True))
    assert "jobStatus" not in await deployment(cluster, "Suspended")
    await cluster.patch("RayJob", "search", {"suspend": False})
    await deployment(cluster, "Running")
    pid = int((await cluster.some_lines("pids"))[0].split()[0])
    await cluster.patch("RayJob", "search", {"suspend": True})
    await deployment(cluster, "Suspended")
    assert not is_alive(pid)
    await cluster.patch("RayJob", "search", {"suspend": False})
    await deployment(cluster, "Running")
    cluster.file("go").touch()
    status = await deployment(cluster, "Complete")
    assert (status["succeeded"], status["failed"]) == (1, 0)


async def test_deleting_it_stops_the_process(cluster: Cluster) -> None:
    await cluster.create(ray_job("tiny_wait", waits(cluster)))
    pid = int((await cluster.some_lines("pids"))[0].split()[0])
    await cluster.delete("RayJob", "search")
    await eventually(lambda: is_alive(pid), lambda alive: not alive)


async def test_a_killed_stand_in_neither_doubles_nor_loses_it(cluster: Cluster) -> None:
    await cluster.create(ray_job("tiny_wait", waits(cluster)))
    pid = int((await cluster.some_lines("pids"))[0].split()[0])
    cluster.stand_ins.kill()
    os.kill(pid, signal.SIGTERM)
    await eventually(lambda: is_alive(pid), lambda alive: not alive)
    cluster.stand_ins.start()
    status = await deployment(cluster, "Failed")
    assert status["message"].endswith("exit code 143")
    assert len(cluster.lines("pids")) == 1


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        pytest.param({"runtimeEnvYAML": "{}"}, "spec.runtimeEnvYAML", id="runtime environment"),
        pytest.param({"entrypoint": "ray status"}, "spec.entrypoint", id="command"),
        pytest.param({"clusterSelector": {}}, "spec.clusterSelector", id="cluster"),
        pytest.param(
            {"container": {"volumeDevices": []}},
            "spec.rayClusterSpec.headGroupSpec.template.spec.containers[0].volumeDevices",
            id="volumes",
        ),
    ],
)
async def test_what_is_not_supported_is_refused_by_its_name(
    cluster: Cluster, fields: Object, path: str
) -> None:
    await cluster.create(ray_job("tiny_exit", {}, **fields))
    status = await deployment(cluster, "Failed")
    assert status["reason"] == "ValidationFailed"
    assert status["message"].startswith(f"{path} is not supported by the embedded plane; use ")
