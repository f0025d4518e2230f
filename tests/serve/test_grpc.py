"""gRPC: at the port of REST, with the answers of REST, refusals instead of faults."""

from __future__ import annotations

import contextlib
import json
import math
import re
import signal
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from modelyard_runtimes.model.format import ConformalDocument
from modelyard_runtimes.serve.http import RequestError
from modelyard_runtimes.serve.predictor import Predictor
from modelyard_runtimes.serve.rpc_messages import MESSAGES, METHODS, SERVICE, messages
from modelyard_runtimes.serve.rpc_tensors import body_of
from modelyard_runtimes.serve.tensors import parse_tensors, predict_tensors

from tests.serve.uploads import connected as socket_to

NAME, VERSION = "churn", "churn-0123456789"
MESSAGE = messages()
ROWS = 3
TENSORS: dict[str, tuple[str, str, list[Any]]] = {
    "age": ("FP64", "fp64_contents", [20.5, 30.0, -1e9]),
    "income": ("INT64", "int64_contents", [1000, -2000, 2**53]),
    "member": ("BOOL", "bool_contents", [True, False, True]),
    "plan": ("BYTES", "bytes_contents", [b"gold", b"basic", "größer".encode()]),
}


def call(channel: grpc.Channel, method: str, request: Any, **options: Any) -> Any:
    answer = channel.unary_unary(
        f"/{SERVICE}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=MESSAGE(f"{method}Response").FromString,
    )
    return answer(request, timeout=60, wait_for_ready=True, **options)


def infer(**changes: Any) -> Any:
    request = MESSAGE("ModelInferRequest")(model_name=NAME, id="one")
    for name, (datatype, field, values) in TENSORS.items():
        tensor = request.inputs.add(name=name, datatype=datatype, shape=[ROWS])
        getattr(tensor.contents, field).extend(values)
    for field, value in changes.items():
        setattr(request, field, value)
    return request


def raw() -> Any:
    request = infer()
    codes = {"FP64": "d", "INT64": "q", "BOOL": "?"}
    for tensor, (datatype, _, values) in zip(request.inputs, TENSORS.values(), strict=True):
        tensor.ClearField("contents")
        request.raw_input_contents.append(
            b"".join(struct.pack("<I", len(value)) + value for value in values)
            if datatype == "BYTES"
            else struct.pack(f"<{ROWS}{codes[datatype]}", *values)
        )
    return request


@pytest.fixture(scope="module")
def served(module_serve: Any) -> Any:
    return module_serve()


