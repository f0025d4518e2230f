"""How long a connection may be idle, how long a request may take to arrive, how large its head is."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from modelyard_runtimes.serve.admission import LARGE_BODY
from modelyard_runtimes.serve.application import Application
from modelyard_runtimes.serve.connection import (
    KEEP_ALIVE_SECONDS,
    LINGER_SECONDS,
    MAX_HEAD,
    REQUEST_SECONDS,
    STALL_SECONDS,
    Connection,
)
from modelyard_runtimes.serve.heads import KnownHeads
from modelyard_runtimes.serve.http import MAX_BODY, RequestError
from modelyard_runtimes.serve.metrics import Metrics
from modelyard_runtimes.serve.outbox import Outbox
from modelyard_runtimes.serve.payload_log import NoPayloadLog
from modelyard_runtimes.serve.predictor import Predictor
from modelyard_runtimes.serve.upload import BLOCK, LEAST_BYTES, Places

from tests.serve.test_overload import until

BODY = json.dumps({"instances": [{"age": 1, "member": True, "plan": "gold"}]}).encode()
WHOLE = b"POST /v1/models/churn:predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)
METRICS = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"
LAST = WHOLE.replace(b"host: x", b"host: x\r\nconnection: close")
LARGE = json.dumps({"instances": [{"age": 1, "member": True, "plan": "gold"}] * 2000}).encode()
assert len(LARGE) >= LARGE_BODY
LAST_LARGE = (
    b"POST /v1/models/churn:predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(LARGE), LARGE)
)
TOO_LARGE = (
    b"POST /v1/models/churn:predict HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
    b"content-length: %d\r\n\r\n" % (MAX_BODY + 1)
)


class Wire(asyncio.Transport):
    """The other end of a connection: what was written to it, and whether it is still open."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.gone = asyncio.Event()
        self.aborted = False
        self.half_closed = False
        self.reading = True
        self.unsent = 0

    def write(self, data: Any) -> None:
        assert not self.half_closed  # as uvloop has it
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.closed = True
        self.gone.set()

    def write_eof(self) -> None:
        self.half_closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@pytest.fixture
async def ends(configure: Any, read_model: Any) -> tuple[Connection, Wire]:
    config = configure()
    application = Application(
        config, Predictor(read_model(config)), Metrics("churn", "v", "d"), NoPayloadLog()
    )
    outbox = Outbox(asyncio.get_running_loop())
    connection, wire = Connection(application, set(), KnownHeads(), outbox, Places()), Wire()
    connection.connection_made(wire)
    return connection, wire


