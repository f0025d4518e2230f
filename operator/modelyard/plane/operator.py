"""Registers with kopf: every event only wakes the same idempotent reconcile(key)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import kopf

from modelyard.api.meta import GROUP, SOURCE_REVISION
from modelyard.api.resources import CHILDREN, Key
from modelyard.judge.conditions import ready_condition
from modelyard.plane.queue import WorkQueue
from modelyard.plane.watch import Served
from modelyard.reconcile.wake import heir, owners_of, readers, reads

KOPF_FINALIZER = f"{GROUP}/kopf"
RESYNC_SECONDS = 300.0


@dataclass(frozen=True)
class Seen:
    """An object as it was last seen: what waking and counting look at; memory counts.

    Attributes:
        manifest: Its kind, its spec, and names, annotations, labels, generation of its metadata.
        status: Stands for its status: equal for equal ones.
        ready: What its condition Ready says.
    """

    manifest: dict[str, Any]
    status: int
    ready: str


class Operator:
    """Remembers the objects last seen, and wakes those that a change concerns."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue
        self._known: dict[tuple[str, str], dict[Key, Seen]] = {}
        self._written: dict[Key, int] = {}

    def registry(self, served: Served) -> kopf.OperatorRegistry:
        """Return the kopf registry with our watches; no handler of kopf's own kind is used."""
        registry = kopf.OperatorRegistry()
        kopf.on.startup(registry=registry)(_configure)
        kopf.on.login(registry=registry)(_login)
        for resource in sorted(served):
            group, version = resource.api_version.split("/")
            changed = self._child_changed if resource in CHILDREN else self._ours_changed
            kopf.on.event(group, version, resource.plural, registry=registry)(changed)
        return registry

    async def resync(self) -> None:
        """Wake every object now and then, so that a missed event is not missed for ever."""
        while True:
            await asyncio.sleep(RESYNC_SECONDS)
            self.wake_all()

    def wake_all(self) -> None:
        """Wake every known object."""
        for known in list(self._known.values()):
            for key in list(known):
                self._queue.wake(key)

    def will_write(self, key: Key, status: Mapping[str, Any]) -> None:
        """Remember a status that is about to be written, so that its event wakes nobody."""
        self._written[key] = _status_mark(status)

    def forget(self, key: Key) -> None:
        """Forget an object that is gone, should its event have been missed."""
        self._known.get((key.namespace, key.kind), {}).pop(key, None)
        self._written.pop(key, None)

    def readiness(self) -> Counter[tuple[str, str]]:
        """Return how many objects there are by kind and by what their condition Ready says."""
        return Counter(
            (key.kind, seen.ready) for known in self._known.values() for key, seen in known.items()
        )

    def revision(self, key: Key) -> str:
        """Return the commit that an object came from, as far as it is known."""
        seen = self._known.get((key.namespace, key.kind), {}).get(key)
        annotations = (seen.manifest["metadata"].get("annotations") or {}) if seen else {}
        return str(annotations.get(SOURCE_REVISION, ""))

    async def _ours_changed(self, body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002
        seen = _see(body)
        metadata = seen.manifest["metadata"]
        key = Key(seen.manifest["kind"], metadata["namespace"], metadata["name"])
        known = self._known.setdefault((key.namespace, key.kind), {})
        before = known.get(key)
        if type == "DELETED":
            self.forget(key)
            left = heir(seen.manifest, [its.manifest for its in known.values()])
            if left is not None:
                self._queue.wake(left)
        else:
            known[key] = seen
        if before is None or type == "DELETED" or self._wakes(key, before, seen):
            self._queue.wake(key)
        for reader_kind in readers(key.kind):
            for reader, its in self._known.get((key.namespace, reader_kind), {}).items():
                if reader != key and reads(its.manifest, seen.manifest):
                    self._queue.wake(reader)

    def _wakes(self, key: Key, before: Seen, after: Seen) -> bool:
        """A status that the operator wrote itself wakes nobody; one that another wrote does."""
        if before.manifest["metadata"] != after.manifest["metadata"]:
            return True
        return after.status not in (before.status, self._written.get(key))

    async def _child_changed(self, body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002
        """A child that is new and has no status tells its owner, who made it, nothing."""
        if type != "ADDED" or body.get("status"):
            for owner in owners_of(body):
                self._queue.wake(owner)


def _see(body: kopf.Body) -> Seen:
    metadata = body["metadata"]
    kept = ("name", "namespace", "generation", "deletionTimestamp", "annotations", "labels")
    manifest = {
        "kind": body["kind"],
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": dict(body.get("spec") or {}),
    }
    status = dict(body.get("status") or {})
    ready = ready_condition({"status": status}).get("status", "Unknown")
    return Seen(manifest, _status_mark(status), ready)


def _status_mark(status: Mapping[str, Any]) -> int:
    return hash(json.dumps(status, sort_keys=True, default=dict))


class Nothing(kopf.DiffBaseStorage):
    """What kopf remembers of an object to find out what changed: no handler of ours asks that."""

    def build(
        self, *, body: kopf.Body, extra_fields: Iterable[kopf.FieldSpec] | None = None
    ) -> kopf.BodyEssence:
        """Return nothing, instead of a deep copy of each object of each event."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Return nothing."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Store nothing."""


async def _configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = False
    # kopf takes its finalizer off every object that no handler of its own needs to hold: it must
    # not be ours, which the reconciler sets and removes.
    settings.persistence.finalizer = KOPF_FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = Nothing()
    settings.watching.inactivity_timeout = 120
    settings.scanning.disabled = True
    settings.peering.standalone = True
    # kopf may be stopped without the process ending: it must not kill the process ten minutes on.
    settings.process.ultimate_exiting_timeout = None


async def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
