"""`:batch`: a body of any length is scored as it arrives, one line of answer for each row."""

from __future__ import annotations

import itertools
import json
import random
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from modelyard.api.traffic import RateLimit

from tests.serve.uploads import (
    BATCH,
    BODIES,
    CHUNKED,
    CSV,
    HEADER,
    JSON_LINES,
    LAST,
    chunk,
    chunks,
    connected,
    head,
    json_body,
    lines_back,
    memory,
    read_head,
    rows_of,
    whole,
)

PREDICT = "/v1/models/churn:predict"
MIB = 2**20
LINE = b"30,2000.5,true,gold\n"
GOOD = HEADER.encode() + LINE


@pytest.fixture(scope="module")
def served(module_serve: Any) -> Any:
    return module_serve()


def people(count: int) -> list[dict[str, Any]]:
    chance = random.Random(count)
    return [
        {
            "age": chance.randint(18, 90),
            "income": chance.choice([None, round(chance.uniform(0, 5000), 2)]),
            "member": chance.random() < 0.5,
            "plan": chance.choice(["basic", "gold", "unknown", None]),
            "since": chance.choice([None, "2026-01-01", "2025-06-30T12:30:00"]),
        }
        for _ in range(count)
    ]


def post(client: httpx.Client, body: Any, kind: str = CSV, path: str = BATCH) -> httpx.Response:
    return client.post(path, content=body, headers={"content-type": kind})


def until(answer: Callable[[], httpx.Response], status: int) -> httpx.Response:
    """Ask until the answer has a status."""
    end = time.monotonic() + 60
    while (found := answer()).status_code != status:
        assert time.monotonic() < end, found.text
        time.sleep(0.02)
    return found


def in_parts(body: bytes) -> Any:
    return (body[start : start + 777] for start in range(0, len(body), 777))


@pytest.mark.parametrize("sent", [bytes, in_parts], ids=["with its length", "chunked"])
@pytest.mark.parametrize("kind", BODIES)
def test_each_row_gets_in_its_order_what_predict_says(served: Any, kind: str, sent: Any) -> None:
    rows = people(9000)
    with served.client() as client:
        told = client.post(PREDICT, json={"instances": rows}).json()["predictions"]
        response = post(client, sent(BODIES[kind](rows)), kind)

    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith(kind)
    assert response.headers["x-modelyard-model-version"] == "churn-0123456789"
    found = rows_of(kind, response.content)
    assert [row["row"] for row in found] == list(range(9000))
    assert [row["label"] for row in found] == [one["label"] for one in told]
    for name, values in {
        "score": [one["score"] for one in told],
        "probability_no": [one["probabilities"]["no"] for one in told],
        "probability_yes": [one["probabilities"]["yes"] for one in told],
    }.items():
        assert [row[name] for row in found] == pytest.approx(values, abs=1e-12)


@pytest.mark.parametrize("kind", BODIES)
def test_a_regression_has_one_value_a_row(serve: Any, regression: Any, kind: str) -> None:
    rows = people(50)
    with serve(regression).client() as client:
        told = client.post(PREDICT, json={"instances": rows}).json()["predictions"]
        found = rows_of(kind, post(client, BODIES[kind](rows), kind).content)

    assert [row["prediction"] for row in found] == pytest.approx(told)
    assert set(found[0]) == {"row", "prediction"}


MISFITS = {
    CSV: (
        f"{HEADER}30,1,true,gold\nold,1,true,gold\n\n30,1,maybe,gold\n1,2\n30,inf,no,gold\n"
        '30,1,"tr"ue,gold\n31,,yes,"go\nld"\n32,1,true,gold\n'
    ),
    JSON_LINES: (
        '{"age": 30, "member": true, "plan": "gold"}\n'
        '{"age": "30", "member": true, "plan": "gold"}\n\n'
        '{"age": 30, "member": "maybe", "plan": "gold"}\n[1, 2]\n{"member": true, "plan": "gold"}\n'
        '{"age": 30,\n[31, null, true, "gold", null, null, null]\n[32, 1, true, "gold", null, null, null]'
    ),
}
WHY = {
    CSV: [
        "age: must be a number in plain notation",
        "member: must be true or false",
        "2 fields instead of 4",
        "income: must be",
        "a quote is not closed",
    ],
    JSON_LINES: [
        "age: must be a number, not a text",
        "member: must be true or false",
        "has 2 values, the model has 7",
        "age: is missing; send it",
        "it is no JSON",
    ],
}


