"""What the chart installs: valid on several versions, restricted, labelled, the same every time."""

from __future__ import annotations

import subprocess
from collections import Counter
from typing import Any

import kubernetes_validate
import pytest
import yaml
from modelyard.api.crd import crds

from .conftest import CHART, VALUE_SETS, Render, documents

KUBERNETES = ("1.35", "1.36", "1.37")
OTHERS = ("monitoring.coreos.com/v1",)
RECOMMENDED = ("name", "instance", "version", "component", "part-of", "managed-by")


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_valid(rendered: list[dict[str, Any]], version: str) -> None:
    for manifest in rendered:
        if manifest["apiVersion"] not in OTHERS:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_no_object_is_rendered_twice(rendered: list[dict[str, Any]]) -> None:
    names = Counter(
        (entry["kind"], entry["metadata"].get("namespace"), entry["metadata"]["name"])
        for entry in rendered
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_every_object_has_the_recommended_labels(rendered: list[dict[str, Any]]) -> None:
    for manifest in rendered:
        labels = manifest["metadata"]["labels"]
        assert [n for n in RECOMMENDED if f"app.kubernetes.io/{n}" not in labels] == []


def test_namespaced_objects_name_their_namespace(rendered: list[dict[str, Any]]) -> None:
    cluster = ("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition")
    for manifest in rendered:
        assert ("namespace" in manifest["metadata"]) == (manifest["kind"] not in cluster)


def test_pods_keep_to_the_restricted_profile(rendered: list[dict[str, Any]]) -> None:
    pods = [entry["spec"] for entry in rendered if entry["kind"] == "Pod"]
    pods += [e["spec"]["template"]["spec"] for e in rendered if e["kind"] == "Deployment"]
    assert len(pods) == 2
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["readOnlyRootFilesystem"] is True
            assert security["runAsNonRoot"] is True
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def test_no_rule_has_a_wildcard(rendered: list[dict[str, Any]]) -> None:
    for manifest in rendered:
        if manifest["kind"] in ("Role", "ClusterRole"):
            for rule in manifest["rules"]:
                assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_what_is_referred_to_is_installed(rendered: list[dict[str, Any]]) -> None:
    names = {(entry["kind"], entry["metadata"]["name"]) for entry in rendered}
    for manifest in rendered:
        if manifest["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            reference = manifest["roleRef"]
            assert (reference["kind"], reference["name"]) in names


@pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS.keys())
def test_helm_has_nothing_to_say_against_the_chart(helm: str, values: dict[str, Any]) -> None:
    lint = [helm, "lint", "--strict", "--quiet", "--values", "-", str(CHART)]
    done = subprocess.run(
        lint, input=yaml.safe_dump(values), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS.keys())
def test_rendering_is_deterministic(render: Render, values: dict[str, Any]) -> None:
    assert render(values) == render(values)


def test_the_definitions_are_those_of_the_models(render: Render) -> None:
    found = {
        e["metadata"]["name"]: e["spec"] for e in documents(render({})) if "Custom" in e["kind"]
    }
    assert found == {entry["metadata"]["name"]: entry["spec"] for entry in crds()}


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        pytest.param({}, {"keep"}, id="kept-by-default"),
        pytest.param({"crds": {"keep": False}}, {None}, id="deleted-when-told"),
        pytest.param({"crds": {"install": False}}, set(), id="not-installed-when-told"),
    ],
)
def test_definitions_outlive_the_release(
    render: Render, values: dict[str, Any], kept: set[str | None]
) -> None:
    found = [e["metadata"] for e in documents(render(values)) if "Custom" in e["kind"]]
    policies = [e.get("annotations", {}).get("helm.sh/resource-policy") for e in found]
    assert set(policies) == kept


def test_with_named_namespaces_the_cluster_grants_nothing(render: Render) -> None:
    entries = documents(render(VALUE_SETS["named-namespaces"]))
    assert [entry for entry in entries if entry["kind"].startswith("ClusterRole")] == []
    roles = [e["metadata"]["namespace"] for e in entries if e["kind"] == "Role"]
    assert sorted(roles) == ["cells", "default", "modelyard", "shop"]


def test_a_mirror_stands_before_every_image(render: Render) -> None:
    values = VALUE_SETS["everything-else"] | {
        "opa": {"enabled": True, "tokenSecret": {"name": "t"}}
    }
    text = render(values)
    images = [line.split("image:")[1] for line in text.splitlines() if " image:" in line]
    images += [line.split("image=")[1] for line in text.splitlines() if "-image=" in line]
    assert len(images) == 5
    assert {image.strip().split("/")[0] for image in images} == {"mirror.example:5000"}


def test_opa_answers_to_loopback_and_the_token_alone(render: Render) -> None:
    entries = documents(render(VALUE_SETS["opa"]))
    (deployment,) = [entry for entry in entries if entry["kind"] == "Deployment"]
    operator, opa = deployment["spec"]["template"]["spec"]["containers"]
    assert "--opa-url=http://127.0.0.1:8181" in operator["args"]
    assert {"--addr=127.0.0.1:8181", "--authentication=token", "--authorization=basic"} <= set(
        opa["args"]
    )
    assert opa["env"][0]["valueFrom"] == {"secretKeyRef": {"name": "opa-token", "key": "token"}}
    assert "OPA_TOKEN" in yaml.safe_dump([e for e in entries if e["kind"] == "ConfigMap"])


def test_the_operator_gets_the_query_as_it_is_written(render: Render) -> None:
    values = VALUE_SETS["requests"]
    (deployment,) = [e for e in documents(render(values)) if e["kind"] == "Deployment"]
    (operator,) = deployment["spec"]["template"]["spec"]["containers"]
    # Kubernetes takes one $ of two in an argument away.
    arguments = [argument.replace("$$", "$") for argument in operator["args"]]
    assert f"--prometheus-url={values['autoscaling']['prometheusUrl']}" in arguments
    assert f"--idle-requests-query={values['autoscaling']['idleRequestsQuery']}" in arguments
    assert "requests-query" not in render({})


def test_one_replica_has_no_disruption_budget(render: Render) -> None:
    assert "PodDisruptionBudget" in render({})
    assert "PodDisruptionBudget" not in render({"replicas": 1})


def test_another_log_level_changes_no_pod(render: Render) -> None:
    def rendered(level: str) -> dict[str, dict[str, Any]]:
        entries = documents(render({"log": {"level": level}}))
        return {f"{e['kind']}/{e['metadata']['name']}": e for e in entries}

    before, after = rendered("INFO"), rendered("DEBUG")
    assert [name for name in before if before[name] != after[name]] == [
        "ConfigMap/test-modelyard-log"
    ]
    assert after["ConfigMap/test-modelyard-log"]["data"] == {"level": "DEBUG"}
