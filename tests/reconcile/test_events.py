"""Events tell milestones and failures, and never flood."""

from __future__ import annotations

from typing import Any

from modelyard.reconcile.events import post_event

MINUTE = 60


def told(world: Any, kind: str = "Dataset") -> dict[str, tuple[str, int]]:
    """Return type and count of the Events about objects of a kind, by reason."""
    return {
        event["reason"]: (event["type"], event["count"])
        for event in world.children("Event")
        if event["involvedObject"]["kind"] == kind
    }


async def failing(world: Any, minutes: int, every: int) -> int:
    """Let a backend come and go; return how often an Event was written."""
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    before = len(world.cluster.writes)
    for _ in range(minutes * MINUTE // every):
        world.cluster.missing ^= {"Workflow"}
        for child in world.children("Workflow"):
            del world.cluster.objects["Workflow", "n", child["metadata"]["name"]]
        await world.settle()
        world.clock.move(every)
    return sum("('Event', 'n', 'cells." in write for write in world.cluster.writes[before:])


async def test_milestones_are_normal_and_failures_are_warnings(world: Any) -> None:
    await world.trained()
    assert told(world)["SnapshotReady"] == ("Normal", 1)
    assert told(world, "Experiment")["SearchFinished"] == ("Normal", 1)
    await world.commit(
        "Experiment",
        "lost",
        {"datasetRef": {"name": "none"}, "task": {"type": "Regression", "target": "y"}},
    )
    await world.settle()
    assert told(world, "Experiment")["DatasetMissing"] == ("Warning", 1)


async def test_a_loop_that_fails_for_ten_minutes_is_told_a_dozen_times_at_most(world: Any) -> None:
    """It fails otherwise each time, so that its status is written each time."""
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    before = len(world.cluster.writes)
    for number in range(10 * MINUTE // 10):
        world.cluster.refused = {"Workflow": f"exceeded quota: used {number}"}
        await world.settle()
        world.clock.move(10)
    writes = world.cluster.writes[before:]
    assert sum("status ('Dataset'" in write for write in writes) == 60
    assert 1 <= sum("('Event', 'n', 'cells." in write for write in writes) <= 12
    assert told(world).keys() == {"RequestRefused"}


async def test_each_of_two_reasons_that_take_turns_is_told_once_a_minute(world: Any) -> None:
    written = await failing(world, minutes=10, every=10)
    found = told(world)
    assert written == sum(count for _, count in found.values())
    assert set(found) == {"BackendMissing", "SnapshotRunning"}
    assert found["BackendMissing"][0] == "Warning"
    assert all(5 <= count <= 11 for _, count in found.values())


async def test_what_is_told_again_after_a_minute_is_counted_up_and_says_the_latest(
    world: Any,
) -> None:
    await world.commit("Project", "team", {})
    project = world.get("Project", "team")
    for seconds, message in ((0, "one"), (59, "two"), (1, "three")):
        world.clock.move(seconds)
        await post_event(project, "Warning", "Troubled", message, world.ports)
    [event] = world.children("Event")
    assert (event["count"], event["message"]) == (2, "three")
    assert event["firstTimestamp"] < event["lastTimestamp"]


async def test_reasons_and_objects_do_not_share_events(world: Any) -> None:
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    for kind, name in (("Project", "team"), ("Dataset", "cells")):
        for reason in ("One", "Other"):
            await post_event(world.get(kind, name), "Normal", reason, "told", world.ports)
    assert len(world.children("Event")) == 4
