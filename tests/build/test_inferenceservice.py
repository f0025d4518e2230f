"""The InferenceService that serves a model, and the name of what its servers were started with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from modelyard.api.deployment import DeploymentSpec
from modelyard.api.meta import MODEL_VERSION, SERVER_REVISION
from modelyard.api.request_counts import RequestCounts
from modelyard.api.runtime import CONFIG_VARIABLE, ServeConfig, StoreConfig
from modelyard.build.autoscaling import awake
from modelyard.build.common import DEFAULT_IMAGES, secret_variable
from modelyard.build.inferenceservice import inference_service

OWNER: dict[str, Any] = {
    "kind": "Deployment",
    "metadata": {"name": "api", "namespace": "n", "uid": "u-1"},
}
CONFIG = ServeConfig(
    name="api",
    namespace="n",
    model_uri="file:///s/m",
    model_digest="sha256:" + "0" * 64,
    model_version="tumor-0123456789",
    store=StoreConfig(uri="file:///s"),
)


MODEL = {"modelVersion": "tumor-0123456789"}


def build(**changes: Any) -> dict[str, Any]:
    return built({}, **changes)


def built(spec: dict[str, Any], **changes: Any) -> dict[str, Any]:
    declared = DeploymentSpec.model_validate({"model": MODEL} | spec)
    return inference_service(
        OWNER, "api", declared, CONFIG.model_copy(update=changes), [], DEFAULT_IMAGES
    )


def revision(service: dict[str, Any]) -> str:
    found: str = service["metadata"]["annotations"][SERVER_REVISION]
    return found


def test_its_servers_are_told_the_revision_that_stands_beside_the_version() -> None:
    service = build()
    (container,) = service["spec"]["predictor"]["containers"]
    config = json.loads({e["name"]: e for e in container["env"]}[CONFIG_VARIABLE]["value"])
    assert config["revision"] == revision(service) != ""
    assert service["metadata"]["annotations"][MODEL_VERSION] == "tumor-0123456789"


def test_the_same_asked_for_twice_is_one_revision() -> None:
    assert build() == build()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"model_digest": "sha256:" + "1" * 64}, id="another model"),
        pytest.param({"sample_percent": 7}, id="other logging"),
        pytest.param({"workers": 2}, id="more workers"),
    ],
)
def test_whatever_servers_are_started_with_is_in_the_revision(changes: dict[str, Any]) -> None:
    assert revision(build(**changes)) != revision(build())


def test_another_secret_is_another_revision() -> None:
    secrets = [secret_variable("KEY", "keys", "key")]
    spec = DeploymentSpec.model_validate({"model": MODEL})
    assert revision(
        inference_service(OWNER, "api", spec, CONFIG, secrets, DEFAULT_IMAGES)
    ) != revision(build())


SCALED = {
    "autoscaling": {"minReplicas": 2, "maxReplicas": 5, "targetCPUPercent": 60},
    "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "1", "memory": "1Gi"}},
}


REQUESTS = {"autoscaling": {"maxReplicas": 5, "targetRequestsPerSecond": 9}}
TO_ZERO = {"autoscaling": {"minReplicas": 0, "maxReplicas": 5, "targetRequestsPerSecond": 9}}
COUNTS = RequestCounts(
    "http://prometheus:9090", 'seen{at="$namespace/$service/$hostname/$route",not=~"x$$"}'
)


def metric(spec: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the predictor of a Deployment that follows requests, and its query."""
    declared = DeploymentSpec.model_validate({"model": MODEL} | spec)
    service = inference_service(OWNER, "api", declared, CONFIG, [], DEFAULT_IMAGES, counts=COUNTS)
    assert autoscaler(service) == "keda"
    assert '"replicas"' not in json.dumps(service)
    predictor = service["spec"]["predictor"]
    (only,) = predictor["autoScaling"]["metrics"]
    assert (only["type"], only["external"]["metric"]["backend"]) == ("External", "prometheus")
    assert only["external"]["metric"]["serverAddress"] == "http://prometheus:9090"
    assert only["external"]["target"] == {"type": "Value", "value": "9"}
    return predictor, only["external"]["metric"]["query"]


def autoscaler(service: dict[str, Any]) -> str:
    found: str = service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"]
    return found


def test_fixed_replicas_are_no_autoscaler_s_matter() -> None:
    service = built({"replicas": 3})
    assert autoscaler(service) == "none"
    assert service["spec"]["predictor"]["minReplicas"] == 3


def test_an_autoscaler_counts_replicas_and_what_is_applied_does_not() -> None:
    service = built(SCALED)
    predictor = service["spec"]["predictor"]
    assert autoscaler(service) == "hpa"
    pod = ("containers", "securityContext", "volumes")
    assert {key: value for key, value in predictor.items() if key not in pod} == {
        "minReplicas": 2,
        "maxReplicas": 5,
        "scaleMetric": "cpu",
        "scaleTarget": 60,
    }
    assert '"replicas"' not in json.dumps(service)


def test_seventy_percent_of_the_cpu_is_followed_where_no_measure_is_set() -> None:
    spec = {**SCALED, "autoscaling": {"maxReplicas": 5}}
    assert built(spec)["spec"]["predictor"]["scaleTarget"] == 70


def test_servers_count_the_requests_where_one_always_runs() -> None:
    predictor, query = metric(REQUESTS)
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (1, 5)
    assert query == (
        'sum(rate(modelyard_requests_total{namespace="n",pod=~"api-predictor-.+",'
        'protocol!="other"}[1m]))'
    )


def test_who_stands_before_the_servers_counts_them_where_none_has_to_run() -> None:
    gateway = {"gateway": {"name": "public", "hostname": "tumor.example.org"}}
    predictor, query = metric({**TO_ZERO, **gateway})
    assert predictor["minReplicas"] == 0
    assert query == 'seen{at="n/api-predictor/tumor.example.org/api-traffic",not=~"x$"}'


def test_what_is_kept_awake_has_one_replica_more_and_no_other_revision() -> None:
    declared = DeploymentSpec.model_validate({"model": MODEL} | TO_ZERO)
    service = inference_service(OWNER, "api", declared, CONFIG, [], DEFAULT_IMAGES, counts=COUNTS)
    kept = awake(service)
    assert kept["spec"]["predictor"] == {**service["spec"]["predictor"], "minReplicas": 1}
    assert revision(kept) == revision(service)


def test_more_replicas_restart_no_server() -> None:
    assert revision(built({"replicas": 3})) == revision(build())
    containers = [s["spec"]["predictor"]["containers"] for s in (built({"replicas": 3}), build())]
    assert containers[0] == containers[1]
