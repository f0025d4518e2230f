"""Whether an InferenceService serves its present spec, by what its model servers answer."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.api.meta import MODEL_VERSION, SERVER_REVISION
from modelyard.api.runtime import SMOKE_TEST_FAILED, SMOKE_TEST_STATUS, ServedModel
from modelyard.judge.serving import Answers, is_at_rest, judge_serving, probe_url

OLD = ServedModel(model_version="v1", model_digest="sha256:" + "1" * 64, revision="r1")
NEW = ServedModel(model_version="v2", model_digest="sha256:" + "2" * 64, revision="r2")
EARLIER = ServedModel(model_version="v2", model_digest="sha256:" + "2" * 64, revision="r1")
ANNOTATIONS = {MODEL_VERSION: "v2", SERVER_REVISION: "r2"}
NOBODY = Answers(problem="connection refused")


def service(ready: str = "True", message: str = "", **status: Any) -> dict[str, Any]:
    """Return an InferenceService that asks for the revision r2 of the version v2."""
    condition = {"type": "Ready", "status": ready, "message": message}
    base = {"observedGeneration": 3, "url": "http://api", "conditions": [condition]}
    metadata = {"name": "api", "generation": 3, "annotations": ANNOTATIONS}
    return {"metadata": metadata, "status": base | status}


def resting(ready: str = "True", copies: int = 0) -> dict[str, Any]:
    """Return an InferenceService that has served, and needs no server."""
    found = service(ready, modelStatus={"copies": {"totalCopies": copies}})
    return found | {"spec": {"predictor": {"minReplicas": 0}}}


def ended(exit_code: int, message: str, **status: Any) -> dict[str, Any]:
    failure = {"message": message, "exitCode": exit_code}
    state = {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": failure}
    return service("Unknown", modelStatus=state, **status)


def pod(state: dict[str, Any], *, of: str = "api", revision: str = "r2") -> dict[str, Any]:
    """Return a pod of KServe whose model server is in a state."""
    variable = {"name": "MODELYARD_CONFIG", "value": f'{{"revision":"{revision}","workers":1}}'}
    return {
        "metadata": {"labels": {"serving.kserve.io/inferenceservice": of}},
        "spec": {"containers": [{"name": "kserve-container", "env": [variable]}]},
        "status": {"containerStatuses": [{"name": "kserve-container", **state}]},
    }


CRASHED = {
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
    "lastState": {"terminated": {"exitCode": SMOKE_TEST_STATUS, "message": f"{SMOKE_TEST_FAILED}one: 7"}},
}  # fmt: skip
NO_IMAGE = {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
NO_SECRET = {
    "state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "k" not found'}}
}  # fmt: skip


def unplaced(message: str) -> dict[str, Any]:
    """Return a pod that no node has room for."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    return pod({}) | {"status": {"conditions": [condition | {"message": message}]}}


