"""What a Project makes of its namespace: identities, roles, limits, isolation."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.api.project import ProjectSpec
from modelyard.api.resources import TENANCY
from modelyard.api.runtime import StoreConfig
from modelyard.build.isolation import egress_to_api_server, egress_to_stores
from modelyard.build.tenancy import tenancy

OWNER: dict[str, Any] = {
    "apiVersion": "modelyard.dev/v1alpha1",
    "kind": "Project",
    "metadata": {"name": "team", "namespace": "cells", "uid": "u-1"},
}
HTTPS = {"protocol": "TCP", "port": 443}


def made(egress: list[Any] | None = None, **spec: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the children by kind and name."""
    found = tenancy(OWNER, ProjectSpec.model_validate(spec), egress or [])
    children = {(child["kind"], child["metadata"]["name"]): child for child in found}
    assert len(children) == len(found)
    return children


def test_an_empty_project_has_an_identity_for_its_runs_and_is_isolated() -> None:
    assert list(made()) == [
        ("ServiceAccount", "modelyard-runtime"),
        ("Role", "modelyard-runtime"),
        ("RoleBinding", "modelyard-runtime"),
        ("NetworkPolicy", "modelyard-isolation"),
    ]


def test_every_child_is_labelled_owned_and_of_a_kind_that_is_pruned() -> None:
    everything = made(
        members=[{"kind": "User", "name": "ann", "role": "Admin"}],
        quota={"cpu": 1, "clusterQueue": "research"},
        networkPolicy={"allowFrom": ["apps"]},
    )
    for child in everything.values():
        metadata = child["metadata"]
        assert metadata["namespace"] == "cells"
        assert metadata["labels"]["modelyard.dev/kind"] == "Project"
        assert metadata["labels"]["modelyard.dev/name"] == "team"
        assert metadata["ownerReferences"][0]["uid"] == "u-1"
    assert {kind for kind, _ in everything} == {resource.kind for resource in TENANCY}


def test_runs_may_only_report_what_argo_asks_of_them() -> None:
    assert made()["Role", "modelyard-runtime"]["rules"] == [
        {
            "apiGroups": ["argoproj.io"],
            "resources": ["workflowtaskresults"],
            "verbs": ["create", "patch"],
        }
    ]


def test_members_are_bound_to_the_cluster_role_of_their_role() -> None:
    found = made(
        members=[
            {"kind": "User", "name": "zoe", "role": "Editor"},
            {"kind": "Group", "name": "staff", "role": "Editor"},
            {"kind": "ServiceAccount", "name": "robot", "role": "Approver"},
            {"kind": "User", "name": "zoe", "role": "Viewer"},
        ]
    )
    roles = {name: child for (kind, name), child in found.items() if kind == "RoleBinding"}
    assert sorted(roles) == [
        "modelyard-approver",
        "modelyard-editor",
        "modelyard-runtime",
        "modelyard-viewer",
    ]
    assert roles["modelyard-editor"]["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "modelyard-editor",
    }
    subjects = roles["modelyard-editor"]["subjects"]
    assert [subject["name"] for subject in subjects] == ["staff", "zoe"]
    assert roles["modelyard-approver"]["subjects"] == [
        {"kind": "ServiceAccount", "name": "robot", "namespace": "cells"}
    ]


def test_the_order_of_members_changes_nothing() -> None:
    members = [{"kind": "User", "name": name, "role": "Viewer"} for name in ("b", "a")]
    assert made(members=members) == made(members=members[::-1])


@pytest.mark.parametrize(
    ("quota", "hard", "assumed"),
    [
        pytest.param({"parallelTrials": 4}, None, None, id="trials alone"),
        pytest.param({"pods": 5}, {"pods": "5"}, None, id="pods"),
        pytest.param({"gpu": 0}, {"requests.nvidia.com/gpu": "0"}, None, id="no GPU"),
        pytest.param({"cpu": "8"}, {"requests.cpu": "8"}, {"cpu": "100m"}, id="processors"),
        pytest.param(
            {"cpu": 8, "memory": "4Gi"},
            {"requests.cpu": "8", "requests.memory": "4Gi"},
            {"cpu": "100m", "memory": "128Mi"},
            id="processors and memory",
        ),
    ],
)
def test_a_quota_limits_requests_and_says_what_is_assumed_of_pods_that_make_none(
    quota: dict[str, Any], hard: dict[str, str] | None, assumed: dict[str, str] | None
) -> None:
    found = made(quota=quota)
    limits = found.get(("ResourceQuota", "modelyard"))
    defaults = found.get(("LimitRange", "modelyard"))
    assert (limits and limits["spec"]["hard"]) == hard
    assert (defaults and defaults["spec"]["limits"][0]["defaultRequest"]) == assumed


