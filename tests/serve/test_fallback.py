"""`spec.traffic.breaker` and `fallback`: what is answered when the model fails.

The model that serves in these tests overflows to NaN where age and income are huge.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from modelyard.api.runtime import (
    FALLBACK_HEADER,
    MODEL_DIGEST_HEADER,
    MODEL_VERSION_HEADER,
    StoreConfig,
)
from modelyard.api.traffic import Batching, Breaker
from modelyard_runtimes.model import FeatureSchema, ModelDocument
from modelyard_runtimes.model.format import (
    CategoricalEncoding,
    ConformalDocument,
    EncoderDocument,
    NumericEncoding,
)
from modelyard_runtimes.serve.breaker import CircuitBreaker
from modelyard_runtimes.serve.guard import Guard, misfits
from modelyard_runtimes.serve.http import RequestError
from modelyard_runtimes.serve.instances import parse_instances
from modelyard_runtimes.serve.metrics import Metrics
from modelyard_runtimes.serve.predictor import Predictor
from modelyard_runtimes.store import open_store

from tests.serve.conftest import configuration, document, serving
from tests.serve.test_grpc import MESSAGE, SERVICE, call, infer
from tests.serve.test_process import run_serve

NAME, VERSION = "churn", "churn-0123456789"
FALLBACK = "churn-fedcba9876"
V1, V2 = f"/v1/models/{NAME}:predict", f"/v2/models/{NAME}/infer"
HUGE = 1e308
GOOD = {"age": 30, "income": 2000.5, "member": True, "plan": "gold"}
BAD = GOOD | {"age": HUGE, "income": HUGE}
WRONG = GOOD | {"age": "thirty"}
QUICK = Breaker(consecutive_failures=2, open_for="1s")
SLOW = Breaker(consecutive_failures=2, open_for="1h")


def failing(make: Callable[..., ModelDocument]) -> ModelDocument:
    """Return a model to which huge numbers are infinite, of both signs."""
    others = 7
    numeric = NumericEncoding(
        fill=[40.0, 1000.0, 0.0, *[0.0] * 6],
        mean=[-HUGE, -HUGE, *[0.0] * others],
        scale=[HUGE, HUGE, *[1.0] * others],
    )
    categorical = CategoricalEncoding(style="OneHot", levels=[[0, 1, 2, 3], [0, 1, 2], [0, 1, 2]])
    return make(encoders=[EncoderDocument(numeric=numeric, categorical=categorical)])


def fallback(configured: Any) -> dict[str, str]:
    """Return how a server is told of a fallback."""
    return {
        "modelUri": configured.model_uri,
        "modelDigest": configured.model_digest,
        "modelVersion": FALLBACK,
    }


@pytest.fixture
def run(serve: Any, configure: Any, model_document: Any) -> Callable[..., Any]:
    """Starts the model that fails, with a fallback that does not."""

    def start(**changes: Any) -> Any:
        return serve(failing(model_document), fallback=fallback(configure()), **changes)

    return start


@pytest.fixture
def run_alone(serve: Any, model_document: Any) -> Callable[..., Any]:
    """Starts the model that fails without a fallback."""
    return lambda **changes: serve(failing(model_document), **changes)


def ask(client: httpx.Client, instance: dict[str, Any]) -> httpx.Response:
    return client.post(V1, json={"instances": [instance]})


def tensors(value: float) -> dict[str, Any]:
    def tensor(name: str, datatype: str, data: Any) -> dict[str, Any]:
        return {"name": name, "datatype": datatype, "shape": [1], "data": [data]}

    return {
        "inputs": [
            tensor("age", "FP64", value),
            tensor("income", "FP64", value),
            tensor("member", "BOOL", True),
            tensor("plan", "BYTES", "gold"),
        ]
    }


@contextlib.contextmanager
def connected(served: Any) -> Iterator[grpc.Channel]:
    """Yield a channel whose calls are not repeated by the client."""
    with grpc.insecure_channel(served.url.removeprefix("http://")) as channel:
        yield channel


def rpc(value: float) -> Any:
    request = infer()
    for tensor in request.inputs:
        if tensor.name == "age":
            tensor.contents.fp64_contents[0] = value
        if tensor.name == "income":
            tensor.datatype = "FP64"
            tensor.contents.ClearField("int64_contents")
            tensor.contents.fp64_contents.extend([value, 1.0, 2.0])
    return request


EXPLAIN = V1.replace(":predict", ":explain")
PATHS = {"predict": (V1, "instances"), "explain": (EXPLAIN, "instances"), "V2": (V2, "")}


@pytest.mark.parametrize(("path", "field"), PATHS.values(), ids=list(PATHS))
@pytest.mark.parametrize("changes", [{}, {"batching": Batching()}], ids=["alone", "batching"])
def test_no_label_stands_for_a_prediction_that_is_no_number(
    run_alone: Callable[..., Any], path: str, field: str, changes: dict[str, Any]
) -> None:
    with run_alone(**changes).client() as client:
        answer = client.post(path, json={field: [BAD]} if field else tensors(HUGE))

        assert answer.status_code == 500
        assert answer.json()["error"].startswith("the model predicts NaN or infinity")
        assert ask(client, GOOD).status_code == 200


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A model that fails, its fallback, and no breaker."""
    folder = tmp_path_factory.mktemp("fallback")
    store = open_store(StoreConfig(uri=f"file://{folder}/store"))
    with serving(folder) as run:
        yield run(failing(document), fallback=fallback(configuration(store)))


