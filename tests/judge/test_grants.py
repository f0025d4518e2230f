"""What a Project does not grant to what runs in it."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.api.dataset import DatasetSpec
from modelyard.api.deployment import DeploymentSpec
from modelyard.api.experiment import ExperimentSpec
from modelyard.api.monitor import MonitorSpec
from modelyard.api.project import ProjectSpec
from modelyard.judge.grants import refusals

SPOT = {"spot": {"nodeLabels": {"pool": "spot"}}}


def experiment(**changes: Any) -> ExperimentSpec:
    base = {
        "datasetRef": {"name": "cells"},
        "task": {"type": "Classification", "target": "label"},
    }
    return ExperimentSpec.model_validate(base | changes)


def project(**spec: Any) -> ProjectSpec:
    return ProjectSpec.model_validate(spec)


def asks(**requests: Any) -> dict[str, Any]:
    return {"requests": requests}


RAY = {"backend": "Ray", "parallelism": 2}


@pytest.mark.parametrize(
    ("quota", "spec"),
    [
        pytest.param({"cpu": 1}, {}, id="nothing is asked for"),
        pytest.param({}, {"resources": asks(cpu=64)}, id="nothing is limited"),
        pytest.param({"cpu": 4}, {"resources": asks(cpu=4)}, id="all that there is"),
        pytest.param({"cpu": 1}, {"resources": asks(cpu="1000m")}, id="another spelling"),
        pytest.param(
            {"memory": "3Gi", "pods": 3},
            {"resources": asks(memory="1Gi"), "execution": RAY},
            id="a head and two workers that just fit",
        ),
        pytest.param({"gpu": 0}, {"resources": asks(gpu=0)}, id="no GPU of none"),
    ],
)
def test_it_may_run(quota: dict[str, Any], spec: dict[str, Any]) -> None:
    assert list(refusals(experiment(**spec), project(quota=quota))) == []


@pytest.mark.parametrize(
    ("quota", "spec", "path", "message"),
    [
        pytest.param(
            {"parallelTrials": 1},
            {},
            "spec.execution.parallelism",
            "spec.execution.parallelism is 2, the Project's spec.quota.parallelTrials is 1; "
            "lower the one or raise the other.",
            id="trials",
        ),
        pytest.param(
            {"cpu": 4},
            {"resources": asks(cpu="4500m")},
            "spec.resources.requests.cpu",
            "spec.resources.requests.cpu is 4500m, the Project's spec.quota.cpu is 4; lower the "
            "one or raise the other.",
            id="processors",
        ),
        pytest.param(
            {"memory": "4Gi"},
            {"resources": {"limits": {"memory": "8Gi"}}},
            "spec.resources.limits.memory",
            "spec.resources.limits.memory is 8Gi, the Project's spec.quota.memory is 4Gi; lower "
            "the one or raise the other.",
            id="a limit counts as a request",
        ),
        pytest.param(
            {"gpu": 2},
            {"resources": asks(gpu=1), "execution": RAY},
            "spec.resources.requests.gpu",
            "spec.resources.requests.gpu is 1 for each of 3 pods, the Project's spec.quota.gpu "
            "is 2; lower the one or raise the other.",
            id="GPUs of all pods of a Ray cluster",
        ),
        pytest.param(
            {"pods": 2},
            {"execution": RAY},
            "spec.execution.parallelism",
            "spec.execution.parallelism takes 3 pods with backend Ray, the Project's "
            "spec.quota.pods is 2; lower the one or raise the other.",
            id="pods",
        ),
    ],
)
def test_it_exceeds_the_quota_and_both_fields_are_named(
    quota: dict[str, Any], spec: dict[str, Any], path: str, message: str
) -> None:
    (refusal,) = refusals(experiment(**spec), project(quota=quota))
    assert refusal.reason == "QuotaExceeded"
    assert (".".join(refusal.path), refusal.message) == (path, message)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(
            DatasetSpec.model_validate({"source": {"builtin": "iris"}, "resources": asks(cpu=2)}),
            id="Dataset",
        ),
        pytest.param(
            MonitorSpec.model_validate({"deploymentRef": {"name": "a"}, "resources": asks(cpu=2)}),
            id="Monitor",
        ),
    ],
)
def test_what_runs_one_pod_is_limited_too(spec: DatasetSpec | MonitorSpec) -> None:
    (refusal,) = refusals(spec, project(quota={"cpu": 1}))
    assert refusal.path == ("spec", "resources", "requests", "cpu")


@pytest.mark.parametrize(
    "replicas",
    [
        pytest.param({"replicas": 3}, id="fixed"),
        pytest.param({"autoscaling": {"maxReplicas": 3}}, id="at their most"),
    ],
)
def test_all_replicas_of_a_deployment_count(replicas: dict[str, Any]) -> None:
    model = {"experiment": "tumor"}
    spec = DeploymentSpec.model_validate({"model": model, "resources": asks(cpu=2), **replicas})
    (refusal,) = refusals(spec, project(quota={"cpu": 5}))
    assert "is 2 for each of 3 pods, the Project's spec.quota.cpu is 5" in refusal.message
    assert list(refusals(spec, project(quota={"cpu": 6}))) == []


def test_spot_nodes_are_preferred_only_where_the_project_says_which_they_are() -> None:
    wanted = experiment(execution={"spot": "Prefer"})
    (refusal,) = refusals(wanted, project())
    assert refusal.reason == "SpotNodesMissing"
    assert list(refusals(wanted, project(scheduling=SPOT))) == []
