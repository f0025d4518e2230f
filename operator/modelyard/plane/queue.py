"""One work queue: each key is in it at most once and is worked on by one worker at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from modelyard.api.resources import Key

LOGGER = logging.getLogger("modelyard.queue")
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 60.0


class WorkQueue:
    """Wakes keys now or later; failed ones again with growing delays."""

    def __init__(self, work: Callable[[Key], Awaitable[float | None]], workers: int = 8) -> None:
        self._work = work
        self._workers = workers
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._running: set[Key] = set()
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
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.put_nowait(key)

    def wake_after(self, key: Key, delay: float) -> None:
        """Work on a key after a delay in seconds, unless it is woken before."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(delay, self.wake, key)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._worker())

    def depth(self) -> int:
        """Return the number of keys that wait for a worker."""
        return len(self._queued)

    async def _worker(self) -> None:
        while True:
            key = await self._ready.get()
            self._queued.discard(key)
            self._running.add(key)
            delay = await self._attempt(key)
            self._running.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.wake(key)
            elif delay is not None:
                self.wake_after(key, delay)

    async def _attempt(self, key: Key) -> float | None:
        delay: float | None
        try:
            delay = await self._work(key)
        except Exception as error:
            count = self._failures[key] = self._failures.get(key, 0) + 1
            delay = min(FIRST_BACKOFF_SECONDS * 2 ** (count - 1), LONGEST_BACKOFF_SECONDS)
            LOGGER.warning("%s failed, again in %.1f s: %s", key, delay, error, exc_info=count == 1)
            return delay
        self._failures.pop(key, None)
        return delay