def later(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_a_connection_stays_open_while_it_is_used(ends: tuple[Connection, Wire]) -> None:
    connection, wire = ends
    for minute in range(5):
        connection.data_received(WHOLE)
        connection.expire(later(minute * 60))

    await asyncio.sleep(0)
    assert wire.written.count(b"HTTP/1.1 200") == 5
    assert not wire.closed


async def test_an_idle_connection_is_closed(ends: tuple[Connection, Wire]) -> None:
    connection, wire = ends
    connection.data_received(WHOLE)
    connection.expire(later(1))
    connection.expire(later(KEEP_ALIVE_SECONDS - 1))
    assert not wire.closed
    connection.expire(later(KEEP_ALIVE_SECONDS + 2))

    assert wire.closed


@pytest.mark.parametrize("sent", [10, 60, len(WHOLE) - 1], ids=["line", "headers", "body"])
async def test_a_request_that_drips_is_ended_however_often_it_does(
    ends: tuple[Connection, Wire], sent: int
) -> None:
    connection, wire = ends
    for byte in WHOLE[:sent]:
        connection.data_received(bytes([byte]))
        connection.expire(later(1))
    assert wire.written == b""
    connection.expire(later(REQUEST_SECONDS + 1))

    assert wire.written.startswith(b"HTTP/1.1 408")
    assert wire.half_closed


async def test_a_request_whose_first_letter_came_alone_is_over_once_it_is_whole(
    ends: tuple[Connection, Wire],
) -> None:
    first, wire = ends
    first.data_received(WHOLE)  # its head is known from now on, to all connections
    connection = Connection(first._front, set(), first._heads, first._outbox, Places())
    connection.connection_made(wire)
    connection.data_received(WHOLE[:1])
    connection.data_received(WHOLE[1:])
    connection.expire(later(REQUEST_SECONDS + 1))
    await asyncio.sleep(0)

    assert wire.written.count(b"HTTP/1.1 200") == 2
    assert b"408" not in wire.written


async def test_an_endless_head_is_refused(ends: tuple[Connection, Wire]) -> None:
    connection, wire = ends
    connection.data_received(WHOLE[:40])
    for _ in range(MAX_HEAD // 65536 + 1):
        connection.data_received(b"x-header: " + b"x" * 65536 + b"\r\n")

    assert wire.written.startswith(b"HTTP/1.1 431")
    assert (wire.half_closed, wire.closed) == (True, False)
    written = wire.written
    connection.data_received(WHOLE)
    connection.expire(later(LINGER_SECONDS + 1))
    assert wire.closed
    assert wire.written == written


CHUNKED = WHOLE.partition(b"content-length")[0] + b"transfer-encoding: chunked\r\n\r\n"
BATCH = CHUNKED.replace(b":predict", b":batch").replace(b"host", b"content-type: text/csv\r\nhost")
ENDLESS = {
    "a trailer of a prediction": CHUNKED + b"1\r\n{\r\n0\r\nx-trailer: ",
    "an extension of a chunk": CHUNKED + b"1;x=",
    "a trailer of an upload": BATCH + b"8\r\nage,plan\r\n0\r\nx-trailer: ",
}


@pytest.mark.parametrize("begun", ENDLESS.values(), ids=list(ENDLESS))
async def test_what_is_no_body_has_an_end(ends: tuple[Connection, Wire], begun: bytes) -> None:
    connection, wire = ends
    connection.data_received(begun)
    for _ in range(MAX_HEAD // 65536 + 1):
        connection.data_received(b"x" * 65536)
    await asyncio.sleep(0)

    assert wire.written.startswith(b"HTTP/1.1 431")
    assert wire.half_closed


async def test_a_body_may_be_larger_than_a_head(ends: tuple[Connection, Wire]) -> None:
    connection, wire = ends
    connection.data_received(CHUNKED)
    for part in [*(LARGE[at : at + 4000] for at in range(0, len(LARGE), 4000)), b" " * MAX_HEAD]:
        connection.data_received(b"%x\r\n%b\r\n" % (len(part), part))
    assert wire.written == b""
    connection.data_received(b"0\r\n\r\n")
    await until(lambda: bool(wire.written))

    assert wire.written.startswith(b"HTTP/1.1 200")


async def test_a_length_may_have_thousands_of_zeros_before_it(
    ends: tuple[Connection, Wire],
) -> None:
    connection, wire = ends
    long = WHOLE.replace(b"content-length: ", b"content-length: " + b"0" * 5000)
    connection.data_received(long[:-9])
    connection.data_received(long[-9:])
    await asyncio.sleep(0)

    assert wire.written.startswith(b"HTTP/1.1 200")


async def test_answers_wait_while_the_client_does_not_read_them(
    ends: tuple[Connection, Wire],
) -> None:
    connection, wire = ends
    connection.pause_writing()
    connection.data_received(METRICS * 100)
    assert (wire.written, wire.reading) == (b"", False)
    connection.resume_writing()
    await asyncio.sleep(0)

    assert wire.written.count(b"HTTP/1.1 200") == 100
    assert wire.reading


async def test_a_client_that_takes_nothing_of_its_answer_is_let_go(
    ends: tuple[Connection, Wire],
) -> None:
    connection, wire = ends
    connection.data_received(METRICS)
    wire.unsent = 1000
    connection.expire(later(0))
    wire.unsent = 900  # it takes some
    connection.expire(later(STALL_SECONDS - 1))
    connection.expire(later(2 * STALL_SECONDS - 2))
    assert not wire.aborted
    connection.expire(later(2 * STALL_SECONDS))

    assert wire.aborted


async def test_what_follows_the_last_answer_is_neither_answered_nor_counted(
    ends: tuple[Connection, Wire],
) -> None:
    connection, wire = ends
    connection.data_received(LAST + WHOLE + b"no HTTP at all")
    await asyncio.sleep(0)

    assert wire.written.count(b"HTTP/1.1") == 1
    assert wire.closed
    counted = connection._front.find(b"GET", b"/metrics").handler(b"", b"").body
    assert b'modelyard_requests_total{model="churn",protocol="v1",status="200"} 1.0' in counted
    assert b'status="400"' not in counted


async def test_a_refusal_before_a_body_is_the_last_answer(ends: tuple[Connection, Wire]) -> None:
    connection, wire = ends
    connection.data_received(TOO_LARGE + TOO_LARGE + WHOLE)
    await asyncio.sleep(0)

    assert wire.written.count(b"HTTP/1.1") == 1
    assert wire.written.startswith(b"HTTP/1.1 413")
    assert (wire.half_closed, wire.closed, wire.aborted) == (True, False, False)


async def test_what_arrives_behind_the_last_answer_gives_its_place_back(
    ends: tuple[Connection, Wire],
) -> None:
    connection, wire = ends
    connection.data_received(LAST_LARGE + WHOLE[:-1])
    await asyncio.wait_for(wire.gone.wait(), 30)
    connection.connection_lost(None)

    assert wire.written.count(b"HTTP/1.1 200") == 1
    admission = connection._front.find(b"GET", b"/").application.admission
    assert len([admission.hold(0) for _ in range(128)]) == 128


async def test_a_lost_connection_gives_its_place_back(ends: tuple[Connection, Wire]) -> None:
    connection, _ = ends
    admission = connection._front.find(b"GET", b"/").application.admission
    places = [admission.hold(0) for _ in range(127)]
    connection.data_received(WHOLE[:-1])
    with pytest.raises(Exception, match="overloaded"):
        admission.hold(0)
    connection.connection_lost(None)

    places.append(admission.hold(0))
    assert len(places) == 128


HEADER = b"age,member,plan\n"
ROW = b"30,true,gold\n"
UPLOAD = (
    b"POST /v1/models/churn:batch HTTP/1.1\r\nhost: x\r\ncontent-type: text/csv\r\n"
    b"content-length: 999999999\r\n\r\n"
)


async def test_an_upload_may_take_long_and_must_not_drip(ends: tuple[Connection, Wire]) -> None:
    connection, wire = ends
    connection.data_received(UPLOAD + HEADER)
    for minute in range(10):
        connection.data_received(ROW * (LEAST_BYTES // len(ROW) + 1))
        connection.expire(later(minute * 60))
    assert wire.written == b""
    for second in range(REQUEST_SECONDS + 2):
        connection.data_received(ROW)
        connection.expire(later(9 * 60 + second))

    assert wire.written.startswith(b"HTTP/1.1 408")
    assert wire.half_closed
    connection.expire(later(12 * 60))
    assert wire.closed


async def test_an_upload_is_not_read_while_a_block_waits_or_its_client_does_not_read(
    ends: tuple[Connection, Wire],
) -> None:
    connection, wire = ends
    block = ROW * (BLOCK // len(ROW) + 1)
    connection.data_received(UPLOAD + HEADER + block)
    assert not wire.reading
    await until(lambda: wire.reading)
    connection.pause_writing()
    written = len(wire.written)
    connection.data_received(block)
    await asyncio.sleep(0.3)
    connection.data_received(block)
    await asyncio.sleep(0.3)
    assert not wire.reading, "one block is scored, one is there"
    connection.expire(later(10 * REQUEST_SECONDS))
    assert len(wire.written) <= written + 2**21
    connection.resume_writing()
    await until(lambda: wire.reading)
    connection.connection_lost(None)

    assert b"error" not in wire.written[-200:]


async def test_a_lost_upload_frees_its_place(ends: tuple[Connection, Wire]) -> None:
    connection, _ = ends
    connection.data_received(UPLOAD + HEADER)
    with pytest.raises(RequestError, match="one at a time"):
        connection._places.take()
    connection.connection_lost(None)

    connection._places.take()


async def test_the_head_of_what_is_refused_is_not_known(ends: tuple[Connection, Wire]) -> None:
    connection, wire = ends
    for _ in range(2):
        connection.data_received(WHOLE.replace(b"churn:predict", b"other:predict"))
    await asyncio.sleep(0)

    assert wire.written.count(b"HTTP/1.1 404") == 2
    assert not connection._heads._heads
