"""CronWorkflows make Workflows by the clock, one at a time."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.embedded.client import Object
from modelyard.embedded.standins.times import every
from modelyard.embedded.standins.workflows import WORKFLOWS

from .conftest import Cluster, eventually, workflow


def cron(module: str, environment: dict[str, Any], **fields: Any) -> Object:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "CronWorkflow",
        "metadata": {"name": "watch"},
        "spec": {
            "schedules": ["@every 1s"],
            "concurrencyPolicy": "Forbid",
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1,
            "workflowSpec": workflow("watch", module, environment=environment)["spec"],
            **fields,
        },
    }


async def children(cluster: Cluster) -> list[Object]:
    found: list[Object] = (await cluster.client.list(WORKFLOWS, cluster.namespace))["items"]
    return found


async def test_it_makes_workflows_that_it_owns_and_keeps_the_last_ones(cluster: Cluster) -> None:
    made = await cluster.create(
        cron("tiny_exit", {"EXITS": "[0, 1, 0]", "RUNS": cluster.file("runs")})
    )
    await cluster.some_lines("runs", 5)
    status = await cluster.status(
        "CronWorkflow",
        "watch",
        lambda status: status.get("succeeded", 0) >= 3 and status.get("failed") == 1,
    )
    assert status["phase"] == "Active"

    def kept(items: list[Object]) -> list[str]:
        return sorted(str((item.get("status") or {}).get("phase")) for item in items)

    left = await eventually(
        lambda: children(cluster), lambda items: kept(items) == ["Failed", "Succeeded"]
    )
    for child in left:
        assert child["metadata"]["name"].startswith("watch-")
        assert child["metadata"]["name"].removeprefix("watch-").isdigit()
        assert child["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
        assert child["metadata"]["labels"]["workflows.argoproj.io/cron-workflow"] == "watch"
    logs = cluster.stand_ins.state_dir / "logs" / cluster.namespace
    await eventually(lambda: len(list(logs.iterdir())), lambda count: count <= 3)


async def test_it_makes_none_while_one_runs(cluster: Cluster) -> None:
    environment = {"PIDS": cluster.file("pids"), "UNTIL": cluster.file("go")}
    await cluster.create(cron("tiny_wait", environment))
    await cluster.some_lines("pids")
    first = await cluster.status("CronWorkflow", "watch", lambda status: status.get("active"))
    await cluster.status(
        "CronWorkflow",
        "watch",
        lambda status: status["lastScheduledTime"] > first["lastScheduledTime"],
    )
    assert [child["metadata"]["name"] for child in await children(cluster)] == [
        first["active"][0]["name"]
    ]
    cluster.file("go").touch()
    await cluster.some_lines("pids", 2)


async def test_deleting_it_deletes_its_workflows_and_stops_their_processes(
    cluster: Cluster,
) -> None:
    environment = {"PIDS": cluster.file("pids"), "UNTIL": cluster.file("go")}
    await cluster.create(cron("tiny_wait", environment))
    await cluster.some_lines("pids")
    await cluster.delete("CronWorkflow", "watch")
    await eventually(lambda: children(cluster), lambda items: not items)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        pytest.param({"schedules": ["*/5 * * * *"]}, "spec.schedules[0]", id="five fields"),
        pytest.param({"schedules": ["@every 5x"]}, "spec.schedules[0]", id="no duration"),
        pytest.param({"concurrencyPolicy": "Allow"}, "spec.concurrencyPolicy", id="policy"),
        pytest.param({"timezone": "UTC"}, "spec.timezone", id="timezone"),
        pytest.param(
            {"workflowSpec": {"templates": [{"dag": {}}]}},
            "spec.workflowSpec.templates[0].dag",
            id="workflow",
        ),
    ],
)
async def test_what_is_not_supported_is_refused_by_its_name(
    cluster: Cluster, fields: Object, path: str
) -> None:
    await cluster.create(cron("tiny_exit", {}, **fields))
    status = await cluster.status("CronWorkflow", "watch", lambda status: status.get("conditions"))
    assert status["conditions"][0]["type"] == "SpecError"
    assert status["conditions"][0]["message"].startswith(f"{path} is not supported by the embedded")


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [
        ("@every 15s", 15),
        ("@every 1h30m", 5400),
        ("@every 1.5s", 1.5),
        ("@every 500ms", 0.5),
        ("@every", None),
        ("@every 0s", None),
        ("@hourly", None),
        ("15s", None),
    ],
)
def test_a_schedule_is_read_as_a_go_duration(schedule: str, seconds: float | None) -> None:
    assert every(schedule) == seconds
