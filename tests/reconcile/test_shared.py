"""Deployments that share one server: an entry for each, moves without a gap."""

from __future__ import annotations

import json
from typing import Any

import pytest
from modelyard.api.resources import CONFIG_MAP, OURS, Key
from modelyard.api.runtime import LoadFailure, ServeConfig, ServedModel
from modelyard.build.shared import SHARED_MODELS
from modelyard.ports.cluster import Conflict
from modelyard.reconcile.placement import MOVED_SECONDS
from modelyard.reconcile.reconciler import reconcile

from tests.reconcile.test_serving import two_versions

URL = f"http://{SHARED_MODELS}.example"


async def commit(world: Any, name: str, version: str, **spec: Any) -> None:
    base = {"model": {"modelVersion": version}, "placement": {"server": "Shared"}, "replicas": 1}
    await world.commit("Deployment", name, base | spec)
    await world.settle()


def entries(world: Any) -> dict[str, ServeConfig]:
    """Return the entries of the ConfigMap by the name of their Deployment."""
    (found,) = world.children("ConfigMap")
    return {
        key.removesuffix(".json"): ServeConfig.model_validate_json(text)
        for key, text in found["data"].items()
    }


def owners(world: Any, kind: str) -> list[str]:
    references = world.get(kind, SHARED_MODELS)["metadata"]["ownerReferences"]
    assert not any("controller" in reference for reference in references)
    return [reference["name"] for reference in references]


def starts(world: Any) -> None:
    """Let KServe say that the shared server is ready."""
    world.get("InferenceService", SHARED_MODELS)["status"] = {
        "url": URL,
        "conditions": [{"type": "Ready", "status": "True"}],
        "modelStatus": {"copies": {"totalCopies": 1}},
    }


def says(config: ServeConfig, failure: LoadFailure | None = None) -> ServedModel:
    return ServedModel(
        model_version=config.model_version,
        model_digest=config.model_digest,
        revision=config.revision,
        failure=failure,
    )


async def answer(world: Any, *names: str) -> None:
    """Let the shared server take up the entries of some Deployments."""
    starts(world)
    for name in names:
        world.servers.serve(URL, name, says(entries(world)[name]))
    await world.settle()


async def test_two_deployments_have_one_server_and_an_entry_each(world: Any) -> None:
    version = await world.trained()
    await commit(world, "a", version)
    await commit(world, "b", version, traffic={"maxInFlight": 9})
    assert world.ready("Deployment", "a") == ("False", "Loading")
    assert [one["metadata"]["name"] for one in world.children("InferenceService")] == [
        SHARED_MODELS
    ]
    found = entries(world)
    assert {name: (one.name, one.max_in_flight) for name, one in found.items()} == {
        "a": ("a", 128),
        "b": ("b", 9),
    }
    assert owners(world, "ConfigMap") == owners(world, "InferenceService") == ["a", "b"]
    await answer(world, "a", "b")
    for name in ("a", "b"):
        assert world.ready("Deployment", name) == ("True", "Serving")
        status = world.get("Deployment", name)["status"]
        assert (status["url"], status["modelVersion"]) == (URL, version)
        assert status["payloadUri"].endswith(f"/{name}")
    writes = len(world.cluster.writes)
    for key in world.all_keys():
        await reconcile(key, world.ports)
    assert world.cluster.writes[writes:] == [], "a second reconcile writes nothing"


async def test_a_model_that_comes_or_changes_leaves_the_pod_as_it_is(world: Any) -> None:
    first, second = await two_versions(world)
    await commit(world, "a", first)
    await answer(world, "a")
    spec = world.get("InferenceService", SHARED_MODELS)["spec"]
    await commit(world, "b", first)
    await commit(world, "a", second)
    assert world.get("InferenceService", SHARED_MODELS)["spec"] == spec
    await world.commit("Project", "team", {"sharedServing": {"memory": "3Gi"}})
    await world.settle()
    (container,) = world.get("InferenceService", SHARED_MODELS)["spec"]["predictor"]["containers"]
    config = json.loads(container["env"][0]["value"])
    assert config["memory"] == 3 * 2**30
    assert container["resources"]["requests"]["memory"] == "3328Mi"


