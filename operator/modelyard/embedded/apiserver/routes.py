"""HTTP requests to the API: which path, which verb, and the answer."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from modelyard.embedded.apiserver import (
    decoding,
    deletion,
    discovery,
    openapi,
    openapi_v2,
    patching,
    reviews,
    scale,
    selectors,
)
from modelyard.embedded.apiserver.admission import WriteRequest
from modelyard.embedded.apiserver.decoding import Body
from modelyard.embedded.apiserver.deletion import Deleter
from modelyard.embedded.apiserver.errors import (
    Object,
    bad_request,
    method_not_allowed,
    no_such_path,
)
from modelyard.embedded.apiserver.jsonpath import JsonPath
from modelyard.embedded.apiserver.lists import ListRequest, list_objects
from modelyard.embedded.apiserver.negotiation import View, discovery_version, view_of
from modelyard.embedded.apiserver.registry import Registry
from modelyard.embedded.apiserver.resources import Resource
from modelyard.embedded.apiserver.selectors import Predicate
from modelyard.embedded.apiserver.store import Key, Store
from modelyard.embedded.apiserver.watches import Watches, WatchRequest
from modelyard.embedded.apiserver.writes import Writer

_METADATA_FIELDS = {
    "metadata.name": JsonPath(".metadata.name"),
    "metadata.namespace": JsonPath(".metadata.namespace"),
}
_NAMESPACE_SUBRESOURCES = {"status", "finalize"}
_COLLECTION_VERBS = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
_ITEM_VERBS = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Target:
    """What a path under `/api` or `/apis` means."""

    resource: Resource
    namespace: str | None
    name: str
    subresource: str

    @property
    def key(self) -> Key:
        """Where the object is stored."""
        return Key(self.resource.storage, self.namespace or "", self.name)


class Api:
    """Answers the requests of authenticated clients."""

    def __init__(self, store: Store, registry: Registry, watches: Watches) -> None:
        """Serve what `store` holds."""
        self._store = store
        self._registry = registry
        self._watches = watches
        self._writer = Writer(store)
        self._deleter = Deleter(store)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request.

        Raises:
            ApiError: Whatever is wrong with it.
        """
        parts = [part for part in request.path.split("/") if part]
        if parts[:1] == ["openapi"]:
            return self._openapi(parts, request.headers.get("Accept", ""))
        if parts == ["version"]:
            return json_response(discovery.VERSION)
        target = self._target(parts)
        if target is None:
            return self._discovery(parts, request.headers.get("Accept", ""))
        verb = _verb(request, target)
        if verb == "watch":
            return await self._watch(request, target)
        write = _write_request(request, target.subresource)
        body = await _body(request, target, verb)
        creates = verb == "create" or (verb == "patch" and self._store.get(target.key) is None)
        answer = self._answer(request, target, verb, body, write)
        return json_response(answer, 201 if creates else 200, write.warnings)

    def _openapi(self, parts: list[str], accept: str) -> web.Response:
        if parts[1:] == ["v2"]:
            found = openapi_v2.document(self._registry)
            if not openapi_v2.wants_protobuf(accept):
                return json_response(found)
            return web.Response(
                body=openapi_v2.encode(found), headers={"Content-Type": openapi_v2.PROTOBUF}
            )
        if parts[1:2] != ["v3"]:
            raise no_such_path()
        if len(parts) == 2:
            return json_response(openapi.index(self._registry))
        return json_response(openapi.document(self._registry, "/".join(parts[2:])))

    def _discovery(self, parts: list[str], accept: str) -> web.Response:
        version = discovery_version(accept)
        if parts in (["api"], ["apis"]) and version:
            found = discovery.aggregated(self._registry, version, core=parts == ["api"])
            response = json_response(found)
            response.headers["Content-Type"] = discovery.media_type(version)
            return response
        return json_response(self._plain_discovery(parts))

    def _plain_discovery(self, parts: list[str]) -> Object:
        if parts == ["api"]:
            return discovery.core_versions()
        if parts == ["apis"]:
            return discovery.groups(self._registry)
        if parts[0] == "apis" and len(parts) == 2:
            return discovery.group(self._registry, parts[1])
        if parts[0] == "apis" and len(parts) == 3:
            return discovery.resources(self._registry, parts[1], parts[2])
        if parts == ["api", "v1"]:
            return discovery.resources(self._registry, "", "v1")
        raise no_such_path()

    def _target(self, parts: list[str]) -> Target | None:
        """The object or collection that a path names; None for discovery."""
        if parts[:1] == ["api"]:
            group, version, rest = "", parts[1] if len(parts) > 1 else "", parts[2:]
        elif parts[:1] == ["apis"] and len(parts) > 3:
            group, version, rest = parts[1], parts[2], parts[3:]
        elif parts[:1] == ["apis"]:
            return None
        else:
            raise no_such_path()
        if not rest:
            return None
        namespace = None
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            namespace, rest = rest[1], rest[2:]
        resource = self._registry.get(group, version, rest[0])
        if len(rest) > 3 or (namespace is not None and not resource.namespaced):
            raise no_such_path()
        name, subresource = (*rest[1:], "", "")[:2]
        return Target(resource, namespace, name, subresource)

    def _answer(
        self, request: web.Request, target: Target, verb: str, body: Body, write: WriteRequest
    ) -> Object:
        view = view_of(request.headers.get("Accept", ""), request.query.get("includeObject", ""))
        if target.resource.storage == reviews.STORAGE:
            return reviews.answer(target.resource, body.value)
        if target.subresource == "scale":
            return self._scale(target, verb, body, write)
        if verb == "list":
            return self._list(target, request.query, view)
        if verb == "deletecollection":
            return self._delete_collection(target, request.query, body)
        if verb == "delete":
            options = deletion.read_request(body.value, request.query)
            answer = self._deleter.delete(target.resource, target.key, options)
            return answer if answer["kind"] == "Status" else view.one(target.resource, answer)
        return view.one(target.resource, self._object(target, verb, body, write))

    def _object(self, target: Target, verb: str, body: Body, write: WriteRequest) -> Object:
        resource, key = target.resource, target.key
        if verb == "get":
            return self._writer.get(resource, key)
        if verb == "create":
            return self._writer.create(resource, target.namespace or "", body, write)
        if verb == "update":
            return self._writer.replace(resource, key, body, write)
        return self._writer.patch(resource, key, body, write)

    def _scale(self, target: Target, verb: str, body: Body, write: WriteRequest) -> Object:
        declared = target.resource.scale
        if declared is None:
            raise no_such_path()
        live = self._writer.get(target.resource, target.key)
        if verb == "get":
            return scale.of(declared, live)
        wanted = body.value
        if verb == "patch":
            current = scale.of(declared, live)
            if body.media_type == decoding.JSON_PATCH:
                wanted = patching.json_patch(current, body.value)
            else:
                wanted = patching.merge_patch(current, body.value)
        changed = Body(scale.scaled(declared, live, wanted))
        written = self._writer.replace(target.resource, target.key, changed, write)
        return scale.of(declared, written)

    def _list(self, target: Target, query: Mapping[str, str], view: View) -> Object:
        wanted = ListRequest(
            target.namespace,
            _selection(target, query),
            _number(query, "limit"),
            query.get("continue", ""),
            _number(query, "resourceVersion"),
            query.get("resourceVersionMatch") == "Exact",
        )
        items, metadata = list_objects(self._store, target.resource, wanted)
        return view.many(target.resource, items, metadata)

    def _delete_collection(self, target: Target, query: Mapping[str, str], body: Body) -> Object:
        wanted = ListRequest(target.namespace, _selection(target, query))
        items, metadata = list_objects(self._store, target.resource, wanted)
        options = deletion.read_request(body.value, query)
        for item in items:
            meta = item["metadata"]
            key = Key(target.resource.storage, meta.get("namespace", ""), meta["name"])
            self._deleter.delete(target.resource, key, options)
        return View().many(target.resource, items, metadata)

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        query = request.query
        view = view_of(request.headers.get("Accept", ""), query.get("includeObject", ""))
        initial = query.get("sendInitialEvents") == "true"
        revision = _number(query, "resourceVersion")
        wanted = WatchRequest(
            resource=target.resource,
            namespace=target.namespace,
            selects=_selection(target, query),
            revision=None if initial or not revision else revision,
            bookmarks=query.get("allowWatchBookmarks") in {"true", "1"},
            announce_initial=initial,
            timeout=_number(query, "timeoutSeconds") or random.uniform(1800, 3600),  # noqa: S311
        )
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        async for event in self._watches.events(wanted):
            line = orjson.dumps(
                view.event(target.resource, event), option=orjson.OPT_APPEND_NEWLINE
            )
            await response.write(line)
        await response.write_eof()
        return response


