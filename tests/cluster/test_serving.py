"""Rollouts, replicas and lost pods of a Deployment behind the real KServe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from tests.build.conftest import go_module
from tests.build.test_upstream_schemas import KEDA

from .conftest import EXAMPLE, NAMESPACE, PROJECT, SERVERS, Kubernetes, instances, predictions

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
DEPLOYMENT = "deployments.modelyard.dev"


@pytest.fixture
def deployment(cluster: Kubernetes, served: str) -> Iterator[str]:
    """The Deployment; what a test changes of its spec is taken back."""
    before = cluster.get(PROJECT, DEPLOYMENT, served)["spec"]
    yield served
    change = json.dumps([{"op": "replace", "path": "/spec", "value": before}])
    cluster.kubectl("-n", PROJECT, "patch", DEPLOYMENT, served, "--type=json", "-p", change)
    cluster.ready(PROJECT, DEPLOYMENT, served, 180)
    cluster.until(
        lambda: list(cluster.pods(PROJECT, SERVERS.format(served)).values()) == [True],
        lambda: cluster.kubectl("-n", PROJECT, "get", "pods"),
        180,
    )


@pytest.fixture(scope="module")
def second_version(cluster: Kubernetes, served: str) -> str:
    """Another ModelVersion, of another seed."""
    manifest = yaml.safe_load((EXAMPLE / "experiment.yaml").read_text())
    manifest["metadata"]["name"] = "second"
    manifest["spec"] |= {"seed": 43, "search": {"trials": 2}}
    cluster.kubectl("apply", "-f", "-", manifest=manifest)
    found = cluster.ready(PROJECT, "experiments.modelyard.dev", "second", 600)
    version: str = found["status"]["bestModelVersion"]
    cluster.ready(PROJECT, "modelversions.modelyard.dev", version, 60)
    return version


def test_a_canary_answers_beside_the_version_that_serves(
    cluster: Kubernetes, deployment: str, second_version: str
) -> None:
    before = cluster.pods(PROJECT, SERVERS.format(deployment))
    status = cluster.get(PROJECT, DEPLOYMENT, deployment)["status"]
    canary = {"modelVersion": second_version, "percent": 10}
    cluster.patch(DEPLOYMENT, deployment, {"canary": canary})
    found = cluster.ready(PROJECT, DEPLOYMENT, deployment, 180)["status"]
    assert found["canary"]["modelVersion"] == second_version
    assert found["modelVersion"] == status["modelVersion"]
    assert reason(cluster, deployment, "CanaryReady") == "Answering"
    assert reason(cluster, deployment, "TrafficSplit") == "NoGateway"
    assert predictions(cluster.serves(f"{deployment}-canary"), deployment)
    assert cluster.pods(PROJECT, SERVERS.format(deployment)) == before

    cluster.patch(DEPLOYMENT, deployment, {"canary": None})
    selector = SERVERS.format(f"{deployment}-canary")
    cluster.until(
        lambda: cluster.pods(PROJECT, selector) == {}, lambda: "the canary still serves", 120
    )
    assert cluster.pods(PROJECT, SERVERS.format(deployment)) == before


def test_a_version_that_fails_its_smoke_test_gets_no_requests(
    cluster: Kubernetes, deployment: str
) -> None:
    before = cluster.pods(PROJECT, SERVERS.format(deployment))
    cluster.patch(DEPLOYMENT, deployment, smoke_test(cluster, deployment, label="neither"))
    cluster.until(
        lambda: reason(cluster, deployment, "Ready") == "SmokeTestFailed",
        lambda: str(cluster.get(PROJECT, DEPLOYMENT, deployment)["status"]),
        180,
    )
    assert reason(cluster, deployment, "ModelLoaded") == "Loaded"
    assert predictions(cluster.serves(deployment), deployment)
    ready = {uid for uid, up in cluster.pods(PROJECT, SERVERS.format(deployment)).items() if up}
    assert ready == set(before)


def test_a_version_that_passes_its_smoke_test_serves(cluster: Kubernetes, deployment: str) -> None:
    cluster.patch(DEPLOYMENT, deployment, smoke_test(cluster, deployment, minimum=0.5))
    cluster.ready(PROJECT, DEPLOYMENT, deployment, 180)
    assert reason(cluster, deployment, "SmokeTestPassed") == "AsExpected"


def smoke_test(cluster: Kubernetes, deployment: str, **expect: Any) -> dict[str, Any]:
    """Return the field of a spec that expects an answer to one instance."""
    instance = instances(cluster.serves(deployment), deployment)[0]
    return {"smokeTest": {"checks": [{"name": "small", "instance": instance, "expect": expect}]}}


def test_as_many_replicas_serve_as_are_declared(cluster: Kubernetes, deployment: str) -> None:
    cluster.patch(DEPLOYMENT, deployment, {"replicas": 2})
    cluster.until(
        lambda: cluster.get(PROJECT, DEPLOYMENT, deployment)["status"].get("replicas") == 2,
        lambda: str(cluster.get(PROJECT, DEPLOYMENT, deployment)["status"]),
        180,
    )
    cluster.ready(PROJECT, DEPLOYMENT, deployment, 60)
    assert list(cluster.pods(PROJECT, SERVERS.format(deployment)).values()) == [True, True]


def test_an_autoscaler_counts_replicas_alone_where_it_is_asked_to(
    cluster: Kubernetes, deployment: str
) -> None:
    change = {
        "autoscaling": {"minReplicas": 1, "maxReplicas": 3, "targetCPUPercent": 60},
        "resources": {"requests": {"cpu": "100m"}},
    }
    cluster.patch(DEPLOYMENT, deployment, change)
    cluster.ready(PROJECT, DEPLOYMENT, deployment, 180)
    scaler = cluster.get(PROJECT, "hpa", f"{deployment}-predictor")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (1, 3)
    assert scaler["metrics"][0]["resource"]["target"]["averageUtilization"] == 60

    # Nothing measures CPU here, so that the test counts in the autoscaler's place.
    name = f"{deployment}-predictor"
    cluster.kubectl("-n", PROJECT, "scale", "deployments.apps", name, "--replicas=2")
    annotate = ("annotate", DEPLOYMENT, deployment, "--overwrite")
    cluster.kubectl("-n", PROJECT, *annotate, "example.org/look=again")
    cluster.until(
        lambda: cluster.get(PROJECT, DEPLOYMENT, deployment)["status"].get("replicas") == 2,
        lambda: str(cluster.get(PROJECT, DEPLOYMENT, deployment)["status"]),
        120,
    )
    assert cluster.get(PROJECT, "deployments.apps", name)["spec"]["replicas"] == 2


BY_REQUESTS = {"minReplicas": 0, "maxReplicas": 3, "targetRequestsPerSecond": 9}
SCALED_OBJECTS = "scaledobjects.keda.sh"


@pytest.fixture
def keda(cluster: Kubernetes) -> Iterator[None]:
    """KEDA's kinds, where KEDA is not installed: its definition alone, and nobody who acts on it."""
    installed = cluster.kubectl("get", "crd", SCALED_OBJECTS, "--ignore-not-found", "-o", "name")
    crd = go_module(*KEDA) / "config/crd/bases/keda.sh_scaledobjects.yaml"
    if not installed:
        cluster.kubectl("create", "-f", str(crd))
        cluster.kubectl("wait", "--for=condition=Established", f"crd/{SCALED_OBJECTS}")
    yield
    if not installed:
        cluster.kubectl("delete", "-f", str(crd))


def test_without_keda_it_says_so_and_serves_on(cluster: Kubernetes, deployment: str) -> None:
    if cluster.kubectl("get", "crd", SCALED_OBJECTS, "--ignore-not-found"):
        pytest.skip("KEDA is installed")
    cluster.patch(DEPLOYMENT, deployment, {"autoscaling": BY_REQUESTS})
    cluster.until(
        lambda: reason(cluster, deployment, "Ready") == "BackendMissing",
        lambda: str(cluster.get(PROJECT, DEPLOYMENT, deployment)["status"]),
        60,
    )
    assert predictions(cluster.serves(deployment), deployment)


def test_what_follows_requests_rests_at_zero_and_serves_again(
    cluster: Kubernetes, deployment: str, keda: None
) -> None:
    cluster.patch(DEPLOYMENT, deployment, {"autoscaling": BY_REQUESTS})
    name = f"{deployment}-predictor"

    def scaler() -> Any:
        found = cluster.kubectl(
            "-n", PROJECT, "get", SCALED_OBJECTS, name, "--ignore-not-found", "-o", "json"
        )
        return json.loads(found)["spec"] if found else {}

    cluster.until(lambda: scaler().get("minReplicaCount") == 0, lambda: str(scaler()), 180)
    (trigger,) = scaler()["triggers"]
    assert trigger["type"] == "prometheus"
    assert trigger["metadata"] == {
        "serverAddress": "http://prometheus.invalid:9090",
        "query": f'sum(rate(seen{{service="{name}"}}[1m]))',
        "threshold": "9",
    }
    for replicas, wanted in ((0, "AtRest"), (2, "Serving")):
        # Nobody counts requests here, so that the test counts in KEDA's place.
        scale = ("scale", "deployments.apps", name, f"--replicas={replicas}")
        cluster.kubectl("-n", PROJECT, *scale)
        cluster.until(
            lambda: reason(cluster, deployment, "Ready") == wanted,  # noqa: B023 - at once
            lambda: str(cluster.get(PROJECT, DEPLOYMENT, deployment)["status"]),
            180,
        )
        assert cluster.get(PROJECT, "deployments.apps", name)["spec"]["replicas"] == replicas
    # Fixed replicas again: what KEDA reads must be gone, which KServe does not see to.
    cluster.patch(DEPLOYMENT, deployment, {"autoscaling": None})
    cluster.until(lambda: not scaler(), lambda: str(scaler()), 180)


