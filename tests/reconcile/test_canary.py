"""A canary comes and goes beside the version that serves, which never notices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from modelyard.api.runtime import SMOKE_TEST_FAILED, SMOKE_TEST_STATUS

from tests.reconcile.test_gates import DeadEngine

GATEWAY = {"name": "public", "namespace": "gateways", "hostname": "tumor.example.org"}
AUC = "modelVersion.status.metrics.roc_auc"


async def both(world: Any) -> tuple[str, str]:
    """Train two versions and serve the first; return both."""
    first = await world.trained(auc=0.95)
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"seed": 1})
    await world.settle()
    second = await world.finish_experiment("tumor", auc=0.90)
    await world.settle()
    await deploy(world, first)
    world.serve("api")
    await world.settle()
    return first, second


async def deploy(world: Any, version: str, **spec: Any) -> None:
    await world.commit("Deployment", "api", {"model": {"modelVersion": version}} | spec)
    await world.settle()


def canary(version: str, percent: int = 10) -> dict[str, Any]:
    return {"modelVersion": version, "percent": percent}


def weights(world: Any) -> dict[str, int]:
    (route,) = world.children("HTTPRoute")
    (rule,) = route["spec"]["rules"]
    return {backend["name"]: backend["weight"] for backend in rule["backendRefs"]}


def accept(world: Any, **condition: str) -> None:
    """Let the controller of the Gateway report about the route."""
    told = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""} | condition
    world.set_status("HTTPRoute", "api-traffic", {"parents": [{"conditions": [told]}]})


def status(world: Any) -> dict[str, Any]:
    found: dict[str, Any] = world.get("Deployment", "api")["status"]
    return found


async def test_without_a_gateway_the_canary_answers_at_its_own_url_and_nothing_is_split(
    world: Any,
) -> None:
    first, second = await both(world)
    stable = world.get("InferenceService", "api")["spec"]
    await deploy(world, first, canary=canary(second))
    world.serve("api-canary")
    await world.settle()
    assert world.ready("Deployment", "api") == ("True", "Serving")
    assert world.condition("Deployment", "api", "CanaryReady") == ("True", "Answering")
    assert world.condition("Deployment", "api", "TrafficSplit") == ("False", "NoGateway")
    assert f"{first} serves all requests. No traffic is split" in world.message("Deployment", "api")
    assert status(world)["canary"] == {
        "modelVersion": second,
        "modelDigest": world.get("ModelVersion", second)["status"]["artifact"]["digest"],
        "url": "http://api-canary.example",
        "percent": 0,
    }
    assert status(world)["modelVersion"] == first
    assert world.get("InferenceService", "api")["spec"] == stable
    assert world.children("HTTPRoute") == []


async def test_a_gateway_splits_once_the_canary_answers(world: Any) -> None:
    first, second = await both(world)
    await deploy(world, first, canary=canary(second), gateway=GATEWAY)
    assert weights(world) == {"api-predictor": 100}
    assert world.condition("Deployment", "api", "TrafficSplit")[0] == "False"
    world.serve("api-canary")
    await world.settle()
    assert weights(world) == {"api-predictor": 90, "api-canary-predictor": 10}
    assert world.ready("Deployment", "api") == ("False", "RouteNotAccepted")
    accept(world)
    await world.settle()
    assert world.condition("Deployment", "api", "TrafficSplit") == ("True", "Weighted")
    assert world.ready("Deployment", "api") == ("True", "Serving")
    assert f"{first} serves 90 % of the requests." in world.message("Deployment", "api")
    assert status(world)["canary"]["percent"] == 10


async def test_removing_the_canary_removes_what_was_made_for_it_alone(world: Any) -> None:
    first, second = await both(world)
    stable = world.get("InferenceService", "api")
    await deploy(world, first, canary=canary(second), gateway=GATEWAY)
    world.serve("api-canary")
    await deploy(world, first, gateway=GATEWAY)
    assert [one["metadata"]["name"] for one in world.children("InferenceService")] == ["api"]
    assert weights(world) == {"api-predictor": 100}
    assert "canary" not in status(world)
    assert world.get("InferenceService", "api")["spec"] == stable["spec"]
    await deploy(world, first)
    assert world.children("HTTPRoute") == []
    assert world.get("InferenceService", "api")["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("condition", "state"),
    [
        pytest.param(
            {"status": "False", "reason": "NotAllowedByListeners"}, "Stalled", id="refused"
        ),
        pytest.param({"type": "Other"}, "Reconciling", id="not judged yet"),
    ],
)
async def test_a_route_that_no_gateway_follows_is_told(
    world: Any, condition: dict[str, str], state: str
) -> None:
    first, second = await both(world)
    await deploy(world, first, canary=canary(second), gateway=GATEWAY)
    world.serve("api-canary")
    accept(world, **condition)
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", "RouteNotAccepted")
    assert world.condition("Deployment", "api", state)[0] == "True"
    assert status(world)["canary"]["percent"] == 0


async def test_without_the_gateway_api_it_is_named_and_both_versions_serve(world: Any) -> None:
    world.cluster.missing.add("HTTPRoute")
    first, second = await both(world)
    await deploy(world, first, canary=canary(second), gateway=GATEWAY)
    world.serve("api-canary")
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", "BackendMissing")
    assert "HTTPRoute" in world.message("Deployment", "api")
    assert world.condition("Deployment", "api", "CanaryReady") == ("True", "Answering")
    assert world.condition("Deployment", "api", "TrafficReady") == ("True", "Answering")
    assert status(world)["modelVersion"] == first


async def test_the_canary_passes_the_same_gate(world: Any) -> None:
    first, second = await both(world)
    rule = {"name": "auc", "path": AUC, "operator": "GreaterOrEqual", "value": 0.93}
    await world.commit("Policy", "good", {"gates": ["deploy"], "rules": [rule]})
    await deploy(world, first, canary=canary(second))
    assert world.ready("Deployment", "api") == ("False", "PolicyDenied")
    assert world.message("Deployment", "api").startswith("spec.canary: ")
    assert [one["metadata"]["name"] for one in world.children("InferenceService")] == ["api"]
    verdicts = {one["subject"]: one["allowed"] for one in status(world)["verdicts"]}
    assert verdicts == {first: True, second: False}
    assert world.condition("Deployment", "api", "TrafficReady") == ("True", "Answering")


@pytest.mark.parametrize("percent", [90, 100])
@pytest.mark.parametrize("wanted", ["denied", "not there"])
async def test_what_a_canary_answered_before_gets_no_share_of_another(
    world: Any, wanted: str, percent: int
) -> None:
    first, second = await both(world)
    await world.commit(
        "Experiment", "tumor", world.get("Experiment", "tumor")["spec"] | {"seed": 2}
    )
    await world.settle()
    third = await world.finish_experiment("tumor", auc=0.5)
    rule = {"name": "auc", "path": AUC, "operator": "GreaterOrEqual", "value": 0.8}
    await world.commit("Policy", "good", {"gates": ["deploy"], "rules": [rule]})
    await deploy(world, first, canary=canary(second), gateway=GATEWAY)
    world.serve("api-canary")
    await world.settle()
    accept(world)
    await world.settle()
    assert weights(world)["api-canary-predictor"] == 10
    name = third if wanted == "denied" else "tumor-ffffffffff"
    await deploy(world, first, canary=canary(name, percent), gateway=GATEWAY)
    assert weights(world) == {"api-predictor": 100, "api-canary-predictor": 0}
    assert status(world)["canary"]["percent"] == 0
    assert world.condition("Deployment", "api", "CanaryReady")[0] == "False"


@pytest.mark.parametrize(("percent", "share"), [(40, 40), (90, 40), (20, 20)])
async def test_a_canary_keeps_its_share_while_its_gate_cannot_be_asked(
    world: Any, percent: int, share: int
) -> None:
    first, second = await both(world)
    rule = {"name": "auc", "path": AUC, "operator": "GreaterOrEqual", "value": 0.8}
    await world.commit("Policy", "good", {"gates": ["deploy"], "rules": [rule]})
    await deploy(world, first, canary=canary(second, 40), gateway=GATEWAY)
    world.serve("api-canary")
    await world.settle()
    accept(world)
    await world.settle()
    assert weights(world)["api-canary-predictor"] == 40
    world.ports = replace(world.ports, engine=DeadEngine())
    for _ in range(2):
        await deploy(world, first, canary=canary(second, percent), gateway=GATEWAY)
        assert weights(world)["api-canary-predictor"] == share
        assert status(world)["canary"]["percent"] == share
    assert world.condition("Deployment", "api", "TrafficSplit") == ("True", "Weighted")
    assert world.condition("Deployment", "api", "CanaryReady")[0] == "False"


async def test_a_canary_that_fails_its_smoke_test_gets_no_traffic(world: Any) -> None:
    first, second = await both(world)
    await deploy(world, first, canary=canary(second), gateway=GATEWAY)
    failure = {"message": f"{SMOKE_TEST_FAILED}check a: no", "exitCode": SMOKE_TEST_STATUS}
    state = {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": failure}
    failed = {"observedGeneration": 1, "modelStatus": state}
    world.set_status("InferenceService", "api-canary", failed)
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", "SmokeTestFailed")
    assert world.condition("Deployment", "api", "CanaryReady") == ("False", "SmokeTestFailed")
    assert weights(world) == {"api-predictor": 100}
    assert world.condition("Deployment", "api", "SmokeTestPassed")[0] == "True"


async def test_a_canary_by_stage_that_is_what_serves_already_is_told(world: Any) -> None:
    first, _ = await both(world)
    await world.commit("ModelVersion", first, {"stage": "Staging"})
    staged = {"experiment": "tumor", "stage": "Staging", "percent": 10}
    await deploy(world, first, canary=staged)
    world.serve("api-canary")
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", "CanaryIsStable")


async def test_the_canary_has_as_many_replicas_as_its_share_needs(world: Any) -> None:
    first, second = await both(world)
    await deploy(world, first, replicas=5, canary=canary(second, percent=30))
    assert world.get("InferenceService", "api")["spec"]["predictor"]["minReplicas"] == 5
    assert world.get("InferenceService", "api-canary")["spec"]["predictor"]["minReplicas"] == 2


async def test_a_name_that_another_deployment_has_is_told(world: Any) -> None:
    first, second = await both(world)
    await world.commit("Deployment", "api-canary", {"model": {"modelVersion": first}})
    await world.settle()
    await deploy(world, first, canary=canary(second))
    assert world.ready("Deployment", "api") == ("False", "NameTaken")
    assert world.condition("Deployment", "api", "TrafficReady") == ("True", "Answering")
    await deploy(world, first)
    assert len(world.children("InferenceService")) == 2, "the other's stays"


async def test_a_name_too_long_for_kserve_is_told(world: Any) -> None:
    name = "a" * 50
    first, second = await both(world)
    spec = {"model": {"modelVersion": first}, "canary": canary(second)}
    await world.commit("Deployment", name, spec)
    await world.settle()
    world.serve(name)
    await world.settle()
    assert world.ready("Deployment", name) == ("False", "NameTooLong")


async def test_a_suspended_deployment_keeps_its_canary(world: Any) -> None:
    first, second = await both(world)
    await deploy(world, first, canary=canary(second))
    world.serve("api-canary")
    await world.settle()
    before, facts = status(world)["canary"], world.condition("Deployment", "api", "CanaryReady")
    await deploy(world, first, suspend=True)
    assert status(world)["canary"] == before
    assert world.condition("Deployment", "api", "CanaryReady") == facts == ("True", "Answering")
    assert len(world.children("InferenceService")) == 2


async def test_promoting_the_canary_serves_it_and_removes_the_second_server(world: Any) -> None:
    first, second = await both(world)
    await deploy(world, first, canary=canary(second, percent=50), gateway=GATEWAY)
    world.serve("api-canary")
    await deploy(world, second, gateway=GATEWAY)
    world.serve("api")
    accept(world)
    await world.settle()
    assert world.ready("Deployment", "api") == ("True", "Serving")
    assert status(world)["modelVersion"] == second
    assert [one["metadata"]["name"] for one in world.children("InferenceService")] == ["api"]