async def test_a_new_version_is_not_told_before_the_server_says_it(world: Any) -> None:
    first, second = await two_versions(world)
    await commit(world, "a", first)
    await answer(world, "a")
    before = entries(world)["a"]
    await commit(world, "a", second)
    assert world.ready("Deployment", "a") == ("False", "Loading")
    assert f"{first} serves until it does" in world.message("Deployment", "a")
    assert world.get("Deployment", "a")["status"]["modelVersion"] == first
    assert entries(world)["a"].revision != before.revision
    await answer(world, "a")
    assert world.get("Deployment", "a")["status"]["modelVersion"] == second


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("ModelLoadFailed", "cannot load"),
        ("ModelTooLarge", "cannot load"),
        ("SmokeTestFailed", "fails spec.smokeTest"),
    ],
)
async def test_a_version_that_cannot_be_loaded_is_named_and_the_earlier_one_serves(
    world: Any, reason: Any, said: str
) -> None:
    first, second = await two_versions(world)
    await commit(world, "a", first)
    await answer(world, "a")
    earlier = entries(world)["a"]
    await commit(world, "a", second)
    failure = LoadFailure(revision=entries(world)["a"].revision, reason=reason, message="so it is")
    world.servers.serve(URL, "a", says(earlier, failure))
    await world.settle()
    assert world.ready("Deployment", "a") == ("False", reason)
    message = world.message("Deployment", "a")
    assert second in message
    assert said in message
    assert "so it is" in message
    assert f"{first} serves until it does" in message
    assert world.get("Deployment", "a")["status"]["modelVersion"] == first


async def test_a_failure_of_an_earlier_configuration_says_nothing(world: Any) -> None:
    version = await world.trained()
    await commit(world, "a", version)
    starts(world)
    failure = LoadFailure(revision="earlier", reason="ModelLoadFailed", message="so it was")
    world.servers.serve(URL, "a", says(entries(world)["a"], failure))
    await world.settle()
    assert world.ready("Deployment", "a") == ("True", "Serving")


async def test_a_server_that_does_not_start_is_named(world: Any) -> None:
    version = await world.trained()
    await commit(world, "a", version)
    service = world.get("InferenceService", SHARED_MODELS)
    service["status"] = {
        "observedGeneration": service["metadata"]["generation"],
        "conditions": [{"type": "Ready", "status": "False"}],
        "modelStatus": {
            "transitionStatus": "BlockedByFailedLoad",
            "lastFailureInfo": {"message": "no memory", "exitCode": 137},
        },
    }
    await world.settle()
    assert world.ready("Deployment", "a") == ("False", "ModelLoadFailed")
    assert f"InferenceService {SHARED_MODELS}: " in world.message("Deployment", "a")
    assert "no memory" in world.message("Deployment", "a")


async def test_the_entry_of_a_deployment_that_is_gone_leaves_with_its_sibling(world: Any) -> None:
    version = await world.trained()
    for name in ("a", "b"):
        await commit(world, name, version)
    await world.cluster.delete(OURS["Deployment"], "n", "a")
    await world.settle()
    assert list(entries(world)) == ["b"]
    assert owners(world, "ConfigMap") == owners(world, "InferenceService") == ["b"]
    await world.cluster.delete(OURS["Deployment"], "n", "b")
    assert world.children("ConfigMap") == world.children("InferenceService") == []


async def test_from_dedicated_to_shared_nothing_goes_before_the_shared_server_answers(
    world: Any,
) -> None:
    version = await world.trained()
    await commit(world, "a", version, placement={"server": "Dedicated"})
    world.serve("a")
    await world.settle()
    dedicated = world.get("Deployment", "a")["status"]["url"]
    await commit(world, "a", version)
    assert len(world.children("InferenceService")) == 2
    status = world.get("Deployment", "a")["status"]
    assert (status["url"], status["modelVersion"]) == (dedicated, version)
    assert world.ready("Deployment", "a") == ("False", "Loading")
    assert "goes on serving" in world.message("Deployment", "a")
    starts(world)
    world.servers.serve(URL, "a", says(entries(world)["a"]))
    again = await reconcile(Key("Deployment", "n", "a"), world.ports)
    assert world.get("Deployment", "a")["status"]["url"] == URL
    assert len(world.children("InferenceService")) == 2, "clients have to read the new URL first"
    assert again == MOVED_SECONDS
    await world.settle()
    assert world.ready("Deployment", "a") == ("True", "Serving")
    assert [one["metadata"]["name"] for one in world.children("InferenceService")] == [
        SHARED_MODELS
    ]


