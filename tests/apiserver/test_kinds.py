"""Our kinds as their users meet them: accepted, listed, explained, printed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from modelyard.api.crd import crds
from modelyard.api.kinds import KINDS, Kind
from modelyard.api.meta import API_VERSION, GROUP

CRDS = Path(__file__).parents[2] / "crds"
EACH_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
Kubectl = Callable[..., str]


def test_the_committed_definitions_are_accepted_whole(kubectl: Kubectl) -> None:
    """Any field that the server dropped or would not take is a difference."""
    kubectl("apply", "--server-side", "--force-conflicts", "--validate=strict", "-f", str(CRDS))
    for definition in crds():
        kubectl("wait", "--for=condition=Established", f"crd/{definition['metadata']['name']}")


def test_applying_the_definitions_again_writes_nothing(kubectl: Kubectl) -> None:
    def versions() -> list[str]:
        read = json.loads(kubectl("get", "crd", "-o", "json"))["items"]
        return [e["metadata"]["resourceVersion"] for e in read if e["spec"]["group"] == GROUP]

    apply = ("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    kubectl(*apply)
    before = versions()
    kubectl(*apply)
    assert versions() == before


@EACH_KIND
def test_the_server_accepts_the_names_of_the_kind(api: Any, kinds: None, kind: Kind) -> None:
    status = api.get(f"{DEFINITIONS}/{kind.plural}.{GROUP}")["status"]
    conditions = {entry["type"]: entry["status"] for entry in status["conditions"]}
    assert (conditions["NamesAccepted"], conditions["Established"]) == ("True", "True")
    assert "NonStructuralSchema" not in conditions
    assert status["acceptedNames"]["shortNames"] == [kind.short_name]


def test_the_category_lists_every_kind(kubectl: Kubectl) -> None:
    listed = kubectl("api-resources", "--categories=modelyard", "-o", "name").split()
    assert sorted(listed) == sorted(f"{kind.plural}.{GROUP}" for kind in KINDS)


def test_core_kinds_are_not_hidden(api: Any, kubectl: Kubectl, namespace: str) -> None:
    pod = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": pod}
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.create(path, {"metadata": {"name": "web"}, "spec": spec})
    assert kubectl("get", "deployments", "-n", namespace, "-o", "name") == "deployment.apps/web\n"


OTHERS = [
    # (group, plural, kind, short names) of what may run in the same cluster
    ("argoproj.io", "workflows", "Workflow", ["wf"]),
    ("argoproj.io", "experiments", "Experiment", ["exp"]),
    ("argoproj.io", "appprojects", "AppProject", ["appproj", "appprojs"]),
    ("kubeflow.org", "experiments", "Experiment", []),
    ("kyverno.io", "policies", "Policy", ["pol"]),
    ("project.openshift.io", "projects", "Project", []),
    ("apps.openshift.io", "deploymentconfigs", "DeploymentConfig", ["dc"]),
    ("serving.kserve.io", "inferenceservices", "InferenceService", ["isvc"]),
]


@pytest.fixture
def others(api: Any, declare_crd: Any) -> Iterator[None]:
    """Kinds of other people whose names are like ours; only what the server lacks is added."""
    added = []
    for group, plural, kind, short_names in OTHERS:
        name = f"{plural}.{group}"
        if api.gone(f"{DEFINITIONS}/{name}"):
            declare_crd(api, stub(group, plural, kind, short_names))
            added.append(name)
    yield
    for name in added:
        api.delete(f"{DEFINITIONS}/{name}")


def stub(group: str, plural: str, kind: str, short_names: list[str]) -> dict[str, Any]:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object"}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # Groups under k8s.io's own names need an approval; these are none of those.
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "shortNames": short_names},
            "versions": [version],
        },
    }


@pytest.mark.usefixtures("others")
def test_short_names_are_ours_beside_kinds_of_the_same_name(kubectl: Kubectl) -> None:
    rows = [line.split() for line in kubectl("api-resources", "--no-headers").splitlines()]
    names = {word: row[-3] for row in rows for word in row[1].split(",") if len(row) > 4}
    for kind in KINDS:
        assert names[kind.short_name] == API_VERSION
        assert kubectl("get", kind.short_name, "-A", "-o", "name", "--ignore-not-found") is not None
    taken = [short for *_, short_names in OTHERS for short in short_names]
    assert not {kind.short_name for kind in KINDS} & set(taken)


@EACH_KIND
def test_explain_has_text_for_every_field(api: Any, kinds: None, kind: Kind) -> None:
    """kubectl explain shows what the server's OpenAPI document says."""
    index = api.get("/openapi/v3")["paths"][f"apis/{API_VERSION}"]["serverRelativeURL"]
    schemas = api.get(index)["components"]["schemas"]
    (schema,) = [
        entry
        for name, entry in schemas.items()
        if name.endswith(f".{kind.kind}") and "x-kubernetes-group-version-kind" in entry
    ]
    short = [path for path, text in fields(schema, kind.kind) if len(text) < 15]
    assert short == []


def fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for name, child in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        if here != f"{path}.metadata" or path.count("."):
            yield here, child.get("description", "")
            yield from fields(child.get("items", child), here)


def test_kubectl_explains_a_part_with_all_that_is_below(kubectl: Kubectl) -> None:
    shown = kubectl("explain", "mexp.spec.search", "--recursive")
    assert re.search(r"earlyStopping\s+<Object>\n\s+reductionFactor\s+<integer>", shown)
    assert "Number of trials." in kubectl("explain", "mexp.spec.search.trials")


NAME = "customer-churn-emea"
VERSION_NAME = f"{NAME}-0123456789"
LONGEST_REASON = "PolicyEngineUnavailable"
SHOWN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Project": ({"environment": "development"}, {}),
    "Dataset": (
        {"source": {"builtin": "iris"}},
        {
            "snapshot": {
                "uri": "s3://b/p",
                "digest": f"sha256:{'0' * 64}",
                "rows": 1_000_000_000,
                "columns": 2000,
            },
            "quarantine": {"rows": 1_000_000},
        },
    ),
    "Experiment": (
        {"datasetRef": {"name": "a"}, "task": {"type": "Classification", "target": "t"}},
        {
            "progress": {"done": 10_000, "total": 10_000},
            "metric": "average_precision",
            "bestMetric": "0.123456",
            "bestModelVersion": VERSION_NAME,
        },
    ),
    "ModelVersion": (
        {"stage": "Production"},
        {"stage": "Production", "lineage": {"experiment": NAME}},
    ),
    "Deployment": (
        {"model": {"experiment": NAME}},
        {"modelVersion": VERSION_NAME, "url": f"http://{NAME}.retail-scoring.example.com"},
    ),
    "Monitor": ({"deploymentRef": {"name": NAME}}, {}),
    "Policy": (
        {"gates": ["dataset", "train", "promote", "deploy"], "rego": "package x"},
        {},
    ),
}


TABLES = Path(__file__).with_name("tables.txt")


@EACH_KIND
def test_a_table_is_the_one_that_people_know_and_fits_120_characters(
    api: Any, kubectl: Kubectl, namespace: str, kind: Kind
) -> None:
    spec, status = SHOWN[kind.kind]
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/{kind.plural}"
    body = {"apiVersion": API_VERSION, "kind": kind.kind, "metadata": {"name": NAME}, "spec": spec}
    api.create(path, body)
    condition = {
        "status": "Unknown",
        "message": "m",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    conditions = [
        {"type": name, "reason": LONGEST_REASON, **condition} for name in ("Ready", "DriftDetected")
    ]
    api.patch(f"{path}/{NAME}/status", {"status": {"conditions": conditions, **status}})

    shown = kubectl("get", f"{kind.plural}.{GROUP}", "-n", namespace)

    assert LONGEST_REASON in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 120, shown
    wide = kubectl("get", f"{kind.plural}.{GROUP}", "-n", namespace, "-o", "wide")
    assert f"{kind.kind}\n{timeless(shown)}{timeless(wide)}\n" in TABLES.read_text()


def timeless(table: str) -> str:
    """Return a table with its columns a bar apart, whatever the age of what it shows."""
    lines = (" | ".join(re.split(r" {2,}", line.strip())) for line in table.splitlines())
    return "".join(re.sub(r"\b(\d+m)?\d+s\b", "1s", f"{line}\n") for line in lines)


def test_two_managers_own_entries_of_one_list(api: Any, kinds: None, namespace: str) -> None:
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/projects/team"

    def apply(manager: str, name: str) -> list[str]:
        body = {
            "apiVersion": API_VERSION,
            "kind": "Project",
            "metadata": {"name": "team"},
            "spec": {"connections": [{"name": name, "type": "S3"}]},
        }
        return [entry["name"] for entry in api.apply(path, body, manager)["spec"]["connections"]]

    assert apply("one", "lake") == ["lake"]
    assert apply("other", "sea") == ["lake", "sea"]
    assert apply("one", "pond") == ["sea", "pond"]


def test_a_model_version_without_a_spec_leaves_its_spec_to_git(
    api: Any, kinds: None, namespace: str
) -> None:
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/modelversions/churn-0123456789"
    metadata = {"name": "churn-0123456789", "labels": {"a": "b"}}
    body = {"apiVersion": API_VERSION, "kind": "ModelVersion", "metadata": metadata}
    created = api.apply(path, body, "operator")
    assert created["spec"]["stage"] == "None"
    promoted = api.apply(path, {**body, "spec": {"stage": "Staging"}}, "git")
    assert promoted["spec"]["stage"] == "Staging"
