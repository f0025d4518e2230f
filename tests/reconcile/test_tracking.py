"""Finished runs at the tracking server of the Project."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import World

URI = "http://mlflow.example:5000"
TRACKING: dict[str, Any] = {"mlflow": {"uri": URI}}


async def test_a_finished_run_is_tracked_once(world: World) -> None:
    name = await world.trained(tracking=TRACKING)
    identity = world.get("Experiment", "tumor")["status"]["run"]["identity"]
    run = world.tracking.runs[URI][identity]
    assert (run.experiment, run.name) == ("n/tumor", name)
    assert [(one.name, one.value, one.step) for one in run.metrics] == [
        ("log_loss", 0.2, 0),
        ("roc_auc", 0.95, 0),
        ("trials.roc_auc", 0.95, 3),
    ]
    assert run.tags["mlflow.source.git.commit"] == "abc"
    status = world.get("Experiment", "tumor")["status"]["tracking"]
    assert status == {"identity": identity, "runId": "run-0", "uri": URI}
    assert world.condition("Experiment", "tumor", "Tracked") == ("True", "RunTracked")
    world.tracking.runs.clear()
    await world.settle()
    assert world.tracking.runs == {}


async def test_a_server_that_is_away_holds_nothing_up_and_is_told_later(world: World) -> None:
    world.tracking.down = True
    await world.trained(tracking=TRACKING)
    assert world.ready("Experiment", "tumor") == ("True", "SearchFinished")
    assert world.condition("Experiment", "tumor", "Tracked") == ("False", "TrackingUnavailable")
    world.tracking.down = False
    await world.settle()
    assert world.condition("Experiment", "tumor", "Tracked") == ("True", "RunTracked")


async def test_another_server_is_told_of_the_run_that_is_over(world: World) -> None:
    await world.trained(tracking=TRACKING)
    other = "https://mlflow.example/team"
    await world.commit("Project", "team", {"tracking": {"mlflow": {"uri": other}}})
    await world.settle()
    assert set(world.tracking.runs) == {URI, other}
    await world.commit("Project", "team", {})
    await world.settle()
    assert "tracking" not in world.get("Experiment", "tumor")["status"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(None, "Secret mlflow is missing in namespace n", id="no secret"),
        pytest.param({"TOKEN": "t"}, "has neither MLFLOW_TRACKING_TOKEN nor", id="no key"),
        pytest.param({"MLFLOW_TRACKING_USERNAME": "u"}, "PASSWORD; add it", id="no password"),
    ],
)
async def test_credentials_that_are_missing_are_named(
    world: World, data: dict[str, str] | None, said: str
) -> None:
    if data is not None:
        secret(world, data)
    await world.trained(tracking={"mlflow": {"uri": URI, "secretRef": {"name": "mlflow"}}})
    conditions = world.get("Experiment", "tumor")["status"]["conditions"]
    (found,) = (one for one in conditions if one["type"] == "Tracked")
    assert said in found["message"]
    assert world.tracking.runs == {}


async def test_credentials_reach_the_server_and_no_status(world: World) -> None:
    secret(world, {"MLFLOW_TRACKING_TOKEN": "not-to-be-told"})
    await world.trained(tracking={"mlflow": {"uri": URI, "secretRef": {"name": "mlflow"}}})
    assert world.tracking.credentials == {"MLFLOW_TRACKING_TOKEN": "not-to-be-told"}
    told = [one for key, one in world.cluster.objects.items() if key[0] != "Secret"]
    assert "not-to-be-told" not in str(told)


def secret(world: World, data: dict[str, str]) -> None:
    world.cluster.objects["Secret", world.namespace, "mlflow"] = {
        "metadata": {"name": "mlflow", "namespace": world.namespace},
        "stringData": data,
    }
