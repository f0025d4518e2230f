"""Kubernetes itself says that what runs keeps to the restricted Pod Security profile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from modelyard.build.common import DEFAULT_IMAGES, pod_fields, runtime_container

from tests.conformance.conftest import KUBECONFIG, Cluster

from .conftest import VALUE_SETS, Render, documents

SPACE = "restricted"


@pytest.fixture
def restricted(tmp_path: Path) -> Cluster:
    """A namespace in which Kubernetes takes no pod beyond the profile."""
    if KUBECONFIG is None:
        pytest.skip("no real API server is given; `make conformance` starts one")
    found = Cluster(tmp_path, Path(KUBECONFIG))
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": SPACE,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    }
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": SPACE},
    }
    found.apply(namespace, account)
    return found


def try_pod(cluster: Cluster, spec: dict[str, Any], status: int = 0) -> str:
    """Ask whether a pod would be taken, without making it."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "tried", "namespace": SPACE},
        "spec": {**spec, "serviceAccountName": "default"},
    }
    command = ("create", "--dry-run=server", "-f", "-")
    return cluster.kubectl(*command, stdin=json.dumps(pod), status=status)


@pytest.mark.parametrize("values", ["defaults", "opa", "everything-else"])
def test_the_pods_of_the_chart_are_taken(restricted: Cluster, render: Render, values: str) -> None:
    found = documents(render(VALUE_SETS[values]))
    specs = [one["spec"] for one in found if one["kind"] == "Pod"]
    specs += [one["spec"]["template"]["spec"] for one in found if one["kind"] == "Deployment"]
    assert len(specs) == 2
    for spec in specs:
        try_pod(
            restricted, {key: value for key, value in spec.items() if key != "priorityClassName"}
        )


@pytest.mark.parametrize("runtime", ["dataset", "train", "serve", "monitor"])
def test_the_pods_of_a_runtime_are_taken(restricted: Cluster, runtime: Any) -> None:
    container = runtime_container("main", runtime, [], DEFAULT_IMAGES)
    try_pod(restricted, {**pod_fields(), "containers": [container]})


def test_a_pod_beyond_the_profile_is_not(restricted: Cluster) -> None:
    said = try_pod(restricted, {"containers": [{"name": "main", "image": "none"}]}, status=1)
    assert 'violates PodSecurity "restricted' in said
