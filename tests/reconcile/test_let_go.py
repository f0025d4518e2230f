"""Objects that hold their run records are let go whatever is gone outside, or say what they wait for."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.api.artifacts import run_key
from modelyard.api.meta import FINALIZER
from modelyard.api.resources import OURS, Key
from modelyard.judge.law import violations
from modelyard.ports.artifacts import StoreUnavailable
from modelyard.reconcile.reconciler import reconcile

CELLS = Key("Dataset", "n", "cells")


class SilentStore:
    """A store that stopped answering."""

    def __init__(self, store: Any) -> None:
        self.config = store.config
        self._remove, self.silent = store.remove, True
        store.remove = self.remove

    async def remove(self, key: str) -> None:
        if self.silent:
            raise StoreUnavailable("http://store.example: it does not answer")
        await self._remove(key)


@pytest.fixture
async def held(world: Any) -> SilentStore:
    """A Dataset that is being deleted and whose records cannot be removed."""
    await world.trained()
    spec = world.get("Dataset", "cells")["spec"] | {"deletionPolicy": "Delete"}
    await world.commit("Dataset", "cells", spec)
    await world.settle()
    assert world.get("Dataset", "cells")["metadata"]["finalizers"] == [FINALIZER]
    store = SilentStore(world.store)
    await world.cluster.delete(OURS["Dataset"], "n", "cells")
    return store


async def records(world: Any) -> list[str]:
    found: list[str] = await world.store.folders(run_key("n", "Dataset", "cells", ""))
    return found


async def test_an_object_says_that_it_waits_for_the_store(world: Any, held: SilentStore) -> None:
    assert await reconcile(CELLS, world.ports) == 15
    assert world.ready("Dataset", "cells") == ("False", "StoreUnavailable")
    assert violations(world.get("Dataset", "cells")) == []
    message = world.message("Dataset", "cells")
    assert "http://store.example" in message
    assert "spec.deletionPolicy to Retain" in message
    writes = len(world.cluster.writes)
    await reconcile(CELLS, world.ports)
    assert len(world.cluster.writes) == writes


async def test_it_goes_by_itself_once_the_store_answers(world: Any, held: SilentStore) -> None:
    await reconcile(CELLS, world.ports)
    held.silent = False
    await reconcile(CELLS, world.ports)
    assert ("Dataset", "n", "cells") not in world.cluster.objects
    assert await records(world) == []


async def test_it_goes_at_once_and_leaves_its_records_when_told_to_retain_them(
    world: Any, held: SilentStore
) -> None:
    await reconcile(CELLS, world.ports)
    world.get("Dataset", "cells")["spec"]["deletionPolicy"] = "Retain"
    await reconcile(CELLS, world.ports)
    assert ("Dataset", "n", "cells") not in world.cluster.objects
    assert await records(world) != []


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_nothing_but_our_own_finalizer_is_removed(world: Any, policy: str) -> None:
    await world.trained()
    spec = world.get("Dataset", "cells")["spec"] | {"deletionPolicy": policy}
    await world.commit("Dataset", "cells", spec)
    world.get("Dataset", "cells")["metadata"]["finalizers"] = ["team.example/wait"]
    await world.settle()
    await world.cluster.delete(OURS["Dataset"], "n", "cells")
    await reconcile(CELLS, world.ports)
    assert world.get("Dataset", "cells")["metadata"]["finalizers"] == ["team.example/wait"]


async def test_an_object_goes_where_no_backend_is_installed_any_more(world: Any) -> None:
    await world.trained()
    await world.commit("Deployment", "api", {"model": {"experiment": "tumor"}})
    await world.settle()
    spec = world.get("Experiment", "tumor")["spec"] | {"deletionPolicy": "Delete"}
    await world.commit("Experiment", "tumor", spec)
    await world.settle()
    world.cluster.missing |= {"Workflow", "RayJob", "InferenceService", "CronWorkflow"}
    for kind, name in (("Experiment", "tumor"), ("Deployment", "api")):
        await world.cluster.delete(OURS[kind], "n", name)
        await reconcile(Key(kind, "n", name), world.ports)
        assert (kind, "n", name) not in world.cluster.objects
