"""An HTTP connection: llhttp parses, and what is whole is answered within the read that ended it.

A small prediction takes no task and no message, and a head that was parsed before is not parsed
again; its answer goes out with those of all others that this turn of the event loop has answered.
A large one, and every explanation, is computed in a thread; whatever its client sent behind it
waits for its turn, and nothing more is read meanwhile. A request that does not arrive within one
read holds a place of `Admission` until it is answered, so that what waits for slow clients is
bounded like everything else. A body that is scored as it arrives is left to `Upload`, and nothing
follows it. A connection that begins as HTTP/2 is that of a gRPC client: its bytes
go to the gRPC server, at the same port.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, cast

import httptools

from modelyard_runtimes.entry import log
from modelyard_runtimes.serve.answering import is_large
from modelyard_runtimes.serve.heads import KnownHeads
from modelyard_runtimes.serve.http import (
    CONTINUE,
    MAX_BODY,
    MAX_DISCARDED,
    Headers,
    Request,
    RequestError,
    body_size,
    check_framing,
    too_large,
    waits_for_leave,
)
from modelyard_runtimes.serve.outbox import Outbox
from modelyard_runtimes.serve.relay import End, relay
from modelyard_runtimes.serve.upload import Places, Upload

if TYPE_CHECKING:
    from modelyard_runtimes.serve.server import Front

KEEP_ALIVE_SECONDS = 75
"""Time after which an idle connection is closed; longer than the usual 60 s of proxies."""
REQUEST_SECONDS = 60
"""Time in which a request must have arrived."""
MAX_HEAD = 1024 * 1024
"""Bytes of a request before its body, and behind or between the parts of that."""
STALL_SECONDS = 60
"""Time in which a client must have taken some of what is sent to it."""
LINGER_SECONDS = 2
"""Time in which a client that is refused while it sends may send on and read why: bytes that nobody
reads would have the system take the answer back (RFC 9112, 9.6)."""
ENDING = RequestError(
    503, "the server is about to end; send the rows again", (b"retry-after", b"1")
)
HTTP_2 = b"PRI * HTTP/2"
"""How a client begins that knows that it talks HTTP/2, as those of gRPC do."""


class Connection(asyncio.Protocol):
    """One connection. The callbacks named `on_` are those of the parser."""

    def __init__(
        self,
        front: Front,
        connections: set[Connection],
        heads: KnownHeads,
        outbox: Outbox,
        places: Places,
    ) -> None:
        """Prepare.

        Args:
            front: What finds who answers.
            connections: All that are open; this one is among them for as long as it is.
            heads: What was parsed before, on any of them.
            outbox: Where the answers of all of them go.
            places: Whose bodies are scored as they arrive.
        """
        self._front = front
        self._connections = connections
        self._heads = heads
        self._outbox = outbox
        self._places = places
        self._loop = asyncio.get_running_loop()
        self._parser = self._new_parser()
        self._transport = cast(asyncio.Transport, None)
        self._url = b""
        self._headers: Headers = {}
        self._arriving = False
        self._overhead = 0
        """Bytes that have arrived since the last part of a body or the last whole request."""
        self._began: float | None = None
        """When the request that is arriving began; none unless it takes more than one read."""
        self._request: Request | None = None
        """The request whose headers are here and whose body is arriving."""
        self._whole: Request | None = None
        """The last request that the parser has completed."""
        self._parts: list[bytes] = []
        self._size = 0
        self._waiting: deque[Request] = deque()
        self._upload: Upload | None = None
        """The last request, whose body is scored as it arrives."""
        self._computing = False
        self._full = False
        self._ended = False
        self._refused = False
        self._lingers_since: float | None = None
        """When the client was told to send no more; none while it was not."""
        self._fresh = True
        self._begun = b""
        """The first bytes of a connection, while they may still become those of HTTP/2."""
        self._relaying: asyncio.Task[None] | None = None
        self._used = True
        self._idle_since = 0.0
        self._unsent = 0
        self._stalled_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start."""
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Answer nobody any more."""
        del error
        self._connections.discard(self)
        self._end()

    def eof_received(self) -> bool:
        """Send what was answered: who asks no more may still read.

        Returns:
            Whether the connection stays open, for one more answer.
        """
        self._outbox.send()
        if self._upload is None:
            return False
        if not self._upload.whole:
            self._upload.fail(RequestError(400, "the body ends too early; send all of it"))
        return True

    def data_received(self, data: bytes) -> None:
        """Take a read, and answer all requests that it completes."""
        if self._ended:
            return
        if self._fresh:
            data = self._begun + data
            if data.startswith(HTTP_2):
                self._transport.pause_reading()
                self._relaying = self._loop.create_task(self._relay(data))
                return
            if HTTP_2.startswith(data):  # it may become one
                self._begun = data
                self._began = self._began or self._loop.time()
                return
            self._fresh = False
        self._used = True
        begins = not (self._arriving or self._refused)
        if begins and (known := self._heads.request(self._front, data)) is not None:
            self._began = None
            self._take(known)
            return
        self._overhead += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(RequestError(400, "the request is no valid HTTP"))
            return
        if self._arriving:
            self._not_yet_whole()
        elif begins and self._whole is not None:
            self._heads.learn(data, self._whole)
        self._whole = None

    def _feed(self, data: bytes) -> None:
        """Parse a read. No other protocol is spoken: who asks for one is answered in this one.

        The parser leaves out the body of a request that asks (RFC 9110, 7.8), so another one gets
        the request without that wish.
        """
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as told:
                if self._parser.get_method() == b"CONNECT":  # it was answered as any other
                    return
                data = self._without_upgrade() + data[told.args[0] :]
            else:
                return

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # A client may send on after `Connection: close`; what it asked before is still answered.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _without_upgrade(self) -> bytes:
        """Return the head of the request that is arriving without the wish, for a new parser."""
        headers = {name: value for name, value in self._headers.items() if name != b"upgrade"}
        wishes = headers.pop(b"connection", b"").lower().split(b",")
        if b"close" in [wish.strip() for wish in wishes]:
            headers[b"connection"] = b"close"
        lines = b"".join(b"%b: %b\r\n" % header for header in headers.items())
        head = b"%b %b HTTP/%b\r\n%b\r\n" % (
            self._parser.get_method(),
            self._url,
            self._parser.get_http_version().encode(),
            lines,
        )
        self._parser = self._new_parser()
        self._url = b""
        self._headers = {}
        return head

    def pause_writing(self) -> None:
        """Read no more from a client that does not read its answers."""
        self._full = True
        if self._upload is not None:
            self._upload.stop_sending()
        if not self._computing:  # else that has done so, or knows how much it reads
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._full = False
        if self._upload is not None:
            self._upload.send_on()
        self._go_on()

    def expire(self, now: float) -> None:
        """Close the connection when it was idle, or something takes its client, for too long.

        Args:
            now: Present time of the event loop; this is called about once a second.
        """
        if self._relaying:
            return
        if self._is_stalled(now):
            self._transport.abort()
            return
        if self._lingers_since is not None and now - self._lingers_since > LINGER_SECONDS:
            self._transport.close()
        if self._upload is not None:
            self._upload.expire(now, REQUEST_SECONDS)
        if self._computing or self._waiting:
            return
        if self._began is not None:
            if now - self._began > REQUEST_SECONDS:
                self._refuse(
                    RequestError(408, f"the request did not arrive within {REQUEST_SECONDS} s")
                )
        elif self._used:
            self._used = False
            self._idle_since = now
        elif now - self._idle_since > KEEP_ALIVE_SECONDS:
            self._transport.close()

    def close(self) -> None:
        """Close the connection once what was answered is sent."""
        if self._upload is not None:
            self._upload.fail(ENDING)
        self._outbox.send()
        self._transport.close()

    def on_message_begin(self) -> None:
        """Start a request."""
        self._arriving = True

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; of several with one name the values are a list (RFC 9110, 5.3).

        Those after the body may not be merged with them (6.5.1) and are passed over.
        """
        if self._request is not None or self._upload is not None:
            return
        name, headers = name.lower(), self._headers
        headers[name] = b"%b, %b" % (headers[name], value) if name in headers else value

    def on_headers_complete(self) -> None:
        """Find what answers the request; nothing does after the last answer."""
        if self._ended or self._upload is not None:
            return
        parser = self._parser
        method = parser.get_method()
        if parser.should_upgrade() and method != b"CONNECT":
            return  # `_feed` has it parsed again
        version = parser.get_http_version()
        request = self._request = Request(
            self._front.find(method, self._url),
            self._headers,
            time.perf_counter(),
            close=not parser.should_keep_alive() or parser.should_upgrade() or version != "1.1",
            only_head=method == b"HEAD",
            method=method,
            target=self._url,
        )
        try:
            check_framing(request.headers, version)
        except RequestError as error:
            request.refusal = error
            request.close = True
            return
        if request.route.upload is not None:
            self._begin_upload(request, chunked=version == "1.1")
        elif waits_for_leave(request.headers) and version == "1.1":
            self._let_continue(request)

    def _begin_upload(self, request: Request, *, chunked: bool) -> None:
        """Take a request whose body is scored as it arrives; no other one follows it."""
        self._request = None
        self._url = b""
        self._headers = {}
        self._upload = Upload(
            request, self._transport, self._places, self._uploaded, chunked=chunked
        )
        self._take(request)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; it is kept where it can be of use."""
        self._overhead = 0
        request = self._request
        if request is None:
            if self._upload is not None:
                self._upload.take(body)
            return
        self._size += len(body)
        if self._size > MAX_BODY and request.refusal is None:
            request.refusal = request.route.refusal or too_large()
            request.close = True
        if request.refusal is not None:
            self._parts.clear()
            if self._size > MAX_DISCARDED:
                self._refuse(request.refusal)
        elif request.route.method == "POST":
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """Answer the request, unless another one is first."""
        self._overhead = 0
        request = self._request
        if request is None:
            if self._upload is not None:
                self._upload.complete()
            return
        parts = self._parts
        request.body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._request = None
        self._url = b""
        self._headers = {}
        self._arriving = False
        self._began = None
        self._parts = []
        self._size = 0
        self._whole = request
        self._take(request)

    async def _relay(self, data: bytes) -> None:
        """Leave the connection to the gRPC server of this process."""
        end = End(partial(self._connections.discard, self))
        try:
            await relay(self._transport, await self._front.rpc_address(), data, end)
        except Exception as error:
            log.error("gRPC: %s: %s", type(error).__name__, error)
            self._transport.close()

    def _not_yet_whole(self) -> None:
        """Bound the time, the bytes and the number of requests that arrive in parts."""
        if self._overhead > MAX_HEAD:
            self._refuse(RequestError(431, f"headers or trailers are larger than {MAX_HEAD} bytes"))
            return
        if self._upload is not None:  # it knows its other bounds
            return
        if self._began is None:
            self._began = self._loop.time()
        if self._request is not None:
            self._hold(self._request, body_size(self._request.headers))

    def _let_continue(self, request: Request) -> None:
        """Tell a client that waits for it to send its body, or refuse the request at once."""
        size = body_size(request.headers)
        if size is not None and size > MAX_BODY:
            request.refusal = too_large()
        else:
            self._hold(request, size)
        if request.refusal is not None:
            self._refuse(request.refusal)
        elif not (self._computing or self._waiting):  # else it sends the body by itself in a while
            self._outbox.put(self._transport, CONTINUE)

    def _hold(self, request: Request, size: int | None) -> None:
        if request.held is None and request.refusal is None and request.route.method == "POST":
            counted = size if size is None else size * request.route.weight
            admission = request.holder = request.route.application.admission
            try:
                request.held = admission.hold(counted)
            except RequestError as error:
                request.refusal = error

    def _release(self, request: Request) -> None:
        if request.held is not None and request.holder is not None:
            request.holder.release(request.held)
            request.held = None

    def _refuse(self, error: RequestError) -> None:
        """Answer what has arrived of a request with an error, and end the connection."""
        if self._ended:
            return
        if self._upload is not None:
            self._upload.fail(error)
            return
        request = self._request
        if request is None:
            route = self._front.find(b"", b"")
            request = Request(route, {}, time.perf_counter())
        request.refusal = error
        request.close = True
        self._request = None
        self._arriving = False
        self._began = None
        self._refused = True
        self._take(request)

    def _take(self, request: Request) -> None:
        if self._computing or self._full or self._waiting:
            self._waiting.append(request)
        else:
            self._answer(request)

    def _answer(self, request: Request) -> None:
        if self._upload is not None and self._upload.request is request:
            self._computing = True
            self._outbox.send()
            self._upload.begin()
            return
        application = request.route.application
        later = request.route.batched is not None or is_large(request)
        if request.held is None and request.refusal is None and request.route.method == "POST":
            if later:
                self._hold(request, len(request.body))
            else:
                try:
                    application.admission.admit_at_once()
                except RequestError as error:
                    request.refusal = error
        if later and request.refusal is None:
            self._wait_for(request, self._loop.create_task(application.answer_later(request)))
        else:
            self._write(request, application.answer(request))

    def _wait_for(self, request: Request, answer: asyncio.Future[bytes]) -> None:
        """Read no more before a request is answered."""
        self._computing = True
        self._transport.pause_reading()
        answer.add_done_callback(partial(self._computed, request))

    def _computed(self, request: Request, answer: asyncio.Future[bytes]) -> None:
        self._computing = False
        error = None if answer.cancelled() else answer.exception()
        if error is not None:
            log.error("an answer cannot be made: %s", type(error).__name__)
        if error is not None or answer.cancelled() or self._ended:
            self._release(request)
            self._transport.abort()
            return
        self._write(request, answer.result())
        self._go_on()

    def _write(self, request: Request, answer: bytes) -> None:
        self._release(request)
        if self._ended:
            return
        self._outbox.put(self._transport, answer)
        if request.close:
            self._outbox.send()
            if self._refused:
                self._linger()
            else:
                self._end()
                self._transport.close()

    def _uploaded(self, refusal: RequestError | None) -> None:
        """Let go of an upload that is answered, or answer it by a refusal."""
        upload, self._upload = self._upload, None
        self._computing = False
        self._refused = True
        if upload is None:
            return
        if refusal is None:
            self._linger()
        else:
            request = upload.request
            request.refusal, request.close = refusal, True
            self._write(request, request.route.application.answer(request))
        self._transport.resume_reading()

    def _linger(self) -> None:
        """Send no more, and let a client that sends on read what it was answered."""
        self._end()
        self._transport.write_eof()
        self._lingers_since = self._loop.time()

    def _end(self) -> None:
        """Answer nothing more; give back what requests held that nobody answers."""
        self._ended = True
        for request in (self._request, *self._waiting):
            if request is not None:
                self._release(request)
        self._request = None
        self._waiting.clear()
        if self._upload is not None:
            self._upload.leave()
            self._upload = None

    def _go_on(self) -> None:
        """Answer what waited and send it, then read on: a refused client may send more."""
        while self._waiting and not (self._computing or self._full):
            self._answer(self._waiting.popleft())
        self._outbox.send()
        if not (self._computing or self._full):
            self._transport.resume_reading()

    def _is_stalled(self, now: float) -> bool:
        """Return whether a client has taken nothing of what is sent to it for too long."""
        unsent = self._transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent:
            self._unsent, self._stalled_since = unsent, now
        return now - self._stalled_since > STALL_SECONDS
