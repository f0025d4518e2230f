"""What every answer of a server has: who gives it, when, to which request; and that it is counted.

A server has one front that takes all requests, and a model behind it; a shared one has many.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools
import orjson
from modelyard.api.request_counts import NOT_A_PREDICTION
from modelyard.api.runtime import FALLBACK_HEADER, MODEL_DIGEST_HEADER, MODEL_VERSION_HEADER

from modelyard_runtimes.entry import failure_of, log
from modelyard_runtimes.model.errors import NotFinite
from modelyard_runtimes.serve.admission import LARGE_BODY, Admission
from modelyard_runtimes.serve.http import (
    Request,
    RequestError,
    Response,
    Route,
    check_encoding,
    error_response,
)
from modelyard_runtimes.serve.metrics import Answered
from modelyard_runtimes.serve.substitute import Substitute

if TYPE_CHECKING:
    from modelyard_runtimes.serve.stream import Lines

SERVER_METADATA = {"name": "modelyard", "version": "1", "extensions": []}
"""What V2 says of the server."""
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Answering:
    """Answers requests by routes of its own.

    Attributes:
        admission: Who is let in.
        served: Headers of every answer, which say who gave it.
        draining: Whether every answer says `Connection: close`, since the process is about to end.
    """

    def __init__(
        self,
        served: dict[str, str],
        metrics: Answered,
        admission: Admission,
        thread: ThreadPoolExecutor,
    ) -> None:
        """Prepare.

        Args:
            served: Headers of every answer.
            metrics: Where answers are counted.
            admission: Who is let in.
            thread: Where large requests are computed.
        """
        self.served = served
        self.admission = admission
        self.thread = thread
        self.draining = False
        self._answers = metrics
        self._ids = itertools.count()
        self._id_prefix = os.urandom(8).hex().encode()
        self._served_lines = lines_of(served)
        self.tell_date()

    def tell_date(self) -> None:
        """Have the next answers say that they are from now; called about once a second."""
        self._date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        self._lines = self._date + self._served_lines

    def drain(self) -> None:
        """Ask clients to go elsewhere: the process is about to end."""
        self.draining = True

    def served_by(self, substitute: Substitute | None) -> dict[str, str]:
        """Return the headers of an answer: those of the model, or of what answered instead."""
        if substitute is None:
            return self.served
        return self.served | {
            MODEL_VERSION_HEADER: substitute.version,
            MODEL_DIGEST_HEADER: substitute.digest,
            FALLBACK_HEADER: substitute.reason,
        }

    def answer(self, request: Request) -> bytes:
        """Return the whole answer to a request as it goes over its connection.

        Sets `request.close` when the connection has to be closed after it.
        """
        request_id = self.request_id(request.headers.get(b"x-request-id"))
        return self._whole(request, self._response(request, request_id), request_id)

    async def answer_later(self, request: Request) -> bytes:
        """Return the same of a request that may wait for others, or for a thread."""
        batched = request.route.batched
        if batched is None or is_large(request):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.thread, self.answer, request)
        request_id = self.request_id(request.headers.get(b"x-request-id"))
        try:
            check_encoding(request.headers)
            response = await batched(request.body, request_id)
        except Exception as error:
            response = _failed(error, request_id)
        return self._whole(request, response, request_id)

    def _whole(self, request: Request, response: Response, request_id: bytes) -> bytes:
        """Count a response, and return it as it goes over the connection."""
        request.close = request.close or self.draining
        self.answered(request.route.protocol, response.status, request.since)
        served = self._lines
        if response.substitute is not None:
            served = self._date + lines_of(self.served_by(response.substitute))
        lines = b"%bx-request-id: %b\r\n" % (served, request_id)
        if request.close:
            lines += b"connection: close\r\n"
        head = response.head(lines)
        return head if request.only_head else head + response.body

    def _response(self, request: Request, request_id: bytes) -> Response:
        """Return what the route's handler answers, or the error that it ran into."""
        try:
            if request.refusal is not None:
                return error_response(request.refusal)
            check_encoding(request.headers)
            return request.route.handler(request.body, request_id)
        except Exception as error:
            return _failed(error, request_id)

    def stream_head(self, request_id: bytes, lines: Lines, *, chunked: bool) -> bytes:
        """Return the head of an answer that follows line by line, the last of its connection.

        Args:
            request_id: Identifier of the request.
            lines: What the answer is made of.
            chunked: Whether it says where it ends; else the end of the connection does.
        """
        return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n%b%b%bx-request-id: %b\r\n%b" % (
            lines.content_type,
            b"transfer-encoding: chunked\r\n" if chunked else b"",
            self._lines,
            lines_of(lines.headers),
            request_id,
            b"connection: close\r\n\r\n",
        )

    def request_id(self, given: bytes | None) -> bytes:
        """Return the identifier that a client gives if it is printable and short, or a new one."""
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return b"%b-%x" % (self._id_prefix, next(self._ids))

    def answered(self, protocol: str, status: int, since: float) -> None:
        """Count an answer.

        Args:
            protocol: Label of the protocol.
            status: Its status in HTTP.
            since: When its request was there, by `time.perf_counter`.
        """
        self._answers.answered(protocol, status, time.perf_counter() - since)

    def fixed(self, value: dict[str, Any]) -> Route:
        """Return the route of a GET whose answer never changes."""
        body = orjson.dumps(value)
        return self.computed(lambda: Response(body))

    def computed(self, answer: Callable[[], Response]) -> Route:
        """Return the route of a GET that asks for no prediction."""
        return Route("GET", NOT_A_PREDICTION, lambda _body, _request_id: answer(), self)

    def refused(self, error: RequestError) -> Route:
        """Return the route of what is always refused."""

        def handler(_body: bytes, _request_id: bytes) -> Response:
            return error_response(error)

        return Route("", NOT_A_PREDICTION, handler, self, refusal=error)

    def checked(self, route: Route, method: str) -> Route:
        """Return the route of a path, or that of the refusal of a method."""
        if method == route.method or (method == "HEAD" and route.method == "GET"):
            return route
        allowed = (b"allow", route.method.encode())
        message = f"{method} is not allowed here; use {route.method}"
        return self.refused(RequestError(405, message, allowed))


def is_large(request: Request) -> bool:
    """Return whether others must not wait for a request to be computed."""
    return len(request.body) * request.route.weight >= LARGE_BODY


def path_of(target: bytes) -> str:
    """Return the path of a request's target, decoded."""
    try:
        return unquote(httptools.parse_url(target).path.decode())
    except (httptools.HttpParserInvalidURLError, ValueError, AttributeError):
        return target.decode("latin-1")


def lines_of(headers: dict[str, str]) -> bytes:
    """Return headers as they go over a connection."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


def _failed(error: Exception, request_id: bytes) -> Response:
    refusal = error if isinstance(error, RequestError) else unforeseen(error, request_id)
    return error_response(refusal)


def unforeseen(error: Exception, request_id: bytes) -> RequestError:
    """Log a fault of ours; return what its client is told, without a value of its request."""
    shown = request_id.decode()
    if isinstance(error, NotFinite):
        log.error("%s", error, extra={"fields": {"request": shown}})
        return RequestError(500, f"{error}; see request {shown}")
    log.error("%s", failure_of(error).message, extra={"fields": {"request": shown}})
    return RequestError(500, f"unforeseen error; see request {shown}")
