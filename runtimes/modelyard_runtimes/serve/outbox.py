"""Answers of one turn of the event loop, sent one after another when all of them are made.

Where each answer went out at once, a client on the same machine, as the proxy beside a server is,
had read it and was asleep again before the next one came: every answer paid for waking it. And the
kernel's code and the model's drove each other out of the processor's caches at every request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from modelyard_runtimes.entry import failure_of, log

MAX_WAIT_SECONDS = 0.0005
"""Time for which answers wait for each other; the one made after it has all of them sent."""


class Outbox:
    """What all connections of an event loop have to send."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Start empty.

        Args:
            loop: The event loop; what one turn leaves here is sent in the next one.
            clock: Seconds from any moment on.
        """
        self._loop = loop
        self._clock = clock
        self._answers: list[tuple[asyncio.Transport, bytes]] = []
        self._since = 0.0

    def put(self, transport: asyncio.Transport, answer: bytes) -> None:
        """Take bytes for a connection; they follow all that were taken for it before."""
        now = self._clock()
        if not self._answers:
            self._since = now
            self._loop.call_soon(self.send)
        self._answers.append((transport, answer))
        if now - self._since > MAX_WAIT_SECONDS:
            self.send()

    def send(self) -> None:
        """Send all that was taken, except to those who have left.

        What cannot be sent ends its own connection, and no other.
        """
        answers, self._answers = self._answers, []
        for transport, answer in answers:
            if transport.is_closing():
                continue
            try:
                transport.write(answer)
            except Exception as error:
                log.error("an answer cannot be sent: %s", failure_of(error).message)
                transport.abort()
