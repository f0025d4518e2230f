"""The operator's rules are exactly the calls it makes: none is missing, none is unused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from modelyard.api.meta import GROUP
from modelyard.api.request_counts import RequestCounts
from modelyard.api.resources import (
    CHILDREN,
    HORIZONTAL_POD_AUTOSCALER,
    OURS,
    SCALED_OBJECT,
    SECRET,
    TENANCY,
    Resource,
)
from modelyard.build.common import KIND_LABEL, NAME_LABEL
from modelyard.plane.permissions import (
    ADMIN,
    APPROVER,
    DEFAULT,
    EDITOR,
    NAMESPACED,
    VIEWER,
    WRITE,
    Permission,
)
from modelyard.ports.cluster import Cluster, Manifest
from modelyard.reconcile.reconciler import reconcile

Call = tuple[str, str, str]
"""API group, resource, verb."""


def allowed(permissions: Iterable[Permission]) -> set[Call]:
    return {
        (permission.group, resource, verb)
        for permission in permissions
        for resource in permission.resources
        for verb in permission.verbs
    }


class Recorder:
    """A Cluster that notes which right each call takes, and passes it on."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.calls: set[Call] = set()

    def _note(self, resource: Resource, *verbs: str, part: str = "") -> None:
        group = resource.api_version.rpartition("/")[0]
        self.calls |= {(group, resource.plural + part, verb) for verb in verbs}

    def _note_owners(self, manifest: Manifest) -> None:
        for owner in manifest["metadata"].get("ownerReferences", []):
            if owner.get("blockOwnerDeletion"):
                self.calls.add((GROUP, f"{OURS[owner['kind']].plural}/finalizers", "update"))

    def _note_grants(self, manifest: Manifest) -> None:
        """Who grants a right needs it, or leave to bind the role that grants it."""
        if manifest.get("roleRef", {}).get("kind") == "ClusterRole":
            self.calls.add(("rbac.authorization.k8s.io", "clusterroles", "bind"))
        for rule in manifest.get("rules", []):
            self.calls |= {
                (group, resource, verb)
                for group in rule["apiGroups"]
                for resource in rule["resources"]
                for verb in rule["verbs"]
            }

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        self._note(resource, "get")
        return await self._cluster.get(resource, namespace, name)

    async def list_objects(self, resource: Resource, namespace: str) -> list[Manifest]:
        self._note(resource, "list")
        return await self._cluster.list_objects(resource, namespace)

    async def serves(self, resource: Resource) -> bool:
        return await self._cluster.serves(resource)

    async def create(self, resource: Resource, manifest: Manifest) -> bool:
        self._note(resource, "create")
        self._note_owners(manifest)
        return await self._cluster.create(resource, manifest)

    async def replace(self, resource: Resource, manifest: Manifest) -> None:
        self._note(resource, "update")
        await self._cluster.replace(resource, manifest)

    async def apply(self, resource: Resource, manifest: Manifest) -> Manifest:
        self._note(resource, "patch", "create")
        self._note_owners(manifest)
        self._note_grants(manifest)
        return await self._cluster.apply(resource, manifest)

    async def apply_status(self, resource: Resource, manifest: Manifest) -> None:
        self._note(resource, "patch", part="/status")
        await self._cluster.apply_status(resource, manifest)

    async def set_finalizers(self, resource: Resource, manifest: Manifest, to: list[str]) -> None:
        self._note(resource, "patch")
        await self._cluster.set_finalizers(resource, manifest, to)

    async def delete(self, resource: Resource, namespace: str, name: str) -> None:
        self._note(resource, "delete")
        await self._cluster.delete(resource, namespace, name)

    async def secret(self, namespace: str, name: str) -> Mapping[str, str] | None:
        self._note(SECRET, "get")
        return await self._cluster.secret(namespace, name)


def watched() -> set[Call]:
    """Return what kopf needs of the kinds that it watches."""
    return {
        (resource.api_version.rpartition("/")[0], resource.plural, verb)
        for resource in (*OURS.values(), *CHILDREN)
        for verb in ("list", "watch")
    }


