"""A Deployment says what its model servers say, and waits for what they must answer first."""

from __future__ import annotations

import json
from typing import Any

from modelyard.api.runtime import CONFIG_VARIABLE, SMOKE_TEST_FAILED, SMOKE_TEST_STATUS

SERVE_BEST: dict[str, Any] = {"model": {"experiment": "tumor"}}
CHECK = {"name": "benign", "instance": {"radius": 1}, "expect": {"label": "1"}}


async def two_versions(world: Any) -> tuple[str, str]:
    """Train twice; return both versions, the later one is the Experiment's best."""
    first = await world.trained()
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"seed": 1})
    await world.settle()
    second = await world.finish_experiment("tumor")
    await world.settle()
    return first, second


async def serve(world: Any, version: str, **spec: Any) -> None:
    await world.commit("Deployment", "api", {"model": {"modelVersion": version}} | spec)
    await world.settle()
    world.serve("api")
    await world.settle()


def conditions(world: Any) -> dict[str, tuple[str, str]]:
    return {
        one["type"]: (one["status"], one["reason"])
        for one in world.get("Deployment", "api")["status"]["conditions"]
    }


async def test_all_steps_are_done_when_the_servers_say_the_digest(world: Any) -> None:
    version = await world.trained()
    await serve(world, version, smokeTest={"checks": [CHECK]})
    assert conditions(world) == {
        "ModelLoaded": ("True", "Loaded"),
        "Ready": ("True", "Serving"),
        "SmokeTestPassed": ("True", "AsExpected"),
        "TrafficReady": ("True", "Answering"),
    }


async def test_servers_are_told_how_much_traffic_to_take(world: Any) -> None:
    version = await world.trained()
    await serve(world, version)
    assert server_config(world)["maxInFlight"] == 128
    traffic = {"maxInFlight": 9, "rateLimit": {"requestsPerSecond": 50}}
    await serve(world, version, traffic=traffic)
    told = server_config(world)
    assert (told["maxInFlight"], told["rateLimit"]) == (9, {"requestsPerSecond": 50})


async def test_servers_are_told_what_to_predict_together(world: Any) -> None:
    version = await world.trained()
    await serve(world, version)
    assert "batching" not in server_config(world)
    await serve(world, version, batching={"maxDelayMs": 5})
    assert server_config(world)["batching"] == {"maxSize": 64, "maxDelayMs": 5}


async def test_servers_are_told_how_to_explain(world: Any) -> None:
    version = await world.trained()
    await serve(world, version)
    assert "explainer" not in server_config(world)
    await serve(world, version, explainer={"maxRows": 5})
    assert server_config(world)["explainer"] == {"method": "SHAP", "maxRows": 5}


def server_config(world: Any) -> dict[str, Any]:
    (container,) = world.get("InferenceService", "api")["spec"]["predictor"]["containers"]
    text = next(entry["value"] for entry in container["env"] if entry["name"] == CONFIG_VARIABLE)
    found: dict[str, Any] = json.loads(text)
    return found


async def test_ready_by_kserve_is_not_believed_while_the_earlier_version_answers(
    world: Any,
) -> None:
    first, second = await two_versions(world)
    await serve(world, first)
    old = world.servers.models[world.url("api"), "api"]
    await world.commit("Deployment", "api", {"model": {"modelVersion": second}})
    await world.settle()
    world.serve("api")
    world.servers.models[world.url("api"), "api"] = old
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", "Loading")
    assert f"{first} serves until it does" in world.message("Deployment", "api")
    assert world.get("Deployment", "api")["status"]["modelVersion"] == first
    world.serve("api")
    await world.settle()
    assert world.ready("Deployment", "api") == ("True", "Serving")
    assert world.get("Deployment", "api")["status"]["modelVersion"] == second


async def test_a_rollout_that_is_half_way_is_not_ready(world: Any) -> None:
    first, second = await two_versions(world)
    await serve(world, first)
    (old,) = world.servers.models[world.url("api"), "api"]
    await world.commit("Deployment", "api", {"model": {"modelVersion": second}})
    await world.settle()
    world.serve("api")
    world.servers.serve(world.url("api"), "api", world.asked_for("api"), old)
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", "Loading")
    assert world.get("Deployment", "api")["status"]["modelVersion"] == first


async def test_a_version_that_fails_its_smoke_test_leaves_the_earlier_one_serving(
    world: Any,
) -> None:
    first, second = await two_versions(world)
    await serve(world, first)
    model, smoke_test = {"modelVersion": second}, {"checks": [CHECK]}
    await world.commit("Deployment", "api", {"model": model, "smokeTest": smoke_test})
    await world.settle()
    service = world.get("InferenceService", "api")
    failure = {
        "message": f"{SMOKE_TEST_FAILED}check benign: answered 200 0, expected the label 1",
        "exitCode": SMOKE_TEST_STATUS,
    }
    service["status"] |= {
        "observedGeneration": service["metadata"]["generation"],
        "conditions": [{"type": "Ready", "status": "Unknown"}],
        "modelStatus": {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": failure},
    }
    await world.settle()
    found = conditions(world)
    assert found["Ready"] == ("False", "SmokeTestFailed")
    assert found["ModelLoaded"] == ("True", "Loaded")
    assert found["SmokeTestPassed"] == ("False", "SmokeTestFailed")
    assert found["TrafficReady"] == ("False", "SmokeTestFailed")
    message = world.message("Deployment", "api")
    assert f"{second} fails spec.smokeTest" in message
    assert "answered 200 0, expected the label 1" in message
    assert f"{first} serves until it does" in message
    assert world.get("Deployment", "api")["status"]["modelVersion"] == first


async def test_a_server_that_cannot_be_reached_is_not_ready(world: Any) -> None:
    version = await world.trained()
    await serve(world, version)
    world.servers.models.clear()
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", "NoAnswer")
    assert "connection refused" in world.message("Deployment", "api")
    assert world.get("Deployment", "api")["status"]["modelVersion"] == version


async def test_half_an_hour_without_an_operator_leaves_serving_as_it_is(world: Any) -> None:
    await world.trained()
    await world.commit("Deployment", "api", {"model": {"experiment": "tumor"}})
    await world.settle()
    world.serve("api")
    await world.settle()
    served, writes = world.get("InferenceService", "api"), len(world.cluster.writes)
    world.clock.move(1800)
    await world.settle()
    assert world.cluster.writes[writes:] == []
    assert world.get("InferenceService", "api") == served
    assert world.ready("Deployment", "api") == ("True", "Serving")


async def test_servers_go_to_the_projects_nodes_and_move_with_them(world: Any) -> None:
    version = await world.trained(scheduling={"nodeSelector": {"pool": "ml"}})
    await serve(world, version)
    revision = world.asked_for("api").revision
    assert world.get("InferenceService", "api")["spec"]["predictor"]["nodeSelector"] == {
        "pool": "ml"
    }
    await world.commit("Project", "team", {"scheduling": {"nodeSelector": {"pool": "serving"}}})
    await world.settle()
    predictor = world.get("InferenceService", "api")["spec"]["predictor"]
    assert predictor["nodeSelector"] == {"pool": "serving"}
    assert world.asked_for("api").revision == revision
    assert world.ready("Deployment", "api") == ("True", "Serving")