def test_what_the_model_fails_the_fallback_answers_and_says_so(
    served: Any, configure: Any, read_model: Any
) -> None:
    with served.client() as client:
        answered, own = ask(client, BAD), ask(client, GOOD)
        alias = client.post(f"/v1/inference/{NAME}:predict", json={"instances": [BAD]})
        v2, own_v2 = client.post(V2, json=tensors(HUGE)), client.post(V2, json=tensors(1.0))
        explained = client.post(f"/v1/models/{NAME}:explain", json={"instances": [GOOD]})
        metrics = client.get("/metrics").text

    other = configure()
    predictor = Predictor(read_model(other))
    rows = parse_instances({"instances": [BAD]}, predictor)
    expected = predictor.predict_rows(rows).to_json()
    for answer in (answered, alias, v2):
        assert answer.status_code == 200, answer.text
        assert answer.headers[FALLBACK_HEADER] == "ModelFailed"
        assert answer.headers[MODEL_VERSION_HEADER] == FALLBACK
        assert answer.headers[MODEL_DIGEST_HEADER] == other.model_digest
    assert answered.json()["predictions"] == alias.json()["predictions"] == expected
    assert v2.json()["outputs"][0]["data"] == [expected[0]["label"]]
    assert (alias.json()["model_version"], v2.json()["model_version"]) == (FALLBACK, FALLBACK)
    for answer in (own, own_v2, explained):
        assert answer.status_code == 200, answer.text
        assert FALLBACK_HEADER not in answer.headers
        assert answer.headers[MODEL_VERSION_HEADER] == VERSION
    assert own_v2.json()["model_version"] == VERSION
    assert f'modelyard_fallback_answers_total{{model="{NAME}",reason="ModelFailed"}}' in metrics
    assert f'modelyard_model_failures_total{{model="{NAME}"}}' in metrics


def test_over_grpc_it_says_so_as_well(served: Any) -> None:
    answers = {}
    with connected(served) as channel:
        method = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=MESSAGE("ModelInferResponse").FromString,
        )
        for value in (1.0, HUGE):
            response, done = method.with_call(rpc(value), timeout=60, wait_for_ready=True)
            answers[value] = response.model_version, dict(done.initial_metadata())

    version, headers = answers[HUGE]
    assert version == headers[MODEL_VERSION_HEADER] == FALLBACK
    assert headers[FALLBACK_HEADER] == "ModelFailed"
    version, headers = answers[1.0]
    assert version == headers[MODEL_VERSION_HEADER] == VERSION
    assert FALLBACK_HEADER not in headers


def test_an_open_breaker_leaves_the_model_alone_then_tries_it_once(run: Any) -> None:
    with run(breaker=QUICK).client() as client:
        failed = [ask(client, BAD) for _ in range(2)]
        alone = ask(client, GOOD)
        deadline = time.monotonic() + 60
        while FALLBACK_HEADER in ask(client, GOOD).headers:
            assert time.monotonic() < deadline, "the breaker never closes"
            time.sleep(0.05)
        metrics = client.get("/metrics").text

    assert [answer.headers[FALLBACK_HEADER] for answer in failed] == ["ModelFailed"] * 2
    assert alone.headers[FALLBACK_HEADER] == "BreakerOpen"
    assert f'modelyard_breaker_openings_total{{model="{NAME}"}} 1.0' in metrics
    assert 'reason="BreakerOpen"' in metrics


def test_without_a_fallback_an_open_breaker_says_when_to_come_again(run_alone: Any) -> None:
    served = run_alone(breaker=SLOW)
    with served.client() as client:
        failed = [ask(client, BAD).status_code for _ in range(2)]
        refused = [ask(client, GOOD), client.post(V2, json=tensors(1.0))]
        ready = client.get("/v2/health/ready")
    with connected(served) as channel, pytest.raises(grpc.RpcError) as caught:
        call(channel, "ModelInfer", infer())

    assert failed == [500, 500]
    for answer in refused:
        assert answer.status_code == 503
        assert 3000 < int(answer.headers["retry-after"]) <= 3600
        assert "spec.traffic.breaker" in answer.json()["error"]
    assert ready.status_code == 200
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert int(dict(caught.value.trailing_metadata())["retry-after"]) > 3000