def json_response(
    body: Any, status: int = 200, warnings: list[str] | tuple[str, ...] = ()
) -> web.Response:
    """A JSON answer, with what to warn the client of."""
    response = web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
    for warning in warnings:
        escaped = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{escaped}"')
    return response


def _verb(request: web.Request, target: Target) -> str:
    """The API verb of a request.

    Raises:
        ApiError: 405 if the resource does not have it, 404 if there is no such subresource.
    """
    verb = (_ITEM_VERBS if target.name else _COLLECTION_VERBS).get(request.method, "")
    if request.method == "GET" and request.query.get("watch") in {"1", "true"}:
        verb = "watch"
    if verb not in target.resource.verbs:
        raise method_not_allowed()
    _check_subresource(target, verb)
    return verb


def _check_subresource(target: Target, verb: str) -> None:
    known = {"": True, "status": target.resource.status, "scale": bool(target.resource.scale)}
    if not known.get(target.subresource):
        raise no_such_path()
    if target.subresource and verb not in {"get", "update", "patch"}:
        raise method_not_allowed()


async def _body(request: web.Request, target: Target, verb: str) -> Body:
    if verb not in {"create", "update", "patch", "delete", "deletecollection"}:
        return Body({})
    data = await request.read()
    if verb.startswith("delete") and not data.strip():
        return Body({})
    accepted = decoding.PATCHES if verb == "patch" else decoding.BODIES
    return decoding.decode(data, request.headers.get("Content-Type", ""), accepted)


