"""One work queue: each key is in it at most once and is worked on by one worker at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from modelyard.api.resources import Key

LOGGER = logging.getLogger("modelyard.queue")
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 60.0
WORKERS = 32
"""A worker mostly waits for answers; on a busy machine more of them are what keeps it busy."""

Work = Callable[[Key, float], Awaitable[float | None]]
"""Works on a key that was last woken at a moment of the monotonic clock; returns in how many
seconds it wants to be woken again, if at all."""
STUCK_SECONDS = 300.0
"""How long one key may be worked on; each step on the way has a shorter limit of its own."""


class WorkQueue:
    """Wakes keys now or later; failed ones again with growing delays."""

    def __init__(self, workers: int = WORKERS) -> None:
        self._workers = workers
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: dict[Key, float] = {}
        self._running: dict[Key, float] = {}
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def wake(self, key: Key) -> None:
        """Work on a key as soon as possible; once, however often it is woken until then."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._running:
            self._again.add(key)
            return
        if key not in self._queued:
            self._ready.put_nowait(key)
        self._queued[key] = time.monotonic()

    def wake_after(self, key: Key, delay: float) -> None:
        """Work on a key after a delay in seconds, unless it is woken before."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(delay, self.wake, key)

    async def run(self, work: Work) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._worker(work))

    def depth(self) -> int:
        """Return the number of keys that wait for a worker."""
        return len(self._queued)

    def stuck(self) -> Key | None:
        """Return a key that a worker does not get done with, or None when all is well."""
        limit = time.monotonic() - STUCK_SECONDS
        return next((key for key, since in self._running.items() if since < limit), None)

    async def _worker(self, work: Work) -> None:
        while True:
            key = await self._ready.get()
            woken = self._queued.pop(key)
            self._running[key] = time.monotonic()
            delay = await self._attempt(work, key, woken)
            del self._running[key]
            if key in self._again:
                self._again.discard(key)
                self.wake(key)
            elif delay is not None:
                self.wake_after(key, delay)

    async def _attempt(self, work: Work, key: Key, woken: float) -> float | None:
        delay: float | None
        try:
            delay = await work(key, woken)
        except Exception as error:
            count = self._failures[key] = self._failures.get(key, 0) + 1
            delay = min(FIRST_BACKOFF_SECONDS * 2 ** (count - 1), LONGEST_BACKOFF_SECONDS)
            LOGGER.warning("failed, again in %.1f s: %s", delay, error, exc_info=count == 1)
            return delay
        self._failures.pop(key, None)
        return delay
