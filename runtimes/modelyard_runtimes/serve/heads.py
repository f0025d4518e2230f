"""Heads of POSTs that were parsed before: a client that stays sends the same bytes each time.

The parser calls back for each header, which costs as much as all else that HTTP takes. What is
found by its bytes is what the parser made of the same bytes, whoever sent them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from modelyard_runtimes.serve.http import Headers, Request

if TYPE_CHECKING:
    from modelyard_runtimes.serve.server import Front

MOST_HEADS = 256
"""Heads that are known; they differ by the length of the body, too."""
LONGEST = 2048
"""Bytes of a head that is kept."""
END = b"\r\n\r\n"
_NEW_EACH_TIME = (b"x-request-id", b"traceparent", b"b3", b"x-b3-traceid")
_SECRET = (b"authorization", b"cookie")
_LEFT_OUT = (*_NEW_EACH_TIME, *_SECRET, b"expect", b"transfer-encoding")
"""Headers with which a head is not kept: where it is of no use, or must not outlive its connection,
or does not say all."""


class _Head(NamedTuple):
    target: bytes
    headers: Headers
    size: int


class KnownHeads:
    """Heads of the requests of all connections of a server."""

    def __init__(self) -> None:
        """Know none."""
        self._heads: dict[bytes, _Head] = {}

    def request(self, front: Front, data: bytes) -> Request | None:
        """Return the request that a read is: one, whole, with a known head; else None.

        Args:
            front: What finds who answers it.
            data: The read, on a connection whose last request is whole.
        """
        end = data.find(END) + len(END)
        head = self._heads.get(data[:end])
        if head is None or head.size != len(data) - end:
            return None
        route = front.find(b"POST", head.target)
        return Request(
            route,
            head.headers,
            time.perf_counter(),
            method=b"POST",
            target=head.target,
            body=data[end:] if route.method == "POST" else b"",
        )

    def learn(self, data: bytes, last: Request) -> None:
        """Keep the head of a read, where it was one whole request that may come again.

        Args:
            data: The read, on a connection whose last request was whole before.
            last: The last request that it completed.
        """
        end, headers = data.find(END) + len(END), last.headers
        size = headers.get(b"content-length")
        if last.method != b"POST" or last.close or end > LONGEST:
            return
        if last.route.method != "POST":  # what is refused now may have an answer later
            return
        if size != b"%d" % (len(data) - end):  # the first of several has not all that follows
            return
        if any(name in headers for name in _LEFT_OUT):
            return
        if len(self._heads) >= MOST_HEADS:
            self._heads.clear()
        self._heads[data[:end]] = _Head(last.target, headers, len(data) - end)
