"""A Deployment that follows its requests: it serves before it rests, and rests without alarm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from modelyard.api.request_counts import RequestCounts
from modelyard.api.resources import Key
from modelyard.ports.prober import NoAnswer
from modelyard.reconcile.dedicated import QUESTIONS
from modelyard.reconcile.reconciler import reconcile

COUNTS = RequestCounts("http://prometheus:9090", 'sum(rate(seen{service="$service"}[1m]))')
TO_ZERO = {"minReplicas": 0, "maxReplicas": 3, "targetRequestsPerSecond": 9}
BY_CPU = {"autoscaling": {"maxReplicas": 3}, "resources": {"requests": {"cpu": "1"}}}


@pytest.fixture
async def version(world: Any) -> str:
    """A model, and an operator that is told where requests are counted."""
    found: str = await world.trained()
    world.ports = replace(world.ports, request_counts=COUNTS)
    return found


async def deploy(world: Any, version: str, **spec: Any) -> None:
    await world.commit("Deployment", "api", {"model": {"modelVersion": version}} | spec)
    await world.settle()


async def serve_and_rest(world: Any, version: str, **spec: Any) -> None:
    await deploy(world, version, autoscaling=TO_ZERO, **spec)
    world.serve("api")
    await world.settle()
    world.serve("api", copies=0)
    world.servers.models.clear()
    await world.settle()


def predictor(world: Any) -> dict[str, Any]:
    found: dict[str, Any] = world.get("InferenceService", "api")["spec"]["predictor"]
    return found


async def test_what_may_rest_serves_first(world: Any, version: str) -> None:
    await deploy(world, version, autoscaling=TO_ZERO)
    assert predictor(world)["minReplicas"] == 1
    world.serve("api")
    await world.settle()
    assert predictor(world)["minReplicas"] == 0
    assert world.ready("Deployment", "api") == ("True", "Serving")


async def test_what_begins_to_answer_meanwhile_is_looked_at_again_soon(
    world: Any, version: str
) -> None:
    await deploy(world, version, autoscaling=TO_ZERO)
    world.serve("api")
    servers = world.servers

    class Late:
        asked = 0

        async def served_model(self, url: str, name: str) -> Any:
            self.asked += 1
            if self.asked <= QUESTIONS:
                raise NoAnswer("not yet")
            return await servers.served_model(url, name)

    world.ports = replace(world.ports, prober=Late())
    again = await reconcile(Key("Deployment", "n", "api"), world.ports)
    assert predictor(world)["minReplicas"] == 1
    assert again is not None
    await world.settle()
    assert predictor(world)["minReplicas"] == 0


async def test_at_rest_it_is_ready_and_says_what_starts_it(world: Any, version: str) -> None:
    await serve_and_rest(world, version)
    assert world.ready("Deployment", "api") == ("True", "AtRest")
    assert "starts with the next request" in world.message("Deployment", "api")
    assert world.condition("Deployment", "api", "TrafficReady")[0] == "True"
    status = world.get("Deployment", "api")["status"]
    assert (status["replicas"], status["modelVersion"]) == (0, version)


async def test_at_rest_nothing_is_written_and_nobody_is_asked(world: Any, version: str) -> None:
    await serve_and_rest(world, version)
    writes = len(world.cluster.writes)

    class Alarm:
        async def served_model(self, url: str, name: str) -> Any:
            raise AssertionError("the question would start a server")

    world.ports = replace(world.ports, prober=Alarm())
    assert await reconcile(Key("Deployment", "n", "api"), world.ports) is None
    assert world.cluster.writes[writes:] == []


async def test_while_a_request_starts_a_server_it_stays_ready(world: Any, version: str) -> None:
    await serve_and_rest(world, version)
    status = world.get("InferenceService", "api")["status"]
    status["conditions"] = [{"type": "Ready", "status": "False"}]
    await world.settle()
    assert world.ready("Deployment", "api") == ("True", "AtRest")
    world.serve("api")
    await world.settle()
    assert world.ready("Deployment", "api") == ("True", "Serving")


async def test_a_server_that_a_request_cannot_start_is_told(world: Any, version: str) -> None:
    await serve_and_rest(world, version)
    service = world.get("InferenceService", "api")
    service["status"] |= {
        "conditions": [{"type": "Ready", "status": "False"}],
        "observedGeneration": service["metadata"]["generation"],
        "modelStatus": {
            "transitionStatus": "BlockedByFailedLoad",
            "lastFailureInfo": {"message": "the store is gone", "exitCode": 1},
        },
    }
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", "ModelLoadFailed")


async def test_a_new_version_serves_before_it_rests(world: Any, version: str) -> None:
    await serve_and_rest(world, version)
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"seed": 1})
    await world.settle()
    second = await world.finish_experiment("tumor")
    await world.settle()
    await deploy(world, second, autoscaling=TO_ZERO)
    assert predictor(world)["minReplicas"] == 1
    assert world.ready("Deployment", "api")[0] == "False"
    assert world.get("Deployment", "api")["status"]["modelVersion"] == version
    world.serve("api")
    await world.settle()
    assert predictor(world)["minReplicas"] == 0
    assert world.get("Deployment", "api")["status"]["modelVersion"] == second


async def test_other_limits_wake_nothing(world: Any, version: str) -> None:
    await serve_and_rest(world, version)
    await deploy(world, version, autoscaling=TO_ZERO | {"maxReplicas": 5})
    assert predictor(world)["minReplicas"] == 0
    assert predictor(world)["maxReplicas"] == 5


async def test_a_canary_does_not_rest(world: Any, version: str) -> None:
    await serve_and_rest(world, version)
    canary = {"modelVersion": version, "percent": 10}
    await deploy(world, version, autoscaling=TO_ZERO, canary=canary)
    beside = world.get("InferenceService", "api-canary")["spec"]["predictor"]
    assert beside["minReplicas"] == 1
    (metric,) = beside["autoScaling"]["metrics"]
    assert "modelyard_requests_total" in metric["external"]["metric"]["query"]


async def test_without_keda_the_earlier_replicas_serve_on_until_it_is_installed(
    world: Any, version: str
) -> None:
    await deploy(world, version)
    world.serve("api")
    await world.settle()
    world.cluster.missing.add("ScaledObject")
    await deploy(world, version, autoscaling=TO_ZERO)
    assert world.ready("Deployment", "api") == ("False", "BackendMissing")
    assert f"{version} goes on serving" in world.message("Deployment", "api")
    assert predictor(world)["minReplicas"] == 1
    assert await reconcile(Key("Deployment", "n", "api"), world.ports) == 15
    world.cluster.missing.clear()
    await world.settle()
    assert world.ready("Deployment", "api") == ("True", "Serving")


async def test_an_operator_that_knows_no_prometheus_says_so(world: Any, version: str) -> None:
    world.ports = replace(world.ports, request_counts=RequestCounts())
    await deploy(world, version, autoscaling=TO_ZERO)
    assert world.ready("Deployment", "api") == ("False", "BackendMissing")
    assert "--prometheus-url" in world.message("Deployment", "api")
    assert world.children("InferenceService") == []


@pytest.mark.parametrize(
    ("before", "after", "left", "gone"),
    [
        pytest.param(BY_CPU, {"autoscaling": TO_ZERO}, "HorizontalPodAutoscaler", True, id="hpa-keda"),
        pytest.param({"autoscaling": TO_ZERO}, BY_CPU, "ScaledObject", True, id="keda-hpa"),
        pytest.param({"autoscaling": TO_ZERO}, {}, "ScaledObject", True, id="keda-fixed"),
        pytest.param(BY_CPU, BY_CPU, "HorizontalPodAutoscaler", False, id="hpa-stays"),
        pytest.param({"autoscaling": TO_ZERO}, {"autoscaling": TO_ZERO}, "ScaledObject", False,
                     id="keda-stays"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("owned", [True, False], ids=["KServe's", "somebody's"])
async def test_what_counted_by_the_earlier_measure_does_not_fight(
    world: Any, version: str, before: Any, after: Any, left: str, gone: bool, owned: bool
) -> None:
    await deploy(world, version, **before)
    world.serve("api")
    await world.settle()
    uid = world.get("InferenceService", "api")["metadata"]["uid"] if owned else "another"
    metadata = {"name": "api-predictor", "namespace": "n", "ownerReferences": [{"uid": uid}]}
    world.cluster.objects[left, "n", "api-predictor"] = {"metadata": metadata | {"uid": "scaler"}}
    await deploy(world, version, **after)
    assert bool(world.children(left)) is not (gone and owned)


async def test_replicas_that_keda_counts_are_nowhere_in_what_is_applied(
    world: Any, version: str
) -> None:
    await serve_and_rest(world, version)
    service = world.get("InferenceService", "api")
    assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "keda"
    assert "replicas" not in service["spec"]["predictor"]
    for copies in (2, 3, 1):
        world.serve("api", copies=copies)
        before = dict(service["spec"])
        await world.settle()
        assert world.get("InferenceService", "api")["spec"] == before
        assert world.get("Deployment", "api")["status"]["replicas"] == copies