def test_a_cluster_queue_is_drawn_from_by_a_local_queue_of_its_own() -> None:
    found = made(quota={"clusterQueue": "research"})
    assert found["LocalQueue", "modelyard-research"]["spec"] == {"clusterQueue": "research"}
    assert ("ResourceQuota", "modelyard") not in found
    # Kueue refuses to put a LocalQueue behind another ClusterQueue, so another one is made.
    assert ("LocalQueue", "modelyard-other") in made(quota={"clusterQueue": "other"})


def test_an_isolated_namespace_takes_traffic_from_itself_and_the_platform_alone() -> None:
    spec = made()["NetworkPolicy", "modelyard-isolation"]["spec"]
    platform = {"namespaceSelector": {"matchLabels": {"modelyard.dev/platform": "true"}}}
    assert spec["podSelector"] == {}
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"from": [{"podSelector": {}}, platform]}]


def test_declared_namespaces_reach_the_predictors_port_and_nothing_else() -> None:
    found = made(networkPolicy={"allowFrom": ["shop", "apps"]})
    spec = found["NetworkPolicy", "modelyard-predictors"]["spec"]
    (rule,) = spec["ingress"]
    (peer,) = rule["from"]
    (names,) = peer["namespaceSelector"]["matchExpressions"]
    assert names["values"] == ["apps", "shop"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8080}]
    (pods,) = spec["podSelector"]["matchExpressions"]
    assert pods["key"] == "serving.kserve.io/inferenceservice"


def test_no_network_policy_is_made_where_it_is_turned_off() -> None:
    kinds = {kind for kind, _ in made(networkPolicy={"mode": "None"})}
    assert "NetworkPolicy" not in kinds


def test_no_rule_of_egress_is_without_peers_which_would_allow_everything() -> None:
    stores = [StoreConfig(uri="s3://", endpoint=endpoint) for endpoint in ENDPOINTS]
    egress = [*egress_to_stores(stores), *egress_to_api_server({"endpoints": [], "ports": []})]
    spec = made(egress)["NetworkPolicy", "modelyard-isolation"]["spec"]
    assert all(rule["to"] for rule in spec["egress"])
    assert all(rule["from"] for rule in spec["ingress"])


def test_the_api_server_is_reached_at_its_present_addresses() -> None:
    endpoints = {
        "endpoints": [{"addresses": ["10.0.0.2"]}, {"addresses": ["fd00::1"]}],
        "ports": [{"name": "https", "port": 6443}],
    }
    peers = [{"ipBlock": {"cidr": "10.0.0.2/32"}}, {"ipBlock": {"cidr": "fd00::1/128"}}]
    ports = [{"protocol": "TCP", "port": 6443}]
    assert egress_to_api_server(endpoints) == [{"to": peers, "ports": ports}]
    assert egress_to_api_server(None) == []


ENDPOINTS = {
    None: "anywhere",
    "https://s3.example.org": "anywhere",
    "http://minio.storage.svc:9000": "storage",
    "https://minio.storage.svc.cluster.local": "storage",
    "http://10.1.2.3:9000": "10.1.2.3/32",
    "http://[fd00::5]:9000": "fd00::5/128",
    "http://169.254.169.254": "nothing",
    "http://host:99999": "nothing",
    "http://[::1": "nothing",
}


@pytest.mark.parametrize(("endpoint", "opened"), ENDPOINTS.items())
def test_a_store_is_reached_at_its_endpoint(endpoint: str | None, opened: str) -> None:
    rules = egress_to_stores([StoreConfig(uri="s3://bucket", endpoint=endpoint)])
    if opened == "nothing":
        assert rules == []
        return
    (rule,) = rules
    if opened == "anywhere":
        assert [peer["ipBlock"]["cidr"] for peer in rule["to"]] == ["0.0.0.0/0", "::/0"]
        assert rule["ports"] == [HTTPS]
        return
    (peer,) = rule["to"]
    selector = peer.get("namespaceSelector", {}).get("matchLabels", {})
    named = selector.get("kubernetes.io/metadata.name") or peer["ipBlock"]["cidr"]
    assert named == opened


def test_a_store_in_a_directory_needs_no_network_and_each_rule_stands_once() -> None:
    bucket = StoreConfig(uri="s3://bucket")
    assert egress_to_stores([StoreConfig(uri="file:///data")]) == []
    assert len(egress_to_stores([bucket, bucket])) == 1
