"""Deleting objects: finalizers, propagation and preconditions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.embedded.apiserver import core
from modelyard.embedded.apiserver.admission import now, precondition_failed
from modelyard.embedded.apiserver.errors import Object, bad_request, forbidden, not_found
from modelyard.embedded.apiserver.resources import Resource
from modelyard.embedded.apiserver.store import Key, Store

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
_POLICIES = {"Background": None, "Foreground": FOREGROUND, "Orphan": ORPHAN}
_PROTECTED = {Key(core.NAMESPACES, "", name) for name in ("default", "kube-system")}


@dataclass(frozen=True)
class DeleteRequest:
    """How a client wants something deleted.

    Attributes:
        policy: `Background`, `Foreground`, `Orphan`, or None to keep what the object says.
        uid: The uid that the object must have.
        resource_version: The resourceVersion that the object must have.
        dry_run: Whether to go through everything but the deletion.
    """

    policy: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False


def read_request(body: Any, query: Mapping[str, str]) -> DeleteRequest:
    """The wishes in a DELETE's body (DeleteOptions) and query.

    Raises:
        ApiError: 400 if the propagation policy is unknown.
    """
    options: Object = body if isinstance(body, dict) else {}
    preconditions = options.get("preconditions") or {}
    policy = query.get("propagationPolicy") or options.get("propagationPolicy")
    if policy is None and options.get("orphanDependents") is not None:
        policy = "Orphan" if options["orphanDependents"] else "Background"
    if policy is not None and policy not in _POLICIES:
        raise bad_request(f"unknown propagationPolicy {policy!r}: use {', '.join(_POLICIES)}")
    return DeleteRequest(
        policy,
        preconditions.get("uid"),
        preconditions.get("resourceVersion"),
        bool(query.get("dryRun") or options.get("dryRun")),
    )


class Deleter:
    """Deletes objects, or marks them as deleted where a finalizer waits."""

    def __init__(self, store: Store) -> None:
        """Delete from `store`."""
        self._store = store

    def delete(self, resource: Resource, key: Key, request: DeleteRequest) -> Object:
        """Delete an object.

        Returns:
            The object if finalizers hold it, else a `Status` of success.

        Raises:
            ApiError: 404 if it is not there, 409 if it is not the one meant.
        """
        stored = self._store.get(key)
        if stored is None:
            raise not_found(resource.group, resource.plural, key.name)
        _check_preconditions(resource, stored, request)
        if key in _PROTECTED:
            raise forbidden(
                f'{core.NAMESPACES} "{key.name}" is forbidden: this namespace may not be deleted'
            )
        if request.dry_run:
            return _success(resource, stored)
        finalizers = _to_wait_for(resource, stored, request.policy)
        if finalizers:
            return resource.serve(self._mark(resource, key, stored, finalizers))
        return _success(resource, self._store.delete(key, stored))

    def release(self, key: Key, finalizer: str) -> None:
        """Take one of the server's finalizers off an object that is being deleted."""
        stored = self._store.get(key)
        if stored is None:
            return
        left = [name for name in stored["metadata"].get("finalizers") or () if name != finalizer]
        metadata = {name: v for name, v in stored["metadata"].items() if name != "finalizers"}
        if left:
            metadata["finalizers"] = left
        body = {**stored, "metadata": metadata}
        if key.resource == core.NAMESPACES:
            body["spec"] = {"finalizers": []}
        if not left:
            self._store.delete(key, body)
        elif body != stored:
            self._store.put(key, body)

    def _mark(self, resource: Resource, key: Key, stored: Object, finalizers: list[str]) -> Object:
        metadata = dict(stored["metadata"])
        if "deletionTimestamp" not in metadata:
            metadata |= {"deletionTimestamp": now(), "deletionGracePeriodSeconds": 0}
            if resource.counts_generation:
                metadata["generation"] = metadata.get("generation", 0) + 1
        body = {**stored, "metadata": metadata}
        if key.resource == core.NAMESPACES:
            body["status"] = {**stored.get("status", {}), "phase": "Terminating"}
        else:
            metadata["finalizers"] = finalizers
        if body == stored:
            return stored
        return self._store.put(key, body)


def pending(resource: Resource, stored: Object) -> list[str]:
    """The finalizers that keep an object; a namespace has some in its spec, too."""
    finalizers = list(stored["metadata"].get("finalizers") or ())
    if resource.storage == core.NAMESPACES:
        finalizers += stored.get("spec", {}).get("finalizers") or ()
    return finalizers


def _to_wait_for(resource: Resource, stored: Object, policy: str | None) -> list[str]:
    finalizers = pending(resource, stored)
    if policy is None or resource.storage == core.NAMESPACES:
        return finalizers
    finalizers = [name for name in finalizers if name not in {FOREGROUND, ORPHAN}]
    wanted = _POLICIES[policy]
    return [*finalizers, wanted] if wanted else finalizers


def _check_preconditions(resource: Resource, stored: Object, request: DeleteRequest) -> None:
    metadata = stored["metadata"]
    name = metadata["name"]
    if request.uid and request.uid != metadata["uid"]:
        what = f"UID in precondition: {request.uid}, UID in object meta: {metadata['uid']}"
        raise precondition_failed(resource, name, what)
    if request.resource_version and request.resource_version != metadata["resourceVersion"]:
        what = (
            f"ResourceVersion in precondition: {request.resource_version},"
            f" ResourceVersion in object meta: {metadata['resourceVersion']}"
        )
        raise precondition_failed(resource, name, what)


def _success(resource: Resource, stored: Object) -> Object:
    details: Object = {
        "name": stored["metadata"]["name"],
        "kind": resource.plural,
        "uid": stored["metadata"]["uid"],
    }
    if resource.group:
        details["group"] = resource.group
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }
