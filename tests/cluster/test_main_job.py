"""From the chart to a model, with the real Argo Workflows under the restricted profile."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from .conftest import REPOSITORY, Kubernetes

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
PROJECT = "breast-cancer"
EXAMPLE = REPOSITORY / "examples/specs/breast-cancer"


@pytest.fixture(scope="module")
def project(cluster: Kubernetes, operator: str) -> Iterator[str]:
    """The example's namespace, its artifacts in the cluster's store."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata: dict[str, Any] = {"name": PROJECT, "labels": labels}
    cluster.kubectl(
        "apply", "-f", "-", manifest={"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    )
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": PROJECT},
        "stringData": keys,
    }
    cluster.kubectl("apply", "-f", "-", manifest=secret)
    for path in sorted(EXAMPLE.glob("*.yaml")):
        manifest = yaml.safe_load(path.read_text())
        if manifest["kind"] == "Project":
            manifest["spec"] |= {
                "artifactStore": {"uri": "s3://models/test", "connectionRef": {"name": "store"}},
                "connections": [
                    {
                        "name": "store",
                        "type": "S3",
                        "endpoint": os.environ["MODELYARD_CLUSTER_STORE"],
                        "region": "us-east-1",
                        "secretRef": {"name": "keys"},
                    }
                ],
            }
        cluster.kubectl("apply", "-f", "-", manifest=manifest)
    yield PROJECT
    cluster.kubectl("delete", "namespace", PROJECT)


def served(cluster: Kubernetes, kind: str) -> bool:
    return bool(cluster.kubectl("get", "crd", kind, "--ignore-not-found"))


def test_the_release_says_itself_that_it_works(cluster: Kubernetes, operator: str) -> None:
    assert "Succeeded" in cluster.helm("test", "modelyard", "--namespace", operator)


def test_a_search_ends_in_a_registered_model(cluster: Kubernetes, project: str) -> None:
    if not served(cluster, "workflows.argoproj.io"):
        pytest.skip("Argo Workflows is not installed in this cluster")
    found = cluster.ready(project, "experiments.modelyard.dev", PROJECT, 600)
    version = found["status"]["bestModelVersion"]
    model = cluster.ready(project, "modelversions.modelyard.dev", version, 60)
    assert model["status"]["artifact"]["digest"].startswith("sha256:")


def test_the_deployment_serves(cluster: Kubernetes, project: str) -> None:
    if not served(cluster, "inferenceservices.serving.kserve.io"):
        pytest.skip("KServe is not installed in this cluster")
    cluster.ready(project, "deployments.modelyard.dev", PROJECT, 600)


def test_the_operator_was_refused_nothing(cluster: Kubernetes, operator: str) -> None:
    log = cluster.kubectl("-n", operator, "logs", "deployment/modelyard", "--all-pods")
    lines = [json.loads(line.split("] ", 1)[-1]) for line in log.splitlines() if "{" in line]
    assert [line["message"] for line in lines if " 403 " in line["message"]] == []


def test_a_lost_operator_pod_is_replaced(cluster: Kubernetes, operator: str) -> None:
    lease = cluster.get(operator, "leases", "modelyard")
    leader = lease["spec"]["holderIdentity"].rpartition("_")[0]
    cluster.kubectl("-n", operator, "delete", "pod", leader)
    cluster.kubectl("-n", operator, "rollout", "status", "deployment/modelyard", "--timeout=120s")
