"""An answer that is sent line by line while it is made."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from modelyard_runtimes.entry import log
from modelyard_runtimes.serve.http import RequestError

if TYPE_CHECKING:
    from modelyard_runtimes.serve.http import Request


class Answer(NamedTuple):
    """Some lines of an answer, and to how many rows."""

    lines: bytes
    rows: int


class Lines(Protocol):
    """What scores the lines of one body, called by one thread at a time.

    Attributes:
        content_type: Type of the answer.
        headers: Further headers of the answer, known once the first lines of it are.
    """

    content_type: bytes
    headers: dict[str, str]

    def take(self, block: bytes) -> Iterator[Answer]:
        """Yield the answers to the lines that are whole by now.

        Raises:
            RequestError: the body cannot be read on.
        """

    def last(self) -> Iterator[Answer]:
        """Yield the answers to what is left once the body is over.

        Raises:
            RequestError: the body cannot be read on.
        """

    def ended(self, row: int, message: str) -> bytes:
        """Return the line that says why from this row on there are no others."""


class Stream:
    """The answer to one request; it is the last one of its connection.

    Attributes:
        begun: Whether its head is sent, and with it the status.
    """

    def __init__(
        self, request: Request, request_id: bytes, transport: asyncio.Transport, *, chunked: bool
    ) -> None:
        """Send nothing yet.

        Args:
            request: The request.
            request_id: Its identifier.
            transport: Its connection.
            chunked: Whether the client knows chunks.
        """
        self._chunked = chunked
        self._request = request
        self._request_id = request_id
        self._transport = transport
        self._rows = 0
        self.begun = False

    def send(self, lines: Lines, answer: Answer) -> None:
        """Send some lines, and before the first ones the head."""
        if not self.begun:
            self.begun = True
            application = self._request.route.application
            head = application.stream_head(self._request_id, lines, chunked=self._chunked)
            self._transport.write(head)
        self._rows += answer.rows
        self._write(answer.lines)

    def end(self) -> None:
        """Say that this was all."""
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
        self._count(200)

    def break_off(self, lines: Lines, error: RequestError) -> None:
        """Say in a last line why no others follow; where it is chunked, its end stays away too."""
        message = f"{error.message}; this row and all after it have no answer"
        self._write(lines.ended(self._rows, message))
        self._count(error.status)
        fields = {"request": self._request_id.decode(), "rows": self._rows}
        log.warning("a batch breaks off: %s", error.message, extra={"fields": fields})

    def _count(self, status: int) -> None:
        route = self._request.route
        route.application.answered(route.protocol, status, self._request.since)

    def _write(self, data: bytes) -> None:
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
        self._transport.write(chunk)
