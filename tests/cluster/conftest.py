"""The operator on a real cluster, and the example project that it serves there.

`make test-cluster` sets what is needed; see tests/tools/cluster.py. By hand: `$KUBECONFIG`,
`$MODELYARD_CLUSTER_VALUES` with values for the chart (the images as the cluster has them),
`$MODELYARD_CLUSTER_STORE`, an S3 endpoint with a bucket `models` that pods reach, and, where the
cluster has no backends yet, `$MODELYARD_CLUSTER_BACKENDS`, a shell command that installs them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
NAMESPACE = "modelyard-test"
PROJECT = "breast-cancer"
EXAMPLE = REPOSITORY / "examples/specs/breast-cancer"
SERVERS = "serving.kserve.io/inferenceservice={}"
"""Selects the pods behind an InferenceService."""
WORKFLOW = "workflows.argoproj.io"
OPERATORS = "app.kubernetes.io/component=operator"


class Kubernetes:
    """kubectl and helm against the cluster."""

    def __init__(self, helm: str, kubeconfig: str) -> None:
        self._helm = helm
        self._environment = {**os.environ, "KUBECONFIG": kubeconfig}

    def kubectl(self, *words: str, manifest: dict[str, Any] | None = None) -> str:
        """Return what kubectl prints; fail with what it says."""
        program = str(Path(sys.executable).parent / "kubectl")
        return self._run([program, *words], json.dumps(manifest) if manifest else None)

    def helm(self, *words: str) -> str:
        """Return what helm prints; fail with what it says."""
        return self._run([self._helm, *words])

    def get(self, namespace: str, kind: str, name: str) -> dict[str, Any]:
        """Return an object."""
        found: dict[str, Any] = json.loads(
            self.kubectl("-n", namespace, "get", kind, name, "-o", "json")
        )
        return found

    def patch(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        """Change fields of a spec in the project's namespace; None removes one."""
        change = json.dumps({"spec": spec})
        self.kubectl("-n", PROJECT, "patch", kind, name, "--type=merge", "-p", change)

    def pods(self, namespace: str, selector: str) -> dict[str, bool]:
        """Return the uids of the pods that are there to stay, and which of them are ready."""
        printed = self.kubectl("-n", namespace, "get", "pods", "-l", selector, "-o", "json")
        return {
            pod["metadata"]["uid"]: any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in pod["status"].get("conditions") or []
            )
            for pod in json.loads(printed)["items"]
            if "deletionTimestamp" not in pod["metadata"]
        }

    def condition(self, namespace: str, kind: str, name: str, wanted: str) -> dict[str, Any]:
        """Return a condition that is about the present generation; an empty one if none is."""
        found = self.get(namespace, kind, name)
        for condition in (found.get("status") or {}).get("conditions") or []:
            current = condition["observedGeneration"] == found["metadata"]["generation"]
            if condition["type"] == wanted and current:
                return dict(condition)
        return {}

    def ready(self, namespace: str, kind: str, name: str, seconds: float) -> dict[str, Any]:
        """Return an object once it is Ready; fail with its condition."""
        self.until(
            lambda: self.condition(namespace, kind, name, "Ready").get("status") == "True",
            lambda: f"{kind}/{name}: {self.get(namespace, kind, name).get('status')}",
            seconds,
        )
        return self.get(namespace, kind, name)

    @staticmethod
    def until(holds: Callable[[], Any], picture: Callable[[], str], seconds: float) -> Any:
        """Return what becomes true; fail with a picture of what is there instead."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := holds():
                return found
            time.sleep(1)
        raise AssertionError(picture())

    def serves(self, service: str) -> str:
        """Return the URL of an InferenceService by the address of its Service."""
        address = self.get(PROJECT, "service", f"{service}-predictor")["spec"]["clusterIP"]
        return f"http://{address}"

    def _run(self, command: list[str], text: str | None = None) -> str:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            env=self._environment,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout


def instances(url: str, model: str) -> list[dict[str, float]]:
    """Return instances of several sizes, with all the features that a server asks for."""
    found = httpx.get(f"{url}/v2/models/{model}", timeout=30).raise_for_status().json()["inputs"]
    return [{entry["name"]: size for entry in found} for size in (0.01, 1.0, 100.0)]


def predictions(url: str, model: str) -> list[Any]:
    """Return what a server answers to these instances."""
    body = {"instances": instances(url, model)}
    answer = httpx.post(f"{url}/v1/models/{model}:predict", json=body, timeout=30)
    found: list[Any] = answer.raise_for_status().json()["predictions"]
    return found


@pytest.fixture(scope="session")
def cluster() -> Kubernetes:
    """The cluster; its tests skip where none is named."""
    for variable in ("KUBECONFIG", "MODELYARD_CLUSTER_VALUES", "MODELYARD_CLUSTER_STORE"):
        if variable not in os.environ:
            pytest.skip(f"no cluster: ${variable} is not set, see tests/tools/cluster.py")
    tool = [sys.executable, str(REPOSITORY / "tests/tools/helm.py")]
    found = subprocess.run(tool, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(found.stderr.strip())
    return Kubernetes(found.stdout.strip(), os.environ["KUBECONFIG"])


def restricted(name: str) -> dict[str, Any]:
    """Return a namespace that takes pods of the restricted profile alone."""
    metadata = {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def install(cluster: Kubernetes, *changes: str, seconds: int = 120) -> None:
    """Install or upgrade the release, healthy within a time.

    Args:
        cluster: Where to.
        changes: Values as `helm --set` takes them.
        seconds: How long all of it may take to be ready.
    """
    cluster.helm(
        *("upgrade", "--install", "modelyard", str(REPOSITORY / "charts/modelyard")),
        *("--namespace", NAMESPACE, "--values", os.environ["MODELYARD_CLUSTER_VALUES"]),
        *(word for change in changes for word in ("--set", change)),
        *("--wait", "--timeout", f"{seconds}s"),
    )


@pytest.fixture(scope="session")
def operator(cluster: Kubernetes) -> Iterator[str]:
    """The namespace of the operator, installed by the chart."""
    cluster.kubectl("apply", "-f", "-", manifest=restricted(NAMESPACE))
    install(cluster, seconds=60)
    yield NAMESPACE
    cluster.helm("uninstall", "modelyard", "--namespace", NAMESPACE, "--wait")
    cluster.kubectl("delete", "namespace", NAMESPACE)


@pytest.fixture(scope="session")
def applied(cluster: Kubernetes, operator: str) -> Iterator[str]:
    """The example's namespace with its objects, its artifacts in the cluster's store."""
    cluster.kubectl("apply", "-f", "-", manifest=restricted(PROJECT))
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": PROJECT},
        "stringData": {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"},
    }
    cluster.kubectl("apply", "-f", "-", manifest=secret)
    store = {
        "name": "store",
        "type": "S3",
        "endpoint": os.environ["MODELYARD_CLUSTER_STORE"],
        "region": "us-east-1",
        "secretRef": {"name": "keys"},
    }
    for path in sorted(EXAMPLE.glob("*.yaml")):
        manifest = yaml.safe_load(path.read_text())
        if manifest["kind"] == "Project":
            manifest["spec"] |= {
                "artifactStore": {"uri": "s3://models/test", "connectionRef": {"name": "store"}},
                "connections": [store],
            }
        cluster.kubectl("apply", "-f", "-", manifest=manifest)
    yield PROJECT
    cluster.kubectl("delete", "namespace", PROJECT)


@dataclass(frozen=True)
class Bare:
    """The operator in a cluster without backends.

    Attributes:
        said: Condition Ready of the example's Dataset.
        operators: Uid by pod of the operator, and how often its container was started again.
    """

    said: dict[str, Any]
    operators: dict[str, int]


@pytest.fixture(scope="session")
def bare(cluster: Kubernetes, operator: str, applied: str) -> Bare | None:
    """What was so before the backends were installed; None where they were there already."""
    command = os.environ.get("MODELYARD_CLUSTER_BACKENDS")
    if command is None or cluster.kubectl("get", "crd", WORKFLOW, "--ignore-not-found"):
        return None

    def said() -> dict[str, Any]:
        return cluster.condition(applied, "datasets.modelyard.dev", PROJECT, "Ready")

    cluster.until(
        lambda: said().get("reason") == "BackendMissing",
        lambda: f"Dataset without backends: {said()}",
        60,
    )
    found = Bare(said(), operators(cluster))
    # One that was not built is missing, and so are the tests that need it.
    subprocess.run(["sh", "-c", command], check=False)
    return found


def operators(cluster: Kubernetes) -> dict[str, int]:
    """Return how often each pod of the operator was started again, by uid."""
    printed = cluster.kubectl("-n", NAMESPACE, "get", "pods", "-l", OPERATORS, "-o", "json")
    return {
        pod["metadata"]["uid"]: sum(
            container["restartCount"] for container in pod["status"]["containerStatuses"]
        )
        for pod in json.loads(printed)["items"]
    }


@pytest.fixture(scope="session")
def project(applied: str, bare: Bare | None) -> str:
    """The example's namespace in a cluster with its backends."""
    return applied


def need(cluster: Kubernetes, definition: str, backend: str) -> None:
    """Skip the test where a backend is not installed in the cluster."""
    if not cluster.kubectl("get", "crd", definition, "--ignore-not-found"):
        pytest.skip(f"{backend} is not installed in this cluster")


@pytest.fixture(scope="session")
def served(cluster: Kubernetes, project: str) -> str:
    """Name of the example's Deployment, once it serves."""
    need(cluster, WORKFLOW, "Argo Workflows")
    need(cluster, "inferenceservices.serving.kserve.io", "KServe")
    cluster.ready(project, "deployments.modelyard.dev", PROJECT, 600)
    return PROJECT
