"""The loop of the stand-ins: watch, remember, reconcile one object after the other.

Level-triggered: an event or the end of a process only says which object to look at again. After a
restart of the API server or of the stand-ins everything is looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import aiohttp

from modelyard.embedded.client import (
    CUSTOM_RESOURCE_DEFINITIONS,
    ApiError,
    Client,
    Object,
    Resource,
)
from modelyard.embedded.kubeconfig import KubeconfigError
from modelyard.embedded.standins.attempts import Owner
from modelyard.embedded.standins.context import Context, StandIn

logger = logging.getLogger(__name__)

FIELD_MANAGER = "modelyard-standins"
API_ERRORS = (ApiError, aiohttp.ClientError, KubeconfigError, TimeoutError, ValueError)
"""What talking to an API server that comes and goes raises."""

_RETRY_SECONDS = 0.25
_MOST_RETRY_SECONDS = 10.0
_INSTALL_SECONDS = 0.1


class Key(NamedTuple):
    """Which object: its kind, namespace and name."""

    kind: str
    namespace: str
    name: str


NOTHING = Key("", "", "")
"""Names no object: wakes the loop when a list brought none, to see what is gone."""


class WorkQueue:
    """Keys to look at: each once, in order of arrival, now or later."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    def add(self, key: Key) -> None:
        """Look at an object now."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Look at an object later; an earlier appointment stands."""
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        if timer := self._timers.get(key):
            if timer.when() <= when:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(when, self.add, key)

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is to be looked at now."""
        return self._ready.empty()

    async def get(self) -> Key:
        """Return the next key."""
        key = await self._ready.get()
        self._waiting.discard(key)
        return key


class Controller:
    """Runs stand-ins against an API server."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._queue = WorkQueue()
        self._objects: dict[Key, Object] = {}
        self._synced: set[str] = set()
        self._failures: dict[Key, int] = {}

    def wake(self, owner: Owner) -> None:
        """Look at the owner of a process again, because the process has ended."""
        self._queue.add(Key(owner.kind, owner.namespace, owner.name))

    async def install(self, definitions: Sequence[Object]) -> None:
        """Apply CustomResourceDefinitions and wait until they are served, however long it takes."""
        waiting = list(definitions)
        while waiting:
            try:
                waiting = [one for one in waiting if not await self._is_installed(one)]
            except API_ERRORS as error:
                logger.info("definitions of kinds: %s; trying again", error)
            if waiting:
                await asyncio.sleep(_INSTALL_SECONDS)

    async def _is_installed(self, definition: Object) -> bool:
        found = await self._client.apply(CUSTOM_RESOURCE_DEFINITIONS, definition, FIELD_MANAGER)
        # A definition that is new has conditions of null for a moment.
        conditions = (found.get("status") or {}).get("conditions") or []
        return any((one["type"], one["status"]) == ("Established", "True") for one in conditions)

    async def run(
        self, context: Context, stand_ins: Sequence[StandIn], caught_up: Callable[[], None]
    ) -> None:
        """Watch and reconcile until cancelled.

        Args:
            context: What the stand-ins work with.
            stand_ins: One for each kind.
            caught_up: Called once, when every object there is has been looked at.
        """
        kinds = {stand_in.resource.kind: stand_in for stand_in in stand_ins}
        async with asyncio.TaskGroup() as group:
            for stand_in in stand_ins:
                group.create_task(self._follow(stand_in.resource))
            group.create_task(self._work(context, kinds, caught_up))

    async def _work(
        self, context: Context, kinds: dict[str, StandIn], caught_up: Callable[[], None]
    ) -> None:
        behind = True
        while True:
            key = await self._queue.get()
            await self._look_at(key, kinds)
            if self._synced == set(kinds):
                self._collect(context)
                if behind and self._queue.is_empty:
                    behind = False
                    caught_up()

    async def _look_at(self, key: Key, kinds: dict[str, StandIn]) -> None:
        current = self._objects.get(key)
        if current is None or key.kind not in kinds:
            return
        try:
            again = await kinds[key.kind].reconcile(current)
        except Exception as error:  # one object must not stop all others
            self._retry(key, error)
        else:
            self._failures.pop(key, None)
            if again is not None:
                self._queue.add_after(key, again)

    def _retry(self, key: Key, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(_RETRY_SECONDS * 2 ** (failures - 1), _MOST_RETRY_SECONDS)
        gone = isinstance(error, ApiError) and error.code in (404, 409)
        if not gone:
            expected = isinstance(error, API_ERRORS)
            logger.warning("%s: %s", "/".join(key), error, exc_info=not expected)
        self._queue.add_after(key, delay)

    def _collect(self, context: Context) -> None:
        """Forget the processes of objects that are gone."""
        alive = {current["metadata"]["uid"] for current in self._objects.values()}
        for owner in context.processes.owners():
            if owner.uid not in alive:
                context.forget(owner)

    async def _follow(self, resource: Resource) -> None:
        """Keep the known objects of a resource as the API has them."""
        while True:
            try:
                version = await self._list(resource)
                while True:
                    version = await self._watch(resource, version)
            except API_ERRORS as error:
                logger.info("%s: %s; listing again", resource.plural, error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _list(self, resource: Resource) -> str:
        found = await self._client.list(resource)
        listed = {}
        for item in found["items"]:
            # Items of a list may leave these two to the list.
            item.setdefault("kind", resource.kind)
            item.setdefault("apiVersion", resource.api_version)
            listed[_key(item)] = item
        gone = [key for key in self._objects if key.kind == resource.kind and key not in listed]
        for key in gone:
            del self._objects[key]
        self._objects.update(listed)
        self._synced.add(resource.kind)
        for key in [*listed, *gone, NOTHING]:
            self._queue.add(key)
        return str(found["metadata"]["resourceVersion"])

    async def _watch(self, resource: Resource, version: str) -> str:
        """Follow one watch to its end; return where the next begins."""
        async for event in self._client.watch(resource, version):
            if event.type == "ERROR":
                raise ApiError(
                    int(event.object.get("code", 500)),
                    str(event.object.get("reason", "")),
                    str(event.object.get("message", "")),
                )
            version = str(event.object["metadata"]["resourceVersion"])
            if event.type != "BOOKMARK":
                self._observe(event.type, event.object)
        return version

    def _observe(self, kind: str, current: Object) -> None:
        key = _key(current)
        if kind == "DELETED":
            self._objects.pop(key, None)
        elif not _is_older(current, self._objects.get(key)):
            self._objects[key] = current
        self._queue.add(key)
        for owner in current["metadata"].get("ownerReferences", []):
            self._queue.add(Key(owner["kind"], key.namespace, owner["name"]))


def _key(current: Object) -> Key:
    metadata = current["metadata"]
    return Key(current["kind"], metadata["namespace"], metadata["name"])


def _is_older(current: Object, known: Object | None) -> bool:
    """Return whether an event is behind what a write of our own has already brought."""
    if known is None or known["metadata"]["uid"] != current["metadata"]["uid"]:
        return False
    return int(current["metadata"]["resourceVersion"]) < int(known["metadata"]["resourceVersion"])