async def test_from_shared_to_dedicated_the_entry_stays_until_the_new_server_answers(
    world: Any,
) -> None:
    version = await world.trained()
    for name in ("a", "b"):
        await commit(world, name, version)
    await answer(world, "a", "b")
    await commit(world, "a", version, placement={"server": "Dedicated"})
    assert sorted(entries(world)) == ["a", "b"]
    assert world.get("Deployment", "a")["status"]["url"] == URL
    assert "goes on serving" in world.message("Deployment", "a")
    world.serve("a")
    await world.settle()
    assert world.ready("Deployment", "a") == ("True", "Serving")
    assert list(entries(world)) == ["b"]
    assert owners(world, "InferenceService") == ["b"]
    await commit(world, "b", version, placement={"server": "Dedicated"})
    world.serve("b")
    await world.settle()
    assert world.children("ConfigMap") == []
    services = [one["metadata"]["name"] for one in world.children("InferenceService")]
    assert services == ["a", "b"], "the shared server goes with its last model"


async def test_a_suspended_deployment_changes_nothing_and_goes_on(world: Any) -> None:
    first, second = await two_versions(world)
    await commit(world, "a", first)
    await answer(world, "a")
    await commit(world, "a", second, suspend=True)
    assert entries(world)["a"].model_version == first
    assert world.ready("Deployment", "a") == ("False", "Suspended")
    assert world.get("Deployment", "a")["status"]["modelVersion"] == first


@pytest.mark.parametrize("kind", ["InferenceService", "ConfigMap"])
async def test_what_has_the_name_already_stays_and_is_named(world: Any, kind: str) -> None:
    version = await world.trained()
    foreign = {"kind": kind, "metadata": {"name": SHARED_MODELS, "namespace": "n", "uid": "other"}}
    world.cluster.objects[kind, "n", SHARED_MODELS] = foreign
    await commit(world, "a", version)
    assert world.ready("Deployment", "a") == ("False", "NameTaken")
    assert f"{kind} {SHARED_MODELS}" in world.message("Deployment", "a")
    assert world.get(kind, SHARED_MODELS) == foreign


async def test_a_deployment_of_its_name_cannot_take_the_shared_server(world: Any) -> None:
    version = await world.trained()
    await commit(world, "a", version)
    await answer(world, "a")
    await commit(world, SHARED_MODELS, version, placement={"server": "Dedicated"})
    assert world.ready("Deployment", SHARED_MODELS) == ("False", "NameTaken")
    assert world.ready("Deployment", "a") == ("True", "Serving")


async def test_a_model_whose_payloads_need_a_key_is_refused(world: Any) -> None:
    version = await world.trained()
    dataset = world.get("Dataset", "cells")
    dataset["spec"]["privacy"] = {"keyRef": {"name": "keys", "key": "hash"}}
    await commit(world, "a", version)
    assert world.ready("Deployment", "a") == ("False", "PrivacyKeyNotShared")
    assert world.children("ConfigMap") == []
    await commit(world, "a", version, payloadLogging={"samplePercent": 0})
    assert world.ready("Deployment", "a") == ("False", "Loading")


async def test_another_writer_at_the_same_moment_loses_nothing(
    world: Any, monkeypatch: Any
) -> None:
    version = await world.trained()
    for name in ("a", "b"):
        await commit(world, name, version)
    replace, met = world.cluster.replace, []

    async def replace_second(resource: Any, manifest: Any) -> None:
        if not met:
            met.append(world.get("ConfigMap", SHARED_MODELS)["metadata"]["resourceVersion"])
            other = json.loads(json.dumps(world.get("ConfigMap", SHARED_MODELS)))
            other["data"]["b.json"] = other["data"]["b.json"].replace("128", "127")
            await replace(resource, other)
        await replace(resource, manifest)

    monkeypatch.setattr(world.cluster, "replace", replace_second)
    await world.commit(
        "Deployment",
        "a",
        {
            "model": {"modelVersion": version},
            "placement": {"server": "Shared"},
            "traffic": {"maxInFlight": 5},
        },
    )
    await reconcile(Key("Deployment", "n", "a"), world.ports)
    assert (entries(world)["a"].max_in_flight, entries(world)["b"].max_in_flight) == (5, 127)


async def test_writers_without_a_pause_end_the_reconcile_which_runs_again(
    world: Any, monkeypatch: Any
) -> None:
    version = await world.trained()
    await commit(world, "a", version)

    async def conflict(*_: Any) -> None:
        raise Conflict("the object changed")

    monkeypatch.setattr(world.cluster, "replace", conflict)
    await world.commit(
        "Deployment", "b", {"model": {"modelVersion": version}, "placement": {"server": "Shared"}}
    )
    with pytest.raises(Conflict, match="without a pause"):
        await reconcile(Key("Deployment", "n", "b"), world.ports)
    assert await world.cluster.get(CONFIG_MAP, "n", SHARED_MODELS) is not None