@pytest.mark.parametrize("kind", MISFITS)
def test_a_row_that_does_not_fit_loses_no_other(served: Any, kind: str) -> None:
    with served.client() as client:
        response = post(client, MISFITS[kind], kind)
        good = client.post(
            PREDICT, json={"instances": [{"age": 32, "member": True, "plan": "gold", "income": 1}]}
        )

    rows = rows_of(kind, response.content)
    assert [row["row"] for row in rows] == list(range(8))
    assert [row["row"] for row in rows if "error" in row] == [1, 2, 3, 4, 5]
    for row, why in zip(rows[1:6], WHY[kind], strict=True):
        assert row["error"].startswith(why)
        assert set(row) == {"row", "error"}
    assert rows[7]["score"] == pytest.approx(good.json()["predictions"][0]["score"])


REFUSED = {
    "nothing": (CSV, b"", 400, "the body has no rows; send at least one"),
    "a header alone": (CSV, HEADER.encode(), 400, "the body has no rows"),
    "blank lines": (JSON_LINES, b"\n \n\n", 400, "the body has no rows"),
    "a required column that is missing": (
        CSV,
        b"age,plan\n30,gold\n",
        400,
        "line 1: the header names no column 'member', which the model needs; add it",
    ),
    "no header": (CSV, LINE, 400, "line 1: the header names no column 'age'"),
    "a broken header": (CSV, b'"age,plan\n', 400, "line 1: the header line has a broken quote"),
    "no row that fits": (
        CSV,
        f"{HEADER}\nold,1,true,gold\n1\n".encode(),
        400,
        "line 3: age: must be a number in plain notation, such as -1234.5; none of the first 2",
    ),
    "a body of predict": (
        JSON_LINES,
        b'{"instances": [{"age": 30}]}',
        400,
        "line 1: age: is missing; send it",
    ),
    "a JSON document": (JSON_LINES, b"[\n{}\n]\n", 400, "line 1: it is no JSON"),
    "a line without end": (
        CSV,
        HEADER.encode() + b"x" * 2 * MIB,
        413,
        "line 2 is longer than 1 MiB",
    ),
    "an object without end": (JSON_LINES, b"[" * 9 * MIB, 413, "line 1 is longer than 1 MiB"),
    "another type": ("application/json", b"{}", 415, "Content-Type: expected text/csv, or"),
    "another charset": ("text/csv; charset=latin1", GOOD, 415, "no charset but utf-8"),
}


