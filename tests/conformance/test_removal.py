"""What is deleted leaves nothing behind, on a real API server with its garbage collector."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.api.resources import CHILDREN, TENANCY

from .conftest import NAMESPACE, OUR_KINDS, TREE, documents, manifest

pytestmark = pytest.mark.timeout(900)


def owned(cluster: Any, namespace: str) -> set[str]:
    """Return what is in a namespace because somebody owns it."""
    kinds = [*CHILDREN, *TENANCY]
    served = set(cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split())
    names = [f"{one.plural}.{one.api_version.rpartition('/')[0]}".rstrip(".") for one in kinds]
    found = cluster.items(",".join(name for name in names if name in served), namespace)
    return {
        f"{entry['kind']}/{entry['metadata']['name']}"
        for entry in found
        if entry["metadata"].get("ownerReferences")
    }


def test_a_tree_that_is_deleted_in_the_foreground_leaves_nothing_and_comes_back(iris: Any) -> None:
    kinds = {name.partition("/")[0] for name in owned(iris, NAMESPACE)}
    assert kinds >= {"Workflow", "CronWorkflow", "InferenceService", "Role", "NetworkPolicy"}
    iris.kubectl("delete", OUR_KINDS, "--all", "-n", NAMESPACE, "--cascade=foreground")
    assert iris.items(OUR_KINDS, NAMESPACE) == []
    assert owned(iris, NAMESPACE) == set()
    iris.kubectl("apply", "--server-side", "--field-manager=git", "-f", str(TREE))
    for one in documents():
        kind, name = one["kind"], one["metadata"]["name"]
        iris.until(
            lambda kind=kind, name=name: (
                iris.condition(kind, name, NAMESPACE).get("status") == "True"
            ),
            f"{kind} {name} is Ready again",
        )


def test_a_namespace_that_is_deleted_is_gone_soon_and_the_operator_goes_on(cluster: Any) -> None:
    cluster.kubectl("create", "namespace", "brief")
    dataset = {"source": {"builtin": "iris"}, "deletionPolicy": "Delete"}
    cluster.apply(
        manifest("Project", "team", {}, "brief"), manifest("Dataset", "cells", dataset, "brief")
    )
    cluster.until(
        lambda: cluster.condition("Dataset", "cells", "brief").get("status") == "True",
        "the snapshot is there",
    )
    cluster.kubectl("delete", "namespace", "brief", "--timeout=120s")
    cluster.kubectl("create", "namespace", "brief")
    cluster.apply(manifest("Project", "team", {}, "brief"))
    cluster.until(
        lambda: cluster.condition("Project", "team", "brief").get("status") == "True",
        "the operator goes on",
    )
