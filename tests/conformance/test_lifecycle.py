"""The main job on a real API server: the same tree, operator and result as on the embedded one.

Real are etcd, kube-apiserver and the controllers that collect garbage, empty namespaces and count
for quotas; the stand-ins run what the operator asks for.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from modelyard.api.kinds import KINDS
from modelyard.api.meta import FIELD_MANAGER, GROUP
from modelyard.api.resources import Key
from modelyard.cli.client import Client
from modelyard.embedded import plane

from .conftest import NAMESPACE, OUR_KINDS, TREE, Json, documents, manifest, runs, winner, workflows

pytestmark = pytest.mark.timeout(900)


def versions(cluster: Any) -> dict[str, str]:
    """Return the resource versions of our objects and their children."""
    served = cluster.items(f"{OUR_KINDS},inferenceservices.serving.kserve.io", NAMESPACE)
    return {
        f"{entry['kind']}/{entry['metadata']['name']}": entry["metadata"]["resourceVersion"]
        for entry in [*served, *workflows(cluster)]
    }


def await_look(cluster: Any) -> None:
    """Wait until the Monitor has looked once more."""

    def looks() -> set[str]:
        selector = ("-l", "workflows.argoproj.io/cron-workflow")
        found = cluster.items("workflows.argoproj.io", NAMESPACE, *selector)
        ended = [one for one in found if one.get("status", {}).get("phase") == "Succeeded"]
        return {one["metadata"]["uid"] for one in ended}

    before = looks()
    cluster.until(lambda: looks() - before, "the Monitor looks once more")


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Path]:
    """The kubeconfig of an embedded plane that works on a copy of the same tree."""
    copy = tmp_path / "iris"
    shutil.copytree(TREE, copy)
    command = [sys.executable, "-m", "modelyard.cli.main", "up", str(copy), "--detach"]
    subprocess.run(command, capture_output=True, check=True)
    yield copy / ".modelyard" / "kubeconfig"
    running = plane.attach(copy / ".modelyard")
    assert running is not None
    running.stop()


def test_the_model_is_the_one_that_the_embedded_plane_makes(iris: Any, embedded: Path) -> None:
    found = winner(iris)
    key = Key("ModelVersion", NAMESPACE, found["metadata"]["name"])
    with closing(Client(embedded)) as client:

        def artifact() -> Json:
            version = client.get(found["apiVersion"], key) or {}
            return dict((version.get("status") or {}).get("artifact") or {})

        digest = iris.until(artifact, "the embedded plane makes the model")["digest"]
    assert found["status"]["artifact"]["digest"] == digest


def test_applying_the_tree_again_writes_nothing(iris: Any) -> None:
    await_look(iris)
    before = versions(iris)
    iris.kubectl("apply", "--server-side", "--field-manager=git", "-f", str(TREE))
    await_look(iris)
    assert versions(iris) == before


def test_kubectl_waits_for_every_kind(iris: Any) -> None:
    wait = ("wait", "--for=condition=Ready", "--all", "-n", NAMESPACE, "--timeout=60s")
    shown = iris.kubectl(*wait, OUR_KINDS)
    met = {line.split(".")[0] for line in shown.splitlines() if line.endswith("condition met")}
    assert met == {kind.kind.lower() for kind in KINDS}


def test_the_tree_is_what_is_there(iris: Any) -> None:
    """kubectl diff exits 0: the operator changed nothing that git declares."""
    iris.kubectl("diff", "--server-side", "--field-manager=git", "-R", "-f", str(TREE))


def test_the_operator_owns_status_finalizers_and_its_annotations_alone(iris: Any) -> None:
    for entry in iris.items(OUR_KINDS, NAMESPACE, "--show-managed-fields"):
        for fields in entry["metadata"]["managedFields"]:
            if fields["manager"] == FIELD_MANAGER:
                assert foreign(fields["fieldsV1"]) == [], (entry["kind"], fields)


def foreign(fields: Json) -> list[str]:
    """Return the paths that an operator may not own on our kinds."""
    metadata = fields.get("f:metadata", {})
    annotations = metadata.get("f:annotations", {})
    born = ("f:labels", "f:ownerReferences")
    return [
        *(name for name in fields if name not in ("f:metadata", "f:status")),
        *(name for name in metadata if name not in ("f:annotations", "f:finalizers", *born)),
        *(n for n in annotations if n != "." and not n.startswith(f"f:{GROUP}/")),
    ]


def test_no_object_speaks_of_another_operator_s_domain(iris: Any) -> None:
    """kopf marks objects with the domain of its first author where nobody tells it ours."""
    children = "workflows.argoproj.io,inferenceservices.serving.kserve.io,events"
    for entry in iris.items(f"{OUR_KINDS},{children}", NAMESPACE, "--show-managed-fields"):
        assert "zalando" not in json.dumps(entry).lower()


def test_git_takes_over_a_model_version_without_a_conflict(iris: Any) -> None:
    name = winner(iris)["metadata"]["name"]
    iris.apply(manifest("ModelVersion", name, {"stage": "Staging"}))
    iris.until(
        lambda: iris.get("ModelVersion", name, NAMESPACE)["status"].get("stage") == "Staging",
        "the stage is in force",
    )


def test_an_imported_model_cannot_be_another_one(iris: Any) -> None:
    digest = "sha256:" + "0" * 64
    artifact = winner(iris)["status"]["artifact"]
    iris.apply(
        manifest(
            "ModelVersion", "taken-over", {"import": {"uri": artifact["uri"], "digest": digest}}
        )
    )
    iris.until(
        lambda: (
            iris.condition("ModelVersion", "taken-over", NAMESPACE).get("reason")
            == "DigestMismatch"
        ),
        "the wrong digest is found",
    )
    refused = iris.kubectl(
        "patch", "mmv", "taken-over", "-n", NAMESPACE, "--type=merge",
        "-p", json.dumps({"spec": {"import": {"digest": artifact["digest"]}}}), status=1,
    )  # fmt: skip
    assert "spec.import" in refused
    assert "import is immutable" in refused


def test_no_run_starts_again_but_by_a_new_token(iris: Any) -> None:
    finished = runs(iris)
    for name in finished.values():
        iris.kubectl("delete", "workflows.argoproj.io", name, "-n", NAMESPACE)
    for _ in range(3):
        iris.stop("operator")
        iris.start_operator()
        noticed(iris)
    assert runs(iris) == {}
    dataset = next(m for m in documents() if m["kind"] == "Dataset")
    iris.apply(dataset | {"spec": dataset["spec"] | {"run": {"token": "again"}}})
    iris.until(lambda: runs(iris), "the new token starts a run")
    iris.until(
        lambda: iris.condition("Dataset", NAMESPACE, NAMESPACE).get("status") == "True",
        "the new run is over",
    )
    noticed(iris)
    assert len(runs(iris)) == 1


def noticed(cluster: Any) -> None:
    """Wait until the operator has looked at everything: it answers the annotation that asks."""
    body = json.dumps({"status": {"artifactStoreUri": "file:///stale"}})
    cluster.kubectl(
        "patch", "mproj", NAMESPACE, "-n", NAMESPACE, "--subresource=status", "--type=merge",
        "-p", body,
    )  # fmt: skip
    for kind in KINDS:
        cluster.kubectl(
            "annotate", f"{kind.plural}.{GROUP}", "--all", "-n", NAMESPACE, "--overwrite",
            f"modelyard.dev/reconcile-at={versions(cluster)['Project/iris']}",
        )  # fmt: skip
    cluster.until(
        lambda: (
            cluster.get("Project", NAMESPACE, NAMESPACE)["status"]["artifactStoreUri"]
            == cluster.store.as_uri()
        ),
        "the operator mends the status when it is asked to look",
    )


BROKEN = [
    pytest.param(manifest("Project", "second", {}), "ProjectConflict", id="Project"),
    pytest.param(
        manifest("Dataset", "nowhere", {"source": {"path": "/nowhere.csv"}}), None, id="Dataset"
    ),
    pytest.param(
        manifest(
            "Experiment",
            "blind",
            {"datasetRef": {"name": "iris"}, "task": {"type": "Regression", "target": "nothing"}},
        ),
        None,
        id="Experiment",
    ),
    pytest.param(manifest("ModelVersion", "mine", {}), "UnknownRun", id="ModelVersion"),
    pytest.param(
        manifest(
            "Policy",
            "wrong",
            {"gates": ["train"], "match": {"labels": {"a": "b"}}, "rego": "package x\nallow if {"},
        ),
        "PolicyInvalid",
        id="Policy",
    ),
]


@pytest.mark.parametrize(("broken", "reason"), BROKEN)
def test_a_failure_is_a_condition_with_a_reason_and_a_warning(
    iris: Any, broken: Json, reason: str | None
) -> None:
    kind, name = broken["kind"], broken["metadata"]["name"]
    iris.apply(broken)

    def stalled() -> bool:
        return bool(iris.condition(kind, name, NAMESPACE, "Stalled").get("status") == "True")

    iris.until(stalled, f"{kind} {name} is Stalled")
    found = iris.condition(kind, name, NAMESPACE)
    assert found["status"] == "False"
    assert reason in (None, found["reason"])
    assert len(found["message"]) > 20

    def warned() -> bool:
        events = iris.items("events", NAMESPACE, "--field-selector", f"involvedObject.name={name}")
        return any((e["type"], e["reason"]) == ("Warning", found["reason"]) for e in events)

    iris.until(warned, f"a Warning tells of {kind} {name}")


def test_what_is_deleted_while_the_operator_is_down_goes_when_it_is_back(iris: Any) -> None:
    iris.apply(
        manifest("Dataset", "brief", {"source": {"builtin": "wine"}, "deletionPolicy": "Delete"})
    )
    iris.until(
        lambda: iris.condition("Dataset", "brief", NAMESPACE).get("status") == "True",
        "the snapshot is there",
    )
    records = iris.store / "runs" / NAMESPACE / "dataset" / "brief"
    assert list(records.iterdir())
    iris.stop("operator")
    iris.kubectl("delete", "mds", "brief", "-n", NAMESPACE, "--wait=false")
    assert iris.get("Dataset", "brief", NAMESPACE)["metadata"]["deletionTimestamp"]
    iris.start_operator()
    iris.until(lambda: not iris.get("Dataset", "brief", NAMESPACE), "the Dataset is gone")
    assert not records.exists()
