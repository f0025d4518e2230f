"""However often an object is woken, its progress is written once in five seconds."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.api.artifacts import PROGRESS, run_key
from modelyard.api.resources import Key
from modelyard.reconcile.reconciler import reconcile

from .conftest import EXPERIMENT

TUMOR = Key("Experiment", "n", "tumor")


@pytest.fixture
async def searching(world: Any) -> Any:
    """A world in which a search runs."""
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", {"source": {"builtin": "breast_cancer"}})
    await world.commit("Experiment", "tumor", EXPERIMENT)
    await world.settle()
    await world.finish_dataset("cells")
    await world.settle()
    report(world, "Running")
    await world.settle()
    return world


def report(world: Any, phase: str) -> None:
    """Let the backend report of the search."""
    child = world.get("Experiment", "tumor")["status"]["run"]["child"]
    world.set_status("Workflow", child, {"phase": phase})


async def woken_at(world: Any, done: int) -> float | None:
    """Let the search tell how far it is, wake its Experiment; return when it wants to be again."""
    identity = world.get("Experiment", "tumor")["status"]["run"]["identity"]
    key = f"{run_key('n', 'Experiment', 'tumor', identity)}/{PROGRESS}"
    await world.store.write(key, f'{{"done":{done},"total":200}}'.encode())
    found: float | None = await reconcile(TUMOR, world.ports)
    return found


def told(world: Any) -> int:
    """Return how many trials the status tells of."""
    return int(world.get("Experiment", "tumor")["status"]["progress"]["done"])


def writes(world: Any) -> int:
    """Return how many statuses were written."""
    return sum(write.startswith("status") for write in world.cluster.writes)


async def test_a_minute_of_ten_wakes_a_second_is_twelve_writes(searching: Any) -> None:
    before = writes(searching)
    for done in range(600):
        await woken_at(searching, done)
        assert told(searching) == done - done % 50
        searching.clock.move(0.1)
    assert writes(searching) - before == 12


async def test_what_is_held_back_is_looked_at_again_as_soon_as_it_may_be_told(
    searching: Any,
) -> None:
    assert await woken_at(searching, 1) == 5.0
    searching.clock.move(3)
    assert await woken_at(searching, 2) == 2.0
    assert told(searching) == 1
    searching.clock.move(2)
    assert await woken_at(searching, 2) == 5.0
    assert told(searching) == 2


async def test_what_else_changes_is_told_at_once_and_the_progress_with_it(searching: Any) -> None:
    await woken_at(searching, 1)
    report(searching, "Pending")
    await woken_at(searching, 2)
    status = searching.get("Experiment", "tumor")["status"]
    assert status["run"]["state"] == "Waiting"
    assert told(searching) == 2


async def test_a_clock_that_was_put_back_holds_nothing_back(searching: Any) -> None:
    await woken_at(searching, 1)
    searching.clock.move(-3600)
    await woken_at(searching, 2)
    assert told(searching) == 2
