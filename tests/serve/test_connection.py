"""However a request arrives, whole or in parts, it gets the same answer, and in its turn."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import IO, Any

import pytest

NAME = "churn"
V1 = f"/v1/models/{NAME}:predict"
AGES = (20, 30, 40)


@pytest.fixture(scope="module")
def served(module_serve: Any) -> Any:
    return module_serve()


@pytest.fixture
def connection(served: Any) -> Iterator[socket.socket]:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def body(age: Any) -> bytes:
    row = {"age": age, "income": 2000.5, "member": True, "plan": "gold"}
    return json.dumps({"instances": [row]}).encode()


def post(content: bytes, *headers: str, path: str = V1, version: str = "1.1") -> bytes:
    lines = (f"POST {path} HTTP/{version}", "Host: x", *headers)
    return "\r\n".join((*lines, f"Content-Length: {len(content)}", "", "")).encode() + content


def chunked(content: bytes) -> bytes:
    head = f"POST {V1} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)


def read(stream: IO[bytes]) -> tuple[int, dict[str, str], bytes]:
    status = int(stream.readline().split()[1])
    headers: dict[str, str] = {}
    for line in iter(stream.readline, b"\r\n"):
        name, _, value = line.decode().strip().partition(": ")
        assert name not in headers
        headers[name] = value
    return status, headers, stream.read(int(headers.get("content-length", 0)))


def scores(answers: list[tuple[int, dict[str, str], bytes]]) -> list[float]:
    assert [status for status, _, _ in answers] == [200] * len(answers)
    return [json.loads(content)["predictions"][0]["score"] for _, _, content in answers]


@pytest.fixture(scope="module")
def expected(served: Any) -> list[float]:
    with served.client() as client:
        found = [
            client.post(f"/v1/inference/{NAME}:predict", content=body(age)).json() for age in AGES
        ]
    return [answer["predictions"][0]["score"] for answer in found]


def whole(content: bytes) -> list[bytes]:
    return [post(content)]


UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ")
"""What curl --http2 and other clients ask for over plain HTTP, and get no answer to."""


ARRIVALS = {
    "whole": whole,
    "headers, then the body": lambda content: [post(content)[: -len(content)], content],
    "the body in two parts": lambda content: [post(content)[:-9], content[-9:]],
    "byte by byte": lambda content: [bytes([byte]) for byte in post(content)],
    "chunked": lambda content: [chunked(content)],
    "chunked, with a trailer": lambda content: [
        chunked(content)[:-2] + b"Content-Encoding: gzip\r\nX-Request-Id: ]\r\n\r\n"
    ],
    "with a query": lambda content: [post(content, path=f"{V1}?x=1")],
    "path with a slash at its end": lambda content: [post(content, path=f"{V1}/")],
    "path with an escape": lambda content: [post(content, path=V1.replace("c", "%63", 1))],
    "with a wish for another protocol": lambda content: [post(content, *UPGRADE)],
    "such a wish, byte by byte": lambda content: [
        bytes([byte]) for byte in post(content, *UPGRADE)
    ],
    "such a wish, chunked": lambda content: [
        chunked(content).replace(b"Host: x", "\r\n".join(("Host: x", *UPGRADE)).encode())
    ],
    "header names in capitals": lambda content: [post(content, "X-REQUEST-ID: 7")],
}


def asked(connection: socket.socket, *arrivals: Any) -> list[float]:
    """Return the scores of the ages, each asked for by a request that arrives in its own way."""
    stream = connection.makefile("rb")
    answers = []
    for age, arrival in zip(AGES, arrivals, strict=True):
        for part in arrival(body(age)):
            connection.sendall(part)
        answers.append(read(stream))
    return scores(answers)


@pytest.mark.parametrize("arrival", ARRIVALS.values(), ids=list(ARRIVALS))
def test_the_answer_is_the_same(
    connection: socket.socket, expected: list[float], arrival: Any
) -> None:
    assert asked(connection, arrival, arrival, arrival) == expected


@pytest.mark.parametrize("arrival", ARRIVALS.values(), ids=list(ARRIVALS))
def test_a_head_that_came_before_changes_no_answer(
    connection: socket.socket, expected: list[float], arrival: Any
) -> None:
    assert asked(connection, whole, arrival, whole) == expected


FOLLOWING = {
    "the next one": lambda second, third: [second + third],
    "a part of the next one": lambda second, third: [second + third[:-9], third[-9:]],
    "a part of its head": lambda second, third: [second + third[:9], third[9:]],
    "nothing, its body comes later": lambda second, third: [second[:-9], second[-9:] + third],
    "an empty line": lambda second, third: [second + b"\r\n", third],
}


@pytest.mark.parametrize("sent", FOLLOWING.values(), ids=list(FOLLOWING))
def test_behind_a_head_that_came_before_may_come(
    connection: socket.socket, expected: list[float], sent: Any
) -> None:
    stream = connection.makefile("rb")
    first, second, third = (post(body(age)) for age in AGES)
    connection.sendall(first)
    answers = [read(stream)]
    for part in sent(second, third):
        connection.sendall(part)
        time.sleep(0.02)
    answers += [read(stream), read(stream)]

    assert scores(answers) == expected


def test_a_body_that_looks_like_a_request_is_none(connection: socket.socket) -> None:
    stream = connection.makefile("rb")
    inner = post(body(30))
    connection.sendall(inner)
    read(stream)
    outer = post(inner)
    connection.sendall(outer[: -len(inner)])
    time.sleep(0.02)
    connection.sendall(inner)

    status, _, content = read(stream)
    assert (status, b"is not JSON" in content) == (400, True)


def test_whoever_asks_for_no_body_gets_none_the_second_time_either(
    connection: socket.socket, expected: list[float]
) -> None:
    asked = b"HEAD /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    stream = connection.makefile("rb")
    for _ in range(3):
        connection.sendall(asked)
        assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
        while stream.readline() != b"\r\n":
            pass
    connection.sendall(post(body(AGES[0])))

    assert scores([read(stream)]) == expected[:1]


@pytest.mark.parametrize("path", ["/nope", "/v1/models", f"/v2/models/{NAME}/ready"])
def test_a_large_body_for_what_takes_none_is_refused_each_time(
    connection: socket.socket, path: str
) -> None:
    stream = connection.makefile("rb")
    found = []
    for _ in range(3):
        connection.sendall(post(b" " * 150_000, path=path))
        found.append(read(stream)[0])

    assert set(found) == {405 if "models" in path else 404}


def test_each_answer_names_the_request_of_its_own_head(connection: socket.socket) -> None:
    stream = connection.makefile("rb")
    names = ["one", "two", "one", None, "two", None]
    for name in names:
        connection.sendall(post(body(30), *([f"X-Request-Id: {name}"] if name else [])))
    found = [read(stream)[1]["x-request-id"] for _ in names]

    assert [found[place] for place in (0, 1, 2, 4)] == ["one", "two", "one", "two"]
    assert found[3] != found[5]


def test_requests_sent_at_once_are_answered_in_their_order(
    connection: socket.socket, expected: list[float]
) -> None:
    first, second, third = (body(age) for age in AGES)
    connection.sendall(post(first) + chunked(second)[:-12])
    connection.sendall(chunked(second)[-12:] + post(third))
    stream = connection.makefile("rb")

    assert scores([read(stream) for _ in AGES]) == expected


def test_wishes_for_another_protocol_are_answered_in_their_order(
    connection: socket.socket, expected: list[float]
) -> None:
    first, second, third = (post(body(age), *UPGRADE) for age in AGES)
    wish = "\r\n".join(("GET /v1/models HTTP/1.1", "Host: x", *UPGRADE, "", "")).encode()
    connection.sendall(first + wish + second + third)
    stream = connection.makefile("rb")

    asked = [read(stream) for _ in range(4)]
    assert json.loads(asked.pop(1)[2]) == {"models": [NAME]}
    assert scores(asked) == expected


def test_a_small_request_behind_a_large_one_waits_for_its_turn(connection: socket.socket) -> None:
    many = json.dumps({"instances": json.loads(body(30))["instances"] * 2_000}).encode()
    connection.sendall(post(many) + post(body(20)))
    stream = connection.makefile("rb")

    counts = [len(json.loads(read(stream)[2])["predictions"]) for _ in range(2)]
    assert counts == [2_000, 1]


@pytest.mark.parametrize("rows", [1, 5_000], ids=["small", "large"])
def test_a_client_that_asks_no_more_gets_the_answer_to_what_it_asked(
    connection: socket.socket, rows: int
) -> None:
    (row,) = json.loads(body(20))["instances"]
    connection.sendall(post(json.dumps({"instances": [row] * rows}).encode()))
    connection.shutdown(socket.SHUT_WR)
    status, _, content = read(connection.makefile("rb"))

    assert (status, len(json.loads(content)["predictions"])) == (200, rows)


def test_a_refusal_keeps_the_connection(connection: socket.socket, expected: list[float]) -> None:
    stream = connection.makefile("rb")
    connection.sendall(post(b"{") + post(body(AGES[0])))

    assert read(stream)[0] == 400
    assert scores([read(stream)]) == expected[:1]


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(connection: socket.socket) -> None:
    content = body(30)
    request = post(content, "Expect: 100-continue")
    stream = connection.makefile("rb")
    connection.sendall(request[: -len(content)])
    assert stream.readline().startswith(b"HTTP/1.1 100")
    assert stream.readline() == b"\r\n"
    connection.sendall(content)

    assert read(stream)[0] == 200


CLOSING = {
    "Connection: close": post(body(30), "Connection: close"),
    "and a wish for another protocol": post(body(30), "Connection: close, Upgrade", "Upgrade: h2c"),
    "HTTP/1.0": post(body(30), version="1.0"),
}


@pytest.mark.parametrize("request_", CLOSING.values(), ids=list(CLOSING))
def test_the_connection_is_closed_where_the_client_asks_for_it(
    connection: socket.socket, request_: bytes
) -> None:
    connection.sendall(request_)
    stream = connection.makefile("rb")
    status, headers, _ = read(stream)

    assert (status, headers["connection"]) == (200, "close")
    assert stream.read() == b""


def test_nobody_is_tunnelled(connection: socket.socket) -> None:
    connection.sendall(b"CONNECT other:80 HTTP/1.1\r\nHost: other\r\n\r\nGET / HTTP/1.1\r\n\r\n")
    stream = connection.makefile("rb")
    status, headers, _ = read(stream)

    assert (status, headers["connection"]) == (404, "close")
    assert stream.read() == b""


INVALID = {
    "no HTTP": b"\0\1\2\3\r\n\r\n",
    "a length below zero": post(b"").replace(b"Length: 0", b"Length: -1"),
    "two lengths": post(body(30), "Content-Length: 1"),
    "a length and chunks": post(body(30), "Transfer-Encoding: chunked"),
    "a chunk of no length": chunked(body(30)).replace(b"\r\n\r\n", b"\r\n\r\nxyz", 1),
    "a header without a name": post(body(30), ": x"),
    "a header over two lines": post(body(30), "X-A: 1\r\n 2"),
}


HOSTLESS = post(body(30)).replace(b"Host: x\r\n", b"")
REFUSED = {
    "no host": (HOSTLESS, 400, "the header Host is missing"),
    "no host, to be continued": (
        HOSTLESS.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
        400,
        "the header Host is missing",
    ),
    "two hosts": (
        post(body(30)).replace(b"Host: x\r\n", b"Host: x\r\nhost: y\r\n"),
        400,
        "the header Host names two",
    ),
    "chunks of HTTP/1.0": (
        chunked(body(30)).replace(b"HTTP/1.1", b"HTTP/1.0"),
        400,
        "HTTP/1.0 has no Transfer-Encoding",
    ),
    "a coding of the body": (
        chunked(body(30)).replace(b": chunked", b": gzip, chunked"),
        501,
        "no Transfer-Encoding but chunked",
    ),
}


@pytest.mark.parametrize(("request_", "status", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_http_demands_is_demanded(
    connection: socket.socket, request_: bytes, status: int, message: str
) -> None:
    connection.sendall(request_)
    stream = connection.makefile("rb")
    found, headers, content = read(stream)

    assert (found, headers["connection"]) == (status, "close")
    assert json.loads(content)["error"].startswith(message)
    assert stream.read() == b""


def test_a_client_that_sends_an_endless_head_reads_why_it_is_refused(
    connection: socket.socket,
) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Filler: ")
    for _ in range(20):
        connection.sendall(b"x" * 1024 * 1024)
    stream = connection.makefile("rb")
    status, headers, _ = read(stream)

    assert (status, headers["connection"]) == (431, "close")
    assert stream.read() == b""


def test_a_client_of_http_1_0_names_no_host(connection: socket.socket) -> None:
    request = post(body(30), version="1.0").replace(b"Host: x\r\n", b"")
    connection.sendall(request.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))

    scores([read(connection.makefile("rb"))])


def test_a_body_may_say_in_any_case_that_it_is_sent_as_it_is(connection: socket.socket) -> None:
    connection.sendall(post(body(30), "Content-Encoding: Identity"))

    scores([read(connection.makefile("rb"))])


def test_a_request_that_begins_like_http_2_may_arrive_in_parts(connection: socket.socket) -> None:
    for part in (b"P", post(body(30))[1:]):
        connection.sendall(part)
        time.sleep(0.05)

    scores([read(connection.makefile("rb"))])


def test_a_client_of_http_2_may_begin_in_parts(connection: socket.socket) -> None:
    preface, settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0\0\0\4\0\0\0\0\0"
    for part in (preface[:1], preface[1:9], preface[9:] + settings):
        connection.sendall(part)
        time.sleep(0.05)

    frame = connection.makefile("rb").read(9)
    assert frame[3] == 4, "the settings of an HTTP/2 server"


@pytest.mark.parametrize("request_", INVALID.values(), ids=list(INVALID))
def test_what_is_no_http_is_refused_once_and_the_connection_closed(
    served: Any, connection: socket.socket, request_: bytes
) -> None:
    connection.sendall(request_)
    answer = connection.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1
    with served.client() as client:
        assert client.post(V1, content=body(30)).status_code == 200


def test_every_answer_says_when_and_by_what_it_was_made(connection: socket.socket) -> None:
    stream = connection.makefile("rb")
    connection.sendall(post(body(30)) + post(body("x")) + chunked(body(30)))
    answers = [read(stream) for _ in range(3)]

    names = [set(headers) for _, headers, _ in answers]
    assert names[0] == names[1] == names[2]
    assert {"date", "content-type", "x-request-id", "x-modelyard-model-digest"} <= names[0]
    assert len({headers["x-request-id"] for _, headers, _ in answers}) == 3
