"""Malformed requests: each gets a 4xx that names the place, and the server goes on serving."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

NAME = "churn"
V1 = f"/v1/models/{NAME}:predict"
V2 = f"/v2/models/{NAME}/infer"


@pytest.fixture(scope="module")
def served(module_serve: Any) -> Any:
    return module_serve()


@pytest.fixture
def client(served: Any) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client
        assert client.post(V1, json={"instances": [row()]}).status_code == 200


def row(**changes: Any) -> dict[str, Any]:
    return {"age": 30, "income": 2000.5, "member": True, "plan": "gold", **changes}


def v1(**changes: Any) -> bytes:
    return json.dumps({"instances": [row(), row(), row(), row(**changes)]}).encode()


def without(name: str) -> bytes:
    instance = row()
    del instance[name]
    return json.dumps({"instances": [row(), instance]}).encode()


V1_BODIES = {
    "empty": (b"", "not JSON"),
    "cut": (b'{"instances": [', "not JSON"),
    "not utf-8": (b'{"instances": ["\xff"]}', "not JSON"),
    "lone surrogate": (b'{"instances": ["\\ud800"]}', "not JSON"),
    "NaN": (v1(age=float("nan")), "not JSON"),
    "infinity": (v1(age=float("inf")), "not JSON"),
    "number beyond float": (b'{"instances": [{"age": 1e999}]}', "not JSON"),
    "an integer of 1,000 digits": (v1(age=10**1000), "not JSON"),
    "nested 100,000 deep": (b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "depth"),
    "nested 900 deep": (
        v1(age=0).replace(b'"age": 0', b'"age": ' + b"[" * 900 + b"]" * 900),
        "age",
    ),
    "a list": (b"[]", "must be a JSON object"),
    "null": (b"null", "must be a JSON object"),
    "no instances": (b"{}", "instances: expected a list"),
    "instances null": (b'{"instances": null}', "instances: expected a list"),
    "instances empty": (b'{"instances": []}', "at least one instance"),
    "instances an object": (b'{"instances": {}}', "instances: expected a list"),
    "unknown field": (b'{"instances": [], "signature": "x"}', "signature"),
    "instance a number": (b'{"instances": [7]}', "instances[0]: expected an object"),
    "instance null": (b'{"instances": [null]}', "instances[0]: expected an object"),
    "list too short": (b'{"instances": [[1, 2]]}', "instances[0]: has 2 values"),
    "required feature missing": (without("age"), "instances[1].age: is missing"),
    "unknown feature": (v1(shoe=43), "instances[3]: 'shoe' is not a feature"),
    "two unknown features": (v1(shoe=43, hat=1), "'shoe', 'hat' are not features"),
    "unknown feature, long name": (v1(**{"x" * 9999: 1}), "is not a feature"),
    "text for a number": (v1(age="abc"), "instances[3].age: must be a number, not a text"),
    "digits as text": (v1(age="30"), "instances[3].age: must be a number, not a text"),
    "boolean for a number": (v1(age=True), "instances[3].age: must be a number, not a boolean"),
    "list for a number": (v1(income=[1]), "instances[3].income: must be a number, not a list"),
    "object for a number": (v1(income={}), "instances[3].income: must be a number"),
    "text for a boolean": (v1(member="yes"), "instances[3].member: must be true or false"),
    "number for a boolean": (v1(member=2), "instances[3].member: must be true or false"),
    "list for a category": (v1(plan=["gold"]), "instances[3].plan"),
    "no date": (v1(since="yesterday"), "instances[3].since"),
    "number for a date": (v1(since=5), "instances[3].since"),
    "a date beyond the calendar": (v1(since="99999-01-01"), "instances[3].since"),
}


@pytest.mark.parametrize(("body", "message"), V1_BODIES.values(), ids=list(V1_BODIES))
def test_v1_refuses_and_names_the_place(client: httpx.Client, body: bytes, message: str) -> None:
    response = client.post(V1, content=body)

    assert response.status_code == 400, response.text
    assert message in response.json()["error"]
    assert len(response.content) < 1000


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "age", "shape": [1], "datatype": "FP64", "data": [1.5], **changes}


def nested(depth: int) -> list[Any]:
    data: list[Any] = []
    for _ in range(depth):
        data = [data]
    return data


MEMBER = tensor(name="member", datatype="BOOL", data=[True])
PLAN = tensor(name="plan", datatype="BYTES", data=["gold"])
V2_BODIES = {
    "no inputs": ({}, "inputs: expected a list"),
    "inputs empty": ({"inputs": []}, "inputs: expected a list"),
    "input a text": ({"inputs": ["age"]}, "inputs[0]: expected an object"),
    "unknown field": ({"inputs": [tensor()], "model": 1}, "unknown field 'model'"),
    "unknown field of a tensor": ({"inputs": [tensor(dtype="x")]}, "inputs[0]: unknown field"),
    "id a number": ({"id": 5, "inputs": [tensor()]}, "id: expected a text"),
    "name missing": ({"inputs": [tensor(name=None)]}, "inputs[0].name"),
    "unknown tensor": ({"inputs": [tensor(name="shoe")]}, "inputs[0].name: 'shoe' is not"),
    "given twice": ({"inputs": [tensor(), tensor()]}, "inputs[1].name: 'age' was given before"),
    "required tensor missing": ({"inputs": [tensor(), MEMBER]}, "'plan' is missing"),
    "unknown datatype": ({"inputs": [tensor(datatype="FP8")]}, "inputs[0].datatype"),
    "datatype a list": ({"inputs": [tensor(datatype=[])]}, "inputs[0].datatype"),
    "shape missing": ({"inputs": [tensor(shape=None)]}, "inputs[0].shape"),
    "shape negative": ({"inputs": [tensor(shape=[-1])]}, "inputs[0].shape"),
    "shape of booleans": ({"inputs": [tensor(shape=[True])]}, "inputs[0].shape"),
    "shape huge": ({"inputs": [tensor(shape=[10**30])]}, "inputs[0]"),
    "shape of three": ({"inputs": [tensor(shape=[1, 1, 1])]}, "inputs[0].shape"),
    "shape of two columns": (
        {"inputs": [tensor(shape=[1, 2], data=[1, 2]), MEMBER]},
        "inputs[0].shape: a feature",
    ),
    "matrix too narrow": (
        {"inputs": [tensor(name="x", shape=[1, 2], data=[1, 2])]},
        "inputs[0].shape: has 2 columns",
    ),
    "data too short": ({"inputs": [tensor(shape=[2])]}, "inputs[0].data: has 1 values"),
    "data an object": ({"inputs": [tensor(data={})]}, "inputs[0].data: expected a list"),
    "text in numbers": ({"inputs": [tensor(data=["1"])]}, "inputs[0].data[0]: expected FP64"),
    "fraction in integers": (
        {"inputs": [tensor(datatype="INT32", data=[3.5])]},
        "INT32, a whole number from -2147483648 to 2147483647, not 3.5",
    ),
    "integer above its type": (
        {"inputs": [tensor(datatype="UINT8", data=[256])]},
        "UINT8, a whole number from 0 to 255, not 256",
    ),
    "integer below its type": (
        {"inputs": [tensor(datatype="INT8", data=[-129])]},
        "INT8, a whole number from -128 to 127, not -129",
    ),
    "boolean in integers": (
        {"inputs": [tensor(datatype="INT8", data=[True])]},
        "inputs[0].data[0]: expected INT8",
    ),
    "other rows": (
        {"inputs": [tensor(shape=[2], data=[1, 2]), MEMBER, PLAN]},
        "inputs[1].shape: has other rows",
    ),
    "bytes for a number": (
        {"inputs": [tensor(datatype="BYTES", data=["x"]), MEMBER, PLAN]},
        "inputs.age[0]: must be a number",
    ),
    "binary data": (
        {"inputs": [tensor(parameters={"binary_data_size": 8})]},
        "binary data is not supported",
    ),
    "data nested 900 deep": (
        {"inputs": [tensor(data=nested(900)), MEMBER, PLAN]},
        "inputs[0].data[0]: expected FP64, not a list",
    ),
    "rows as a real number": ({"inputs": [tensor(shape=[1.0])]}, "inputs[0].shape"),
    "a shape that overflows": (
        {"inputs": [tensor(name="x", shape=[2**62, 4], data=[1])]},
        "inputs[0].data: has 1 values",
    ),
    "unknown output": (
        {"inputs": [tensor(), MEMBER, PLAN], "outputs": [{"name": "shap"}]},
        "outputs[0].name: expected one of",
    ),
    "outputs a text": ({"inputs": [tensor(), MEMBER, PLAN], "outputs": "label"}, "outputs"),
}


@pytest.mark.parametrize(("body", "message"), V2_BODIES.values(), ids=list(V2_BODIES))
def test_v2_refuses_and_names_the_place(client: httpx.Client, body: Any, message: str) -> None:
    response = client.post(V2, json=body)

    assert response.status_code == 400, response.text
    assert message in response.json()["error"]


REQUESTS = {
    "unknown path": ("GET", "/v3", {}, 404),
    "unknown model": ("POST", "/v1/models/other:predict", {}, 404),
    "unknown version": ("GET", f"/v2/models/{NAME}/versions/other", {}, 404),
    "wrong method": ("GET", V1, {}, 405),
    "post to metadata": ("POST", "/v1/models", {}, 405),
    "compressed body": ("POST", V1, {"content-encoding": "gzip"}, 415),
    "binary tensors": ("POST", V2, {"inference-header-content-length": "9"}, 415),
}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"), REQUESTS.values(), ids=list(REQUESTS)
)
def test_other_requests_are_refused(
    client: httpx.Client, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    response = client.request(method, path, headers=headers)

    assert response.status_code == status
    assert response.json()["error"]


def chunked(total: int) -> Iterator[bytes]:
    for _ in range(total // 2**20):
        yield b" " * 2**20


@pytest.mark.parametrize("streamed", [False, True], ids=["with Content-Length", "chunked"])
def test_a_body_of_100_mb_is_refused(client: httpx.Client, streamed: bool) -> None:
    size = 100 * 2**20
    response = client.post(V1, content=chunked(size) if streamed else b" " * size)

    assert response.status_code == 413
    assert "larger than 32 MiB" in response.json()["error"]


HUGE = 30 * 2**20
"""Bytes of a body just small enough to be read."""

ADVERSARIAL = {
    "brackets": (b'{"instances": ' + b"[" * HUGE, "not JSON"),
    "one text": (b'{"instances": ["' + b"x" * HUGE + b'"]}', "instances[0]: expected an object"),
    "one name": (b'{"instances": [{"' + b"x" * HUGE + b'": 1}]}', "instances[0].age: is missing"),
    "empty instances": (b'{"instances": [' + b"{}," * (HUGE // 8) + b"{}]}", "instances[0].age"),
    "no instances at all": (b'{"instances": [' + b"0," * (HUGE // 8) + b"0]}", "instances[0]:"),
}


@pytest.mark.parametrize(("body", "message"), ADVERSARIAL.values(), ids=list(ADVERSARIAL))
def test_a_huge_body_is_read_and_refused_in_a_few_words(
    client: httpx.Client, body: bytes, message: str
) -> None:
    response = client.post(V1, content=body)

    assert response.status_code == 400
    assert message in response.json()["error"]
    assert len(response.content) < 1000


def test_many_headers_and_long_ones_harm_nobody(client: httpx.Client) -> None:
    headers = {f"x-{number}": "y" * 1000 for number in range(500)}

    assert client.post(V1, json={"instances": [row()]}, headers=headers).status_code == 200


def test_a_client_that_goes_away_harms_nobody(served: Any, client: httpx.Client) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    for sent in (
        b"POST /v1",
        b"POST %b HTTP/1.1\r\nContent-Length: 99\r\n\r\n{" % V1.encode(),
        b"\0",
    ):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(sent)
    assert client.get("/healthz").status_code == 200


def test_a_head_request_is_a_get_without_body(client: httpx.Client) -> None:
    response = client.head("/healthz")

    assert (response.status_code, response.content) == (200, b"")


def test_errors_do_not_quote_values(client: httpx.Client) -> None:
    response = client.post(V1, content=v1(age="canary@private.example"))

    assert "canary" not in response.text
