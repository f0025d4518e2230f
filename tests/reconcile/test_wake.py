"""Which objects of its namespace a change wakes: those whose judgement reads it."""

from typing import Any

import pytest
from modelyard.api.meta import API_VERSION
from modelyard.api.resources import Key
from modelyard.build.common import KIND_LABEL, NAME_LABEL
from modelyard.reconcile.wake import heir, owners_of, readers, reads


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
    assert owners_of(child) == [Key("Dataset", "n", "d")]
    assert owners_of({"metadata": {"namespace": "n"}}) == []


def test_what_several_have_together_tells_all_of_them_and_nobody_elses_owner() -> None:
    owners = [
        {"apiVersion": API_VERSION, "kind": "Deployment", "name": "a", "uid": "1"},
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "b", "uid": "2"},
        {"apiVersion": API_VERSION, "kind": "Deployment", "name": "c", "uid": "3"},
    ]
    child = {"metadata": {"namespace": "n", "ownerReferences": owners}}
    assert [key.name for key in owners_of(child)] == ["a", "c"]


def deployment(name: str, server: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "n"}
    return {"kind": "Deployment", "metadata": metadata, "spec": {"placement": {"server": server}}}


@pytest.mark.parametrize(
    ("gone", "others", "woken"),
    [
        pytest.param("Shared", {"b": "Dedicated", "c": "Shared", "d": "Shared"}, "c", id="one"),
        pytest.param("Shared", {"b": "Dedicated"}, None, id="nobody shares any more"),
        pytest.param("Dedicated", {"b": "Shared"}, None, id="nothing was shared"),
    ],
)
def test_one_of_those_who_stay_takes_out_what_is_left_in_the_shared_server(
    gone: str, others: dict[str, str], woken: str | None
) -> None:
    found = heir(deployment("a", gone), [deployment(*other) for other in others.items()])
    assert (found.name if found else None) == woken