async def full_life(world: Any) -> set[Call]:
    """Take every path on which the operator calls the API; return the calls."""
    recorder = Recorder(world.cluster)
    world.ports = replace(world.ports, cluster=recorder, shared=recorder)
    version = await world.trained(
        members=[{"role": "Viewer", "kind": "User", "name": "ann"}],
        quota={"cpu": "8", "clusterQueue": "research"},
    )
    await world.commit("Policy", "good", {"gates": ["deploy"], "rules": [RULE]})
    await world.commit("Deployment", "api", {"model": {"experiment": "tumor"}})
    await world.settle()
    world.serve("api")
    split = {"canary": {"modelVersion": version, "percent": 10}, "gateway": GATEWAY}
    for more in (split, {}, split, {}):  # the second time the same Events are told again
        await world.commit("Deployment", "api", {"model": {"experiment": "tumor"}, **more})
        await world.settle()
        world.clock.move(60)
    await _follow_one_measure_and_then_the_other(world)
    await _share_and_part(world, version)
    await world.commit("Monitor", "watch", {"deploymentRef": {"name": "api"}})
    await world.settle()
    await world.commit("Monitor", "watch", {"deploymentRef": {"name": "api"}, "suspend": True})
    spec = world.get("Experiment", "tumor")["spec"]
    for backend in ("Argo", "Ray"):
        other = spec | {"seed": len(backend), "execution": {"backend": backend}}
        await world.commit("Experiment", "tumor", other)
        await world.settle()
        await world.commit("Experiment", "tumor", other | {"run": {"cancel": True}})
        await world.settle()
    await _prune_the_namespace(world)
    await _delete_with_records(world)
    await _open_a_store_by_secret(world)
    return recorder.calls


async def _share_and_part(world: Any, version: str) -> None:
    """Two models come into the shared server, and leave it again."""
    for server in ("Shared", "Dedicated"):
        for name in ("one", "two"):
            spec = {"model": {"modelVersion": version}, "placement": {"server": server}}
            await world.commit("Deployment", name, spec)
            await world.settle()
            if server == "Dedicated":
                world.serve(name)
                await world.settle()


async def _follow_one_measure_and_then_the_other(world: Any) -> None:
    """KServe leaves what counted the replicas by the earlier measure."""
    world.ports = replace(world.ports, request_counts=RequestCounts("http://prometheus:9090"))
    measures = (
        ({"targetRequestsPerSecond": 9}, HORIZONTAL_POD_AUTOSCALER),
        ({"targetCPUPercent": 50}, SCALED_OBJECT),
    )
    for measure, left in measures:
        uid = world.get("InferenceService", "api")["metadata"]["uid"]
        metadata = {"name": "api-predictor", "namespace": "n", "ownerReferences": [{"uid": uid}]}
        world.cluster.objects[left.kind, "n", "api-predictor"] = {
            "metadata": metadata | {"uid": "left"}
        }
        spec = {
            "autoscaling": {"maxReplicas": 2, **measure},
            "resources": {"requests": {"cpu": "1"}},
        }
        await world.commit("Deployment", "api", {"model": {"experiment": "tumor"}, **spec})
        await world.settle()


GATEWAY = {"name": "public", "namespace": "gateways", "hostname": "tumor.example.org"}
RULE = {
    "name": "auc",
    "path": "modelVersion.status.metrics.roc_auc",
    "operator": "GreaterOrEqual",
    "value": 0.5,
}


async def _prune_the_namespace(world: Any) -> None:
    for resource in TENANCY:
        labels = {KIND_LABEL: "Project", NAME_LABEL: "team"}
        old = {"kind": resource.kind, "metadata": {"name": "old", "namespace": "n"}}
        old["metadata"] |= {"labels": labels, "uid": "old"}
        world.cluster.objects[resource.kind, "n", "old"] = old
    await world.settle()


async def _delete_with_records(world: Any) -> None:
    for kind, name in (("Dataset", "cells"), ("Experiment", "tumor")):
        held = world.get(kind, name)["spec"] | {"deletionPolicy": "Delete"}
        await world.commit(kind, name, held)
        await world.settle()
        await world.cluster.delete(OURS[kind], "n", name)
        for key in world.all_keys():
            await reconcile(key, world.ports)


async def _open_a_store_by_secret(world: Any) -> None:
    store = {"uri": "s3://bucket/x", "connectionRef": {"name": "lake"}}
    lake = {"name": "lake", "type": "S3", "secretRef": {"name": "keys"}}
    await world.commit("Project", "team", {"artifactStore": store, "connections": [lake]})
    await world.settle()


async def test_the_rules_are_the_calls(world: Any) -> None:
    made = await full_life(world) | watched()
    granted = allowed((*NAMESPACED, *DEFAULT))
    assert sorted(made - granted) == [], "missing"
    assert sorted(granted - made) == [], "unused"


def test_no_permission_has_a_wildcard() -> None:
    for permission in (*NAMESPACED, *ADMIN, *EDITOR, *VIEWER, *APPROVER):
        assert "*" not in (permission.group, *permission.resources, *permission.verbs)


def test_an_approver_writes_model_versions_alone_and_an_editor_does_not() -> None:
    def written(permissions: Iterable[Permission]) -> set[str]:
        return {resource for _, resource, verb in allowed(permissions) if verb in WRITE}

    assert written(APPROVER) == {"modelversions"}
    assert written(EDITOR) == {"datasets", "deployments", "experiments", "monitors"}
    assert written(ADMIN) == {resource.plural for resource in OURS.values()}
    assert written(VIEWER) == set()
