"""Which kinds kopf watches follows what the API server serves, without a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio import client, config
from modelyard.adapters.cluster import KubernetesCluster
from modelyard.api.crd import crds
from modelyard.api.resources import OURS, WORKFLOW, Key, Resource
from modelyard.build.common import KIND_LABEL, NAME_LABEL
from modelyard.embedded.apiserver.process import ServerProcess, start
from modelyard.embedded.standins.crds import crds as backends
from modelyard.plane import watch as watch_module
from modelyard.plane.operator import Operator
from modelyard.plane.queue import WorkQueue
from modelyard.plane.watch import Watch
from modelyard.ports.cluster import ClusterError

CRDS = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")
OWNER = Key("Dataset", "default", "cells")
WORKFLOWS = "workflows.argoproj.io"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = start(tmp_path / "api")
    yield process
    process.stop()


class Woken(WorkQueue):
    """Keeps which keys were woken."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[Key] = []

    def wake(self, key: Key) -> None:
        self.keys.append(key)


@asynccontextmanager
async def watching(server: ServerProcess, monkeypatch: Any) -> AsyncIterator[Any]:
    """Yield a cluster and the queue that a watch of it wakes."""
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    monkeypatch.setattr(watch_module, "LOOK_SECONDS", 0.2)
    await config.load_kube_config(config_file=str(server.kubeconfig))
    async with client.ApiClient() as api:
        cluster = KubernetesCluster(api)
        for definition in crds():
            await install(cluster, definition)
        queue = Woken()
        watch = Watch(cluster, Operator(queue).registry, [], lambda: None)
        task = asyncio.create_task(watch.run())
        try:
            yield cluster, queue
            assert not task.done()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def install(cluster: KubernetesCluster, definition: dict[str, Any]) -> None:
    document = definition | {"metadata": definition["metadata"] | {"namespace": None}}
    await cluster.apply(CRDS, document)


async def until(predicate: Any) -> None:
    async with asyncio.timeout(60):
        while not predicate():  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0.05)


async def child_wakes(cluster: KubernetesCluster, queue: Woken) -> None:
    """Change a child until that wakes its owner: the watch may just be about to begin."""
    queue.keys.clear()
    number = 0
    async with asyncio.timeout(60):
        while OWNER not in queue.keys:
            labels = {KIND_LABEL: "Dataset", NAME_LABEL: "cells", "number": str(number)}
            child = {
                "apiVersion": WORKFLOW.api_version,
                "kind": "Workflow",
                "metadata": {"name": "run", "namespace": "default", "labels": labels},
                "spec": {},
            }
            with suppress(ClusterError):
                await cluster.apply(WORKFLOW, child)
            number += 1
            await asyncio.sleep(0.2)


async def test_children_of_a_backend_that_comes_and_goes_wake_their_owners(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(server, monkeypatch) as (cluster, queue):
        project = {
            "apiVersion": OURS["Project"].api_version,
            "kind": "Project",
            "metadata": {"name": "team", "namespace": "default"},
            "spec": {},
        }
        await cluster.apply(OURS["Project"], project)
        await until(lambda: queue.keys)
        definition = next(one for one in backends() if one["metadata"]["name"] == WORKFLOWS)
        for _ in range(2):
            await install(cluster, definition)
            await child_wakes(cluster, queue)
            await cluster._request("DELETE", CRDS.path(None, WORKFLOWS))
            await asyncio.sleep(0.5)
        queue.keys.clear()
        await cluster.apply(OURS["Project"], project | {"spec": {"description": "changed"}})
        await until(lambda: Key("Project", "default", "team") in queue.keys)


class Refusing:
    """Discovery that does not answer at first."""

    def __init__(self) -> None:
        self.asked = 0

    async def served(self, resources: Collection[Resource]) -> frozenset[Resource]:
        self.asked += 1
        if self.asked == 1:
            raise ClusterError("not yet")
        return frozenset(resources)


async def test_discovery_is_asked_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    discovery = Refusing()
    watch = Watch(discovery, lambda served: None, [], lambda: None)  # type: ignore[arg-type, return-value]
    assert await watch._ask() == frozenset(watch_module.WATCHED)
    assert discovery.asked == 2
