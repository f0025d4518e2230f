"""A circuit breaker: what fails again and again is left alone for a while, then tried once."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from modelyard.api.meta import seconds
from modelyard.api.traffic import Breaker


class CircuitBreaker:
    """Counts failures in a row; several threads may use it.

    Closed, it lets every call through. Open, it lets none through until its time is over, then one:
    an answer closes it, another failure opens it for as long again.
    """

    def __init__(
        self, declared: Breaker | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start closed.

        Args:
            declared: When it opens, and for how long; None: never.
            clock: Seconds that only ever rise.
        """
        self._limit = math.inf if declared is None else declared.consecutive_failures
        self._open_seconds = 0 if declared is None else seconds(declared.open_for)
        self._clock = clock
        self._failures = 0
        self._next_call: float | None = None
        """When the next call is let through; None while it is closed."""
        self._lock = threading.Lock()

    @property
    def is_closed(self) -> bool:
        """Whether every call is let through."""
        return self._next_call is None

    def take(self) -> float:
        """Let a call through and return 0, or return the seconds until one is.

        Whoever is let through says in the end whether it `succeeded`, `failed` or was `undecided`.
        """
        with self._lock:
            if self._next_call is None:
                return 0.0
            now = self._clock()
            if now < self._next_call:
                return self._next_call - now
            # As long as this one is under way, or lost, nobody else is let through.
            self._next_call = now + self._open_seconds
            return 0.0

    def succeeded(self) -> None:
        """Take an answer: the breaker closes, and counts from the beginning."""
        with self._lock:
            self._failures = 0
            self._next_call = None

    def undecided(self) -> None:
        """Take that a call told nothing, since its caller was at fault; the next one may."""
        with self._lock:
            if self._next_call is not None:
                self._next_call = self._clock()

    def failed(self) -> bool:
        """Take a failure; return whether the breaker was closed and opens by it."""
        with self._lock:
            self._failures += 1
            if self._failures < self._limit:
                return False
            opens = self._next_call is None
            self._next_call = self._clock() + self._open_seconds
            return opens