RETRYING = {
    "methodConfig": [
        {
            "name": [{"service": SERVICE}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ]
}
"""A call that crosses the server's word that it ends gets one of these, and was not begun."""


@contextlib.contextmanager
def connected(served: Any) -> Iterator[grpc.Channel]:
    options = [("grpc.service_config", json.dumps(RETRYING))]
    with grpc.insecure_channel(served.url.removeprefix("http://"), options) as channel:
        yield channel


@pytest.fixture
def channel(served: Any) -> Iterator[grpc.Channel]:
    with connected(served) as channel:
        yield channel


@pytest.fixture(scope="module")
def rest(served: Any) -> dict[str, Any]:
    """Outputs of V2 over REST for the same rows, by name."""
    inputs = [
        {
            "name": name,
            "datatype": datatype,
            "shape": [ROWS],
            "data": [value.decode() if isinstance(value, bytes) else value for value in values],
        }
        for name, (datatype, _, values) in TENSORS.items()
    ]
    with served.client() as client:
        answer = client.post(f"/v2/models/{NAME}/infer", json={"inputs": inputs}).json()
    return {output["name"]: output for output in answer["outputs"]}


def test_the_answers_are_those_of_rest(channel: grpc.Channel, rest: dict[str, Any]) -> None:
    answer = call(channel, "ModelInfer", infer())

    assert (answer.model_name, answer.model_version, answer.id) == (NAME, VERSION, "one")
    found = {output.name: output for output in answer.outputs}
    assert [text.decode() for text in found["label"].contents.bytes_contents] == rest["label"][
        "data"
    ]
    for name in ("score", "probabilities"):
        assert list(found[name].contents.fp64_contents) == rest[name]["data"]
        assert list(found[name].shape) == rest[name]["shape"]
    assert found["probabilities"].parameters["classes"].string_param == "no,yes"


def test_how_sure_a_prediction_is_comes_too(serve: Any, model_document: Any) -> None:
    conformal = ConformalDocument(coverage=0.9, radius=1.0)
    with connected(serve(model_document(conformal=conformal))) as channel:
        typed = call(channel, "ModelInfer", infer()).outputs
        packed = call(channel, "ModelInfer", raw()).raw_output_contents

    assert (typed[3].name, list(typed[3].shape)) == ("plausible", [ROWS, 2])
    assert list(typed[3].contents.bool_contents) == [True] * 2 * ROWS
    assert packed[3] == b"\1" * 2 * ROWS


def test_raw_contents_are_answered_with_raw_contents(
    channel: grpc.Channel, rest: dict[str, Any]
) -> None:
    answer = call(channel, "ModelInfer", raw())

    labels, scores, _ = answer.raw_output_contents
    assert list(struct.unpack(f"<{ROWS}d", scores)) == rest["score"]["data"]
    assert labels.startswith(struct.pack("<I", len(rest["label"]["data"][0])))


def test_nan_is_a_missing_value_as_null_is_over_rest(channel: grpc.Channel, served: Any) -> None:
    row = {"age": None, "income": 1000, "member": True, "plan": "gold"}
    with served.client() as client:
        wanted = client.post(f"/v1/models/{NAME}:predict", json={"instances": [row]}).json()
    request = infer()
    request.inputs[0].contents.fp64_contents[:] = [math.nan] * ROWS
    scores = call(channel, "ModelInfer", request).outputs[1].contents.fp64_contents

    assert scores[0] == wanted["predictions"][0]["score"]


def test_only_the_outputs_that_are_asked_for_come_back(channel: grpc.Channel) -> None:
    request = infer()
    request.outputs.add(name="score")

    assert [output.name for output in call(channel, "ModelInfer", request).outputs] == ["score"]


def test_it_says_that_it_is_ready_and_what_it_serves(channel: grpc.Channel) -> None:
    assert call(channel, "ServerLive", MESSAGE("ServerLiveRequest")()).live
    assert call(channel, "ServerReady", MESSAGE("ServerReadyRequest")()).ready
    assert call(channel, "ModelReady", MESSAGE("ModelReadyRequest")(name=NAME)).ready
    assert call(channel, "ServerMetadata", MESSAGE("ServerMetadataRequest")()).name == "modelyard"
    named = MESSAGE("ModelMetadataRequest")(name=NAME, version=VERSION)
    found = call(channel, "ModelMetadata", named)

    assert list(found.versions) == [VERSION]
    assert (found.inputs[0].name, found.inputs[0].datatype) == ("age", "FP64")
    assert [output.name for output in found.outputs] == ["label", "score", "probabilities"]


def test_calls_are_counted_logged_and_say_who_answered(served: Any, channel: grpc.Channel) -> None:
    answer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
    _, made = answer.with_call(
        infer().SerializeToString(), metadata=(("x-request-id", "mine"),), timeout=60
    )
    said = dict(made.initial_metadata())
    with served.client() as client:
        text = client.get("/metrics").text

    assert said["x-request-id"] == "mine"
    assert said["x-modelyard-model-digest"] == served.config.model_digest
    assert 'modelyard_requests_total{model="churn",protocol="grpc",status="200"}' in text


def test_where_grpc_cannot_listen_its_clients_are_let_go_and_the_others_served(
    serve: Any, tmp_path: Path
) -> None:
    folder = tmp_path / ("a-path-that-is-too-long-for-a-unix-socket" * 3)
    folder.mkdir()
    served = serve(environ={"TMPDIR": str(folder)})

    for _ in range(2):
        with socket_to(served.url) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert connection.recv(1) == b""
    with served.client() as client:
        assert client.get("/v2/health/ready").status_code == 200
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(30) == 0


def odd(**changes: Any) -> Any:
    """A request whose first tensor is odd."""
    request = infer()
    for field, value in changes.items():
        if field == "shape":
            request.inputs[0].shape[:] = value
        else:
            setattr(request.inputs[0], field, value)
    return request


def odd_raw(content: bytes, **changes: Any) -> Any:
    request = raw()
    request.raw_input_contents[0] = content
    for field, value in changes.items():
        setattr(request.inputs[0], field, value)
    return request


REFUSED = {
    "another model": (infer(model_name="other"), grpc.StatusCode.NOT_FOUND, "'churn'"),
    "another version": (infer(model_version="1"), grpc.StatusCode.NOT_FOUND, VERSION),
    "no tensor": (
        MESSAGE("ModelInferRequest")(model_name=NAME),
        grpc.StatusCode.INVALID_ARGUMENT,
        "inputs",
    ),
    "unknown feature": (odd(name="x"), grpc.StatusCode.INVALID_ARGUMENT, "inputs[0].name"),
    "unknown type": (odd(datatype="X"), grpc.StatusCode.INVALID_ARGUMENT, "inputs[0].datatype"),
    "wrong type": (odd(datatype="BOOL"), grpc.StatusCode.INVALID_ARGUMENT, "inputs[0].data"),
    "wrong shape": (odd(shape=[2**62]), grpc.StatusCode.INVALID_ARGUMENT, "inputs[0].data"),
    "negative shape": (odd(shape=[-1]), grpc.StatusCode.INVALID_ARGUMENT, "inputs[0].shape"),
    "half a number": (odd_raw(b"123"), grpc.StatusCode.INVALID_ARGUMENT, "inputs[0]"),
    "a text beyond its end": (
        odd_raw(b"\xff\xff\xff\xff1", datatype="BYTES"),
        grpc.StatusCode.INVALID_ARGUMENT,
        "inputs[0]",
    ),
    "no UTF-8": (
        odd_raw(b"\1\0\0\0\xff", datatype="BYTES"),
        grpc.StatusCode.INVALID_ARGUMENT,
        "UTF-8",
    ),
    "infinite": (
        odd_raw(struct.pack("<3d", math.inf, 1, 1)),
        grpc.StatusCode.INVALID_ARGUMENT,
        "inputs.age[0]",
    ),
}


@pytest.mark.parametrize(("request_", "code", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_answered_is_refused_by_name(
    channel: grpc.Channel, request_: Any, code: grpc.StatusCode, message: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, "ModelInfer", request_)

    assert caught.value.code() == code
    assert message in caught.value.details()


def test_a_message_of_100_mb_is_refused_and_the_server_goes_on(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, "ModelInfer", odd_raw(b"\0" * 100 * 2**20))

    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert call(channel, "ServerLive", MESSAGE("ServerLiveRequest")()).live


def test_a_client_that_tries_again_notices_no_change_of_servers(serve: Any) -> None:
    served = serve()
    with connected(served) as channel:
        call(channel, "ServerLive", MESSAGE("ServerLiveRequest")())
        answers: list[Any] = []
        done = threading.Event()

        def ask() -> None:
            while not done.is_set():
                try:
                    answers.append(call(channel, "ModelInfer", infer()).id)
                except grpc.RpcError as error:
                    answers.append(error)
                    return

        asking = threading.Thread(target=ask)
        asking.start()
        while len(answers) < 10:
            done.wait(0.01)
        successor = serve()
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(30) == 0
        before = len(answers)
        while len(answers) < before + 10 and asking.is_alive():
            done.wait(0.01)
        done.set()
        asking.join()

    assert set(answers) == {"one"}
    assert successor.process.poll() is None


CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "fp64_contents": st.lists(st.floats(), max_size=4),
        "int64_contents": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
        "bytes_contents": st.lists(st.binary(max_size=4), max_size=4),
        "bool_contents": st.lists(st.booleans(), max_size=4),
    },
)
DATATYPES = st.sampled_from(["FP64", "FP16", "INT64", "BYTES", "BOOL", "UINT8", "", "X"])
INPUT = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["age", "member", "plan", "since", "other", ""]),
        "datatype": DATATYPES,
        "shape": st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3), max_size=3),
        "contents": CONTENTS,
    }
)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    inputs=st.lists(INPUT, max_size=4),
    raw_contents=st.just([]) | st.lists(st.binary(max_size=20), max_size=4),
)
def test_whatever_comes_is_answered_or_refused(
    configure: Any, read_model: Any, inputs: list[Any], raw_contents: list[bytes]
) -> None:
    predictor = Predictor(read_model(configure()))
    request = MESSAGE("ModelInferRequest")(inputs=inputs, raw_input_contents=raw_contents)
    with contextlib.suppress(RequestError):
        predict_tensors(parse_tensors(body_of(request), predictor), predictor)


def upstream() -> Path:
    modules = Path.home() / "go/pkg/mod/github.com/kserve"
    found = sorted(modules.glob("kserve@*/docs/predict-api/v2/grpc_predict_v2.proto"))
    if not found:
        pytest.skip("KServe's module is not in the Go module cache")
    return found[-1]


def test_the_messages_are_those_of_the_protocol() -> None:
    text = re.sub(r"//[^\n]*", "", upstream().read_text())
    wanted: dict[str, dict[str, int]] = {}
    path: list[str] = []
    pattern = r"message (\w+)\s*\{|oneof (\w+)\s*\{|([\w<>, .]+) (\w+) = (\d+);|rpc (\w+)|(\})|(\{)"
    for message, one_of, kind, name, number, _, end, begin in re.findall(pattern, text):
        if message or one_of or begin:
            path.append(message)
            if message:
                wanted[".".join(filter(None, path))] = {}
        elif end:
            path.pop()
        elif name:
            own = ".".join(filter(None, path))
            wanted[own][f"{kind.split()[-1].rstrip('>')} {name}"] = int(number)
    found = {
        name: {
            " ".join(field.rpartition(".")[2].split()[-2:])
            if "." in field
            else " ".join(field.split()[-2:]): number
            for number, field in enumerate(fields, start=1)
        }
        for name, fields in MESSAGES.items()
    }

    assert set(found) <= set(wanted)
    assert {name: wanted[name] for name in found} == found
    assert set(re.findall(r"rpc (\w+)", text)) >= set(METHODS)