def test_the_fault_of_a_caller_is_told_to_it_and_opens_nothing(run: Any) -> None:
    with run(breaker=SLOW).client() as client:
        wrong = [ask(client, WRONG) for _ in range(5)]
        after = ask(client, GOOD)

    assert {answer.status_code for answer in wrong} == {400}
    assert "instances[0].age" in wrong[0].json()["error"]
    assert FALLBACK_HEADER not in after.headers


def test_a_fallback_that_fails_as_well_is_an_error(
    serve: Any, configure: Any, model_document: Any
) -> None:
    bad = failing(model_document)
    other = configure(bad.model_copy(update={"threshold": 0.4}))
    with serve(bad, fallback=fallback(other)).client() as client:
        answer = ask(client, BAD)

    assert answer.status_code == 500
    assert "the model predicts NaN or infinity" in answer.json()["error"]


def test_the_payload_log_says_who_answered(run: Any, configure: Any, tmp_path: Path) -> None:
    served = run()
    with served.client() as client:
        for instance in (GOOD, BAD):
            ask(client, instance).raise_for_status()
    served.stop()

    lines = [
        json.loads(line)
        for path in sorted((tmp_path / "store/payloads/default" / NAME).glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    assert [(line["modelVersion"], line["modelDigest"]) for line in lines] == [
        (VERSION, served.config.model_digest),
        (FALLBACK, configure().model_digest),
    ]


def feature(name: str, kind: Any = "Numeric", *, required: bool = True) -> FeatureSchema:
    return FeatureSchema(name=name, type=kind, required=required)


SURE = ConformalDocument(coverage=0.9, radius=0.1)
MISFITS: dict[str, tuple[dict[str, Any], str]] = {
    "the same inputs": ({}, ""),
    "some of the inputs": ({"features": [feature("a")]}, ""),
    "an input more that may be left out": (
        {"features": [feature("a"), feature("z", required=False)]},
        "",
    ),
    "an input more": ({"features": [feature("z")]}, "it takes 'z', which the model does not"),
    "another type": (
        {"features": [feature("a", "Text")]},
        "it takes 'a' as Text, the model as Numeric",
    ),
    "an input that may be left out": (
        {"features": [feature("b")]},
        "it requires 'b', which requests to the model may leave out",
    ),
    "other classes": (
        {"classes": ["0", "1"]},
        "it predicts the classes 0, 1, the model the classes no, yes",
    ),
    "a value": (
        {"classes": [], "task": "Regression", "positive_label": None},
        "it predicts a value, the model the classes no, yes",
    ),
    "how sure it is": ({"conformal": SURE}, "only one of the two says how sure it is"),
}


@pytest.mark.parametrize(("changes", "trouble"), MISFITS.values(), ids=list(MISFITS))
def test_a_fallback_has_to_answer_the_same_questions_in_the_same_form(
    model_document: Any, changes: dict[str, Any], trouble: str
) -> None:
    model = model_document(features=[feature("a"), feature("b", required=False)])
    found = "; ".join(misfits(model, model.model_copy(update=changes)))
    assert found.startswith(trouble)
    assert bool(found) == bool(trouble)


def test_a_server_whose_fallback_does_not_fit_ends_and_says_why(
    configure: Any, model_document: Any
) -> None:
    other = configure(model_document(classes=["0", "1"], positive_label="1"))
    config = configure(fallback=fallback(other))
    ended = run_serve(json.dumps(config.to_json()), "--port", "0")

    assert ended.returncode == 1
    assert f"spec.traffic.fallback: {FALLBACK} cannot answer for {VERSION}" in ended.stderr
    assert "the classes 0, 1" in ended.stderr


def test_a_model_that_fails_a_file_is_left_alone_as_well(configure: Any, read_model: Any) -> None:
    metrics = Metrics(NAME, VERSION, "d")
    guard = Guard(Predictor(read_model(configure())), None, CircuitBreaker(QUICK), metrics)

    def fail() -> None:
        raise ArithmeticError

    assert guard.watch(lambda: "scored") == "scored"
    for _ in range(2):
        with pytest.raises(ArithmeticError):
            guard.watch(fail)
    with pytest.raises(RequestError, match=r"spec\.traffic\.breaker"):
        guard.watch(lambda: "scored")
    assert 'modelyard_model_failures_total{model="churn"} 2.0' in metrics.to_text().decode()


def test_a_row_of_a_file_that_the_model_fails_loses_no_other_and_no_fallback_is_asked(
    run: Any,
) -> None:
    body = "".join(json.dumps(row) + "\n" for row in (GOOD, BAD, GOOD))
    with run().client() as client:
        response = client.post(
            f"/v1/models/{NAME}:batch", content=body, headers={"content-type": "application/jsonl"}
        )
        metrics = client.get("/metrics").text

    rows = [json.loads(line) for line in response.text.splitlines()]
    assert [row.get("error") for row in rows] == [None, "the model predicts NaN or infinity", None]
    assert response.headers[MODEL_VERSION_HEADER] == VERSION
    assert FALLBACK_HEADER not in response.headers
    assert 'fallback_answers_total{model="churn",reason="ModelFailed"} 0.0' in metrics
