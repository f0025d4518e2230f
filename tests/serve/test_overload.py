"""More requests than can be answered: some are answered in time, the rest get 429, none fails."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

NAME = "churn"
V1 = f"/v1/models/{NAME}:predict"
LIMIT = 8
ROWS = 200
"""Of a costly request, so that the client of a test is no match for three servers."""
CAPACITY_SECONDS, SAMPLE_SECONDS = 2.0, 10.0


def body(rows: int = 1) -> bytes:
    instance = {"age": 30, "income": 2000.5, "member": True, "plan": "gold"}
    return json.dumps({"instances": [instance] * rows}).encode()


def request(content: bytes, *headers: str) -> bytes:
    lines = (f"POST {V1} HTTP/1.1", "host: x", f"content-length: {len(content)}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def chunked(content: bytes) -> bytes:
    head = f"POST {V1} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)


async def answers(url: str, requests: list[bytes]) -> Counter[int]:
    """Send each request on a connection of its own, all at the same moment; count the answers."""
    host, port = url.removeprefix("http://").split(":")
    connections = [await asyncio.open_connection(host, int(port)) for _ in requests]
    for (_, writer), content in zip(connections, requests, strict=True):
        writer.write(content)
    found: Counter[int] = Counter()
    for reader, writer in connections:
        status, headers, _ = await answer(reader)
        found[status] += 1
        assert ("retry-after" in headers) == (status == 429)
        writer.close()
    return found


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    content = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, content


async def test_bodies_of_unknown_length_beyond_a_few_get_429_and_the_server_goes_on(
    serve: Any,
) -> None:
    served = serve()

    found = await answers(served.url, [chunked(body(5_000))] * 12)

    assert set(found) == {200, 429}
    assert found[200] >= 4
    with served.client() as client:
        assert client.post(V1, content=body()).status_code == 200


async def test_requests_whose_bodies_are_awaited_hold_their_places(serve: Any) -> None:
    served = serve(max_in_flight=LIMIT)
    host, port = served.url.removeprefix("http://").split(":")
    whole = request(body())
    held = [await asyncio.open_connection(host, int(port)) for _ in range(LIMIT)]
    for _, writer in held:
        writer.write(whole[:-5])
    with served.client() as client:
        await until(lambda: client.post(V1, content=body()).status_code == 429)
        refused = client.post(V1, content=body())
        probe = client.get("/v2/health/ready")
        for reader, writer in held:
            writer.write(whole[-5:])
            assert (await answer(reader))[0] == 200
            writer.close()
        afterwards = client.post(V1, content=body())

    assert refused.headers["retry-after"] == "1"
    assert f"{LIMIT} requests are in flight" in refused.json()["error"]
    assert "spec.traffic.maxInFlight" in refused.json()["error"]
    assert probe.status_code == 200
    assert afterwards.status_code == 200


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come to hold")


def test_what_is_refused_is_counted(serve: Any) -> None:
    served = serve(max_in_flight=1)
    with served.client() as client:
        asyncio.run(answers(served.url, [chunked(body(5_000))] * 6))
        text = client.get("/metrics").text

    assert 'protocol="v1",status="429"' in text


async def pressed(
    url: str, connections: int, seconds: float, rate: float = math.inf
) -> tuple[Counter[int], list[float]]:
    """Send costly requests over many connections.

    Args:
        url: Of the server.
        connections: How many there are; each sends when it has its last answer.
        seconds: How long.
        rate: How many requests a second are sent by all together, at most.

    Returns:
        Answers by status, and how many seconds each with status 200 took.
    """
    host, port = url.removeprefix("http://").split(":")
    content = request(body(ROWS))
    found: Counter[int] = Counter()
    accepted: list[float] = []
    start = time.perf_counter()

    async def client(position: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for turn in itertools.count():
            due = start + (turn * connections + position) / rate
            await asyncio.sleep(due - time.perf_counter())
            sent = time.perf_counter()
            if sent > start + seconds:
                writer.close()
                return
            writer.write(content)
            status, headers, _ = await answer(reader)
            found[status] += 1
            assert ("retry-after" in headers) == (status == 429)
            if status == 200:
                accepted.append(time.perf_counter() - sent)

    await asyncio.gather(*(client(position) for position in range(connections)))
    return found, accepted


def capacity(url: str) -> float:
    """Return how many requests a second are answered when a few connections keep it busy."""
    found, _ = asyncio.run(pressed(url, 4, CAPACITY_SECONDS))
    assert set(found) == {200}
    return found[200] / CAPACITY_SECONDS


def test_three_times_the_capacity_fails_nowhere(serve: Any) -> None:
    served = serve(max_in_flight=LIMIT)

    found, accepted = asyncio.run(
        pressed(served.url, LIMIT * 16, SAMPLE_SECONDS, 3 * capacity(served.url))
    )

    assert set(found) <= {200, 429}, found
    assert len(accepted) > 100
    assert served.process.poll() is None
