"""A search in a queue of Kueue: its real definitions on a real API server, its part played here.

What Kueue's webhook does to a RayJob is done by a MutatingAdmissionPolicy; the test reserves quota
and lets the RayJob go on, as Kueue's scheduler would. The RayJob's process is the stand-in's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from modelyard.api.meta import API_VERSION
from modelyard.api.resources import LOCAL_QUEUE, QUEUE_LABEL, WORKLOAD

from tests.build.conftest import go_module

NAMESPACE = "queueing"
QUEUE = "modelyard-research"
FULL = (
    "couldn't assign flavors to pod set head: insufficient unused quota for cpu in flavor default"
)
KINDS = ("clusterqueues", "localqueues", "resourceflavors", "workloads")
Json = dict[str, Any]
pytestmark = pytest.mark.timeout(900)

SUSPENDS = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingAdmissionPolicy",
    "metadata": {"name": "kueue-suspends-rayjobs"},
    "spec": {
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": ["ray.io"],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": ["rayjobs"],
                }
            ]
        },
        "matchConditions": [
            {"name": "queued", "expression": f"'{QUEUE_LABEL}' in object.metadata.labels"}
        ],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [
            {
                "patchType": "JSONPatch",
                "jsonPatch": {
                    "expression": '[JSONPatch{op: "add", path: "/spec/suspend", value: true}]'
                },
            }
        ],
    },
}
BINDING = {
    "apiVersion": SUSPENDS["apiVersion"],
    "kind": "MutatingAdmissionPolicyBinding",
    "metadata": {"name": "kueue-suspends-rayjobs"},
    "spec": {"policyName": "kueue-suspends-rayjobs"},
}


def ours(kind: str, name: str, spec: Json) -> Json:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def kueue(cluster: Any) -> Iterator[Any]:
    """The cluster with Kueue's definitions, and with what its webhook does."""
    folder = go_module("sigs.k8s.io/kueue", "v0.17.0") / "config/components/crd/bases"
    for kind in KINDS:
        definition = str(folder / f"kueue.x-k8s.io_{kind}.yaml")
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", definition)
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    cluster.apply(SUSPENDS, BINDING)
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield cluster
    cluster.kubectl("delete", "mutatingadmissionpolicies", "kueue-suspends-rayjobs")


def child(cluster: Any) -> Json:
    """Return the RayJob of the search once it is there."""
    found = cluster.items("rayjobs.ray.io", NAMESPACE)
    return dict(found[0]) if found else {}


def reason(cluster: Any) -> Json:
    found: Json = cluster.condition("Experiment", "iris", NAMESPACE)
    return found


def workload(run: Json) -> Json:
    """Return the Workload that Kueue makes of a RayJob, with its one pod set of interest."""
    owner = {
        "apiVersion": run["apiVersion"],
        "kind": run["kind"],
        "name": run["metadata"]["name"],
        "uid": run["metadata"]["uid"],
        "controller": True,
    }
    template = run["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    template["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": WORKLOAD.api_version,
        "kind": WORKLOAD.kind,
        "metadata": {"name": "rayjob-iris", "namespace": NAMESPACE, "ownerReferences": [owner]},
        "spec": {
            "queueName": run["metadata"]["labels"][QUEUE_LABEL],
            "podSets": [{"name": "head", "count": 1, "template": template}],
        },
    }


def say(cluster: Any, *conditions: tuple[str, str, str, str]) -> None:
    """Write the status of the Workload as Kueue does."""
    told = [
        {
            "type": kind,
            "status": status,
            "reason": why,
            "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind, status, why, message in conditions
    ]
    body = json.dumps({"status": {"conditions": told}})
    cluster.kubectl(
        "patch", "workloads.kueue.x-k8s.io", "rayjob-iris", "-n", NAMESPACE,
        "--subresource=status", "--type=merge", "-p", body,
    )  # fmt: skip


def test_a_search_waits_for_kueue_and_runs_when_it_is_admitted(kueue: Any) -> None:
    kueue.apply(
        ours("Project", "team", {"quota": {"clusterQueue": "research"}}),
        ours("Dataset", "iris", {"source": {"builtin": "iris"}}),
        ours(
            "Experiment",
            "iris",
            {
                "datasetRef": {"name": "iris"},
                "task": {"type": "Classification", "target": "target"},
                "validation": {"folds": 2},
                "search": {"trials": 2, "learners": ["Linear"]},
                "explain": {"shapRows": 0, "permutationRepeats": 0},
                "execution": {"backend": "Ray", "parallelism": 1},
            },
        ),
    )
    run = kueue.until(lambda: child(kueue), "the search is put in the queue")
    assert run["metadata"]["labels"][QUEUE_LABEL] == QUEUE
    queue = kueue.kubectl("get", LOCAL_QUEUE.plural, QUEUE, "-n", NAMESPACE, "-o", "yaml")
    assert yaml.safe_load(queue)["spec"]["clusterQueue"] == "research"
    kueue.until(lambda: "not looked at it yet" in reason(kueue).get("message", ""), "it waits")

    kueue.apply(workload(run))
    say(kueue, ("QuotaReserved", "False", "Pending", FULL))
    kueue.until(lambda: FULL in reason(kueue)["message"], "it says why it waits")
    assert reason(kueue)["reason"] == "AwaitingQuota"
    assert kueue.get("Experiment", "iris", NAMESPACE)["status"]["run"]["state"] == "Waiting"
    say(kueue, ("QuotaReserved", "False", "Inadmissible", "ClusterQueue research doesn't exist"))
    kueue.until(lambda: reason(kueue)["reason"] == "QueueUnavailable", "it says what to mend")
    assert child(kueue)["status"]["jobDeploymentStatus"] == "Suspended"

    reserved = ("QuotaReserved", "True", "QuotaReserved", "Quota reserved in ClusterQueue research")
    say(kueue, reserved, ("Admitted", "True", "Admitted", "The workload is admitted"))
    kueue.kubectl(
        "patch", "rayjobs.ray.io", run["metadata"]["name"], "-n", NAMESPACE, "--type=merge",
        "-p", '{"spec": {"suspend": false}}',
    )  # fmt: skip
    kueue.until(lambda: reason(kueue)["status"] == "True", "the search is over")
    assert reason(kueue)["reason"] == "SearchFinished"
    assert child(kueue)["metadata"]["uid"] == run["metadata"]["uid"]


def test_another_cluster_queue_is_another_local_queue_since_its_reference_never_changes(
    kueue: Any,
) -> None:
    changed = {"spec": {"clusterQueue": "other"}}
    refused = kueue.kubectl(
        "patch", LOCAL_QUEUE.plural, QUEUE, "-n", NAMESPACE, "--type=merge",
        "-p", json.dumps(changed), status=1,
    )  # fmt: skip
    assert "immutable" in refused
    kueue.apply(ours("Project", "team", {"quota": {"clusterQueue": "other"}}))

    def names() -> list[str]:
        found = kueue.items(LOCAL_QUEUE.plural, NAMESPACE)
        return [one["metadata"]["name"] for one in found]

    kueue.until(lambda: names() == ["modelyard-other"], "the queue before is gone")
