"""Registers with kopf: every event only wakes the same idempotent reconcile(key)."""

from __future__ import annotations

import asyncio
from typing import Any

import kopf

from modelyard.api.meta import GROUP
from modelyard.api.resources import CHILDREN, OURS, Key
from modelyard.plane.queue import WorkQueue
from modelyard.reconcile.wake import dependents, owner_of

KOPF_FINALIZER = f"{GROUP}/kopf"
RESYNC_SECONDS = 300.0


class Operator:
    """Remembers the objects last seen, and wakes those that a change concerns."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue
        self._known: dict[Key, dict[str, Any]] = {}

    def registry(self) -> kopf.OperatorRegistry:
        """Return the kopf registry with our watches; no handler of kopf's own kind is used."""
        registry = kopf.OperatorRegistry()
        kopf.on.startup(registry=registry)(_configure)
        kopf.on.login(registry=registry)(_login)
        for resource in OURS.values():
            group, version = resource.api_version.split("/")
            kopf.on.event(group, version, resource.plural, registry=registry)(self._ours_changed)
        for resource in CHILDREN:
            group, version = resource.api_version.split("/")
            kopf.on.event(group, version, resource.plural, registry=registry)(self._child_changed)
        return registry

    async def resync(self) -> None:
        """Wake every object now and then, so that a missed event is not missed for ever."""
        while True:
            await asyncio.sleep(RESYNC_SECONDS)
            for key in list(self._known):
                self._queue.wake(key)

    async def _ours_changed(self, body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002
        manifest = _slim(body)
        metadata = manifest["metadata"]
        key = Key(manifest["kind"], metadata["namespace"], metadata["name"])
        before = self._known.get(key)
        if type == "DELETED":
            self._known.pop(key, None)
        else:
            self._known[key] = manifest
        if before is None or type == "DELETED" or _wakes(before, manifest):
            self._queue.wake(key)
        for dependent in dependents(manifest, self._known):
            if dependent != key:
                self._queue.wake(dependent)

    async def _child_changed(self, body: kopf.Body, **_: Any) -> None:
        owner = owner_of(body)
        if owner is not None:
            self._queue.wake(owner)


def _slim(body: kopf.Body) -> dict[str, Any]:
    """Return what waking looks at: names, references, generation; memory counts."""
    metadata = body["metadata"]
    kept = ("name", "namespace", "generation", "deletionTimestamp", "annotations", "labels")
    return {
        "kind": body["kind"],
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": dict(body.get("spec") or {}),
    }


def _wakes(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """A change of an object's own status does not wake it: it was just written."""
    return bool(before["metadata"] != after["metadata"])


async def _configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = False
    # kopf takes its finalizer off every object that no handler of its own needs to hold: it must
    # not be ours, which the reconciler sets and removes.
    settings.persistence.finalizer = KOPF_FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP)
    settings.watching.inactivity_timeout = 120
    settings.peering.standalone = True


async def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
