"""Watches: the history of a resource as a stream of events."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from modelyard.embedded.apiserver import selectors
from modelyard.embedded.apiserver.errors import ApiError, Object, expired
from modelyard.embedded.apiserver.registry import Registry
from modelyard.embedded.apiserver.resources import Resource
from modelyard.embedded.apiserver.selectors import Predicate
from modelyard.embedded.apiserver.store import Change, Store

INITIAL_END = "k8s.io/initial-events-end"


@dataclass(frozen=True)
class WatchRequest:
    """What a client wants to follow.

    Attributes:
        resource: The resource.
        namespace: Of this namespace, or None for all.
        selects: Which of its objects.
        revision: Follow changes after this one; None starts with the objects there are.
        bookmarks: Whether to send bookmarks now and then.
        announce_initial: Whether to mark the end of the objects there are with a bookmark.
        timeout: Seconds after which the watch ends.
    """

    resource: Resource
    namespace: str | None
    selects: Predicate = selectors.everything
    revision: int | None = None
    bookmarks: bool = False
    announce_initial: bool = False
    timeout: float = 1800.0


class Watches:
    """Serves the watches of one server."""

    def __init__(self, store: Store, registry: Registry, bookmark_interval: float) -> None:
        """Follow `store`.

        Args:
            store: Where history is.
            registry: Where resources may vanish from.
            bookmark_interval: Seconds between bookmarks.
        """
        self._store = store
        self._registry = registry
        self._bookmark_interval = bookmark_interval
        self._waiting: set[asyncio.Event] = set()
        self._closed = False
        store.listen(self._wake)

    def close(self) -> None:
        """End all watches, now and in future: clients must look for the next server."""
        self._closed = True
        self._wake_all()

    async def events(self, request: WatchRequest) -> AsyncIterator[Object]:
        """The events of a watch; it ends by timeout, when closed or after an ERROR event."""
        wake = asyncio.Event()
        self._waiting.add(wake)
        try:
            async for event in self._stream(request, wake):
                yield event
        finally:
            self._waiting.discard(wake)

    async def _stream(self, request: WatchRequest, wake: asyncio.Event) -> AsyncIterator[Object]:
        deadline = time.monotonic() + request.timeout
        revision = request.revision
        if revision is None:
            revision = self._store.revision
            for event in self._initial(request, revision):
                yield event
        while not self._closed and self._is_served(request):
            wake.clear()
            if self._is_lost(revision):
                yield _error(revision, self._store.compacted)
                return
            reached = self._store.revision
            changes = self._store.changes(request.resource.storage, revision)
            for event in _events(request, changes):
                yield event
            revision = changes[-1].revision if changes else reached
            if changes or await self._wait(wake, deadline):
                continue
            if request.bookmarks:
                yield _bookmark(request, revision)
            if time.monotonic() >= deadline:
                return

    def _initial(self, request: WatchRequest, revision: int) -> Iterator[Object]:
        for _, stored in self._store.entries(request.resource.storage, request.namespace):
            served = request.resource.serve(stored)
            if request.selects(served):
                yield {"type": "ADDED", "object": served}
        if request.announce_initial:
            yield _bookmark(request, revision, {INITIAL_END: "true"})

    def _is_served(self, request: WatchRequest) -> bool:
        wanted = request.resource
        return self._registry.find(wanted.group, wanted.version, wanted.plural) is not None

    def _is_lost(self, revision: int) -> bool:
        """Whether history has a gap after a revision, or never had it (another data folder)."""
        return revision < self._store.compacted or revision > self._store.revision

    async def _wait(self, wake: asyncio.Event, deadline: float) -> bool:
        """Wait for a change; False when it is time for a bookmark or the end."""
        seconds = min(self._bookmark_interval, deadline - time.monotonic())
        try:
            await asyncio.wait_for(wake.wait(), max(0.0, seconds))
        except TimeoutError:
            return False
        return True

    def _wake(self, change: Change) -> None:
        self._wake_all()

    def _wake_all(self) -> None:
        for event in self._waiting:
            event.set()


def _bookmark(request: WatchRequest, revision: int, annotations: Object | None = None) -> Object:
    metadata: Object = {"resourceVersion": str(revision), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    resource = request.resource
    body = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    return {"type": "BOOKMARK", "object": body}


def _events(request: WatchRequest, changes: list[Change]) -> Iterator[Object]:
    for change in changes:
        event = _event(request, change)
        if event is not None:
            yield event


def _event(request: WatchRequest, change: Change) -> Object | None:
    """A change as the client sees it: entering and leaving the selection add and delete."""
    if request.namespace is not None and change.key.namespace != request.namespace:
        return None
    served = request.resource.serve(change.object)
    matches = change.type != "DELETED" and request.selects(served)
    before = change.previous
    matched = before is not None and request.selects(request.resource.serve(before))
    if matches:
        return {"type": "MODIFIED" if matched else "ADDED", "object": served}
    return {"type": "DELETED", "object": served} if matched else None


def _error(asked: int, oldest: int) -> Object:
    """A lost watch is told so within the stream: an HTTP error would kill kopf's watcher."""
    error: ApiError = expired(f"too old resource version: {asked} ({oldest})")
    return {"type": "ERROR", "object": error.status()}
