"""Which objects of its namespace a change wakes: those whose judgement reads it."""

from typing import Any

import pytest
from modelyard.api.resources import Key
from modelyard.build.common import KIND_LABEL, NAME_LABEL
from modelyard.reconcile.wake import owner_of, readers, reads


def thing(kind: str, name: str, **spec: Any) -> tuple[Key, dict[str, Any]]:
    manifest = {"kind": kind, "metadata": {"name": name, "namespace": "n"}, "spec": spec}
    return Key(kind, "n", name), manifest


KNOWN = dict(
    [
        thing("Project", "p"),
        thing("Dataset", "d"),
        thing("Dataset", "other"),
        thing("Experiment", "e", datasetRef={"name": "d"}),
        thing("ModelVersion", "e-0123456789"),
        thing("Deployment", "by-experiment", model={"experiment": "e"}),
        thing("Deployment", "by-version", model={"modelVersion": "e-0123456789"}),
        thing("Deployment", "with-canary", model={"experiment": "f"}, canary={"experiment": "e"}),
        thing(
            "Deployment",
            "with-fallback",
            model={"experiment": "f"},
            traffic={"fallback": {"experiment": "e"}},
        ),
        thing("Deployment", "unrelated", model={"experiment": "f"}),
        thing("Monitor", "m", deploymentRef={"name": "by-experiment"}),
        thing("Policy", "q"),
    ]
)


@pytest.mark.parametrize(
    ("kind", "name", "woken"),
    [
        pytest.param("Dataset", "d", {"e"}, id="a Dataset wakes its Experiments"),
        pytest.param(
            "Experiment", "e", {"e-0123456789", "by-experiment", "with-canary", "with-fallback"},
            id="an Experiment wakes its versions and Deployments",
        ),
        pytest.param(
            "ModelVersion", "e-0123456789", {"by-experiment", "by-version", "with-canary", "with-fallback"},
            id="a ModelVersion wakes Deployments that may serve it",
        ),
        pytest.param("Deployment", "by-experiment", {"m"}, id="a Deployment wakes its Monitors"),
        pytest.param("Monitor", "m", set(), id="a Monitor wakes nobody"),
        pytest.param(
            "Policy", "q",
            {"d", "other", "e", "e-0123456789", "by-experiment", "by-version", "with-canary", "with-fallback", "unrelated"},
            id="a Policy wakes everything that has a gate",
        ),
        pytest.param(
            "Project", "p",
            {"p", "d", "other", "e", "e-0123456789", "by-experiment", "by-version", "with-canary", "with-fallback", "unrelated", "m"},
            id="a Project wakes its namespace",
        ),
    ],
)  # fmt: skip
def test_a_change_wakes(kind: str, name: str, woken: set[str]) -> None:
    changed = KNOWN[Key(kind, "n", name)]
    found = {key.name for key, reader in KNOWN.items() if reads(reader, changed)}
    assert found == woken
    kinds = {key.kind for key, reader in KNOWN.items() if reads(reader, changed)}
    assert kinds <= set(readers(kind)), "nobody else is asked"


def test_a_child_tells_its_owner_by_labels() -> None:
    child = {"metadata": {"namespace": "n", "labels": {KIND_LABEL: "Dataset", NAME_LABEL: "d"}}}
    assert owner_of(child) == Key("Dataset", "n", "d")
    assert owner_of({"metadata": {"namespace": "n"}}) is None