def _write_request(request: web.Request, subresource: str) -> WriteRequest:
    query = request.query
    manager = query.get("fieldManager", "")
    if not manager and request.content_type != decoding.APPLY_PATCH:
        manager = request.headers.get("User-Agent", "unknown").split("/")[0]
    validation = query.get("fieldValidation", "Warn")
    if validation not in {"Strict", "Warn", "Ignore"}:
        raise bad_request(f"unknown fieldValidation {validation!r}: use Strict, Warn or Ignore")
    if query.get("dryRun", "All") != "All":
        raise bad_request(f"unknown dryRun {query['dryRun']!r}: use All")
    return WriteRequest(
        manager=manager,
        subresource=subresource,
        dry_run="dryRun" in query,
        validation=validation,
        force=query.get("force") in {"true", "1"},
    )


def _selection(target: Target, query: Mapping[str, str]) -> Predicate:
    labels = selectors.label_selector(query.get("labelSelector", ""))
    fields = {**_METADATA_FIELDS, **target.resource.fields}
    selected = selectors.field_selector(query.get("fieldSelector", ""), fields)
    if target.name:
        named = selectors.field_selector(f"metadata.name={target.name}", _METADATA_FIELDS)
        selected = selectors.both(selected, named)
    return selectors.both(labels, selected)


def _number(query: Mapping[str, str], name: str) -> int:
    try:
        return int(query.get(name) or 0)
    except ValueError:
        raise bad_request(f'Invalid value: "{query[name]}": {name} must be a number') from None
