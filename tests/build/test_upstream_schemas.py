"""What is built for serving and for queues fits KServe, KEDA, Gateway API and Kueue."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from modelyard.api.deployment import DeploymentSpec, Gateway
from modelyard.api.project import ProjectSpec, Scheduling, SharedServing
from modelyard.api.request_counts import RequestCounts
from modelyard.api.resources import LOCAL_QUEUE, QUEUE_LABEL, SCALED_OBJECT, WORKLOAD
from modelyard.api.runtime import ServeConfig, StoreConfig
from modelyard.build.common import DEFAULT_IMAGES, shared_owner_reference, store_variables
from modelyard.build.httproute import http_route
from modelyard.build.inferenceservice import inference_service
from modelyard.build.pods import NO_NEEDS, pod_needs
from modelyard.build.shared import shared_inference_service
from modelyard.build.tenancy import tenancy

from .conftest import go_module

KSERVE = ("github.com/kserve/kserve", "v0.20.0")
KEDA = ("github.com/kedacore/keda/v2", "v2.18.0")
"""The version that KServe is built with."""
GATEWAY_API = ("sigs.k8s.io/gateway-api", "v1.5.1")
KUEUE = "sigs.k8s.io/kueue"
KUEUE_VERSIONS = ("v0.15.0", "v0.17.0")
"""The first version that serves v1beta2, and one that stores it."""
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
SCHEDULING = Scheduling.model_validate(
    {
        "nodeSelector": {"pool": "ml"},
        "tolerations": [{"key": "ml", "operator": "Exists"}],
        "spot": {"nodeLabels": {"cloud": "spot"}},
    }
)
COUNTS = RequestCounts("http://prometheus:9090", 'seen{service="$service"}')
BY_REQUESTS = {"autoscaling": {"minReplicas": 0, "maxReplicas": 5, "targetRequestsPerSecond": 9}}
RESOURCES = {"requests": {"cpu": "500m"}, "limits": {"cpu": "1", "memory": "1Gi"}}


@cache
def schema(path: Path, version: str) -> dict[str, Any]:
    """Return the schema of a CRD's version, closed: unknown fields are faults."""
    crd = yaml.load(path.read_text(), yaml.CSafeLoader)
    versions = {one["name"]: one for one in crd["spec"]["versions"]}
    closed: dict[str, Any] = strict(versions[version]["schema"]["openAPIV3Schema"])
    closed["properties"]["metadata"] = {"type": "object"}
    return closed


def strict(node: Any) -> Any:
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: strict(value) for key, value in node.items()}
    if result.pop("x-kubernetes-int-or-string", False) is True:
        result.pop("type", None)
    if isinstance(result.get("properties"), dict) and "type" in result:
        result.setdefault("additionalProperties", False)
    return result


def faults(document: dict[str, Any], found: dict[str, Any]) -> list[str]:
    errors = jsonschema.Draft7Validator(found).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in errors]


@pytest.fixture(scope="module")
def inference_service_schema() -> dict[str, Any]:
    folder = go_module(*KSERVE)
    return schema(folder / "config/crd/full/serving.kserve.io_inferenceservices.yaml", "v1beta1")


@pytest.fixture(scope="module")
def http_route_schema() -> dict[str, Any]:
    folder = go_module(*GATEWAY_API)
    path = folder / "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"
    return schema(path, "v1")


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="as little as possible"),
        pytest.param({"replicas": 3, "resources": RESOURCES}, id="fixed replicas"),
        pytest.param(
            {"autoscaling": {"maxReplicas": 5}, "resources": RESOURCES}, id="an autoscaler"
        ),
        pytest.param(BY_REQUESTS, id="by requests"),
    ],
)
def test_an_inference_service_fits(
    inference_service_schema: dict[str, Any], spec: dict[str, Any]
) -> None:
    declared = DeploymentSpec.model_validate({"model": {"experiment": "tumor"}} | spec)
    needs = pod_needs(declared.resources, SCHEDULING)
    secrets = store_variables("keys")
    built = inference_service(
        OWNER, "api", declared, CONFIG, secrets, DEFAULT_IMAGES, needs, COUNTS
    )
    assert faults(built, inference_service_schema) == []
    built["spec"]["predictor"]["replicas"] = 3
    assert faults(built, inference_service_schema) != [], "the schema finds what does not fit"


def test_the_shared_inference_service_fits(inference_service_schema: dict[str, Any]) -> None:
    owners = [shared_owner_reference(OWNER)]
    built = shared_inference_service(
        "n", owners, SharedServing(), CONFIG.store, [], DEFAULT_IMAGES, NO_NEEDS
    )
    assert faults(built, inference_service_schema) == []


def test_kserve_makes_of_the_metric_what_keda_reads() -> None:
    """The threshold is that of one replica, since no trigger says otherwise."""
    reconcilers = go_module(*KSERVE) / "pkg/controller/v1beta1/inferenceservice/reconcilers"
    source = (reconcilers / "keda/keda_reconciler.go").read_text()
    assert '"threshold":     getOriginalStringMQ(metric.External.Target.Value, "0")' in source
    assert len(re.findall(r"\bMetricType:", source)) == 1, "for metrics of resources alone"
    triggers = (go_module(*KEDA) / "pkg/scalers/scaler.go").read_text()
    assert re.search(r'case "":\s*(//[^\n]*\s*)*return v2.AverageValueMetricType', triggers)


