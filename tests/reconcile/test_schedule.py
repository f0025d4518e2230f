"""A scheduled Experiment: each slot starts one run, whatever restarts, and what won stands."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from modelyard.api.resources import Key
from modelyard.judge.schedule import slot_time
from modelyard.reconcile.reconciler import reconcile

TUMOR: dict[str, Any] = {
    "datasetRef": {"name": "cells"},
    "task": {"type": "Classification", "target": "target"},
}
EXPERIMENT = Key("Experiment", "n", "tumor")


async def scheduled(world: Any, **schedule: Any) -> None:
    """Commit a scheduled Experiment over a snapshot; it is 2026-01-01, midnight."""
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", {"source": {"builtin": "breast_cancer"}})
    await world.settle()
    await world.finish_dataset("cells")
    await world.commit("Experiment", "tumor", TUMOR | {"schedule": schedule})
    await world.settle()


async def go_to(world: Any, text: str) -> None:
    world.clock.move((slot_time(text) - world.clock.now()).total_seconds())
    await world.settle()


def trainings(world: Any) -> list[str]:
    names = [child["metadata"]["name"] for child in world.children("Workflow")]
    return [name for name in names if name.startswith("train-")]


def status(world: Any) -> dict[str, Any]:
    found: dict[str, Any] = world.get("Experiment", "tumor")["status"]
    return found


async def test_nothing_runs_before_the_first_slot_and_then_each_starts_exactly_one(
    world: Any,
) -> None:
    await scheduled(world, cron="0 3 * * *", timeZone="Europe/Berlin")
    assert world.ready("Experiment", "tumor") == ("True", "AwaitingSlot")
    assert "2026-01-01T02:00:00Z" in world.message("Experiment", "tumor")
    assert trainings(world) == []

    await go_to(world, "2026-01-01T02:00:00Z")
    assert len(trainings(world)) == 1
    assert status(world)["schedule"] == {
        "rule": "cron 0 3 * * * Europe/Berlin",
        "lastSlot": "2026-01-01T02:00:00Z",
        "nextSlot": "2026-01-02T02:00:00Z",
        "missedSlots": 0,
    }
    first = await world.finish_experiment("tumor")
    await go_to(world, "2026-01-01T23:00:00Z")
    assert world.ready("Experiment", "tumor") == ("True", "SearchFinished")
    assert len(trainings(world)) == 1

    await go_to(world, "2026-01-02T02:00:00Z")
    assert len(trainings(world)) == 2
    assert status(world)["bestModelVersion"] == first
    assert await world.finish_experiment("tumor") != first


async def test_what_won_stands_and_goes_on_serving_while_the_next_slot_runs(world: Any) -> None:
    await scheduled(world, every="6h")
    await go_to(world, "2026-01-01T06:00:00Z")
    first = await world.finish_experiment("tumor")
    await world.commit("Deployment", "api", {"model": {"experiment": "tumor"}})
    await world.settle()
    world.serve("api")
    await world.settle()
    assert world.ready("Deployment", "api") == ("True", "Serving")

    await go_to(world, "2026-01-01T12:00:00Z")
    assert world.ready("Experiment", "tumor") == ("True", "Retraining")
    assert status(world)["run"]["state"] == "Waiting"
    assert status(world)["bestModelVersion"] == first
    assert world.ready("Deployment", "api") == ("True", "Serving")

    second = await world.finish_experiment("tumor")
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("True", "SearchFinished")
    assert status(world)["bestModelVersion"] == second != first


async def test_another_spec_has_no_result_until_its_run_is_over(world: Any) -> None:
    await scheduled(world, every="6h")
    await go_to(world, "2026-01-01T06:00:00Z")
    await world.finish_experiment("tumor")
    await world.settle()
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"seed": 7})
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("False", "SearchRunning")
    assert "bestModelVersion" not in status(world)
    await world.commit("Experiment", "tumor", spec)
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("True", "SearchFinished")


async def test_a_finished_run_stands_when_a_schedule_is_added(world: Any) -> None:
    version = await world.trained()
    before = trainings(world)
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"schedule": {"every": "6h"}})
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("True", "SearchFinished")
    assert status(world)["bestModelVersion"] == version
    await go_to(world, "2026-01-01T06:00:00Z")
    assert world.ready("Experiment", "tumor") == ("True", "Retraining")
    assert len(trainings(world)) == len(before) + 1


class Died(Exception):
    """The operator is gone."""


class DyingCluster:
    """Lets the operator die instead of its next-but-some write."""

    def __init__(self, cluster: Any) -> None:
        self.lives = 0
        self._writes = (cluster.apply, cluster.apply_status)
        cluster.apply = self._apply
        cluster.apply_status = self._apply_status

    async def _apply(self, *arguments: Any) -> Any:
        self._live()
        return await self._writes[0](*arguments)

    async def _apply_status(self, *arguments: Any) -> Any:
        self._live()
        return await self._writes[1](*arguments)

    def _live(self) -> None:
        self.lives -= 1
        if self.lives == 0:
            raise Died


@pytest.mark.parametrize("write", [1, 2, 3])
async def test_a_slot_starts_once_when_the_operator_dies_at_a_write(world: Any, write: int) -> None:
    await scheduled(world, every="6h", startingDeadline="1m")
    world.clock.time = slot_time("2026-01-01T06:00:00Z")
    cluster = DyingCluster(world.cluster)
    cluster.lives = write

    async def work() -> None:
        for _ in range(2):
            await reconcile(EXPERIMENT, world.ports)

    with pytest.raises(Died):
        await work()
    world.clock.move(3600 if write > 1 else 30)
    await world.settle()
    assert status(world)["schedule"]["lastSlot"] == "2026-01-01T06:00:00Z"
    assert status(world)["schedule"]["missedSlots"] == 0
    assert len(trainings(world)) == 1


@pytest.mark.parametrize(
    ("deadline", "started", "last_slot", "missed"),
    [
        pytest.param({}, 2, "2026-01-01T02:30:00Z", 3, id="no deadline: the latest starts"),
        pytest.param({"startingDeadline": "5m"}, 1, "2026-01-01T00:30:00Z", 4, id="all too late"),
    ],
)  # fmt: skip
async def test_two_hours_without_an_operator_miss_slots_and_say_so(
    world: Any, deadline: dict[str, str], started: int, last_slot: str, missed: int
) -> None:
    await scheduled(world, every="30m", **deadline)
    await go_to(world, "2026-01-01T00:30:00Z")
    await world.finish_experiment("tumor")
    await world.settle()
    await go_to(world, "2026-01-01T02:40:00Z")
    assert len(trainings(world)) == started
    assert status(world)["schedule"]["lastSlot"] == last_slot
    assert status(world)["schedule"]["missedSlots"] == missed
    assert status(world)["schedule"]["nextSlot"] == "2026-01-01T03:00:00Z"
    [event] = [e for e in world.children("Event") if e["reason"] == "SlotsMissed"]
    assert f"{missed} slots from 2026-01-01T01:00:00Z" in event["message"]


async def test_ninety_days_of_nights_with_restarts_start_ninety_runs(world: Any) -> None:
    world.clock.time = slot_time("2026-09-10T12:00:00Z")
    await scheduled(world, cron="30 2 * * *", timeZone="Europe/Berlin", startingDeadline="1h")
    for _ in range(90 * 4):
        world.clock.time += timedelta(hours=6)
        undecided = slot_time(status(world)["schedule"]["nextSlot"])
        world.clock.time, later = min(undecided, world.clock.time), world.clock.time
        for _ in range(3):
            await reconcile(EXPERIMENT, world.ports)
        if status(world)["run"]["state"] == "Waiting" and trainings(world):
            await world.finish_experiment("tumor")
        world.clock.time = later
        await reconcile(EXPERIMENT, world.ports)
    assert len(trainings(world)) == 90
    assert status(world)["schedule"]["missedSlots"] == 0
    assert len(status(world)["history"]) == 10


async def test_replace_stops_the_run_before_and_forbid_waits_for_it(world: Any) -> None:
    await scheduled(world, every="1h")
    await go_to(world, "2026-01-01T01:00:00Z")
    [first] = trainings(world)
    world.set_status("Workflow", first, {"phase": "Running"})
    await go_to(world, "2026-01-01T02:10:00Z")
    assert trainings(world) == [first]

    spec = world.get("Experiment", "tumor")["spec"]
    replacing = {"every": "1h", "concurrencyPolicy": "Replace"}
    await world.commit("Experiment", "tumor", spec | {"schedule": replacing})
    await world.settle()
    [second] = trainings(world)
    assert second != first
    assert status(world)["schedule"]["lastSlot"] == "2026-01-01T02:00:00Z"


async def test_the_run_of_a_slot_is_found_again_when_the_status_was_lost(world: Any) -> None:
    await scheduled(world, every="6h")
    await go_to(world, "2026-01-01T06:00:00Z")
    version = await world.finish_experiment("tumor")
    await world.settle()
    for name in trainings(world):
        del world.cluster.objects["Workflow", "n", name]
    del world.get("Experiment", "tumor")["status"]
    await go_to(world, "2026-01-01T09:00:00Z")
    assert world.ready("Experiment", "tumor") == ("True", "SearchFinished")
    assert status(world)["bestModelVersion"] == version
    assert trainings(world) == []


async def test_slots_pass_uncounted_while_an_experiment_is_suspended(world: Any) -> None:
    await scheduled(world, every="1h")
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"suspend": True})
    await go_to(world, "2026-01-01T05:30:00Z")
    assert world.ready("Experiment", "tumor") == ("False", "Suspended")
    assert "nextSlot" not in status(world)["schedule"]
    await world.commit("Experiment", "tumor", spec)
    await world.settle()
    assert trainings(world) == []
    assert status(world)["schedule"]["nextSlot"] == "2026-01-01T06:00:00Z"
    assert status(world)["schedule"]["missedSlots"] == 0


async def test_a_time_that_passed_too_long_ago_starts_nothing_and_says_so(world: Any) -> None:
    await scheduled(world, at="2025-12-31T00:00:00Z", startingDeadline="1h")
    assert trainings(world) == []
    assert world.ready("Experiment", "tumor") == ("True", "AwaitingSlot")
    assert "it passed" in world.message("Experiment", "tumor")
    assert "SlotsMissed" in world.events()


async def test_a_slot_whose_run_fails_says_so_and_the_next_one_starts(world: Any) -> None:
    await scheduled(world, every="1h")
    await go_to(world, "2026-01-01T01:00:00Z")
    first = await world.finish_experiment("tumor")
    await go_to(world, "2026-01-01T02:00:00Z")
    child = next(name for name in trainings(world) if status(world)["run"]["child"] == name)
    world.set_status("Workflow", child, {"phase": "Failed", "message": "exit code 137"})
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("False", "ChildFailed")
    assert status(world)["bestModelVersion"] == first
    await go_to(world, "2026-01-01T03:00:00Z")
    assert world.ready("Experiment", "tumor") == ("True", "Retraining")
    states = [past["state"] for past in status(world)["history"]]
    assert states == ["Failed", "Succeeded"]


async def test_the_operator_wakes_at_the_next_slot(world: Any) -> None:
    await scheduled(world, cron="0 3 * * *")
    world.clock.time = slot_time("2026-01-01T02:59:30Z")
    assert await reconcile(EXPERIMENT, world.ports) == pytest.approx(30)


async def test_a_cron_that_cannot_be_read_is_named(world: Any) -> None:
    await scheduled(world, cron="61 * * * *")
    assert world.ready("Experiment", "tumor") == ("False", "InvalidSpec")
    assert world.message("Experiment", "tumor").startswith("spec.schedule.cron: '61 * * * *'")
    assert trainings(world) == []
