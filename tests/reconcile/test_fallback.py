"""The fallback of a Deployment is chosen and gated like its model, and told to its servers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from modelyard.api.runtime import CONFIG_VARIABLE

from tests.reconcile.test_canary import AUC, both, canary, deploy, status


def told(world: Any, name: str = "api") -> dict[str, Any]:
    """Return the configuration of the servers."""
    (container,) = world.get("InferenceService", name)["spec"]["predictor"]["containers"]
    text = next(entry["value"] for entry in container["env"] if entry["name"] == CONFIG_VARIABLE)
    found: dict[str, Any] = json.loads(text)
    return found


def falling_back_to(version: str, **traffic: Any) -> dict[str, Any]:
    return {"fallback": {"modelVersion": version}, **traffic}


async def test_servers_get_both_models_and_the_breaker(world: Any) -> None:
    first, second = await both(world)
    breaker = {"consecutiveFailures": 3, "openFor": "10s"}
    await deploy(world, second, traffic=falling_back_to(first, breaker=breaker))
    assert world.condition("Deployment", "api", "FallbackReady") == ("False", "Loading")
    world.serve("api")
    await world.settle()
    assert world.ready("Deployment", "api") == ("True", "Serving")
    assert world.condition("Deployment", "api", "FallbackReady") == ("True", "Loaded")
    artifact = world.get("ModelVersion", first)["status"]["artifact"]
    assert told(world)["fallback"] == {
        "modelUri": artifact["uri"],
        "modelDigest": artifact["digest"],
        "modelVersion": first,
    }
    assert told(world)["breaker"] == breaker
    assert status(world)["modelVersion"] == second


async def test_what_declares_neither_is_served_as_ever(world: Any) -> None:
    await both(world)
    assert not {"fallback", "breaker"} & told(world).keys()
    conditions = {one["type"] for one in status(world)["conditions"]}
    assert "FallbackReady" not in conditions


async def test_the_fallback_passes_the_same_gate_or_nothing_changes(world: Any) -> None:
    first, second = await both(world)
    rule = {"name": "auc", "path": AUC, "operator": "GreaterOrEqual", "value": 0.93}
    await world.commit("Policy", "good", {"gates": ["deploy"], "rules": [rule]})
    await world.settle()
    before = world.get("InferenceService", "api")["spec"]
    await deploy(world, first, traffic=falling_back_to(second))
    assert world.ready("Deployment", "api") == ("False", "PolicyDenied")
    assert world.message("Deployment", "api").startswith("spec.traffic.fallback: ")
    assert world.condition("Deployment", "api", "FallbackReady") == ("False", "PolicyDenied")
    assert world.get("InferenceService", "api")["spec"] == before
    verdicts = {one["subject"]: one["allowed"] for one in status(world)["verdicts"]}
    assert verdicts == {first: True, second: False}
    assert status(world)["modelVersion"] == first


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "one that is not there": ({"modelVersion": "tumor-0000000000"}, "ModelVersionMissing"),
    "a stage that nothing is at": (
        {"experiment": "tumor", "stage": "Production"},
        "NoVersionAtStage",
    ),
}


@pytest.mark.parametrize(("fallback", "reason"), UNFIT.values(), ids=list(UNFIT))
async def test_a_fallback_that_cannot_be_chosen_is_waited_for(
    world: Any, fallback: dict[str, Any], reason: str
) -> None:
    first, _ = await both(world)
    await deploy(world, first, traffic={"fallback": fallback})
    assert world.ready("Deployment", "api") == ("False", reason)
    assert world.message("Deployment", "api").startswith("spec.traffic.fallback: ")
    assert "fallback" not in told(world)


async def test_a_rollback_to_the_fallback_is_not_held_up_and_says_that_nothing_falls_back(
    world: Any,
) -> None:
    first, second = await both(world)
    traffic = falling_back_to(first)
    await deploy(world, second, traffic=traffic)
    world.serve("api")
    await deploy(world, first, traffic=traffic)
    world.serve("api")
    await world.settle()
    assert world.ready("Deployment", "api") == ("True", "Serving")
    assert world.condition("Deployment", "api", "FallbackReady") == ("False", "FallbackIsServed")
    assert "fallback" not in told(world)
    assert status(world)["modelVersion"] == first


async def test_a_canary_has_the_same_breaker(world: Any) -> None:
    first, second = await both(world)
    await deploy(world, first, canary=canary(second), traffic={"breaker": {}})
    assert told(world, "api-canary")["breaker"] == {"consecutiveFailures": 5, "openFor": "30s"}
