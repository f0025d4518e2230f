"""What pods ask for and where they may run, in every child that has pods."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.api.compute import Resources
from modelyard.api.deployment import DeploymentSpec
from modelyard.api.project import Scheduling
from modelyard.api.runtime import ServeConfig, StoreConfig
from modelyard.build.common import DEFAULT_IMAGES
from modelyard.build.inferenceservice import inference_service
from modelyard.build.pods import NO_NEEDS, PodNeeds, pod_needs
from modelyard.build.rayjob import ray_job
from modelyard.build.workflow import cron_workflow, workflow
from modelyard.judge.serving import server_revision

OWNER: dict[str, Any] = {
    "apiVersion": "modelyard.dev/v1alpha1",
    "kind": "Experiment",
    "metadata": {"name": "tumor", "namespace": "cells", "uid": "u-1"},
}
PLAIN: dict[str, Any] = {
    "nodeSelector": {"pool": "ml"},
    "tolerations": [{"key": "ml", "operator": "Exists"}],
}
SPOT = {
    "nodeLabels": {"cloud": "spot", "zone": "b"},
    "tolerations": [{"key": "spot", "value": "true", "effect": "NoSchedule"}],
}


SERVED = ServeConfig(
    name="api",
    namespace="cells",
    model_uri="file:///s/m",
    model_digest="sha256:" + "0" * 64,
    model_version="tumor-0123456789",
    store=StoreConfig(uri="file:///s"),
)


def served(wanted: PodNeeds) -> dict[str, Any]:
    spec = DeploymentSpec.model_validate({"model": {"modelVersion": SERVED.model_version}})
    return inference_service(OWNER, "api", spec, SERVED, [], DEFAULT_IMAGES, wanted)


def needs(
    resources: dict[str, Any] | None = None, execution: str = "Never", **scheduling: Any
) -> PodNeeds:
    return pod_needs(
        Resources.model_validate(resources or {}), Scheduling.model_validate(scheduling), execution
    )


def test_nothing_declared_adds_nothing() -> None:
    assert needs() == NO_NEEDS


@pytest.mark.parametrize(
    ("declared", "rendered"),
    [
        pytest.param(
            {"requests": {"cpu": 2, "memory": "4Gi"}, "limits": {"memory": "8Gi"}},
            {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "8Gi"}},
            id="as declared",
        ),
        pytest.param(
            {"requests": {"gpu": 1}},
            {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}},
            id="a GPU is requested and limited",
        ),
        pytest.param(
            {"requests": {"cpu": 1}, "limits": {"gpu": 2}},
            {
                "requests": {"cpu": "1", "nvidia.com/gpu": "2"},
                "limits": {"nvidia.com/gpu": "2"},
            },
            id="wherever it is declared",
        ),
    ],
)
def test_resources_are_rendered(declared: dict[str, Any], rendered: dict[str, Any]) -> None:
    assert needs(declared).container == {"resources": rendered}


def test_the_projects_nodes_are_selected_and_their_taints_tolerated() -> None:
    assert needs(**PLAIN).pod == PLAIN


def test_spot_nodes_are_preferred_and_tolerated_where_asked() -> None:
    pod = needs(execution="Prefer", **PLAIN, spot=SPOT).pod
    (preferred,) = pod["affinity"]["nodeAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert preferred["preference"]["matchExpressions"] == [
        {"key": "cloud", "operator": "In", "values": ["spot"]},
        {"key": "zone", "operator": "In", "values": ["b"]},
    ]
    assert [toleration["key"] for toleration in pod["tolerations"]] == ["ml", "spot"]


def test_spot_nodes_are_kept_clear_of_otherwise() -> None:
    pod = needs(**PLAIN, spot=SPOT).pod
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    terms = [term["matchExpressions"][0] for term in required["nodeSelectorTerms"]]
    assert [(term["key"], term["operator"]) for term in terms] == [
        ("cloud", "NotIn"),
        ("zone", "NotIn"),
    ]
    assert pod["tolerations"] == PLAIN["tolerations"]


def test_every_child_with_pods_carries_them() -> None:
    wanted = needs({"requests": {"cpu": 2}}, **PLAIN)
    run = workflow(OWNER, "w", "train", [], DEFAULT_IMAGES, wanted)["spec"]
    look = cron_workflow(OWNER, "c", "15s", [], DEFAULT_IMAGES, wanted)["spec"]["workflowSpec"]
    for spec in (run, look):
        assert spec["nodeSelector"] == PLAIN["nodeSelector"]
        assert spec["templates"][0]["container"]["resources"] == {"requests": {"cpu": "2"}}
    cluster = ray_job(OWNER, "r", 2, [], DEFAULT_IMAGES, wanted)["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert pod["tolerations"] == PLAIN["tolerations"]
        assert pod["containers"][0]["resources"] == {"requests": {"cpu": "2"}}
    predictor = served(wanted)["spec"]["predictor"]
    assert {name: predictor[name] for name in PLAIN} == PLAIN
    assert predictor["containers"][0]["resources"] == {"requests": {"cpu": "2"}}


def test_other_nodes_are_no_other_revision_of_a_server_but_other_resources_are() -> None:
    assert server_revision(served(needs(**PLAIN))) == server_revision(served(needs()))
    asking = needs({"requests": {"cpu": 2}})
    assert server_revision(served(asking)) != server_revision(served(needs()))