@pytest.mark.parametrize(
    ("found", "answers", "pods", "reason", "said"),
    [
        pytest.param(None, Answers(), [], "Starting", "", id="not there yet"),
        pytest.param(service(), Answers([NEW, NEW]), [], None, "", id="served by all"),
        pytest.param(service(), Answers([OLD, OLD]), [], "Loading", "v1 serves until",
                     id="called ready by KServe while the earlier version answers"),
        pytest.param(service("False"), Answers([NEW]), [unplaced("Insufficient cpu")], "Loading",
                     "Unschedulable: Insufficient cpu", id="one more has no room on a node"),
        pytest.param(service(), Answers([NEW, OLD]), [], "Loading", "loading the model.",
                     id="half way through a rollout"),
        pytest.param(service(), NOBODY, [], "NoAnswer", "connection refused",
                     id="called ready and not reachable"),
        pytest.param(service("False"), Answers([NEW]), [], "Loading", "", id="not ready by KServe"),
        pytest.param(service("Unknown"), Answers(), [], "Loading", "", id="nothing answered yet"),
        pytest.param(ended(1, "bad digest"), Answers([OLD]), [], "ModelLoadFailed", "bad digest",
                     id="failed to load"),
        pytest.param(ended(1, "bad digest", observedGeneration=2), Answers([OLD]), [], "Loading", "",
                     id="an earlier spec failed to load"),
        pytest.param(ended(SMOKE_TEST_STATUS, f"log\n{SMOKE_TEST_FAILED}check one: answered 7\n"),
                     Answers([OLD]), [], "SmokeTestFailed", "requests: check one: answered 7.",
                     id="failed its smoke test"),
        pytest.param(ended(SMOKE_TEST_STATUS, f"{SMOKE_TEST_FAILED}check one: answered 7"),
                     Answers([EARLIER]), [], "SmokeTestFailed",
                     "The earlier server of v2 serves until it does.",
                     id="failed a new smoke test of the version that serves"),
        pytest.param(service(), Answers([OLD]), [pod(CRASHED)], "SmokeTestFailed", "one: 7",
                     id="failed its smoke test in a pod, of which KServe says nothing"),
        pytest.param(service(), Answers([OLD]), [pod(CRASHED, revision="r1")], "Loading", "",
                     id="a pod of an earlier spec failed"),
        pytest.param(service(), Answers([OLD]), [pod(CRASHED, of="other")], "Loading", "",
                     id="a pod of another service failed"),
        pytest.param(service(), Answers([OLD]), [pod(NO_IMAGE)], "Loading", "ErrImagePull: not found",
                     id="a pod waits for its image"),
        pytest.param(service(), Answers([OLD]), [pod(NO_SECRET)], "SecretMissing", '"k" not found',
                     id="a pod waits for a Secret"),
        pytest.param(resting(), Answers(), [], None, "", id="at rest"),
        pytest.param(resting("False"), Answers(), [pod({})], None, "", id="started by a request"),
        pytest.param(resting("False"), Answers(), [unplaced("Insufficient cpu")], "Loading",
                     "Insufficient cpu", id="started by a request without room on a node"),
        pytest.param(resting("False"), Answers(), [pod(CRASHED)], "SmokeTestFailed", "one: 7",
                     id="started by a request and failed"),
        pytest.param(resting(copies=2), Answers([NEW]), [], None, "", id="awake"),
        pytest.param(resting(copies=2), NOBODY, [], "NoAnswer", "", id="awake and not reachable"),
        pytest.param(service("False", 'CreateContainerConfigError: secret "k" not found'), Answers(),
                     [], "SecretMissing", '"k" not found', id="a server waits for a Secret"),
    ],
)  # fmt: skip
def test_an_inference_service_is(
    found: dict[str, Any] | None,
    answers: Answers,
    pods: list[dict[str, Any]],
    reason: str | None,
    said: str,
) -> None:
    serving = judge_serving(found, answers, pods)
    assert (serving.why_not.reason if serving.why_not else None) == reason
    assert serving.up_to_date == (reason is None)
    assert serving.at_rest == (reason is None and is_at_rest(found))
    assert said in (serving.why_not.message if serving.why_not else "")


def steps(*arguments: Any) -> dict[str, tuple[bool, str]]:
    return {fact.type: (fact.holds, fact.reason) for fact in judge_serving(*arguments).facts}


def test_the_conditions_say_how_far_it_is() -> None:
    assert steps(service(), Answers([OLD])) == {
        "ModelLoaded": (False, "Loading"),
        "SmokeTestPassed": (False, "Loading"),
        "TrafficReady": (False, "Loading"),
    }
    failed = ended(SMOKE_TEST_STATUS, f"{SMOKE_TEST_FAILED}check one: answered 7")
    assert steps(failed, Answers([OLD])) == {
        "ModelLoaded": (True, "Loaded"),
        "SmokeTestPassed": (False, "SmokeTestFailed"),
        "TrafficReady": (False, "SmokeTestFailed"),
    }
    assert steps(service(), Answers([NEW]), (), 2) == {
        "ModelLoaded": (True, "Loaded"),
        "SmokeTestPassed": (True, "AsExpected"),
        "TrafficReady": (True, "Answering"),
    }


def test_without_checks_the_smoke_test_says_that_nothing_was_sent() -> None:
    assert steps(service(), Answers([NEW]))["SmokeTestPassed"] == (True, "NoChecks")


@pytest.mark.parametrize(
    ("answers", "model"),
    [
        pytest.param(Answers([OLD, OLD]), OLD, id="the one that all answers come from"),
        pytest.param(Answers([OLD, NEW]), None, id="none while answers differ"),
        pytest.param(NOBODY, None, id="none while nothing answers"),
    ],
)
def test_what_serves_is(answers: Answers, model: ServedModel | None) -> None:
    assert judge_serving(service(), answers).model == model


def test_the_operator_asks_at_the_address_within_the_cluster() -> None:
    inside = service(address={"url": "http://api.n.svc.cluster.local"})
    assert probe_url(inside) == "http://api.n.svc.cluster.local"
    assert probe_url(service()) == "http://api"
    assert probe_url(None) is None