@pytest.mark.parametrize(("kind", "body", "status", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_scored_at_all_is_refused_and_named(
    served: Any, kind: str, body: bytes, status: int, message: str
) -> None:
    with served.client() as client:
        response = post(client, body, kind)
        assert response.status_code == status, response.text
        assert message in response.json()["error"]
        assert response.headers["content-type"] == "application/json"
        assert len(response.content) < 1000
        assert post(client, GOOD).status_code == 200


def test_other_methods_paths_and_codings_are_refused_as_elsewhere(served: Any) -> None:
    with served.client() as client:
        assert client.get(BATCH).status_code == 405
        assert post(client, GOOD, path="/v1/models/other:batch").status_code == 404
        large = post(client, GOOD * (2 * MIB), path="/v1/models/other:batch")
        assert large.status_code == 404, "not a word of its size, where the name is wrong"
        coded = {"content-type": CSV, "content-encoding": "gzip"}
        assert client.post(BATCH, content=GOOD, headers=coded).status_code == 415
        assert post(client, GOOD, path=f"{BATCH}/?x=1").status_code == 200


def test_columns_that_are_no_features_are_passed_over_and_named(served: Any) -> None:
    body = "flower,age,plan,größe,member\n1,30,gold,2,true\n".encode()
    with served.client() as client:
        response = post(client, body)
        plain = post(client, b"age,plan,member\n30,gold,true\n")

    assert response.headers["x-modelyard-ignored-columns"] == "flower, gr%C3%B6%C3%9Fe"
    assert "x-modelyard-ignored-columns" not in plain.headers
    assert response.text == plain.text


def test_rows_and_requests_are_counted_and_not_logged(serve: Any, tmp_path: Path) -> None:
    served = serve()
    with served.client() as client:
        post(client, GOOD + LINE * 9 + b"old,1,true,gold\n")
        post(client, b"")
        client.post(PREDICT, json={"instances": people(1)})
        text = client.get("/metrics").text
    assert served.stop() == 0

    assert re.search(r'requests_total\{model="churn",protocol="batch",status="200"\} 1.0', text)
    assert re.search(r'requests_total\{model="churn",protocol="batch",status="400"\} 1.0', text)
    assert re.search(r'predictions_total\{model="churn"\} 11.0', text)
    logged = [path.read_text() for path in tmp_path.rglob("payloads/**/*.jsonl")]
    assert "".join(logged).count("\n") == 1


def test_it_counts_as_one_request_of_the_rate(serve: Any) -> None:
    with serve(rate_limit=RateLimit(requests_per_second=1, burst=1)).client() as client:
        assert post(client, GOOD).status_code == 200
        refused = until(lambda: post(client, GOOD), 429)

    assert "spec.traffic.rateLimit" in refused.json()["error"]
    assert int(refused.headers["retry-after"]) >= 1


def test_the_second_one_waits_and_online_predictions_do_not(served: Any) -> None:
    with connected(served.url) as connection, served.client() as client:
        connection.sendall(head(CSV, CHUNKED) + chunk(GOOD + LINE * 200_000))
        stream = connection.makefile("rb")
        assert read_head(stream)[0] == 200
        refused = post(client, GOOD)
        online = [client.post(PREDICT, json={"instances": people(n)}) for n in (1, 2000)]
        ready = client.get("/v2/health/ready")
        connection.sendall(chunk(LINE) + LAST)
        found = b"".join(chunks(stream))
        afterwards = until(lambda: post(client, GOOD), 200)

    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "5"
    assert "one at a time" in refused.json()["error"]
    assert [len(answer.json()["predictions"]) for answer in online] == [1, 2000]
    assert ready.status_code == 200
    assert found.count(b"\n") == 200_003
    assert afterwards.headers["connection"] == "close"


@pytest.mark.parametrize("sent", [b"", GOOD, GOOD + LINE * 300_000], ids=["none", "some", "much"])
def test_a_client_that_goes_away_frees_the_place(served: Any, sent: bytes) -> None:
    with connected(served.url) as connection:
        connection.sendall(head(CSV, CHUNKED) + (chunk(sent) if sent else b""))
        with served.client() as client:
            until(lambda: post(client, GOOD), 429)
    with served.client() as client:
        assert until(lambda: post(client, GOOD), 200).text.count("\n") == 2


def test_a_body_that_ends_too_early_is_refused(served: Any) -> None:
    with connected(served.url) as connection:
        connection.sendall(head(CSV, "Content-Length: 9999") + GOOD)
        connection.shutdown(1)
        stream = connection.makefile("rb")
        status, headers = read_head(stream)
        told = json.loads(stream.read())

    assert (status, headers["connection"]) == (400, "close")
    assert told["error"].startswith("the body ends too early; send all of it")


def test_a_line_that_is_too_long_later_on_ends_the_answer_and_says_so(served: Any) -> None:
    with connected(served.url) as connection:
        sent = head(CSV, CHUNKED) + chunk(GOOD + LINE * 200_000 + b"x" * 6 * MIB)
        sending = threading.Thread(target=connection.sendall, args=(sent,))
        sending.start()
        stream = connection.makefile("rb")
        status, _ = read_head(stream)
        found = list(chunks(stream))
        sending.join()

    assert status == 200
    assert found[-1], "the last chunk of an answer that is whole is empty"
    last = rows_of(CSV, found[0].partition(b"\n")[0] + b"\n" + found[-1])[-1]
    assert last["row"] == 200_001
    assert last["error"].startswith("line 200003 is longer than 1 MiB")
    assert "this row and all after it have no answer" in last["error"]
    assert b"".join(found).count(b"\n") == 200_003


def test_a_client_of_http_1_0_reads_until_the_end(served: Any) -> None:
    with connected(served.url) as connection:
        connection.sendall(whole(CSV, GOOD, version="1.0"))
        stream = connection.makefile("rb")
        status, headers = read_head(stream)
        found = stream.read()

    assert (status, "transfer-encoding" in headers) == (200, False)
    assert found.count(b"\n") == 2


def test_a_client_that_waits_for_leave_to_send_gets_it_or_a_refusal(served: Any) -> None:
    wish = "Expect: 100-continue"
    with connected(served.url) as first, connected(served.url) as second:
        first.sendall(head(CSV, f"Content-Length: {len(GOOD)}", wish))
        stream = first.makefile("rb")
        assert stream.readline().startswith(b"HTTP/1.1 100")
        stream.readline()
        second.sendall(head(CSV, "Content-Length: 999999999", wish))
        refused = read_head(second.makefile("rb"))
        first.sendall(GOOD)
        assert read_head(stream)[0] == 200
        assert b"".join(chunks(stream)).count(b"\n") == 2

    assert refused[0] == 429


def test_it_waits_for_what_was_asked_before_and_is_the_last(served: Any) -> None:
    large = json.dumps({"instances": people(3000)}).encode()
    before = whole("application/json", large, path=PREDICT)
    with connected(served.url) as connection:
        connection.sendall(before + whole(CSV, GOOD) + before)
        stream = connection.makefile("rb")
        status, headers = read_head(stream)
        first = json.loads(stream.read(int(headers["content-length"])))
        assert (status, len(first["predictions"])) == (200, 3000)
        assert read_head(stream)[0] == 200
        assert b"".join(chunks(stream)).count(b"\n") == 2
        assert stream.read() == b""


SMUGGLED = {
    "a length and chunks": head(CSV, "Content-Length: 5", CHUNKED) + chunk(GOOD) + LAST,
    "two lengths": head(CSV, "Content-Length: 5", "Content-Length: 6") + GOOD,
    "a length below zero": head(CSV, "Content-Length: -5") + GOOD,
    "a chunk of no length": head(CSV, CHUNKED) + b"xyz\r\n" + GOOD,
    "a chunk of a huge length": head(CSV, CHUNKED) + b"f" * 40 + b"\r\n" + GOOD,
    "a chunk longer than it says": head(CSV, CHUNKED) + chunk(GOOD)[:-2] + b"x\r\n" + LAST,
    "chunks of HTTP/1.0": head(CSV, CHUNKED, version="1.0") + chunk(GOOD) + LAST,
}


@pytest.mark.parametrize("sent", SMUGGLED.values(), ids=list(SMUGGLED))
def test_what_is_no_http_is_refused_once_and_the_connection_closed(
    served: Any, sent: bytes
) -> None:
    with connected(served.url) as connection:
        connection.sendall(sent + whole(CSV, GOOD))
        answer = connection.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1
    with served.client() as client:
        assert until(lambda: post(client, GOOD), 200)


def test_broken_chunks_after_the_first_lines_end_the_answer(served: Any) -> None:
    with connected(served.url) as connection:
        connection.sendall(head(CSV, CHUNKED) + chunk(GOOD + LINE * 200_000))
        stream = connection.makefile("rb")
        assert read_head(stream)[0] == 200
        connection.sendall(b"xyz\r\n")
        found = list(chunks(stream))

    assert b"the request is no valid HTTP; this row and all after it" in found[-1]


def test_what_is_whole_in_time_is_answered_when_the_server_ends(serve: Any) -> None:
    served = serve()
    with connected(served.url) as quick, served.client() as client:
        post(client, GOOD)
        quick.sendall(head(CSV, CHUNKED) + chunk(GOOD + LINE * 200_000))
        stream = quick.makefile("rb")
        assert read_head(stream)[0] == 200
        served.process.send_signal(signal.SIGTERM)
        quick.sendall(chunk(LINE) + LAST)
        found = list(chunks(stream))
    assert served.stop() == 0

    assert found[-1] == b""
    assert b"".join(found).count(b"\n") == 200_003


def test_what_is_not_is_told_so(serve: Any) -> None:
    served = serve()
    with connected(served.url) as slow:
        slow.sendall(head(CSV, CHUNKED) + chunk(GOOD + LINE * 200_000))
        stream = slow.makefile("rb")
        assert read_head(stream)[0] == 200
        served.process.send_signal(signal.SIGTERM)
        found = list(chunks(stream))
    assert served.stop() == 0

    assert b"the server is about to end; send the rows again; this row and all after" in found[-1]


def test_a_shared_server_loads_the_model_and_lets_in_one_at_a_time(shared: Any) -> None:
    for name in ("first", "second"):
        shared.put(name)
    served = shared.start()
    path = "/v1/models/{}:batch".format
    with served.client() as client, connected(served.url) as connection:
        cold = post(client, GOOD, path=f"{path('first')}/")
        warm = post(client, GOOD, path=path("first"))
        connection.sendall(head(CSV, CHUNKED, path=path("second")))
        refused = until(lambda: post(client, GOOD, path=path("first")), 429)
        connection.sendall(chunk(GOOD) + LAST)
        assert read_head(connection.makefile("rb"))[0] == 200
        assert post(client, GOOD, path=path("third")).status_code == 404
        assert client.get(path("second")).status_code == 405
        assert client.get("/").json()["batch"] == path("{name}")

    assert cold.status_code == 200
    assert cold.headers["x-modelyard-model-version"] == "first-1"
    assert cold.text == warm.text
    assert "one at a time" in refused.json()["error"]


STILL_SECONDS = 4
"""A server that is read from takes more of a body by then, be the machine busy."""


def send_until_full(connection: socket.socket, part: bytes) -> int:
    """Send a part again and again until nothing is taken for long; return the bytes sent."""
    sent = 0
    connection.settimeout(STILL_SECONDS)
    try:
        while sent < 1024 * MIB:
            sent += connection.send(part)
    except TimeoutError:
        connection.settimeout(60)
    return sent


def test_a_client_that_does_not_read_is_waited_for_in_the_same_memory(serve: Any) -> None:
    served = serve()
    part = LINE * 10_000
    with connected(served.url) as connection, served.client() as client:
        connection.sendall(head(CSV, "Content-Length: 2000000000") + GOOD)
        stream = connection.makefile("rb")
        assert send_until_full(connection, part) > 2 * MIB
        assert send_until_full(connection, part) == 0
        assert client.post(PREDICT, json={"instances": people(1)}).status_code == 200
        assert read_head(stream)[0] == 200
        held = []
        for _ in range(4):
            answered = sum(next(chunks(stream)).count(b"\n") for _ in range(60))
            assert answered > 100_000, "it goes on where its client reads"
            assert 0 < send_until_full(connection, part) < 100 * MIB
            held.append(memory(served.process, "VmRSS"))

    assert max(held) < held[1] + 32 * MIB
    assert max(held) < 500 * MIB


def test_many_megabytes_are_answered_row_by_row_in_little_memory(serve: Any) -> None:
    found = scored(serve(), 24 * MIB)

    assert found.rows_out == found.rows_in
    assert found.most < 500 * MIB


class Scored(NamedTuple):
    """Rows sent and answered, the most bytes that the server held, and the seconds it took."""

    rows_in: int
    rows_out: int
    most: int
    seconds: float


def scored(served: Any, size: int, kind: str = CSV) -> Scored:
    """Upload so many bytes."""
    first, line = (HEADER.encode(), LINE) if kind == CSV else (b"", json_body(people(1)))
    part = line * (MIB // len(line))
    parts = max(1, size // len(part))
    began = time.perf_counter()
    lines = 0
    for data in lines_back(served.url, kind, itertools.chain([first + part], [part] * (parts - 1))):
        lines += data.count(b"\n")
    seconds = time.perf_counter() - began
    headers = 1 if kind == CSV else 0
    return Scored(parts * part.count(b"\n"), lines - headers, memory(served.process), seconds)


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "size"), [(CSV, 1000**3), (JSON_LINES, 100 * MIB)])
def test_a_gigabyte_is_scored_in_less_than_500_mib(serve: Any, kind: str, size: int) -> None:
    found = scored(serve(), size, kind)

    speed = found.rows_in / found.seconds
    print(f"{kind}: {size >> 20} MiB, {found.rows_in:,} rows, {speed:,.0f} a second")
    print(f"the server held at most {found.most >> 20} MiB")
    assert found.rows_out == found.rows_in
    assert 0 < found.most < 500 * MIB
