"""Loads an HTTP server on loopback over connections that each send one request after another.

A request costs this client some 15 microseconds of its own processor, far less than any server of
the rows; how busy it was is part of what it returns, as the proof.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import uvloop

LENGTH = b"content-length: "
END = b"\r\n\r\n"
PATIENCE = 30.0


def request(path: str, body: bytes) -> bytes:
    """Return a POST with a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass
class Load:
    """What came of some seconds of load.

    Attributes:
        latencies: Seconds from request to whole answer, of each answer with status 200.
        others: How many answers had each other status.
        seconds: How long it took.
        busy: Share of that time for which the client kept a processor busy.
    """

    latencies: list[float] = field(default_factory=list)
    others: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    busy: float = 0.0

    def percentile(self, share: float) -> float:
        """Return the latency within which this share of the requests was answered."""
        return sorted(self.latencies)[math.ceil(share * len(self.latencies)) - 1]


class _Connection(asyncio.Protocol):
    """Sends the next request once the answer to the last one is whole."""

    def __init__(self, requests: Iterator[bytes], load: Load) -> None:
        self._requests = requests
        self._load = load
        self._answer = b""
        self._whole = 0
        self._sent = 0.0
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer = self._answer + data if self._answer else data
        if not self._whole:
            end = self._answer.find(END)
            if end < 0:
                return
            start = self._answer.index(LENGTH) + len(LENGTH)
            size = int(self._answer[start : self._answer.index(b"\r", start)])
            self._whole = end + len(END) + size
        if len(self._answer) < self._whole:
            return
        status = int(self._answer[9:12])
        if status == 200:
            self._load.latencies.append(time.perf_counter() - self._sent)
        else:
            self._load.others[status] = self._load.others.get(status, 0) + 1
        self._answer, self._whole = b"", 0
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set_result(error)

    def _send(self) -> None:
        following = next(self._requests, None)
        if following is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(following)


def load(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    """Send requests, over and over, for some seconds.

    Raises:
        ConnectionError: the server closed its connections.
        TimeoutError: it did not answer.
    """
    made = Load()
    end = math.inf

    def until_the_end() -> Iterator[bytes]:
        for following in itertools.cycle(requests):
            if time.perf_counter() >= end:
                return
            yield following

    async def run() -> None:
        nonlocal end
        endless = until_the_end()
        loop = asyncio.get_running_loop()
        start, cpu = time.perf_counter(), time.process_time()
        end = start + seconds
        pairs = [
            await loop.create_connection(lambda: _Connection(endless, made), "127.0.0.1", port)
            for _ in range(connections)
        ]
        async with asyncio.timeout(seconds + PATIENCE):
            await asyncio.gather(*(connection.closed for _, connection in pairs))
        made.seconds = time.perf_counter() - start
        made.busy = (time.process_time() - cpu) / made.seconds
        if made.seconds < seconds:
            raise ConnectionError("the server closed its connections")

    uvloop.run(run())
    return made
