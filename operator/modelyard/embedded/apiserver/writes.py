"""Creating, replacing, patching and deleting objects."""

import copy
import json
from collections.abc import Callable
from typing import Any

from modelyard.embedded.apiserver import admission, core, decoding, fieldsets, ownership, patching
from modelyard.embedded.apiserver.admission import WriteRequest, now
from modelyard.embedded.apiserver.decoding import Body
from modelyard.embedded.apiserver.deletion import pending
from modelyard.embedded.apiserver.errors import (
    FieldError,
    Object,
    already_exists,
    bad_request,
    forbidden,
    invalid,
    not_found,
    unsupported_media_type,
)
from modelyard.embedded.apiserver.ownership import LAST_APPLIED, Application, Owners
from modelyard.embedded.apiserver.resources import Resource
from modelyard.embedded.apiserver.store import Key, Store

Build = Callable[[Object], tuple[Object, tuple[str, ...]]]
"""Makes the wanted object from a copy of the live one; also names its duplicate fields."""


class Writer:
    """Carries out the writes of clients on a store.

    Objects go in and come out as the given resource serves them. Nothing here awaits: a write is
    one step for everyone else.
    """

    def __init__(self, store: Store) -> None:
        """Write to `store`."""
        self._store = store

    def get(self, resource: Resource, key: Key) -> Object:
        """The object as the resource serves it.

        Raises:
            ApiError: 404 if there is none.
        """
        stored = self._store.get(key)
        if stored is None:
            raise not_found(resource.group, resource.plural, key.name)
        return resource.serve(stored)

    def create(
        self, resource: Resource, namespace: str, body: Body, request: WriteRequest
    ) -> Object:
        """Create an object.

        Raises:
            ApiError: For example 409 if the name is taken, 422 if the object is invalid.
        """
        self._check_namespace(resource, namespace)
        wanted = admission.conform(resource, body.value, body.duplicates, request)
        admission.name_new(resource, namespace, wanted)
        wanted = admission.restrict(resource, {}, wanted, "")
        admission.check_schema(resource, wanted, None)
        change = fieldsets.compare({}, wanted, resource.schema)
        manager = admission.manager_of(resource, request, "Update")
        scope = admission.scope_of(resource, "")
        owners = ownership.after_update({}, manager, change, scope, now())
        return self._insert(resource, wanted, owners, request)

    def replace(self, resource: Resource, key: Key, body: Body, request: WriteRequest) -> Object:
        """Replace an object, or a subresource of it.

        Raises:
            ApiError: For example 404, 409 or 422.
        """
        admission.check_kind(resource, body.value)
        if resource.custom and not body.value["metadata"].get("resourceVersion"):
            text = "Invalid value: 0: must be specified for an update"
            fault = FieldError("metadata.resourceVersion", "FieldValueInvalid", text)
            raise invalid(resource.group, resource.kind, key.name, [fault])
        return self._update(resource, key, lambda live: (body.value, body.duplicates), request)

    def patch(self, resource: Resource, key: Key, body: Body, request: WriteRequest) -> Object:
        """Patch an object, or a subresource of it.

        Raises:
            ApiError: For example 404, 409, 415 or 422.
        """
        if body.media_type == decoding.APPLY_PATCH:
            return self.apply(resource, key, body, request)
        if body.media_type == decoding.STRATEGIC_PATCH and resource.custom:
            supported = [kind for kind in decoding.PATCHES if kind != body.media_type]
            raise unsupported_media_type(body.media_type, supported)

        def build(live: Object) -> tuple[Object, tuple[str, ...]]:
            return _patched(resource, live, body), body.duplicates

        return self._update(resource, key, build, request)

    def apply(self, resource: Resource, key: Key, body: Body, request: WriteRequest) -> Object:
        """Server-side apply: the object gets the fields of the body, and the manager owns them.

        Raises:
            ApiError: For example 409 if another manager owns a field.
        """
        config = self._configuration(resource, key, body, request)
        live = self._store.get(key)
        if live is None and request.subresource:
            raise not_found(resource.group, resource.plural, key.name)
        application = Application(
            manager=admission.manager_of(resource, request, "Apply"),
            config=config,
            schema=resource.schema,
            scope=admission.scope_of(resource, request.subresource),
            force=request.force,
            now=now(),
        )
        if live is None:
            return self._create_applied(resource, key, application, request)
        return self._apply_to(resource, resource.serve(live), application, request)

    def _configuration(
        self, resource: Resource, key: Key, body: Body, request: WriteRequest
    ) -> Object:
        if not request.manager:
            text = "Required value: is required for apply patch"
            fault = FieldError("fieldManager", "FieldValueRequired", text)
            raise invalid("meta.k8s.io", "PatchOptions", "", [fault])
        config = body.value
        if not isinstance(config, dict) or not config.get("apiVersion") or not config.get("kind"):
            raise bad_request("an applied configuration needs apiVersion and kind")
        if (config.get("metadata") or {}).get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        undefaulted = copy.deepcopy(config)
        admission.conform(resource, config, body.duplicates, request)
        known: Object = _common_part(undefaulted, config)
        metadata = known.setdefault("metadata", {})
        if metadata.setdefault("name", key.name) != key.name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the"
                f" URL ({key.name})"
            )
        return known

    def _create_applied(
        self, resource: Resource, key: Key, application: Application, request: WriteRequest
    ) -> Object:
        self._check_namespace(resource, key.namespace)
        _, owners = application.to({}, {})
        quiet = WriteRequest(request.manager, validation="Ignore")
        wanted = admission.conform(resource, copy.deepcopy(application.config), (), quiet)
        admission.name_new(resource, key.namespace, wanted)
        wanted = admission.restrict(resource, {}, wanted, "")
        admission.check_schema(resource, wanted, None)
        return self._insert(resource, wanted, owners, request)

    def _apply_to(
        self, resource: Resource, live: Object, application: Application, request: WriteRequest
    ) -> Object:
        owners = ownership.read(live["metadata"].get("managedFields"))
        if not owners:
            owners = ownership.before_first_apply(
                live, resource.schema, application.scope, resource.api_version
            )
        merged, owners = application.to(live, owners)
        merged = copy.deepcopy(merged)
        _refresh_last_applied(merged, application)
        quiet = WriteRequest(request.manager, validation="Ignore")
        admission.conform(resource, merged, (), quiet)
        admission.carry_over(resource, live, merged)
        merged = admission.restrict(resource, live, merged, request.subresource)
        admission.check_schema(resource, merged, live)
        return self._store_update(resource, live, merged, owners, request)

    def _update(self, resource: Resource, key: Key, build: Build, request: WriteRequest) -> Object:
        live = self.get(resource, key)
        wanted, repeated = build(copy.deepcopy(live))
        wanted = admission.conform(resource, wanted, repeated, request)
        admission.carry_over(resource, live, wanted)
        recorded = None if request.subresource else wanted["metadata"].get("managedFields")
        wanted = admission.restrict(resource, live, wanted, request.subresource)
        admission.check_schema(resource, wanted, live)
        change = fieldsets.compare(live, wanted, resource.schema)
        owners = ownership.after_update(
            _current_owners(live, recorded),
            admission.manager_of(resource, request, "Update"),
            change,
            admission.scope_of(resource, request.subresource),
            now(),
        )
        return self._store_update(resource, live, wanted, owners, request)

    def _store_update(
        self,
        resource: Resource,
        live: Object,
        wanted: Object,
        owners: Owners,
        request: WriteRequest,
    ) -> Object:
        wanted["metadata"] = {**wanted["metadata"], "managedFields": ownership.write(owners)}
        admission.complete(resource, wanted, live)
        admission.advance_generation(resource, live, wanted)
        if wanted == live:
            return live
        stored = resource.to_storage(wanted)
        gone = "deletionTimestamp" in wanted["metadata"] and not pending(resource, wanted)
        if request.dry_run:
            return wanted
        key = _key(resource, wanted)
        written = self._store.delete(key, stored) if gone else self._store.put(key, stored)
        return resource.serve(written)

    def _insert(
        self, resource: Resource, wanted: Object, owners: Owners, request: WriteRequest
    ) -> Object:
        wanted["metadata"]["managedFields"] = ownership.write(owners)
        admission.complete(resource, wanted, None)
        key = _key(resource, wanted)
        if self._store.get(key) is not None:
            raise already_exists(resource.group, resource.plural, key.name)
        if request.dry_run:
            return wanted
        return resource.serve(self._store.put(key, resource.to_storage(wanted)))

    def _check_namespace(self, resource: Resource, namespace: str) -> None:
        if not resource.namespaced:
            return
        if not namespace:
            raise bad_request("an empty namespace may not be set during creation")
        found = self._store.get(Key(core.NAMESPACES, "", namespace))
        if found is None:
            raise not_found("", core.NAMESPACES, namespace)
        if "deletionTimestamp" in found["metadata"]:
            raise forbidden(
                f"unable to create new content in namespace {namespace}"
                " because it is being terminated"
            )


