"""The ConfigMap and the InferenceService that Deployments with a shared server have together."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.api.meta import SERVER_REVISION
from modelyard.api.project import SharedServing
from modelyard.api.runtime import ServeConfig, StoreConfig
from modelyard.build.common import DEFAULT_IMAGES, is_child_of_one, shared_owner_reference
from modelyard.build.pods import NO_NEEDS
from modelyard.build.shared import config_map, entry, entry_of, shared_inference_service

STORE = StoreConfig(uri="file:///s")


def deployment(name: str, uid: str = "", server: str = "Shared", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "n", "uid": uid or f"uid-{name}"} | more
    return {"kind": "Deployment", "metadata": metadata, "spec": {"placement": {"server": server}}}


def config(name: str, **changes: Any) -> ServeConfig:
    fields = {
        "name": name,
        "namespace": "n",
        "model_uri": "file:///s/m",
        "model_digest": "sha256:" + "0" * 64,
        "model_version": "tumor-0123456789",
        "store": STORE,
    }
    return entry(ServeConfig.model_validate(fields | changes))


def existing(*names: str) -> dict[str, Any]:
    """Return a ConfigMap to which these Deployments have written."""
    found: dict[str, Any] | None = None
    known = [deployment(name) for name in names]
    for one in known:
        found = config_map(found, one, config(one["metadata"]["name"]), known)
    assert found is not None
    return found


def test_a_revision_names_all_of_an_entry() -> None:
    assert config("a").revision == config("a").revision != ""
    assert entry(config("a")) == config("a"), "its own name is no part of it"
    assert config("a").revision != config("a", max_in_flight=9).revision
    assert config("a").revision != config("b").revision


def test_an_entry_is_read_as_it_was_written() -> None:
    found = existing("a", "b")
    assert entry_of(found, "a") == config("a")
    assert entry_of(found, "c") is entry_of(None, "a") is None


STAYS = {
    "shared": ([deployment("a")], ["a", "b"]),
    "gone": ([], ["b"]),
    "being deleted": ([deployment("a", deletionTimestamp="2026-01-01T00:00:00Z")], ["b"]),
    "moving": ([deployment("a", server="Dedicated")], ["a", "b"]),
    "another of its name": ([deployment("a", uid="new", server="Dedicated")], ["b"]),
    "another that shares": ([deployment("a", uid="new")], ["a", "b"]),
}


@pytest.mark.parametrize(("others", "left"), STAYS.values(), ids=STAYS)
def test_the_entry_of_another_stays_while_it_is_served_by_it(
    others: list[dict[str, Any]], left: list[str]
) -> None:
    found = config_map(existing("a", "b"), deployment("b"), config("b"), others)
    assert found is not None
    assert list(found["data"]) == [f"{name}.json" for name in left]
    owners = found["metadata"]["ownerReferences"]
    assert [owner["name"] for owner in owners] == left
    assert not any({"controller", "blockOwnerDeletion"} & owner.keys() for owner in owners)


def test_what_is_as_it_should_be_stays_to_the_letter() -> None:
    before = existing("a", "b")
    before["metadata"] |= {"resourceVersion": "5", "uid": "1"}
    before["metadata"]["labels"]["team"] = "blue"
    known = [deployment("a"), deployment("b")]
    assert config_map(before, deployment("a"), config("a"), known) == before


def test_nothing_is_left_of_a_config_map_without_entries() -> None:
    assert config_map(existing("a"), deployment("a"), None, []) is None


def build(memory: str = "2Gi") -> dict[str, Any]:
    return shared_inference_service(
        "n",
        [shared_owner_reference(deployment("a"))],
        SharedServing(memory=memory),
        STORE,
        [],
        DEFAULT_IMAGES,
        NO_NEEDS,
    )


def test_its_pod_has_the_memory_of_its_models_and_some_of_its_own() -> None:
    (container,) = build("1.5Gi")["spec"]["predictor"]["containers"]
    assert container["resources"]["requests"]["memory"] == "1792Mi"
    assert container["resources"]["limits"]["memory"] == "2560Mi"


def test_another_memory_is_another_revision_and_another_owner_is_none() -> None:
    def revision(service: dict[str, Any]) -> Any:
        return service["metadata"]["annotations"][SERVER_REVISION]

    assert revision(build()) == revision(build()) != revision(build("3Gi"))
    assert f'"revision":"{revision(build())}"' in str(build()["spec"])


def test_it_is_no_child_of_one_of_its_owners() -> None:
    assert not is_child_of_one(build(), deployment("a"))
