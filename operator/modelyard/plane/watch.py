"""Keeps kopf watching what the API server serves, backends that come or go while it runs included.

kopf's own scanning is switched off: it needs leave to watch every CustomResourceDefinition of the
cluster and reads all of them, and a watched kind that is taken away may end the operator. Instead
the API server's discovery, which everybody may read, is asked now and then; when its answer has
changed, kopf starts again with the kinds that are there. What the operator knows of objects stays.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import kopf

from modelyard.api.resources import CHILDREN, OURS, Resource
from modelyard.ports.cluster import ClusterError

LOGGER = logging.getLogger("modelyard.watch")
LOOK_SECONDS = 10.0
"""How often discovery is asked, once the kinds of our own are there."""
OURS_MISSING_SECONDS = 0.5
FAILURE_SECONDS = 60.0
MOST_FAILURES = 5
"""How often kopf may fail in that time until the process ends."""

WATCHED: tuple[Resource, ...] = (*OURS.values(), *CHILDREN)
Served = frozenset[Resource]


class Discovery(Protocol):
    """Says what an API server serves."""

    async def served(self, resources: Collection[Resource]) -> Served:
        """Return those of the resources that are served; may raise ClusterError."""


class Watch:
    """Runs kopf over the kinds that are served."""

    def __init__(
        self,
        discovery: Discovery,
        registry: Callable[[Served], kopf.OperatorRegistry],
        namespaces: Sequence[str],
        take_signals: Callable[[], None],
    ) -> None:
        """Prepare.

        Args:
            discovery: Says what is served.
            registry: Returns kopf's registry that watches the given kinds.
            namespaces: The watched namespaces; all when empty.
            take_signals: Takes the process's signals back from kopf, which takes them at its start.
        """
        self._discovery = discovery
        self._registry = registry
        self._namespaces = namespaces
        self._take_signals = take_signals
        self._tasks: Collection[asyncio.Task[None]] = ()

    def has_ended(self) -> bool:
        """Return whether kopf has stopped watching, and nothing was done about it yet."""
        return any(task.done() for task in self._tasks)

    async def run(self) -> None:
        """Watch until cancelled; fail when kopf fails time and again."""
        failures: list[float] = []
        while True:
            served = await self._ask()
            missing = sorted(one.kind for one in set(WATCHED) - served)
            LOGGER.info("watching; not installed: %s", ", ".join(missing) or "nothing")
            try:
                await self._watch(served)
            except Exception as error:
                # Most likely a watched kind was taken away. If not, better restarted than deaf.
                now = time.monotonic()
                failures = [one for one in failures if one > now - FAILURE_SECONDS] + [now]
                if len(failures) > MOST_FAILURES:
                    raise
                LOGGER.warning("kopf ended: %s; starting it again", error)
                await asyncio.sleep(1)

    async def _watch(self, served: Served) -> None:
        """Watch the kinds that are served until others are."""
        self._tasks = await kopf.spawn_tasks(
            registry=self._registry(served),
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
        )
        self._take_signals()
        change = asyncio.create_task(self._changed(served))
        running = {*self._tasks, change}
        try:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if change not in done:
                raise RuntimeError("kopf ended by itself")
        finally:
            self._tasks = ()
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    async def _changed(self, before: Served) -> None:
        """Return once something else is served than before."""
        complete = before >= set(OURS.values())
        while await self._ask() == before:  # noqa: ASYNC110 - nobody tells, it has to be asked
            await asyncio.sleep(LOOK_SECONDS if complete else OURS_MISSING_SECONDS)

    async def _ask(self) -> Served:
        """Ask discovery until it answers."""
        while True:
            try:
                return await self._discovery.served(WATCHED)
            except ClusterError as error:
                LOGGER.warning("discovery: %s; trying again", error)
            await asyncio.sleep(1)
