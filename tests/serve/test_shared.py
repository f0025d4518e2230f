"""A server of many models: each answers as if it were alone, and is loaded when it is asked for."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from modelyard_runtimes.serve.rpc_messages import SERVICE, messages

MIB = 2**20
PADDING = 24 * MIB
"""Makes models so large that what else a load adds to the process does not matter."""
TWO_MODELS = 2 * PADDING + 20 * MIB
MESSAGE = messages()


def row(**changes: Any) -> dict[str, Any]:
    return {"age": 30, "income": 2000.5, "member": True, "plan": "gold", **changes}


def ask(client: httpx.Client, name: str, **options: Any) -> httpx.Response:
    body = {"instances": [row()]}
    return client.post(f"/v1/models/{name}:predict", json=body, **options)


def answers(client: httpx.Client, name: str) -> str:
    """Ask a model, and return the version that answered."""
    response = ask(client, name)
    assert response.status_code == 200, response.text
    return response.headers["x-modelyard-model-version"]


def metric(client: httpx.Client, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def readiness(client: httpx.Client, name: str) -> tuple[int, dict[str, Any]]:
    response = client.get(f"/v2/models/{name}/ready")
    return response.status_code, response.json()


def becomes(look: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    """Return what a look finds, once it is what is wanted."""
    end = time.monotonic() + 60
    while not wanted(found := look()):
        assert time.monotonic() < end, f"at last: {found}"
        time.sleep(0.1)
    return found


def logged(root: Path, name: str) -> list[str]:
    """Return the ids of the requests in a model's payload log."""
    files = sorted((root / "store/payloads/default" / name).glob("*.jsonl"))
    return [json.loads(line)["id"] for path in files for line in path.read_text().splitlines()]


def test_a_model_is_loaded_by_its_first_request_and_answers_at_its_own_paths(shared: Any) -> None:
    first = shared.put("first")
    shared.put("second")
    with shared.start().client() as client:
        assert client.get("/v2/health/ready").json() == {"ready": True}
        assert client.get("/v1/models").json() == {"models": ["first", "second"]}
        assert metric(client, "modelyard_models_loaded") == 0

        response = ask(client, "first", headers={"x-request-id": "one"})
        assert response.status_code == 200
        assert response.headers["x-modelyard-model-version"] == "first-1"
        assert response.headers["x-modelyard-model-digest"] == first.model_digest
        assert response.headers["x-modelyard-server-revision"] == first.revision
        assert response.headers["x-request-id"] == "one"

        assert metric(client, "modelyard_models_loaded") == 1
        assert metric(client, 'modelyard_model_loads_total{result="success"}') == 1
        assert client.get("/v2/models/second").json()["name"] == "second"
        assert client.get("/v1/models/second").json() == {"name": "second", "ready": True}
        assert metric(client, "modelyard_models_loaded") == 2
        assert client.get("/v1/models/second/nonsense").status_code == 404
        assert client.get("/v1/models/first:predict").status_code == 405
        missing = ask(client, "third")
        assert missing.status_code == 404
        assert "GET /v1/models lists" in missing.json()["error"]
        series = 'modelyard_requests_total{model="first",protocol="v1",status="200"}'
        assert metric(client, series) == 1


def test_what_leaves_memory_comes_back_and_no_request_sees_that(shared: Any) -> None:
    for name in ("a", "b", "c"):
        shared.put(name, padding=PADDING)
    served = shared.start(TWO_MODELS)
    with served.client() as client:
        for name in ("a", "b", "c", "b", "a"):
            assert answers(client, name) == f"{name}-1"
            assert metric(client, "modelyard_models_memory_bytes") <= TWO_MODELS
        assert metric(client, "modelyard_models_loaded") == 2
        assert metric(client, "modelyard_model_evictions_total") == 2
        assert metric(client, 'modelyard_model_loads_total{result="success"}') == 4
        series = 'modelyard_requests_total{model="a",protocol="v1",status="200"}'
        assert metric(client, series) == 2

        assert readiness(client, "c") == (200, {"name": "c", "ready": True})
        assert metric(client, "modelyard_model_evictions_total") == 2, "asking loads nothing again"
    assert served.stop() == 0
    assert [len(logged(shared.root, name)) for name in ("a", "b", "c")] == [2, 2, 1]


def test_requests_that_meet_a_cold_model_wait_for_one_load(shared: Any) -> None:
    shared.put("only", padding=PADDING)
    with shared.start().client() as client, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: ask(client, "only").status_code, range(16)))
        assert found == [200] * 16
        assert metric(client, 'modelyard_model_loads_total{result="success"}') == 1


def test_a_body_that_is_large_waits_for_its_model_too(shared: Any) -> None:
    shared.put("only", batching={"maxDelayMs": 1})
    body = {"instances": [row()] * 2000}
    with shared.start().client() as client:
        response = client.post("/v1/models/only:predict", json=body)
        assert len(response.json()["predictions"]) == 2000
        assert answers(client, "only") == "only-1"


def test_a_new_version_takes_over_once_it_is_loaded(shared: Any) -> None:
    shared.put("m")
    with shared.start().client() as client:
        assert readiness(client, "m")[0] == 200
        new = shared.put("m", model_version="m-2")
        becomes(lambda: answers(client, "m"), lambda version: version == "m-2")
        response = client.get("/v2/models/m/ready")
        assert response.headers["x-modelyard-server-revision"] == new.revision
        text = client.get("/metrics").text
        assert 'version="m-2"' in text
        assert 'version="m-1"' not in text


FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "other-bytes": ({"model_digest": "sha256:" + "0" * 64}, "ModelLoadFailed", "sha256:0000"),
    "missing": ({"model_uri": "file:///nowhere"}, "ModelLoadFailed", "nowhere"),
    "smoke-test": (
        {
            "smoke_test": {
                "checks": [{"name": "gold", "instance": row(), "expect": {"status": 400}}]
            }
        },
        "SmokeTestFailed",
        "check gold: answered 200",
    ),
    "too-large": ({"padding": 90 * MIB}, "ModelTooLarge", "Project.spec.sharedServing.memory"),
}


def test_a_version_that_cannot_be_loaded_leaves_the_earlier_one(shared: Any) -> None:
    for name in FAULTS:
        shared.put(name)
    with shared.start(80 * MIB).client() as client:
        for name, (changes, reason, message) in FAULTS.items():
            assert answers(client, name) == f"{name}-1"
            new = shared.put(name, **{"model_version": f"{name}-2", **changes})
            look = partial(readiness, client, name)
            _, body = becomes(look, lambda found: "failure" in found[1])
            assert body["ready"]
            failure = body["failure"]
            assert (failure["reason"], failure["revision"]) == (reason, new.revision)
            assert message in failure["message"]
            assert answers(client, name) == f"{name}-1"


def test_a_model_that_cannot_be_loaded_says_why_and_leaves_the_others_alone(shared: Any) -> None:
    shared.put("good")
    for name, (changes, _, _) in FAULTS.items():
        shared.put(name, **changes)
    with shared.start(80 * MIB).client() as client:
        for name, (_, reason, message) in FAULTS.items():
            refused = ask(client, name)
            assert refused.status_code == 503
            assert message in refused.json()["error"]
            assert int(refused.headers["retry-after"]) >= 1
            status, body = readiness(client, name)
            assert (status, body["failure"]["reason"]) == (503, reason)
            assert answers(client, "good") == "good-1"


def test_a_load_that_failed_is_not_tried_again_with_each_request(shared: Any) -> None:
    shared.put("bad", model_uri="file:///nowhere")
    with shared.start().client() as client:
        found = [ask(client, "bad") for _ in range(50)]
        assert {response.status_code for response in found} == {503}
        assert metric(client, 'modelyard_model_loads_total{result="error"}') <= 5


def test_a_model_that_is_named_no_more_is_gone_and_its_log_is_whole(shared: Any) -> None:
    shared.put("stays")
    shared.put("goes")
    with shared.start().client() as client:
        assert answers(client, "goes") == "goes-1"
        shared.remove("goes")
        becomes(lambda: ask(client, "goes").status_code, lambda status: status == 404)
        becomes(lambda: len(logged(shared.root, "goes")), lambda lines: lines >= 1)
        assert answers(client, "stays") == "stays-1"
        assert 'modelyard_predictions_total{model="goes"}' in client.get("/metrics").text


def test_a_file_that_is_no_configuration_leaves_its_model_as_it_was(shared: Any) -> None:
    texts = {"half": '{"name": "half"', "empty": "{}", "other": '{"name": "another"}'}
    for name in texts:
        shared.put(name)
    with shared.start().client() as client:
        for name, text in texts.items():
            shared.write(name, text)
        shared.put("later")
        becomes(lambda: ask(client, "later").status_code, lambda status: status == 200)
        assert [answers(client, name) for name in texts] == [f"{name}-1" for name in texts]


def test_each_model_has_its_own_limits_whether_it_is_loaded_or_not(shared: Any) -> None:
    shared.put("slow", rate_limit={"requestsPerSecond": 1, "burst": 1}, padding=PADDING)
    shared.put("free", padding=PADDING)
    with shared.start(PADDING + 20 * MIB).client() as client:
        assert ask(client, "slow").status_code == 200
        assert [ask(client, "free").status_code for _ in range(3)] == [200] * 3
        found = [ask(client, "slow").status_code for _ in range(30)]
        assert 429 in found


def infer(name: str, version: str = "") -> Any:
    request = MESSAGE("ModelInferRequest")(model_name=name, model_version=version)
    request.inputs.add(name="age", datatype="FP64", shape=[1]).contents.fp64_contents.append(30.0)
    request.inputs.add(name="member", datatype="BOOL", shape=[1]).contents.bool_contents.append(
        True
    )
    request.inputs.add(name="plan", datatype="BYTES", shape=[1]).contents.bytes_contents.append(
        b"gold"
    )
    return request


def test_grpc_names_the_model_and_loads_it(shared: Any) -> None:
    for name in ("a", "b"):
        shared.put(name, padding=PADDING)
    served = shared.start(PADDING + 20 * MIB)
    with grpc.insecure_channel(served.url.removeprefix("http://")) as channel:

        def call(method: str, request: Any) -> Any:
            answer = channel.unary_unary(
                f"/{SERVICE}/{method}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=MESSAGE(f"{method}Response").FromString,
            )
            return answer(request, timeout=60, wait_for_ready=True)

        assert call("ServerReady", MESSAGE("ServerReadyRequest")()).ready
        for name in ("a", "b", "a"):
            answer = call("ModelInfer", infer(name))
            assert (answer.model_name, answer.model_version) == (name, f"{name}-1")
        assert call("ModelReady", MESSAGE("ModelReadyRequest")(name="b")).ready
        assert call("ModelMetadata", MESSAGE("ModelMetadataRequest")(name="b")).name == "b"
        for request in (infer("c"), infer("a", "other")):
            with pytest.raises(grpc.RpcError) as refused:
                call("ModelInfer", request)
            assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    with served.client() as client:
        series = 'modelyard_requests_total{model="a",protocol="grpc",status="200"}'
        assert metric(client, series) == 2


def test_it_refuses_a_folder_that_is_not_there(shared: Any) -> None:
    shared.folder.rmdir()
    with pytest.raises(AssertionError, match="ended with 1"):
        shared.start()