def test_keda_goes_to_zero_by_the_fewest_replicas_alone() -> None:
    """Neither idleReplicaCount nor an activation threshold is needed, which KServe cannot say."""
    scaling = go_module(*KEDA) / "pkg/scaling/executor/scale_scaledobjects.go"
    assert "currentReplicas > 0 && minReplicas == 0" in scaling.read_text()
    prometheus = (go_module(*KEDA) / "pkg/scalers/prometheus_scaler.go").read_text()
    assert "val > s.metadata.ActivationThreshold" in prometheus


def test_kserve_leaves_the_autoscaler_of_another_measure_behind() -> None:
    """The reason why the operator deletes it: think again when this fails."""
    folder = go_module(*KSERVE) / "pkg/controller/v1beta1/inferenceservice/reconcilers"
    autoscalers = (folder / "autoscaler/autoscaler_reconciler.go").read_text()
    assert "Delete(" not in autoscalers
    assert "HorizontalPodAutoscaler{}" not in (folder / "keda/keda_reconciler.go").read_text()
    assert "ScaledObject" not in (folder / "hpa/hpa_reconciler.go").read_text()


def test_what_kserve_leaves_behind_is_of_the_versions_that_are_deleted() -> None:
    found = go_module(*KEDA) / "config/crd/bases/keda.sh_scaledobjects.yaml"
    crd = yaml.load(found.read_text(), yaml.CSafeLoader)["spec"]
    served = [f"{crd['group']}/{one['name']}" for one in crd["versions"] if one["served"]]
    assert SCALED_OBJECT.api_version in served
    assert (SCALED_OBJECT.kind, SCALED_OBJECT.plural) == (
        crd["names"]["kind"],
        crd["names"]["plural"],
    )


@pytest.mark.parametrize("namespace", [None, "gateways"])
def test_a_route_fits(http_route_schema: dict[str, Any], namespace: str | None) -> None:
    gateway = Gateway(name="public", namespace=namespace, hostname="api.example.org")
    built = http_route(OWNER, "api-traffic", gateway, {"api": 90, "api-canary": 10})
    assert faults(built, http_route_schema) == []
    built["spec"]["rules"][0]["backendRefs"][0]["weight"] = "much"
    assert faults(built, http_route_schema) != [], "the schema finds what does not fit"


def test_kserve_s_own_canary_still_takes_no_custom_container() -> None:
    """The reason why a canary is an InferenceService of its own: think again when this fails."""
    source = go_module(*KSERVE) / "pkg/apis/serving/v1beta1/inference_service_validation.go"
    assert "canary requires a stable predictor with a model" in source.read_text()


@pytest.mark.parametrize("version", KUEUE_VERSIONS)
def test_a_local_queue_fits(version: str) -> None:
    folder = go_module(KUEUE, version) / "config/components/crd/bases"
    found = schema(
        folder / "kueue.x-k8s.io_localqueues.yaml", LOCAL_QUEUE.api_version.partition("/")[2]
    )
    project = ProjectSpec.model_validate({"quota": {"clusterQueue": "research"}})
    (built,) = [one for one in tenancy(OWNER, project, []) if one["kind"] == LOCAL_QUEUE.kind]
    assert faults(built, found) == []
    built["spec"]["queue"] = "research"
    assert faults(built, found) != [], "the schema finds what does not fit"


@pytest.mark.parametrize("version", KUEUE_VERSIONS)
def test_kueue_says_by_these_words_what_the_operator_reads(version: str) -> None:
    kueue, api = go_module(KUEUE, version), f"apis/kueue/{WORKLOAD.api_version.partition('/')[2]}"
    words = {
        f"{api}/workload_types.go": ("Inadmissible", "QuotaReserved", "Admitted", "Finished"),
        "pkg/controller/constants/constants.go": (QUEUE_LABEL,),
    }
    for path, said in words.items():
        source = (kueue / path).read_text()
        assert [word for word in said if f'"{word}"' not in source] == []


@pytest.mark.parametrize("version", KUEUE_VERSIONS)
def test_the_cluster_queue_that_the_documentation_shows_fits(version: str) -> None:
    folder = go_module(KUEUE, version) / "config/components/crd/bases"
    page = (Path(__file__).parents[2] / "docs/explanation/tenancy.md").read_text()
    shown = [one for one in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "kueue.x" in one]
    documents = [one for block in shown for one in yaml.safe_load_all(block)]
    assert [one["kind"] for one in documents] == ["ResourceFlavor", "ClusterQueue"]
    for one in documents:
        path = folder / f"kueue.x-k8s.io_{one['kind'].lower()}s.yaml"
        assert faults(one, schema(path, one["apiVersion"].partition("/")[2])) == []
