"""OpenAPI v3: what `kubectl explain`, `apply`, `diff` and `edit` ask for."""

from collections.abc import Iterator

from modelyard.embedded.apiserver import decoding
from modelyard.embedded.apiserver.discovery import VERSION
from modelyard.embedded.apiserver.errors import Object, no_such_path
from modelyard.embedded.apiserver.meta_schema import OBJECT_META
from modelyard.embedded.apiserver.registry import Registry
from modelyard.embedded.apiserver.resources import Resource

META_NAME = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_META = {"allOf": [{"$ref": f"#/components/schemas/{META_NAME}"}], "default": {}}
_QUERY = {
    "post": ("dryRun", "fieldManager", "fieldValidation"),
    "put": ("dryRun", "fieldManager", "fieldValidation"),
    "patch": ("dryRun", "fieldManager", "fieldValidation", "force"),
    "delete": ("dryRun", "gracePeriodSeconds", "propagationPolicy"),
    "get": (),
}


def index(registry: Registry) -> Object:
    """The answer to `/openapi/v3`: where each group's document is."""
    paths = {
        _prefix(group, version): {"serverRelativeURL": f"/openapi/v3/{_prefix(group, version)}"}
        for group, versions in registry.groups().items()
        for version in versions
    }
    return {"paths": paths}


def document(registry: Registry, prefix: str) -> Object:
    """The OpenAPI document of one version of a group.

    Args:
        registry: The resources.
        prefix: For example `api/v1` or `apis/apps/v1`.

    Raises:
        ApiError: 404 if there is no such version.
    """
    found = [r for r in registry if _prefix(r.group, r.version) == prefix]
    if not found:
        raise no_such_path()
    schemas: Object = {META_NAME: OBJECT_META}
    paths: Object = {}
    for resource in found:
        schemas[schema_name(resource)] = _schema(resource)
        paths |= dict(_paths(resource))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _prefix(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def schema_name(resource: Resource) -> str:
    """The name of a resource's schema in the documents."""
    domain = ".".join(reversed(resource.group.split("."))) if resource.group else "io.k8s.api.core"
    return f"{domain}.{resource.version}.{resource.kind}"


def identity(resource: Resource) -> Object:
    """Group, version and kind as schemas tell them."""
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _schema(resource: Resource) -> Object:
    properties = {**resource.schema["properties"], "metadata": _META}
    return {
        **resource.schema,
        "properties": properties,
        "x-kubernetes-group-version-kind": [identity(resource)],
    }


def _paths(resource: Resource) -> Iterator[tuple[str, Object]]:
    scope = "/namespaces/{namespace}" if resource.namespaced else ""
    base = f"/{_prefix(resource.group, resource.version)}{scope}/{resource.plural}"
    yield base, _operations(resource, ("get", "post"), base)
    item = base + "/{name}"
    yield item, _operations(resource, ("get", "put", "patch", "delete"), item)
    if resource.status:
        yield f"{item}/status", _operations(resource, ("get", "put", "patch"), f"{item}/status")


def _operations(resource: Resource, methods: tuple[str, ...], path: str) -> Object:
    named = [name for name in ("namespace", "name") if f"{{{name}}}" in path]
    parameters = [_parameter(name, "path") for name in named]
    return {
        "parameters": parameters,
        **{method: _operation(resource, method) for method in methods},
    }


def _operation(resource: Resource, method: str) -> Object:
    reference = {"$ref": f"#/components/schemas/{schema_name(resource)}"}
    content = {decoding.JSON: {"schema": reference}}
    operation: Object = {
        "operationId": f"{method}{resource.version}{resource.kind}",
        "parameters": [_parameter(name, "query") for name in _QUERY[method]],
        "responses": {"200": {"description": "OK", "content": content}},
        "x-kubernetes-action": method,
        "x-kubernetes-group-version-kind": identity(resource),
    }
    if method == "patch":
        patches = [p for p in decoding.PATCHES if not (resource.custom and _strategic(p))]
        anything = {"schema": {"type": "object"}}
        operation["requestBody"] = {"content": dict.fromkeys(patches, anything)}
    elif method in {"post", "put"}:
        operation["requestBody"] = {"content": content}
    return operation


def _strategic(media_type: str) -> bool:
    return media_type == decoding.STRATEGIC_PATCH


def _parameter(name: str, place: str) -> Object:
    kinds = {"force": "boolean", "gracePeriodSeconds": "integer"}
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": {"type": kinds.get(name, "string"), "uniqueItems": True},
    }
