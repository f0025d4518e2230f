"""The little of HTTP that the server needs on top of ASGI: errors, responses, bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

import orjson

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Header: TypeAlias = tuple[bytes, bytes]

MAX_BODY = 32 * 1024 * 1024
"""Largest request body in bytes."""
MAX_DISCARDED = 8 * MAX_BODY
"""How much of a body that is too large is read, so that the client gets to see the answer."""
BODY_SECONDS = 60.0
"""Time in which a body must arrive."""
JSON_TYPE = b"application/json"


_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


class RequestError(Exception):
    """A request that cannot be answered, through the client's doing.

    Attributes:
        status: HTTP status, 4xx.
        message: For the client: the place in the body, what is wrong and what is expected.
        headers: Further headers of the response.
    """

    def __init__(self, status: int, message: str, *headers: Header) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


class ClientGoneError(Exception):
    """The client closed the connection before it had sent the whole request."""


@dataclass(slots=True)
class Response:
    """A whole response."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON_TYPE
    headers: Sequence[Header] = ()

    def to_http(self, more: Sequence[Header] = ()) -> bytes:
        """Return it as it goes over a connection that stays open.

        Args:
            more: Further headers.
        """
        parts = [
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n"
            % (self.status, _PHRASES[self.status], self.content_type, len(self.body))
        ]
        parts += [b"%b: %b\r\n" % pair for pair in more]
        parts += [b"%b: %b\r\n" % pair for pair in self.headers]
        parts += (b"\r\n", self.body)
        return b"".join(parts)


def json_response(value: Any) -> Response:
    """Return a value as a JSON response."""
    return Response(orjson.dumps(value))


def error_response(error: RequestError) -> Response:
    """Return the response that tells a client of its error: `{"error": ...}`."""
    return Response(orjson.dumps({"error": error.message}), error.status, headers=error.headers)


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises:
        RequestError: it is no JSON, has NaN or an infinite number, is nested too deeply, or is
            another value than an object.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise RequestError(400, f"the body must be a JSON object, not {type_name(value)}")
    return value


def type_name(value: Any) -> str:
    """Return what to call the type of a JSON value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names[type(value)]


def shortened(text: str) -> str:
    """Return a name that a client sent, quoted and cut so that it can stand in an error."""
    return repr(text if len(text) <= 80 else f"{text[:80]}...")


def header(headers: Sequence[Header], name: bytes) -> bytes | None:
    """Return a header of a request; `name` is in lower case."""
    for key, value in headers:
        if key == name:
            return value
    return None


def check_encoding(headers: Sequence[Header]) -> None:
    """Refuse a body that is compressed or has binary parts.

    Raises:
        RequestError: it is.
    """
    for name, value in headers:
        if name == b"content-encoding" and value != b"identity":
            raise RequestError(415, "Content-Encoding is not supported; send the body as it is")
        if name == b"inference-header-content-length":
            raise RequestError(415, "binary tensor data is not supported; send JSON")


def body_size(headers: Sequence[Header]) -> int | None:
    """Return how large the body says it is; None when it does not."""
    size = header(headers, b"content-length")
    return int(size) if size is not None else None


async def read_body(receive: Receive) -> bytes:
    """Return the whole body of a request.

    Raises:
        RequestError: it is too large, or does not arrive in time.
        ClientGoneError: the client closed the connection.
    """
    first = await _receive(receive)
    if not first.get("more_body"):
        body: bytes = first.get("body", b"")
        if len(body) > MAX_BODY:
            raise _too_large()
        return body
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read_rest(first, receive)
    except TimeoutError:
        raise RequestError(
            408, f"the body did not arrive within {BODY_SECONDS:.0f} s", (b"connection", b"close")
        ) from None


async def _read_rest(message: Message, receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        part: bytes = message.get("body", b"")
        size += len(part)
        if size <= MAX_BODY:
            parts.append(part)
        else:
            parts.clear()
        more = message.get("more_body", False)
        if size > MAX_DISCARDED or (size > MAX_BODY and not more):
            raise _too_large()
        if not more:
            return b"".join(parts)
        message = await _receive(receive)


async def _receive(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    return message


def _too_large() -> RequestError:
    limit = MAX_BODY // (1024 * 1024)
    return RequestError(
        413,
        f"the body is larger than {limit} MiB; send fewer instances in one request",
        (b"connection", b"close"),
    )