def _key(resource: Resource, body: Object) -> Key:
    metadata = body["metadata"]
    return Key(resource.storage, metadata.get("namespace", ""), metadata["name"])


def _patched(resource: Resource, live: Object, body: Body) -> Object:
    patch = body.value
    if body.media_type == decoding.JSON_PATCH:
        return patching.json_patch(live, patch)
    if not isinstance(patch, dict):
        raise bad_request("the patch must be an object")
    if body.media_type == decoding.STRATEGIC_PATCH:
        patched: Object = patching.strategic_patch(live, patch, resource.schema)
    else:
        patched = patching.merge_patch(live, patch)
    return patched


def _current_owners(live: Object, recorded: Any) -> Owners:
    """The owners before an update, which a client may rewrite or, with `[{}]`, reset."""
    if not recorded:
        return ownership.read(live["metadata"].get("managedFields"))
    if recorded == [{}]:
        return {}
    return ownership.read(recorded)


def _common_part(original: Any, pruned: Any) -> Any:
    """What a client sent of a pruned and defaulted object: without unknown fields or defaults."""
    if isinstance(original, dict) and isinstance(pruned, dict):
        return {
            name: _common_part(value, pruned[name])
            for name, value in original.items()
            if name in pruned
        }
    if isinstance(original, list) and isinstance(pruned, list):
        return [_common_part(a, b) for a, b in zip(original, pruned, strict=True)]
    return original


def _refresh_last_applied(merged: Object, application: Application) -> None:
    """Keep kubectl's annotation true where kubectl moved to server-side apply."""
    annotations = merged["metadata"].get("annotations") or {}
    if application.manager.name == "kubectl" and LAST_APPLIED in annotations:
        applied = json.dumps(application.config, separators=(",", ":"), sort_keys=True)
        annotations[LAST_APPLIED] = applied + "\n"
