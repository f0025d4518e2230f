"""Child objects: pure, labelled, owned, restricted, and readable by the runtimes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from modelyard.api.deployment import DeploymentSpec, ModelChoice
from modelyard.api.meta import SOURCE_REVISION
from modelyard.api.runtime import CONFIG_VARIABLE, ServeConfig, StoreConfig
from modelyard.build.common import (
    KIND_LABEL,
    NAME_LABEL,
    Images,
    config_variable,
    store_variables,
)
from modelyard.build.inferenceservice import inference_service
from modelyard.build.modelversion import model_version
from modelyard.build.rayjob import ray_job
from modelyard.build.workflow import cron_workflow, workflow

OWNER: dict[str, Any] = {
    "apiVersion": "modelyard.dev/v1alpha1",
    "kind": "Experiment",
    "metadata": {
        "name": "tumor",
        "namespace": "cells",
        "uid": "u-1",
        "annotations": {SOURCE_REVISION: "abc-dirty", "secret": "not to be copied"},
    },
}
ENV = [config_variable(StoreConfig(uri="file:///s")), *store_variables("keys")]
SPEC = DeploymentSpec(model=ModelChoice(experiment="tumor"))
SERVE = ServeConfig(
    name="tumor",
    namespace="cells",
    model_uri="file:///s/m",
    model_digest="sha256:" + "0" * 64,
    model_version="tumor-0123456789",
    store=StoreConfig(uri="file:///s"),
)
IMAGES = Images("registry/runtime:1", "registry/ray:1", "Never")
SERVED = inference_service(OWNER, "tumor", SPEC, SERVE, store_variables("keys"), IMAGES)
CHILDREN = [
    pytest.param(workflow(OWNER, "train-tumor-0123456789", "train", ENV, IMAGES), id="Workflow"),
    pytest.param(workflow(OWNER, "batch-tumor-0123456789", "batch", ENV, IMAGES), id="batch"),
    pytest.param(cron_workflow(OWNER, "tumor", "15s", ENV, IMAGES), id="CronWorkflow"),
    pytest.param(ray_job(OWNER, "train-tumor-0123456789", 4, ENV, IMAGES), id="RayJob"),
    pytest.param(SERVED, id="InferenceService"),
    pytest.param(model_version(OWNER, "tumor-0123456789", "0" * 64), id="ModelVersion"),
]
RECOMMENDED = ("name", "instance", "version", "component", "part-of", "managed-by")


def containers(node: Any) -> list[dict[str, Any]]:
    """Return every container in a manifest."""
    if isinstance(node, list):
        return [found for entry in node for found in containers(entry)]
    if not isinstance(node, dict):
        return []
    inner = [found for value in node.values() for found in containers(value)]
    return [node, *inner] if "image" in node else inner


def pods(node: Any) -> list[dict[str, Any]]:
    """Return every pod spec in a manifest."""
    if not isinstance(node, (dict, list)):
        return []
    if isinstance(node, dict) and "volumes" in node:
        return [node]
    inner = node.values() if isinstance(node, dict) else node
    return [found for value in inner for found in pods(value)]


@pytest.mark.parametrize("child", CHILDREN)
def test_a_child_has_the_recommended_labels_and_tells_its_owner(child: dict[str, Any]) -> None:
    labels = child["metadata"]["labels"]
    assert [name for name in RECOMMENDED if f"app.kubernetes.io/{name}" not in labels] == []
    assert (labels[KIND_LABEL], labels[NAME_LABEL]) == ("Experiment", "tumor")
    assert all(
        re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", v) for v in labels.values()
    )


@pytest.mark.parametrize("child", CHILDREN)
def test_a_child_is_deleted_with_its_owner(child: dict[str, Any]) -> None:
    (reference,) = child["metadata"]["ownerReferences"]
    assert (reference["uid"], reference["controller"]) == ("u-1", True)
    assert reference["blockOwnerDeletion"]
    assert "not to be copied" not in json.dumps(child)


@pytest.mark.parametrize("child", CHILDREN)
def test_a_child_names_the_commit_unless_that_would_restart_its_pods(child: dict[str, Any]) -> None:
    annotations = child["metadata"]["annotations"]
    named = annotations.get(SOURCE_REVISION) == "abc-dirty"
    assert named == (child["kind"] != "InferenceService")


@pytest.mark.parametrize("child", CHILDREN[:4])
def test_containers_keep_to_the_restricted_profile(child: dict[str, Any]) -> None:
    found = containers(child)
    assert found
    for container in found:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["runAsNonRoot"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert security["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("child", CHILDREN[:4])
def test_pods_keep_to_the_restricted_profile_whatever_a_backend_adds(child: dict[str, Any]) -> None:
    for pod in pods(child):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize("child", CHILDREN[:4])
def test_containers_may_write_to_tmp_and_nowhere_else(child: dict[str, Any]) -> None:
    for pod in pods(child):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for container in containers(pod):
            (mount,) = container["volumeMounts"]
            assert mount["mountPath"] == "/tmp"
            assert volumes[mount["name"]]["emptyDir"] == {}


@pytest.mark.parametrize("child", CHILDREN[:4])
def test_containers_run_the_images_they_were_given(child: dict[str, Any]) -> None:
    expected = "registry/ray:1" if child["kind"] == "RayJob" else "registry/runtime:1"
    for container in containers(child):
        assert (container["image"], container["imagePullPolicy"]) == (expected, "Never")


@pytest.mark.parametrize("child", CHILDREN[:4])
def test_containers_fit_any_quota(child: dict[str, Any]) -> None:
    for container in containers(child):
        for amounts in (container["resources"]["requests"], container["resources"]["limits"]):
            assert amounts.keys() == {"cpu", "memory"}


@pytest.mark.parametrize("child", CHILDREN[:4])
def test_secrets_are_given_by_reference_and_the_configuration_can_be_read(
    child: dict[str, Any],
) -> None:
    for container in containers(child):
        if container["name"] == "ray-job-submitter":
            continue  # it only hands over the entrypoint
        env = {entry["name"]: entry for entry in container["env"]}
        config = json.loads(env[CONFIG_VARIABLE]["value"])
        assert config.get("store", config)["uri"] == "file:///s"
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            assert env[name]["valueFrom"]["secretKeyRef"] == {"name": "keys", "key": name}


def test_the_operator_gives_a_model_version_no_spec() -> None:
    assert "spec" not in model_version(OWNER, "tumor-0123456789", "0" * 64)


def test_a_workflow_that_said_why_it_failed_is_not_tried_again() -> None:
    (template,) = workflow(OWNER, "w", "train", ENV, IMAGES)["spec"]["templates"]
    assert template["retryStrategy"]["expression"] == "asInt(lastRetry.exitCode) != 1"


@pytest.mark.parametrize("text", ["^\\d+$", "$(HOME)", "{{workflow.name}}", "\\$", "{{{", 'a"$'])
def test_no_backend_expands_what_a_configuration_says(text: str) -> None:
    variable = config_variable(StoreConfig(uri="file:///s", region=text))
    assert "$" not in variable["value"]
    assert "{{" not in variable["value"]
    assert StoreConfig.model_validate_json(variable["value"]).region == text


def test_the_containers_that_argo_adds_keep_to_the_restricted_profile() -> None:
    patch = json.loads(workflow(OWNER, "w", "train", ENV, IMAGES)["spec"]["podSpecPatch"])
    (init,), (wait,) = patch["initContainers"], patch["containers"]
    assert (init["name"], wait["name"]) == ("init", "wait")
    for container in (init, wait):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_ray_cluster_asks_everybody_for_a_token() -> None:
    spec = ray_job(OWNER, "train-tumor-0123456789", 4, ENV, IMAGES)["spec"]
    assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_a_ray_cluster_goes_with_its_search() -> None:
    spec = ray_job(OWNER, "train-tumor-0123456789", 4, ENV, IMAGES)["spec"]
    assert (spec["shutdownAfterJobFinishes"], spec["ttlSecondsAfterFinished"]) == (True, 0)


@pytest.mark.parametrize(
    ("interval", "every"), [("15s", "15s"), ("5m", "300s"), ("1d", "86400s")], ids=str
)
def test_a_monitor_looks_as_often_as_it_is_told(interval: str, every: str) -> None:
    spec = cron_workflow(OWNER, "tumor", interval, ENV, IMAGES)["spec"]

    assert spec["schedules"] == [f"@every {every}"]
