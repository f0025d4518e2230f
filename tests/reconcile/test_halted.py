"""What git does not ask for any more stops, whatever else is wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

HALTS = [
    pytest.param({"suspend": True}, id="suspended"),
    pytest.param({"run": {"cancel": True}}, id="cancelled"),
]


async def another_snapshot(world: Any) -> None:
    """Let the Dataset be not ready for a while."""
    spec = world.get("Dataset", "cells")["spec"]
    await world.commit("Dataset", "cells", spec | {"run": {"token": "again"}})
    await world.settle()


async def a_smaller_quota(world: Any) -> None:
    """Let the Project grant fewer trials at once than the Experiment asks for."""
    await world.commit("Project", "team", {"quota": {"parallelTrials": 1}})
    await world.settle()


TROUBLES = [
    pytest.param(another_snapshot, id="the Dataset is not ready"),
    pytest.param(a_smaller_quota, id="the quota is exceeded"),
]


def running(world: Any, prefix: str) -> list[str]:
    names = [child["metadata"]["name"] for child in world.children("Workflow")]
    return [name for name in names if name.startswith(prefix)]


async def searching(world: Any) -> str:
    """Return the name of the Workflow of a search that is under way."""
    await world.trained()
    earlier = set(running(world, "train-"))
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"seed": 7, "execution": {"parallelism": 2}})
    await world.settle()
    (name,) = set(running(world, "train-")) - earlier
    world.set_status("Workflow", name, {"phase": "Running"})
    await world.settle()
    return str(name)


@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_search_stops_whatever_its_inputs_say(
    world: Any, halt: dict[str, Any], trouble: Callable[[Any], Awaitable[None]]
) -> None:
    child = await searching(world)
    await trouble(world)
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | halt)
    await world.settle()
    assert child not in running(world, "train-")
    status = world.get("Experiment", "tumor")["status"]
    assert status["run"]["state"] != "Running"
    assert "Running" not in [past["state"] for past in status["history"]]


async def test_a_batch_stops_while_its_dataset_is_not_ready(world: Any) -> None:
    version = await world.trained()
    batch = {"input": {"datasetRef": {"name": "cells"}}}
    spec = {"mode": "Batch", "model": {"modelVersion": version}, "batch": batch}
    await world.commit("Deployment", "score", spec)
    await world.settle()
    (child,) = running(world, "batch-")
    world.set_status("Workflow", child, {"phase": "Running"})
    await another_snapshot(world)
    await world.commit("Deployment", "score", spec | {"suspend": True})
    await world.settle()
    assert running(world, "batch-") == []


@pytest.mark.parametrize("more", [{}, {"suspend": True}], ids=["the next runs", "suspended"])
async def test_a_search_that_is_superseded_stops(world: Any, more: dict[str, Any]) -> None:
    child = await searching(world)
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"seed": 8} | more)
    await world.settle()
    assert child not in running(world, "train-")
    states = [past["state"] for past in world.get("Experiment", "tumor")["status"]["history"]]
    assert "Superseded" in states
    assert (
        len([name for name in running(world, "train-") if name != child]) == (0 if more else 1) + 1
    )


async def test_a_search_that_is_asked_for_again_goes_on_under_its_name(world: Any) -> None:
    child = await searching(world)
    spec = world.get("Experiment", "tumor")["spec"]
    for seed in (8, 7):
        await world.commit("Experiment", "tumor", spec | {"seed": seed})
        await world.settle()
    assert child in running(world, "train-")


@pytest.mark.parametrize("more", [{}, {"seed": 8}], ids=["the same search", "another"])
async def test_a_search_goes_on_in_no_backend_but_the_present(
    world: Any, more: dict[str, Any]
) -> None:
    child = await searching(world)
    spec = world.get("Experiment", "tumor")["spec"]
    ray = {"execution": spec["execution"] | {"backend": "Ray"}}
    await world.commit("Experiment", "tumor", spec | ray | more)
    await world.settle()
    assert child not in running(world, "train-")
    assert len(world.children("RayJob")) == 1


async def test_a_snapshot_that_is_superseded_stops(world: Any) -> None:
    await world.trained()
    await another_snapshot(world)
    child = world.get("Dataset", "cells")["status"]["run"]["child"]
    world.set_status("Workflow", child, {"phase": "Running"})
    spec = world.get("Dataset", "cells")["spec"]
    await world.commit("Dataset", "cells", spec | {"run": {"token": "once more"}})
    await world.settle()
    assert child not in running(world, "dataset-")
