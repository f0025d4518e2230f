"""From the chart to predictions, with the real Argo Workflows and KServe, as on one machine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import (
    EXAMPLE,
    PROJECT,
    WORKFLOW,
    Bare,
    Kubernetes,
    need,
    operators,
    predictions,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
KINDS = ("projects", "datasets", "policies", "experiments", "deployments", "monitors")


@dataclass(frozen=True)
class Model:
    """A model, and what it answers."""

    digest: str
    predictions: list[Any]


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """What comes of the example on one machine without a cluster."""
    folder = tmp_path_factory.mktemp("embedded")
    for path in EXAMPLE.glob("*.yaml"):
        (folder / path.name).write_text(path.read_text())
    subprocess.run(["git", "init", "-q", folder], check=True)
    try:
        modelyard("up", folder, "--wait", "--detach", "--timeout", "600")
        one_machine = Kubernetes("helm", modelyard("kubeconfig", folder).strip())
        deployment = one_machine.get(PROJECT, "deployments.modelyard.dev", PROJECT)["status"]
        return Model(deployment["modelDigest"], predictions(deployment["url"], PROJECT))
    finally:
        modelyard("down", folder)


def modelyard(*words: str | Path) -> str:
    command = [sys.executable, "-m", "modelyard.cli.main", *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_the_release_says_itself_that_it_works(cluster: Kubernetes, operator: str) -> None:
    assert "Succeeded" in cluster.helm("test", "modelyard", "--namespace", operator)


def test_backends_that_come_later_need_no_restart(
    cluster: Kubernetes, operator: str, bare: Bare | None, served: str
) -> None:
    if bare is None:
        pytest.skip("the cluster had its backends before the operator was installed")
    assert "Workflow (argoproj.io/v1alpha1) is not installed" in bare.said["message"]
    assert bare.said["status"] == "False"
    assert operators(cluster) == bare.operators
    assert set(bare.operators.values()) == {0}


def test_a_search_of_argo_ends_in_the_model_of_one_machine(
    cluster: Kubernetes, project: str, embedded: Model
) -> None:
    need(cluster, WORKFLOW, "Argo Workflows")
    assert searched(cluster, project, PROJECT) == embedded.digest


def test_a_search_of_kuberay_ends_in_the_model_of_one_machine(
    cluster: Kubernetes, project: str, embedded: Model
) -> None:
    need(cluster, "rayjobs.ray.io", "KubeRay")
    search(cluster, "on-ray", "Ray")
    assert searched(cluster, project, "on-ray") == embedded.digest


BACKENDS = {"Argo": WORKFLOW, "Ray": "rayjobs.ray.io"}


@pytest.mark.parametrize("backend", ["Argo", "Ray"])
def test_a_search_that_loses_its_pods_ends_in_the_same_model(
    cluster: Kubernetes, project: str, embedded: Model, backend: str
) -> None:
    kind = BACKENDS[backend]
    need(cluster, kind, backend)
    name = f"lost-on-{backend.lower()}"
    search(cluster, name, backend)

    def run() -> dict[str, Any]:
        experiment = cluster.get(project, "experiments.modelyard.dev", name)
        return dict(experiment.get("status", {}).get("run") or {})

    def picture() -> str:
        return f"{run()}: {cluster.kubectl('-n', project, 'get', 'pods', '--show-labels')}"

    child = cluster.until(lambda: run().get("child"), picture, 120)
    if backend == "Ray":
        path = ("-o", "jsonpath={.status.rayClusterName}")
        nodes = cluster.until(
            lambda: cluster.kubectl("-n", project, "get", kind, child, *path), picture, 120
        )
        pods = f"ray.io/cluster={nodes}"
    else:
        pods = f"workflows.argoproj.io/workflow={child}"
    cluster.until(
        lambda: run()["state"] == "Running" and any(cluster.pods(project, pods).values()),
        picture,
        300,
    )
    cluster.kubectl("-n", project, "delete", "pods", "-l", pods, "--grace-period=1")
    assert run()["state"] != "Succeeded", "it ended before its pods were lost"
    assert searched(cluster, project, name) == embedded.digest
    assert run()["child"] == child


def search(cluster: Kubernetes, name: str, backend: str) -> None:
    """Apply the example's Experiment under another name, to run on a backend."""
    manifest = yaml.safe_load((EXAMPLE / "experiment.yaml").read_text())
    manifest["metadata"]["name"] = name
    manifest["spec"]["execution"]["backend"] = backend
    cluster.kubectl("apply", "-f", "-", manifest=manifest)


def searched(cluster: Kubernetes, namespace: str, experiment: str) -> str:
    """Return the digest of the model that an Experiment found."""
    found = cluster.ready(namespace, "experiments.modelyard.dev", experiment, 600)
    version = found["status"]["bestModelVersion"]
    model = cluster.ready(namespace, "modelversions.modelyard.dev", version, 60)
    digest: str = model["status"]["artifact"]["digest"]
    return digest


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_ready(cluster: Kubernetes, served: str, kind: str) -> None:
    name = "good-enough" if kind == "policies" else PROJECT
    cluster.ready(PROJECT, f"{kind}.modelyard.dev", name, 120)


def test_the_service_answers_as_on_one_machine(
    cluster: Kubernetes, served: str, embedded: Model
) -> None:
    answers, expected = predictions(cluster.serves(served), served), embedded.predictions
    assert [one["label"] for one in answers] == [one["label"] for one in expected]
    scores = [one["score"] for one in expected]
    assert [one["score"] for one in answers] == pytest.approx(scores, abs=1e-6)


def test_the_status_tells_which_bytes_answer(
    cluster: Kubernetes, served: str, embedded: Model
) -> None:
    status = cluster.get(PROJECT, "deployments.modelyard.dev", served)["status"]
    assert status["modelDigest"] == embedded.digest
    assert status["replicas"] == 1


def test_a_settled_deployment_is_written_no_more(cluster: Kubernetes, served: str) -> None:
    def written() -> list[str]:
        kinds = "deployments.modelyard.dev,inferenceservices,deployments.apps"
        printed = cluster.kubectl("-n", PROJECT, "get", kinds, "-o", "json")
        return [entry["metadata"]["resourceVersion"] for entry in json.loads(printed)["items"]]

    annotate = ("annotate", "deployments.modelyard.dev", served, "--overwrite")
    cluster.kubectl("-n", PROJECT, *annotate, "example.org/look=again")
    before = written()
    time.sleep(10)
    assert written() == before


def test_a_batch_scores_each_row_of_the_snapshot_once(cluster: Kubernetes, served: str) -> None:
    name = "all-rows"
    manifest = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": PROJECT},
        "spec": {
            "mode": "Batch",
            "model": {"experiment": PROJECT},
            "batch": {"input": {"datasetRef": {"name": PROJECT}}, "rowsPerShard": 100},
        },
    }
    cluster.kubectl("apply", "-f", "-", manifest=manifest)
    status = cluster.ready(PROJECT, "deployments.modelyard.dev", name, 300)["status"]
    dataset = cluster.get(PROJECT, "datasets.modelyard.dev", PROJECT)["status"]
    rows = dataset["snapshot"]["rows"]
    assert status["batch"]["rowsRead"] == rows
    assert status["batch"]["rowsWritten"] == rows
    assert status["batch"]["shards"] == -(-rows // 100)
    assert status["batch"]["outputUri"].startswith("s3://models/test/")
