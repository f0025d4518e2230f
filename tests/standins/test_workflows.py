"""Workflows run as processes and report what Argo reports."""

from __future__ import annotations

import json
import os
import signal

import pytest
from modelyard.embedded.client import Object

from .conftest import Cluster, eventually, is_alive, workflow


def exits(cluster: Cluster, *codes: object) -> dict[str, str]:
    return {"EXITS": json.dumps(codes), "RUNS": str(cluster.file("runs"))}


def waits(cluster: Cluster) -> dict[str, str]:
    return {"PIDS": str(cluster.file("pids")), "UNTIL": str(cluster.file("go"))}


def pods(status: Object) -> list[Object]:
    found = [node for node in status["nodes"].values() if node["type"] == "Pod"]
    return sorted(found, key=lambda node: str(node["name"]))


async def test_a_process_that_ends_well_makes_the_workflow_succeed(cluster: Cluster) -> None:
    await cluster.create(workflow("good", environment=exits(cluster, 0)))
    status = await cluster.phase("good", "Succeeded")
    assert status["progress"] == "1/1"
    assert {"type": "Completed", "status": "True"} in status["conditions"]
    assert status["startedAt"] <= status["finishedAt"]
    assert [(pod["phase"], pod["outputs"]) for pod in pods(status)] == [
        ("Succeeded", {"exitCode": "0"})
    ]


@pytest.mark.parametrize(
    ("codes", "phase", "message", "runs"),
    [
        pytest.param([1], "Failed", "retryStrategy.expression evaluated to false", 1, id="failure"),
        pytest.param(["SIGKILL", 0], "Succeeded", None, 2, id="killed once"),
        pytest.param([3, 1], "Failed", "retryStrategy.expression evaluated to false", 2, id="both"),
        pytest.param(["SIGKILL"], "Failed", "No more retries left", 6, id="killed always"),
    ],
)
async def test_a_killed_process_is_tried_again_and_a_failure_is_not(
    cluster: Cluster, codes: list[object], phase: str, message: str | None, runs: int
) -> None:
    await cluster.create(workflow("run", environment=exits(cluster, *codes)))
    status = await cluster.phase("run", phase)
    assert status.get("message") == message
    assert len(cluster.lines("runs")) == len(pods(status)) == runs


async def test_a_kill_from_outside_is_reported_as_exit_code_137(cluster: Cluster) -> None:
    await cluster.create(workflow("run", "tiny_wait", environment=waits(cluster)))
    pid, worker = map(int, (await cluster.some_lines("pids"))[0].split())
    os.kill(pid, signal.SIGKILL)
    await cluster.some_lines("pids", 2)
    assert not is_alive(worker), "what the killed process had started must not go on"
    cluster.file("go").touch()
    status = await cluster.phase("run", "Succeeded")
    assert [pod["outputs"]["exitCode"] for pod in pods(status)] == ["137", "0"]
    assert pods(status)[0]["message"] == "main: Error (exit code 137)"


@pytest.mark.parametrize("strategy", ["Stop", "Terminate"])
async def test_shutdown_stops_the_process_and_fails_the_workflow(
    cluster: Cluster, strategy: str
) -> None:
    await cluster.create(workflow("run", "tiny_wait", environment=waits(cluster)))
    pid = int((await cluster.some_lines("pids"))[0].split()[0])
    await cluster.patch("Workflow", "run", {"shutdown": strategy})
    status = await cluster.phase("run", "Failed")
    assert status["message"] == f"Stopped with strategy '{strategy}'"
    assert not is_alive(pid)


async def test_a_deadline_stops_the_process(cluster: Cluster) -> None:
    document = workflow("run", "tiny_wait", environment=waits(cluster), activeDeadlineSeconds=1)
    await cluster.create(document)
    status = await cluster.phase("run", "Failed")
    assert status["message"] == "Step exceeded its deadline"


async def test_deleting_the_workflow_stops_the_process_and_leaves_no_file(
    cluster: Cluster,
) -> None:
    made = await cluster.create(workflow("run", "tiny_wait", environment=waits(cluster)))
    pid = int((await cluster.some_lines("pids"))[0].split()[0])
    state = cluster.stand_ins.state_dir
    records = state / "standins" / "processes" / made["metadata"]["uid"]
    logs = state / "logs" / cluster.namespace / "run"
    assert records.exists()
    assert logs.exists()
    await cluster.delete("Workflow", "run")
    await eventually(lambda: [is_alive(pid), records.exists(), logs.exists()], lambda x: not any(x))


async def test_a_finished_workflow_is_deleted_after_its_time_to_live(cluster: Cluster) -> None:
    document = workflow(
        "run", environment=exits(cluster, 0), ttlStrategy={"secondsAfterCompletion": 1}
    )
    await cluster.create(document)
    await cluster.some_lines("runs")
    await cluster.is_gone("Workflow", "run")


