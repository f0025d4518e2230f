"""The little of HTTP that the server needs: requests, responses, errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import orjson

from modelyard_runtimes.serve.substitute import Substitute

if TYPE_CHECKING:
    from modelyard_runtimes.serve.admission import Admission
    from modelyard_runtimes.serve.answering import Answering
    from modelyard_runtimes.serve.stream import Lines

Headers: TypeAlias = dict[bytes, bytes]
"""Headers of a request by name in lower case."""
Header: TypeAlias = tuple[bytes, bytes]

MAX_BODY = 32 * 1024 * 1024
"""Largest request body in bytes."""
MAX_DISCARDED = 8 * MAX_BODY
"""How much of a body that is too large is read, so that the client gets to see the answer."""
JSON_TYPE = b"application/json"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


_STATUSES = {status.value: f"{status.value} {status.phrase}".encode() for status in HTTPStatus}


class RequestError(Exception):
    """A request that gets no answer.

    Attributes:
        status: HTTP status: 4xx through the client's doing, 5xx through ours.
        message: For the client: the place in the body, what is wrong and what is expected.
        headers: Further headers of the response.
    """

    def __init__(self, status: int, message: str, *headers: Header) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


Handler: TypeAlias = "Callable[[bytes, bytes], Response]"
BatchedHandler: TypeAlias = "Callable[[bytes, bytes], Awaitable[Response]]"
UploadHandler: TypeAlias = "Callable[[Request], AbstractAsyncContextManager[Lines]]"
"""Returns what scores the body of a request, or raises a RequestError."""


class Route(NamedTuple):
    """What answers a path.

    Attributes:
        method: GET or POST; nothing where every request is refused.
        protocol: v1, v2, inference, explain or other; the label of the metrics.
        handler: Takes body and identifier of the request.
        application: Whose it is: by whom requests are let in, and whose headers answers have.
        weight: How many times as much work as in a prediction a byte of the body makes.
        batched: The same as handler, when others have come or something is done that it waits for;
            None where each is answered at once.
        upload: Takes a request whose body is scored as it arrives; None where it is read whole.
        refusal: What every request gets where all are refused.
    """

    method: str
    protocol: str
    handler: Handler
    application: Answering
    weight: int = 1
    batched: BatchedHandler | None = None
    upload: UploadHandler | None = None
    refusal: RequestError | None = None


@dataclass(slots=True)
class Request:
    """A request whose headers have arrived.

    Attributes:
        route: What answers it.
        headers: Its headers.
        since: When the headers were there, by `time.perf_counter`.
        close: Whether the connection is closed after the answer.
        only_head: Whether the client wants no body.
        method: Its method.
        target: What it asks for.
        body: Its body, once it is whole.
        refusal: Why it gets no answer.
        held: Bytes that it counts for while it holds a place in an `Admission`.
        holder: That admission.
    """

    route: Route
    headers: Headers
    since: float
    close: bool = False
    only_head: bool = False
    method: bytes = b""
    target: bytes = b""
    body: bytes = b""
    refusal: RequestError | None = None
    held: int | None = None
    holder: Admission | None = None


@dataclass(slots=True)
class Response:
    """A whole response.

    Attributes:
        body: Its body.
        status: HTTP status.
        content_type: Type of the body.
        headers: Its own headers.
        substitute: What answered instead of the model that serves; None where that did.
    """

    body: bytes
    status: int = 200
    content_type: bytes = JSON_TYPE
    headers: Sequence[Header] = ()
    substitute: Substitute | None = None

    def head(self, more: bytes) -> bytes:
        """Return what goes over the connection before the body.

        Args:
            more: Further header lines, each with its end.
        """
        own = b"".join([b"%b: %b\r\n" % pair for pair in self.headers]) if self.headers else b""
        return b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b%b\r\n" % (
            _STATUSES[self.status],
            self.content_type,
            len(self.body),
            more,
            own,
        )


def never_whole(_body: bytes, _request_id: bytes) -> Response:
    """Stand for the handler of a route whose bodies are scored as they arrive."""
    raise AssertionError("it is scored as it arrives")


def json_response(value: Any, substitute: Substitute | None = None) -> Response:
    """Return a value as a JSON response, and what gave it instead of the model that serves."""
    return Response(orjson.dumps(value), substitute=substitute)


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


def check_encoding(headers: Headers) -> None:
    """Refuse a body that is compressed or has binary parts.

    Raises:
        RequestError: it is.
    """
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise RequestError(415, "Content-Encoding is not supported; send the body as it is")
    if b"inference-header-content-length" in headers:
        raise RequestError(415, "binary tensor data is not supported; send JSON")


def check_framing(headers: Headers, version: str) -> None:
    """Refuse a request that does not say to whom it goes, or whose body is coded as none is here.

    Args:
        headers: Its headers.
        version: Its version of HTTP, as 1.1.

    Raises:
        RequestError: it is such a request (RFC 9112, 3.2 and 6.1).
    """
    if version == "1.1" and b"host" not in headers:
        raise RequestError(400, "the header Host is missing; send it, as HTTP/1.1 demands")
    if b"," in headers.get(b"host", b""):
        raise RequestError(400, "the header Host names two; send it once")
    if version != "1.1" and b"transfer-encoding" in headers:
        raise RequestError(400, f"HTTP/{version} has no Transfer-Encoding; send Content-Length")
    if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise RequestError(501, "no Transfer-Encoding but chunked is supported; send the body so")


def waits_for_leave(headers: Headers) -> bool:
    """Return whether a client sends its body once it is told to."""
    return headers.get(b"expect", b"").lower() == b"100-continue"


def body_size(headers: Headers) -> int | None:
    """Return how large the body says it is; None when it does not."""
    size = headers.get(b"content-length")
    # The parser has seen that it is a number below 2**64, but zeros may stand before it: int()
    # refuses thousands of digits.
    return int(size.lstrip(b"0") or b"0") if size is not None else None


def too_large() -> RequestError:
    """Return the refusal of a body that is larger than `MAX_BODY`."""
    limit = MAX_BODY // (1024 * 1024)
    return RequestError(
        413, f"the body is larger than {limit} MiB; send fewer instances in one request"
    )
