"""A Project makes its namespace a tenant, keeps it so, and takes back what is not declared."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.api.meta import UNJUDGED
from modelyard.api.resources import NETWORK_POLICY, ROLE_BINDING, TENANCY
from modelyard.ports.cluster import ClusterError, Conflict
from modelyard.reconcile.reconciler import reconcile

ANN = {"kind": "User", "name": "ann", "role": "Editor"}
FULL = {"members": [ANN], "quota": {"cpu": "4", "pods": 10}}


def tenancy(world: Any) -> set[tuple[str, str]]:
    kinds = {resource.kind for resource in TENANCY}
    return {(kind, name) for kind, _, name in world.cluster.objects if kind in kinds}


async def test_a_project_makes_its_namespace_a_tenant(world: Any) -> None:
    await world.commit("Project", "team", FULL)
    await world.settle()
    assert tenancy(world) == {
        ("ServiceAccount", "modelyard-runtime"),
        ("Role", "modelyard-runtime"),
        ("RoleBinding", "modelyard-runtime"),
        ("RoleBinding", "modelyard-editor"),
        ("ResourceQuota", "modelyard"),
        ("LimitRange", "modelyard"),
        ("NetworkPolicy", "modelyard-isolation"),
    }
    assert world.ready("Project", "team") == ("True", "StoreReachable")


async def test_what_is_no_longer_declared_is_taken_back(world: Any) -> None:
    await world.commit("Project", "team", FULL)
    await world.settle()
    await world.commit("Project", "team", {"networkPolicy": {"mode": "None"}})
    await world.settle()
    assert tenancy(world) == {
        ("ServiceAccount", "modelyard-runtime"),
        ("Role", "modelyard-runtime"),
        ("RoleBinding", "modelyard-runtime"),
    }


async def test_what_others_made_in_the_namespace_is_left_alone(world: Any) -> None:
    theirs = {"kind": "RoleBinding", "metadata": {"name": "theirs", "namespace": "n"}}
    await world.cluster.create(ROLE_BINDING, theirs)
    await world.commit("Project", "team", FULL)
    await world.settle()
    await world.commit("Project", "team", {})
    await world.settle()
    assert ("RoleBinding", "theirs") in tenancy(world)


async def test_a_child_edited_by_hand_is_put_right_and_one_deleted_comes_back(world: Any) -> None:
    await world.commit("Project", "team", FULL)
    await world.settle()
    before = tenancy(world)
    binding = world.get("RoleBinding", "modelyard-editor")
    binding["subjects"].append({"kind": "User", "name": "mallory"})
    await world.cluster.delete(NETWORK_POLICY, "n", "modelyard-isolation")
    await world.settle()
    assert tenancy(world) == before
    subjects = world.get("RoleBinding", "modelyard-editor")["subjects"]
    assert [subject["name"] for subject in subjects] == ["ann"]


async def test_a_tenant_is_kept_while_the_store_cannot_be_opened(world: Any) -> None:
    lake = {"name": "lake", "type": "S3", "secretRef": {"name": "keys"}}
    store = {"uri": "s3://bucket/x", "connectionRef": {"name": "lake"}}
    await world.commit("Project", "team", {"artifactStore": store, "connections": [lake]})
    await world.settle()
    assert world.ready("Project", "team") == ("False", "SecretMissing")
    assert ("ServiceAccount", "modelyard-runtime") in tenancy(world)
    egress = world.get("NetworkPolicy", "modelyard-isolation")["spec"]["egress"]
    assert {"protocol": "TCP", "port": 443} in egress[-1]["ports"]


async def test_a_second_project_makes_nothing(world: Any) -> None:
    await world.commit("Project", "team", {})
    await world.commit("Project", "usurper", {"members": [ANN | {"role": "Admin"}]})
    await world.settle()
    assert ("RoleBinding", "modelyard-admin") not in tenancy(world)


async def test_a_refusal_is_told_and_tried_again(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = world.cluster.apply

    async def refuse(resource: Any, manifest: Any) -> Any:
        if resource is ROLE_BINDING:
            raise ClusterError("PATCH rolebindings/modelyard-editor: 403 may not bind")
        return await apply(resource, manifest)

    await world.commit("Project", "team", FULL)
    monkeypatch.setattr(world.cluster, "apply", refuse)
    await world.settle()
    assert world.ready("Project", "team") == ("False", "TenancyRefused")
    assert "403 may not bind" in world.message("Project", "team")
    monkeypatch.undo()
    await world.settle()
    assert world.ready("Project", "team") == ("True", "StoreReachable")


async def test_a_conflict_decides_nothing(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def conflict(resource: Any, manifest: Any) -> Any:
        raise Conflict("another writer was faster")

    await world.commit("Project", "team", {})
    (key,) = world.all_keys()
    monkeypatch.setattr(world.cluster, "apply", conflict)
    with pytest.raises(Conflict):
        await reconcile(key, world.ports)
    assert world.get("Project", "team")["status"] == {"observedGeneration": UNJUDGED}


async def test_what_asks_for_more_than_the_quota_starts_nothing_until_it_fits(world: Any) -> None:
    await world.commit("Project", "team", {"quota": {"cpu": 2}})
    spec = {"source": {"builtin": "iris"}, "resources": {"requests": {"cpu": 4}}}
    await world.commit("Dataset", "cells", spec)
    await world.settle()
    assert world.ready("Dataset", "cells") == ("False", "QuotaExceeded")
    assert "spec.resources.requests.cpu" in world.message("Dataset", "cells")
    assert "spec.quota.cpu" in world.message("Dataset", "cells")
    assert world.children("Workflow") == []
    await world.commit("Project", "team", {"quota": {"cpu": 4}})
    await world.settle()
    (run,) = world.children("Workflow")
    container = run["spec"]["templates"][0]["container"]
    assert container["resources"] == {"requests": {"cpu": "4"}}


async def test_a_finished_run_stands_when_the_quota_is_lowered_later(world: Any) -> None:
    name = await world.trained(quota={"parallelTrials": 2})
    await world.commit("Project", "team", {"quota": {"parallelTrials": 1}})
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("True", "SearchFinished")
    assert world.get("Experiment", "tumor")["status"]["bestModelVersion"] == name


async def test_a_search_on_spot_nodes_waits_until_the_project_names_them(world: Any) -> None:
    await world.trained()
    spec = world.get("Experiment", "tumor")["spec"]
    wanted = spec | {"seed": 3, "execution": {"backend": "Ray", "spot": "Prefer"}}
    await world.commit("Experiment", "tumor", wanted)
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("False", "SpotNodesMissing")
    await world.commit("Project", "team", {"scheduling": {"spot": {"nodeLabels": {"a": "b"}}}})
    await world.settle()
    (run,) = world.children("RayJob")
    head = run["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert "preferredDuringScheduling" in str(head["affinity"])
