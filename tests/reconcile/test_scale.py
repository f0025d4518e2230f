"""`kubectl scale` sets the replicas of a Deployment where git does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio import client, config
from modelyard.adapters.cluster import MERGE, KubernetesCluster
from modelyard.api.crd import crds
from modelyard.api.meta import API_VERSION
from modelyard.api.resources import OURS, Resource
from modelyard.embedded.apiserver.process import start
from modelyard.ports.cluster import ClusterError

CRDS = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")
DEPLOYMENT = OURS["Deployment"]
SCALE = f"{DEPLOYMENT.path('default', 'api')}/scale"


def deployment(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "default"},
        "spec": {"model": {"experiment": "tumor"}, **spec},
    }


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[KubernetesCluster]:
    process = start(tmp_path / "api")
    await config.load_kube_config(config_file=str(process.kubeconfig))
    async with client.ApiClient() as api:
        found = KubernetesCluster(api)
        for crd in crds():
            await found._request("POST", CRDS.path(), crd)
        yield found
    process.stop()


async def replicas(cluster: KubernetesCluster) -> int:
    found = await cluster.get(DEPLOYMENT, "default", "api")
    assert found is not None
    count: int = found["spec"]["replicas"]
    return count


async def scale(cluster: KubernetesCluster, to: int) -> None:
    await cluster._request("PATCH", SCALE, {"spec": {"replicas": to}}, content_type=MERGE)


async def test_a_scaled_deployment_stays_scaled_when_git_says_nothing_of_replicas(
    cluster: KubernetesCluster,
) -> None:
    await cluster.apply(DEPLOYMENT, deployment())
    assert await replicas(cluster) == 1
    await scale(cluster, 3)
    await cluster.apply(DEPLOYMENT, deployment())
    assert await replicas(cluster) == 3
    await cluster.apply(DEPLOYMENT, deployment(replicas=2))
    assert await replicas(cluster) == 2, "git owns what it says"


async def test_what_an_autoscaler_varies_cannot_be_scaled_by_hand(
    cluster: KubernetesCluster,
) -> None:
    cpu = {"requests": {"cpu": 1}}
    scaled = deployment(autoscaling={"maxReplicas": 3}, resources=cpu)
    await cluster.apply(DEPLOYMENT, scaled)
    with pytest.raises(ClusterError, match="autoscaling varies it"):
        await scale(cluster, 2)