LOST = {
    "model server": (PROJECT, SERVERS.format(PROJECT)),
    "operator": (NAMESPACE, "app.kubernetes.io/name=modelyard"),
    "Argo Workflows": ("argo", "app=workflow-controller"),
    "KServe": ("kserve", "control-plane=kserve-controller-manager"),
    "KubeRay": ("kuberay", "app.kubernetes.io/component=kuberay-operator"),
}


@pytest.mark.parametrize(("namespace", "selector"), LOST.values(), ids=LOST)
def test_lost_pods_come_back_and_the_deployment_serves(
    cluster: Kubernetes, served: str, namespace: str, selector: str
) -> None:
    before = cluster.pods(namespace, selector)
    cluster.kubectl("-n", namespace, "delete", "pods", "-l", selector)

    def back() -> bool:
        now = cluster.pods(namespace, selector)
        return len(now) == len(before) and not now.keys() & before.keys() and all(now.values())

    cluster.until(back, lambda: cluster.kubectl("-n", namespace, "get", "pods"), 180)
    cluster.ready(PROJECT, DEPLOYMENT, served, 180)
    cluster.until(lambda: answers(cluster.serves(served), served), lambda: "no answer", 60)


def answers(url: str, model: str) -> bool:
    """Return whether a Service answers: it follows its pods a moment later."""
    try:
        return bool(predictions(url, model))
    except httpx.TransportError:
        return False


def test_the_controllers_that_came_back_do_their_work(
    cluster: Kubernetes, served: str, second_version: str
) -> None:
    workflow = "workflows.argoproj.io"
    before = names(cluster, workflow)
    manifest: dict[str, Any] = yaml.safe_load((EXAMPLE / "dataset.yaml").read_text())
    manifest["metadata"]["name"] = "after-the-losses"
    cluster.kubectl("apply", "-f", "-", manifest=manifest)
    cluster.ready(PROJECT, "datasets.modelyard.dev", "after-the-losses", 180)
    assert names(cluster, workflow) - before


def names(cluster: Kubernetes, kind: str) -> set[str]:
    listed = json.loads(cluster.kubectl("-n", PROJECT, "get", kind, "-o", "json"))["items"]
    return {entry["metadata"]["name"] for entry in listed}


def reason(cluster: Kubernetes, deployment: str, condition: str) -> str:
    """Return the reason of a condition that is about the present spec."""
    found: str = cluster.condition(PROJECT, DEPLOYMENT, deployment, condition).get("reason", "")
    return found
