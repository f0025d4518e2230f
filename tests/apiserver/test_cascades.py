"""What a Project makes of its namespace, after the Project or the namespace is deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from modelyard.api.meta import API_VERSION
from modelyard.api.project import ProjectSpec
from modelyard.api.resources import LOCAL_QUEUE, OURS, TENANCY
from modelyard.build.tenancy import tenancy

PATIENCE = 120
"""Kubernetes looks for new kinds of owners every half a minute."""
SPEC = {
    "members": [{"kind": "User", "name": "ann", "role": "Viewer"}],
    "quota": {"cpu": 8, "pods": 10},
}
PATHS = {resource.kind: resource for resource in TENANCY}
Kubectl = Callable[..., str]


@pytest.fixture
def children(api: Any, kinds: None, namespace: str) -> list[str]:
    """The paths of all that the Project `team` owns, each of them there."""
    project = {
        "apiVersion": API_VERSION,
        "kind": "Project",
        "metadata": {"name": "team", "namespace": namespace},
        "spec": SPEC,
    }
    owner = api.create(OURS["Project"].path(namespace), project)
    paths = []
    for child in tenancy(owner, ProjectSpec.model_validate(SPEC), []):
        path = PATHS[child["kind"]].path(namespace, child["metadata"]["name"])
        api.apply(path, child, "operator")
        paths.append(path)
    built_in = set(TENANCY) - {LOCAL_QUEUE}
    assert {path.split("/")[-2] for path in paths} == {one.plural for one in built_in}
    return paths


def left(api: Any, paths: list[str]) -> list[str]:
    return [path for path in paths if not api.gone(path)]


def test_foreground_leaves_nothing_when_kubectl_returns(
    api: Any, kubectl: Kubectl, namespace: str, children: list[str]
) -> None:
    wait = f"--timeout={PATIENCE}s"
    kubectl("delete", "mproj", "team", "-n", namespace, "--cascade=foreground", wait)
    assert left(api, children) == []


def test_background_leaves_nothing_soon(
    api: Any, kubectl: Kubectl, namespace: str, children: list[str], eventually: Any
) -> None:
    kubectl("delete", "mproj", "team", "-n", namespace, "--cascade=background")
    eventually(lambda: not left(api, children), PATIENCE)


def test_orphans_stay_and_have_no_owner(
    api: Any, kubectl: Kubectl, namespace: str, children: list[str]
) -> None:
    wait = f"--timeout={PATIENCE}s"
    kubectl("delete", "mproj", "team", "-n", namespace, "--cascade=orphan", wait)
    owners = [api.get(path)["metadata"].get("ownerReferences") for path in children]
    assert owners == [None] * len(children)


def test_a_namespace_leaves_nothing(
    api: Any, kubectl: Kubectl, namespace: str, children: list[str]
) -> None:
    kubectl("delete", "namespace", namespace, f"--timeout={PATIENCE}s")
    assert left(api, [OURS["Project"].path(namespace, "team"), *children]) == []
