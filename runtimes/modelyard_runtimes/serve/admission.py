"""Load shedding: no more requests are in flight than are answered in good time.

What comes beyond gets 429 with Retry-After at once, which costs a fraction of an answer. So whoever
is admitted waits for a bounded number of others, and memory is bounded, whatever the load. Where a
rate is declared, so does what comes faster.
"""

from __future__ import annotations

import asyncio
import math

from modelyard.api.traffic import RateLimit

from modelyard_runtimes.serve.http import MAX_BODY, RequestError
from modelyard_runtimes.serve.rate import TokenBucket

LARGE_BODY = 64 * 1024
"""From this many bytes on a request is computed in a thread, and others do not wait for it."""
MAX_BYTES = 4 * MAX_BODY
"""Bytes of bodies in flight; a body takes memory many times its size, and all take one thread."""
RETRY_SECONDS = 1


class Admission:
    """Counts requests in flight, and refuses what comes beyond."""

    def __init__(self, limit: int, rate: RateLimit | None = None) -> None:
        """Start with none in flight.

        Args:
            limit: How many may be in flight.
            rate: How many are admitted a second; any number where nothing is declared.
        """
        self._limit = limit
        self._bucket = TokenBucket(rate) if rate is not None else None
        self._held = 0
        self._bytes = 0
        self._at_once = 0

    def admit_at_once(self) -> None:
        """Admit a request that is answered before anything else happens.

        All that arrived while the event loop was busy are met in one turn of it, one after the
        other. They count as in flight together, since the last one waits for all before it.

        Raises:
            RequestError: too many are in flight, or come a second.
        """
        if not self._at_once:
            asyncio.get_running_loop().call_soon(self._turn_is_over)
        self._at_once += 1
        if self._held + self._at_once > self._limit:
            raise self._overloaded()
        self.keep_rate()

    def hold(self, size: int | None) -> int:
        """Hold a place for a request; return what to give to `release` once it is answered.

        Args:
            size: Bytes of its body, times the weight of its route; None when it does not say, then
                it may be the largest.

        Raises:
            RequestError: too many are in flight, or come a second.
        """
        counted = MAX_BODY if size is None else min(size, MAX_BODY)
        if self._held >= self._limit:
            raise self._overloaded()
        if self._bytes + counted > MAX_BYTES:
            raise _refusal(
                "the server is overloaded: large bodies and explanations in flight are as many as "
                "it computes in good time",
                RETRY_SECONDS,
            )
        self.keep_rate()
        self._held += 1
        self._bytes += counted
        return counted

    def release(self, counted: int) -> None:
        """Give a place back."""
        self._held -= 1
        self._bytes -= counted

    def keep_rate(self) -> None:
        """Count a request for the rate; this may be called from another thread.

        Raises:
            RequestError: too many come a second.
        """
        if self._bucket is None:
            return
        missing = self._bucket.take()
        if missing:
            raise _refusal(
                f"more requests come than the {self._bucket.rate} a second that "
                "spec.traffic.rateLimit.requestsPerSecond allows",
                missing,
            )

    def _overloaded(self) -> RequestError:
        return _refusal(
            f"the server is overloaded: {self._limit} requests are in flight, as many as "
            "spec.traffic.maxInFlight allows",
            RETRY_SECONDS,
        )

    def _turn_is_over(self) -> None:
        self._at_once = 0


def _refusal(why: str, seconds: float) -> RequestError:
    """Return a refusal that names the limit and the whole seconds after which to try again."""
    later = max(RETRY_SECONDS, math.ceil(seconds))
    return RequestError(
        429, f"{why}; send the request again later", (b"retry-after", str(later).encode())
    )
