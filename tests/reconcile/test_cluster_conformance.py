"""What the reconcilers rely on: the same of the Kubernetes adapter, by itself and with reads that
are shared, and of the in-memory cluster."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.aio import client, config
from modelyard.adapters.artifacts import OpenedStores
from modelyard.adapters.cluster import KubernetesCluster
from modelyard.adapters.shared_reads import SharedReads
from modelyard.api.crd import crds
from modelyard.api.meta import API_VERSION
from modelyard.api.project import ProjectSpec
from modelyard.api.resources import (
    EVENT,
    INFERENCE_SERVICE,
    LOCAL_QUEUE,
    NETWORK_POLICY,
    OURS,
    SECRET,
    TENANCY,
    Resource,
)
from modelyard.api.runtime import StoreConfig
from modelyard.build.common import shared_owner_reference
from modelyard.embedded.apiserver.process import ServerProcess, start
from modelyard.embedded.standins import crds as standins
from modelyard.ports.cluster import BackendMissing, Cluster, ClusterError, Conflict, Refused
from modelyard.reconcile.tenancy import keep_tenant

PROJECT = OURS["Project"]
QUEUES = [one for one in standins.crds() if one["spec"]["names"]["kind"] == LOCAL_QUEUE.kind]
CRDS = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    process = start(tmp_path_factory.mktemp("api"))
    yield process
    process.stop()


class SharingCluster(KubernetesCluster):
    """What a reconcile reads that was woken just now."""

    def __init__(self, api: client.ApiClient) -> None:
        super().__init__(api)
        self._shared = SharedReads(KubernetesCluster(api))

    async def get(self, resource: Resource, namespace: str, name: str) -> Any:
        return await self._shared.since(time.monotonic()).get(resource, namespace, name)

    async def list_objects(self, resource: Resource, namespace: str) -> Any:
        return await self._shared.since(time.monotonic()).list_objects(resource, namespace)


@pytest.fixture(params=["memory", "kubernetes", "shared"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    if request.param == "memory":
        cluster = request.getfixturevalue("memory_cluster")
        cluster.missing.add("InferenceService")
        cluster.refused["Policy"] = "it has no gates"
        yield cluster
        return
    server = request.getfixturevalue("server")
    await config.load_kube_config(config_file=str(server.kubeconfig))
    async with client.ApiClient() as api:
        found = SharingCluster(api) if request.param == "shared" else KubernetesCluster(api)
        for crd in (*crds(), *QUEUES):
            await found._request("POST", CRDS.path(), crd) if await missing(found, crd) else None
        yield found
        for resource in (PROJECT, SECRET, EVENT):
            for left in await found.list_objects(resource, "default"):
                await found.set_finalizers(resource, left, []) if left["metadata"].get(
                    "finalizers"
                ) else None
                await found.delete(resource, "default", left["metadata"]["name"])


async def missing(cluster: KubernetesCluster, crd: dict[str, Any]) -> bool:
    return await cluster._request("GET", CRDS.path(None, crd["metadata"]["name"])) is None


def project(name: str = "team", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "Project",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


async def read(cluster: Cluster, name: str = "team") -> dict[str, Any]:
    found = await cluster.get(PROJECT, "default", name)
    assert found is not None
    return found


async def test_what_does_not_exist_is_none(cluster: Cluster) -> None:
    assert await cluster.get(PROJECT, "default", "nobody") is None


async def test_it_says_what_is_installed(cluster: Cluster) -> None:
    assert await cluster.serves(PROJECT)
    assert not await cluster.serves(INFERENCE_SERVICE)


async def test_an_applied_object_can_be_read_and_listed(cluster: Cluster) -> None:
    applied = await cluster.apply(PROJECT, project(description="one"))
    assert applied["metadata"]["uid"]
    assert (await read(cluster))["spec"]["description"] == "one"
    listed = await cluster.list_objects(PROJECT, "default")
    assert [(entry["kind"], entry["metadata"]["name"]) for entry in listed] == [("Project", "team")]


async def test_applying_the_same_again_writes_nothing(cluster: Cluster) -> None:
    first = await cluster.apply(PROJECT, project(description="one"))
    second = await cluster.apply(PROJECT, project(description="one"))
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


async def test_a_changed_spec_is_another_generation(cluster: Cluster) -> None:
    first = await cluster.apply(PROJECT, project(description="one"))
    second = await cluster.apply(PROJECT, project(description="two"))
    assert second["metadata"]["generation"] == first["metadata"]["generation"] + 1


async def test_an_object_of_several_owners_is_that_of_the_applied_ones_and_goes_with_the_last(
    cluster: Cluster,
) -> None:
    owners = [
        shared_owner_reference(await cluster.apply(PROJECT, project(name)))
        for name in ("first", "second")
    ]

    async def owned_by(*which: Any) -> Any:
        child = project()
        child["metadata"]["ownerReferences"] = list(which)
        return (await cluster.apply(PROJECT, child))["metadata"]["ownerReferences"]

    assert await owned_by(*owners) == owners
    assert await owned_by(owners[1]) == owners[1:]
    await cluster.delete(PROJECT, "default", "first")
    assert await owned_by(owners[1]) == owners[1:]
    await cluster.delete(PROJECT, "default", "second")
    end = time.monotonic() + 60
    while await cluster.get(PROJECT, "default", "team") is not None:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_creating_what_exists_leaves_it_alone(cluster: Cluster) -> None:
    assert await cluster.create(PROJECT, project(description="one"))
    assert not await cluster.create(PROJECT, project(description="two"))
    assert (await read(cluster))["spec"]["description"] == "one"


async def test_replacing_an_object_that_was_read_changes_it(cluster: Cluster) -> None:
    await cluster.apply(PROJECT, project(description="one"))
    found = await read(cluster)
    await cluster.replace(PROJECT, found | {"spec": found["spec"] | {"description": "two"}})
    assert (await read(cluster))["spec"]["description"] == "two"


async def test_replacing_an_object_that_changed_or_is_gone_is_a_conflict(cluster: Cluster) -> None:
    await cluster.apply(PROJECT, project(description="one"))
    stale = await read(cluster)
    await cluster.apply(PROJECT, project(description="two"))
    with pytest.raises(Conflict):
        await cluster.replace(PROJECT, stale)
    await cluster.delete(PROJECT, "default", "team")
    with pytest.raises(Conflict):
        await cluster.replace(PROJECT, stale)
    assert await cluster.get(PROJECT, "default", "team") is None


async def test_status_is_replaced_whole_and_bumps_no_generation(cluster: Cluster) -> None:
    before = await cluster.apply(PROJECT, project())
    for status in (
        {"artifactStoreUri": "file:///a", "observedGeneration": 1},
        {"observedGeneration": 1},
    ):
        await cluster.apply_status(PROJECT, project() | {"status": status})
        after = await read(cluster)
        assert {
            key: after["status"].get(key) for key in ("artifactStoreUri", "observedGeneration")
        } == {
            "artifactStoreUri": status.get("artifactStoreUri"),
            "observedGeneration": 1,
        }
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


async def test_the_same_status_again_writes_nothing(cluster: Cluster) -> None:
    await cluster.apply(PROJECT, project())
    body = project() | {"status": {"artifactStoreUri": "file:///a"}}
    await cluster.apply_status(PROJECT, body)
    first = await read(cluster)
    await cluster.apply_status(PROJECT, body)
    assert (await read(cluster))["metadata"]["resourceVersion"] == first["metadata"][
        "resourceVersion"
    ]


async def test_finalizers_hold_an_object_until_they_are_removed(cluster: Cluster) -> None:
    await cluster.apply(PROJECT, project())
    await cluster.set_finalizers(PROJECT, await read(cluster), ["modelyard.dev/finalizer"])
    await cluster.delete(PROJECT, "default", "team")
    held = await read(cluster)
    assert held["metadata"]["deletionTimestamp"]
    await cluster.set_finalizers(PROJECT, held, [])
    assert await cluster.get(PROJECT, "default", "team") is None


async def test_finalizers_of_an_object_that_changed_are_a_conflict(cluster: Cluster) -> None:
    await cluster.apply(PROJECT, project())
    stale = await read(cluster)
    await cluster.apply(PROJECT, project(description="changed"))
    with pytest.raises(Conflict):
        await cluster.set_finalizers(PROJECT, stale, ["modelyard.dev/finalizer"])


async def test_deleting_twice_is_no_error(cluster: Cluster) -> None:
    await cluster.apply(PROJECT, project())
    await cluster.delete(PROJECT, "default", "team")
    await cluster.delete(PROJECT, "default", "team")
    assert await cluster.get(PROJECT, "default", "team") is None


async def test_a_tenant_is_kept_with_no_further_write(cluster: Cluster, tmp_path: Path) -> None:
    spec: dict[str, Any] = {
        "members": [
            {"kind": "User", "name": "ann", "role": "Editor"},
            {"kind": "ServiceAccount", "name": "robot", "role": "Approver"},
        ],
        "quota": {
            "cpu": "1500m",
            "memory": "2048Mi",
            "gpu": 0,
            "pods": 9,
            "clusterQueue": "research",
        },
        "networkPolicy": {"allowFrom": ["apps"]},
    }
    owner = await cluster.apply(PROJECT, project(**spec))
    stores = OpenedStores(StoreConfig(uri=tmp_path.as_uri()))
    ports: Any = SimpleNamespace(cluster=cluster, stores=stores)

    async def kept() -> dict[tuple[str, str], str]:
        await keep_tenant(owner, ProjectSpec.model_validate(owner["spec"]), ports)
        return {
            (found["kind"], found["metadata"]["name"]): found["metadata"]["resourceVersion"]
            for resource in TENANCY
            for found in await cluster.list_objects(resource, "default")
        }

    first = await kept()
    assert {kind for kind, _ in first} == {resource.kind for resource in TENANCY}
    assert await kept() == first
    await cluster.delete(NETWORK_POLICY, "default", "modelyard-isolation")
    again = await kept()
    assert again.keys() == first.keys()
    changed = {key for key in first if again[key] != first[key]}
    assert changed == {("NetworkPolicy", "modelyard-isolation")}


async def test_a_backend_that_is_not_installed_is_named(cluster: Cluster) -> None:
    service = project() | {"apiVersion": INFERENCE_SERVICE.api_version, "kind": "InferenceService"}
    with pytest.raises(BackendMissing, match="InferenceService"):
        await cluster.apply(INFERENCE_SERVICE, service)
    assert await cluster.get(INFERENCE_SERVICE, "default", "x") is None
    assert await cluster.list_objects(INFERENCE_SERVICE, "default") == []


async def test_what_the_server_refuses_is_told_apart_from_no_answer(cluster: Cluster) -> None:
    without_gates = project() | {"kind": "Policy"}
    with pytest.raises(Refused, match="policies"):
        await cluster.apply(OURS["Policy"], without_gates)


async def test_a_missing_secret_is_none(cluster: Cluster) -> None:
    assert await cluster.secret("default", "nothing") is None


async def test_secrets_are_decoded(cluster: Cluster) -> None:
    encoded = base64.b64encode(b"s3cret").decode()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": "default"},
        "data": {"token": encoded},
        "stringData": {"token": "s3cret"},
    }
    await cluster.create(SECRET, secret)
    assert await cluster.secret("default", "keys") == {"token": "s3cret"}


async def test_an_invalid_object_is_refused_with_the_field(server: ServerProcess) -> None:
    await config.load_kube_config(config_file=str(server.kubeconfig))
    async with client.ApiClient() as api:
        cluster = KubernetesCluster(api)
        for crd in crds():
            await cluster._request("POST", CRDS.path(), crd) if await missing(
                cluster, crd
            ) else None
        with pytest.raises(ClusterError, match=r"spec\.environment"):
            await cluster.apply(PROJECT, project(environment="moon"))


async def test_an_api_server_that_is_gone_is_a_cluster_error(tmp_path: Path) -> None:
    process = start(tmp_path / "api")
    await config.load_kube_config(config_file=str(process.kubeconfig))
    async with client.ApiClient() as api:
        process.kill()
        with pytest.raises(ClusterError, match="projects"):
            await KubernetesCluster(api).list_objects(PROJECT, "default")
    assert not os.path.exists(f"/proc/{process.pid}/exe")
