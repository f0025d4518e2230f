"""Load shedding: no more requests are in flight than are answered in good time.

What comes beyond gets 429 with Retry-After at once, which costs a fraction of an answer. So whoever
is admitted waits for a bounded number of others, and memory is bounded, whatever the load.
"""

from __future__ import annotations

import asyncio

from modelyard_runtimes.serve.http import MAX_BODY, RequestError

MAX_BYTES = 4 * MAX_BODY
"""Bytes of bodies in flight; a body takes memory many times its size."""
RETRY_SECONDS = 1


class Admission:
    """Counts requests in flight, and refuses what comes beyond."""

    def __init__(self, limit: int) -> None:
        """Start with none in flight.

        Args:
            limit: How many may be in flight.
        """
        self._limit = limit
        self._held = 0
        self._bytes = 0
        self._at_once = 0

    def admit_at_once(self) -> None:
        """Admit a request that is answered before anything else happens.

        All that arrived while the event loop was busy are met in one turn of it, one after the
        other. They count as in flight together, since the last one waits for all before it.

        Raises:
            RequestError: too many are in flight.
        """
        if not self._at_once:
            asyncio.get_running_loop().call_soon(self._turn_is_over)
        self._at_once += 1
        if self._held + self._at_once > self._limit:
            raise _overloaded()

    def hold(self, size: int | None) -> int:
        """Hold a place for a request; return what to give to `release` once it is answered.

        Args:
            size: Bytes of its body; None when it does not say, then it may be the largest.

        Raises:
            RequestError: too many are in flight.
        """
        counted = MAX_BODY if size is None else min(size, MAX_BODY)
        if self._held >= self._limit or self._bytes + counted > MAX_BYTES:
            raise _overloaded()
        self._held += 1
        self._bytes += counted
        return counted

    def release(self, counted: int) -> None:
        """Give a place back."""
        self._held -= 1
        self._bytes -= counted

    def _turn_is_over(self) -> None:
        self._at_once = 0


def _overloaded() -> RequestError:
    return RequestError(
        429,
        "the server is overloaded; send the request again later",
        (b"retry-after", str(RETRY_SECONDS).encode()),
    )
