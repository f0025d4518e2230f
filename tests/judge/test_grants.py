"""What a Project does not grant to what runs in it."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.api.dataset import DatasetSpec
from modelyard.api.deployment import DeploymentSpec
from modelyard.api.experiment import ExperimentSpec
from modelyard.api.monitor import MonitorSpec
from modelyard.api.project import ProjectSpec
from modelyard.judge.grants import refusals, workers

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
        pytest.param({"parallelTrials": 1}, {}, id="no parallelism is declared"),
        pytest.param(
            {"pods": 3},
            {"execution": {"backend": "Ray"}},
            id="no parallelism is declared, so one worker beside the head and what submits",
        ),
        pytest.param({}, {"resources": asks(cpu=64)}, id="nothing is limited"),
        pytest.param({"cpu": 4}, {"resources": asks(cpu=4)}, id="all that there is"),
        pytest.param({"cpu": 1}, {"resources": asks(cpu="1000m")}, id="another spelling"),
        pytest.param(
            {"memory": "3Gi", "pods": 4},
            {"resources": asks(memory="1Gi"), "execution": RAY},
            id="a head and two workers that just fit",
        ),
        pytest.param({"gpu": 0}, {"resources": asks(gpu=0)}, id="no GPU of none"),
    ],
)
def test_it_may_run(quota: dict[str, Any], spec: dict[str, Any]) -> None:
    assert list(refusals(experiment(**spec), project(quota=quota))) == []


@pytest.mark.parametrize(
    ("quota", "spec", "path", "fault"),
    [
        pytest.param(
            {"parallelTrials": 1},
            {"execution": {"parallelism": 2}},
            "spec.execution.parallelism",
            "2 is more than the Project's spec.quota.parallelTrials, 1",
            id="trials",
        ),
        pytest.param(
            {"cpu": 4},
            {"resources": asks(cpu="4500m")},
            "spec.resources.requests.cpu",
            "4500m is more than the Project's spec.quota.cpu, 4",
            id="processors",
        ),
        pytest.param(
            {"memory": "4Gi"},
            {"resources": {"limits": {"memory": "8Gi"}}},
            "spec.resources.limits.memory",
            "8Gi is more than the Project's spec.quota.memory, 4Gi",
            id="a limit counts as a request",
        ),
        pytest.param(
            {"gpu": 2},
            {"resources": asks(gpu=1), "execution": RAY},
            "spec.resources.requests.gpu",
            "1 for each of 3 pods is more than the Project's spec.quota.gpu, 2",
            id="GPUs of all pods of a Ray cluster",
        ),
        pytest.param(
            {"pods": 3},
            {"execution": RAY},
            "spec.execution.parallelism",
            "2 takes 4 pods with backend Ray, which is more than the Project's spec.quota.pods, 3",
            id="pods",
        ),
    ],
)
def test_it_exceeds_the_quota_and_both_fields_are_named(
    quota: dict[str, Any], spec: dict[str, Any], path: str, fault: str
) -> None:
    (refusal,) = refusals(experiment(**spec), project(quota=quota))
    assert refusal.reason == "QuotaExceeded"
    assert ".".join(refusal.path) == path
    assert refusal.message == f"{path}: {fault}; lower the one or raise the other."


@pytest.mark.parametrize(
    ("declared", "granted", "at_once"),
    [
        pytest.param(None, 8, 2, id="two are asked for by default"),
        pytest.param(None, 1, 1, id="the default takes no more than is granted"),
        pytest.param(5, 8, 5, id="what is declared runs"),
    ],
)
def test_so_many_trials_run_at_once(declared: int | None, granted: int, at_once: int) -> None:
    spec = experiment(execution={} if declared is None else {"parallelism": declared})
    assert workers(spec.execution, project(quota={"parallelTrials": granted}).quota) == at_once


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
    assert "2 for each of 3 pods is more than the Project's spec.quota.cpu, 5" in refusal.message
    assert list(refusals(spec, project(quota={"cpu": 6}))) == []


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        pytest.param({"replicas": 3}, "spec.replicas", id="fixed"),
        pytest.param(
            {"autoscaling": {"maxReplicas": 3}}, "spec.autoscaling.maxReplicas", id="at their most"
        ),
    ],
)
def test_replicas_are_pods(fields: dict[str, Any], path: str) -> None:
    spec = DeploymentSpec.model_validate({"model": {"experiment": "tumor"}, **fields})
    (refusal,) = refusals(spec, project(quota={"pods": 2}))
    assert refusal.message.startswith(f"{path}: 3 is more than the Project's spec.quota.pods, 2")
    assert list(refusals(spec, project(quota={"pods": 3}))) == []


def test_spot_nodes_are_preferred_only_where_the_project_says_which_they_are() -> None:
    wanted = experiment(execution={"spot": "Prefer"})
    (refusal,) = refusals(wanted, project())
    assert refusal.reason == "SpotNodesMissing"
    assert list(refusals(wanted, project(scheduling=SPOT))) == []
