"""What the server does by itself: garbage collection, cascades and the expiry of events.

It follows the history of changes, so each rule reacts to what is stored. A full sweep at the
start makes up for what a killed server left undone.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from datetime import datetime

from modelyard.embedded.apiserver import core, crd_schema, events
from modelyard.embedded.apiserver.deletion import FOREGROUND, ORPHAN, Deleter, DeleteRequest
from modelyard.embedded.apiserver.errors import ApiError, Object
from modelyard.embedded.apiserver.registry import Registry
from modelyard.embedded.apiserver.store import Change, Key, Store

_LOG = logging.getLogger(__name__)
_EXPIRY_INTERVAL = 60.0


class Collector:
    """Deletes what nothing needs any more."""

    def __init__(self, store: Store, registry: Registry, event_lifetime: float) -> None:
        """Follow `store`.

        Args:
            store: Where objects are.
            registry: What kinds of objects there are.
            event_lifetime: Seconds after which an event that was not seen again is deleted.
        """
        self._store = store
        self._registry = registry
        self._deleter = Deleter(store)
        self._event_lifetime = event_lifetime
        self._pending: deque[Key | str] = deque()
        self._wake = asyncio.Event()
        store.listen(self._note)

    async def run(self) -> None:
        """Sweep once, then react to changes until cancelled."""
        self._pending.extend(self._store.keys())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._collect())
            group.create_task(self._expire_events())

    async def _collect(self) -> None:
        while True:
            while self._pending:
                self._handle(self._pending.popleft())
                await asyncio.sleep(0)  # requests come first
            self._wake.clear()
            await self._wake.wait()

    def _note(self, change: Change) -> None:
        self._pending.append(change.key)
        if change.type == "DELETED":
            self._pending.append(change.object["metadata"]["uid"])
            for owner in change.object["metadata"].get("ownerReferences") or ():
                self._pending.extend(self._found(owner["uid"]))
            self._pending.extend(_container(change.key))
        self._wake.set()

    def _found(self, uid: str) -> Iterator[Key]:
        found = self._store.find_uid(uid)
        if found is not None:
            yield found[0]

    def _handle(self, subject: Key | str) -> None:
        try:
            if isinstance(subject, str):
                for key in self._store.dependents(subject):
                    self._judge(key)
            else:
                self._judge(subject)
        except ApiError as error:
            _LOG.warning("garbage collection of %s: %s", subject, error.message)

    def _judge(self, key: Key) -> None:
        stored = self._store.get(key)
        if stored is None:
            return
        metadata = stored["metadata"]
        if "deletionTimestamp" in metadata:
            self._finish(key, stored)
        elif metadata.get("ownerReferences"):
            self._judge_owners(key, stored)

    def _finish(self, key: Key, stored: Object) -> None:
        """Do what a deleted object waits for, as far as it is the server's to do."""
        finalizers = stored["metadata"].get("finalizers") or ()
        if FOREGROUND in finalizers:
            self._delete_dependents(key, stored)
        elif ORPHAN in finalizers:
            for dependent in self._store.dependents(stored["metadata"]["uid"]):
                self._disown(dependent, {stored["metadata"]["uid"]})
            self._deleter.release(key, ORPHAN)
        elif key.resource == core.NAMESPACES:
            if not self._delete_all(self._store.in_namespace(key.name)):
                self._deleter.release(key, "kubernetes")
        elif crd_schema.CLEANUP in finalizers:
            contents = [k for k, _ in self._store.entries(crd_schema.storage_name(stored))]
            if not self._delete_all(contents):
                self._deleter.release(key, crd_schema.CLEANUP)

    def _delete_dependents(self, key: Key, stored: Object) -> None:
        uid = stored["metadata"]["uid"]
        blocking = False
        for dependent in self._store.dependents(uid):
            found = self._store.get(dependent)
            if found is not None and "deletionTimestamp" not in found["metadata"]:
                self._judge_owners(dependent, found)
            left = self._store.get(dependent)
            blocking |= left is not None and _blocks(left, uid)
        if not blocking:
            self._deleter.release(key, FOREGROUND)

    def _delete_all(self, keys: list[Key]) -> int:
        """Delete objects; returns how many are still there, waiting for finalizers."""
        for key in keys:
            self._delete(key, "Background")
        return sum(1 for key in keys if self._store.get(key) is not None)

    def _judge_owners(self, key: Key, stored: Object) -> None:
        references = stored["metadata"]["ownerReferences"]
        absent: set[str] = set()
        waiting: set[str] = set()
        for reference in references:
            owner = self._owner(key, reference)
            if owner is None:
                absent.add(reference["uid"])
            elif _waits(owner):
                waiting.add(reference["uid"])
        if len(absent) + len(waiting) < len(references):
            if absent or waiting:
                self._disown(key, absent | waiting)
        elif waiting and self._store.dependents(stored["metadata"]["uid"]):
            self._delete(key, "Foreground")
        else:
            self._delete(key, "Background")

    def _owner(self, dependent: Key, reference: Object) -> Object | None:
        found = self._store.find_uid(reference["uid"])
        if found is None or found[0].namespace not in {"", dependent.namespace}:
            return None  # an owner in another namespace does not count
        return found[1]

    def _delete(self, key: Key, policy: str) -> None:
        resource = self._registry.stored_as(key.resource)
        stored = self._store.get(key)
        if resource is None or stored is None or "deletionTimestamp" in stored["metadata"]:
            return
        keeps = {FOREGROUND, ORPHAN} & set(stored["metadata"].get("finalizers") or ())
        self._deleter.delete(resource, key, DeleteRequest(None if keeps else policy))

    def _disown(self, key: Key, owners: set[str]) -> None:
        """Take references to some owners off an object."""
        stored = self._store.get(key)
        if stored is None:
            return
        metadata = dict(stored["metadata"])
        left = [r for r in metadata.pop("ownerReferences") if r["uid"] not in owners]
        if left:
            metadata["ownerReferences"] = left
        self._store.put(key, {**stored, "metadata": metadata})

    async def _expire_events(self) -> None:
        while True:
            oldest = datetime.now().timestamp() - self._event_lifetime
            for key, stored in self._store.entries(events.STORAGE):
                seen = events.last_seen(stored)
                if seen and datetime.fromisoformat(seen).timestamp() < oldest:
                    self._store.delete(key, stored)
                    await asyncio.sleep(0)
            await asyncio.sleep(min(_EXPIRY_INTERVAL, self._event_lifetime))


def _container(key: Key) -> Iterator[Key]:
    """What may have been waiting for an object to go: its namespace and its definition."""
    if key.namespace:
        yield Key(core.NAMESPACES, "", key.namespace)
    yield Key(crd_schema.STORAGE, "", key.resource)


def _waits(owner: Object) -> bool:
    metadata = owner["metadata"]
    return "deletionTimestamp" in metadata and FOREGROUND in (metadata.get("finalizers") or ())


def _blocks(dependent: Object, owner: str) -> bool:
    return any(
        reference["uid"] == owner and reference.get("blockOwnerDeletion")
        for reference in dependent["metadata"].get("ownerReferences") or ()
    )