async def test_a_finished_workflow_never_runs_again(cluster: Cluster) -> None:
    await cluster.create(workflow("run", environment=exits(cluster, 0)))
    await cluster.phase("run", "Succeeded")
    cluster.stand_ins.kill()
    cluster.stand_ins.start()
    # What comes after it in the queue has run, so it has been looked at.
    await cluster.create(workflow("later", environment=exits(cluster, 0)))
    await cluster.phase("later", "Succeeded")
    assert len(cluster.lines("runs")) == 2


REFUSED = [
    pytest.param({"template": {"script": {}}}, "spec.templates[0].script", id="script"),
    pytest.param({"arguments": {}}, "spec.arguments", id="arguments"),
    pytest.param({"suspend": True}, "spec.suspend", id="suspend"),
    pytest.param({"entrypoint": "other"}, "spec.entrypoint", id="entrypoint"),
    pytest.param(
        {"container": {"command": ["sh", "-c", "true"]}},
        "spec.templates[0].container.command",
        id="shell",
    ),
    pytest.param(
        {"module": "http.server"}, "spec.templates[0].container.command", id="other module"
    ),
    pytest.param(
        {"container": {"volumeDevices": []}},
        "spec.templates[0].container.volumeDevices",
        id="volumes",
    ),
    pytest.param(
        {"template": {"retryStrategy": {"limit": "1", "backoff": {}}}},
        "spec.templates[0].retryStrategy.backoff",
        id="backoff",
    ),
    pytest.param(
        {"template": {"retryStrategy": {"limit": "1", "expression": "true"}}},
        "spec.templates[0].retryStrategy.expression",
        id="expression",
    ),
    pytest.param(
        {"environment": {"A": {"valueFrom": {"configMapKeyRef": {}}}}},
        "spec.templates[0].container.env[0].valueFrom.configMapKeyRef",
        id="config map",
    ),
    pytest.param(
        {"environment": {"A": "{{inputs.a}}"}},
        "spec.templates[0].container.env[0].value",
        id="template tag",
    ),
]


@pytest.mark.parametrize(("fields", "path"), REFUSED)
async def test_what_is_not_supported_is_refused_by_its_name(
    cluster: Cluster, fields: Object, path: str
) -> None:
    await cluster.create(workflow("run", **fields))
    status = await cluster.phase("run", "Error")
    assert status["message"].startswith(f"{path} is not supported by the embedded plane; use ")


async def test_the_environment_is_what_the_container_declares_and_little_more(
    cluster: Cluster,
) -> None:
    await cluster.secret("keys", password="p$$(A)w")
    secret = {"valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}}
    optional = {"valueFrom": {"secretKeyRef": {"name": "no", "key": "no", "optional": True}}}
    environment = {
        "OUT": cluster.file("out"),
        "A": "a",
        "B": "$(A) $$(A) $(UNKNOWN) $",
        "PASSWORD": secret,
        "OPTIONAL": optional,
    }
    document = workflow("run", "tiny_print", environment=environment, container={"args": ["x y"]})
    await cluster.create(document)
    await cluster.phase("run", "Succeeded")
    out = json.loads(cluster.file("out").read_text())
    assert out["arguments"] == ["x y"]
    found = out["environment"]
    assert found["B"] == "a $(A) $(UNKNOWN) $"
    assert found["PASSWORD"] == "p$$(A)w"
    assert not {"OPTIONAL", "NOT_FOR_CONTAINERS", "OMP_NUM_THREADS"} & set(found)
    files = [path for path in cluster.stand_ins.state_dir.rglob("*") if path.is_file()]
    assert not [path for path in files if b"p$$(A)w" in path.read_bytes()], "a secret on disk"


async def test_a_missing_secret_is_waited_for_and_named(cluster: Cluster) -> None:
    secret = {"valueFrom": {"secretKeyRef": {"name": "later", "key": "word"}}}
    environment = {"OUT": cluster.file("out"), "WORD": secret}
    await cluster.create(workflow("run", "tiny_print", environment=environment))
    status = await cluster.phase("run", "Pending")
    assert status["message"] == 'CreateContainerConfigError: secret "later" not found'
    await cluster.secret("later", word="hello")
    await cluster.phase("run", "Succeeded")
    assert json.loads(cluster.file("out").read_text())["environment"]["WORD"] == "hello"


async def test_an_environment_too_large_for_the_kernel_fails_with_a_reason(
    cluster: Cluster,
) -> None:
    document = workflow("run", environment={"LARGE": "x" * 200_000}, template={"retryStrategy": {}})
    document["spec"]["templates"][0].pop("retryStrategy")
    await cluster.create(document)
    status = await cluster.phase("run", "Failed")
    assert status["message"] == "main: Error (exit code 126)"
    log = cluster.stand_ins.state_dir / "logs" / cluster.namespace / "run" / "0.log"
    assert log.read_text() == "the process could not be started: Argument list too long\n"
