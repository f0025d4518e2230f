"""A token bucket: so many requests a second in the long run, and a burst after a quiet while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from modelyard.api.traffic import RateLimit


class TokenBucket:
    """Counts what is left of a rate; several threads may use it.

    Attributes:
        rate: Tokens a second.
    """

    def __init__(self, limit: RateLimit, clock: Callable[[], float] = time.monotonic) -> None:
        """Start full.

        Args:
            limit: The rate and the burst.
            clock: Seconds that only ever rise.
        """
        self.rate = limit.requests_per_second
        self._size = float(limit.burst or limit.requests_per_second)
        self._clock = clock
        self._tokens = self._size
        self._since = clock()
        self._lock = threading.Lock()

    def take(self) -> float:
        """Take a token and return 0, or leave all and return the seconds until there is one."""
        with self._lock:
            now = self._clock()
            grown = self._tokens + (now - self._since) * self.rate
            self._tokens = min(grown, self._size)
            self._since = now
            if self._tokens < 1.0:
                return (1.0 - self._tokens) / self.rate
            self._tokens -= 1.0
            return 0.0
