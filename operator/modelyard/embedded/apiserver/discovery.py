"""Discovery: which groups, versions and resources there are."""

from collections.abc import Iterator

from modelyard.embedded.apiserver.errors import Object, no_such_path
from modelyard.embedded.apiserver.registry import Registry
from modelyard.embedded.apiserver.resources import Resource

VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.0+embedded",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "",
}
"""The Kubernetes version whose API this server follows."""
_STATUS_VERBS = ["get", "patch", "update"]


def core_versions() -> Object:
    """The answer to `/api`."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups(registry: Registry) -> Object:
    """The answer to `/apis`."""
    found = [_group(name, versions) for name, versions in registry.groups().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def group(registry: Registry, name: str) -> Object:
    """The answer to `/apis/<group>`.

    Raises:
        ApiError: 404 if there is no such group.
    """
    versions = registry.groups().get(name)
    if not versions:
        raise no_such_path()
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def resources(registry: Registry, name: str, version: str) -> Object:
    """The answer to `/api/v1` and `/apis/<group>/<version>`.

    Raises:
        ApiError: 404 if there is no such version.
    """
    found = registry.in_version(name, version)
    if not found:
        raise no_such_path()
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{name}/{version}" if name else version,
        "resources": [entry for resource in found for entry in _entries(resource)],
    }


def media_type(version: str) -> str:
    """The media type by which clients recognise aggregated discovery."""
    return f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"


def aggregated(registry: Registry, version: str, *, core: bool) -> Object:
    """Everything at once, as `/api` (core) and `/apis` answer to clients that ask for it."""
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None},
            "versions": [_aggregated_version(registry, name, v) for v in versions],
        }
        for name, versions in registry.groups().items()
        if (name == "") is core
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _group(name: str, versions: list[str]) -> Object:
    found = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": found, "preferredVersion": found[0]}


def _entries(resource: Resource) -> Iterator[Object]:
    entry: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
        "storageVersionHash": "",
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    yield entry
    for name, kind in _subresources(resource):
        yield {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "verbs": _STATUS_VERBS,
            **kind,
        }


def _subresources(resource: Resource) -> Iterator[tuple[str, Object]]:
    if resource.status:
        yield "status", {"kind": resource.kind}
    if resource.scale:
        yield "scale", {"group": "autoscaling", "version": "v1", "kind": "Scale"}


def _aggregated_version(registry: Registry, name: str, version: str) -> Object:
    found = [_aggregated_resource(r) for r in registry.in_version(name, version)]
    return {"version": version, "freshness": "Current", "resources": found}


def _aggregated_resource(resource: Resource) -> Object:
    own = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    entry: Object = {
        "resource": resource.plural,
        "responseKind": own,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
        "shortNames": list(resource.short_names),
        "categories": list(resource.categories),
    }
    subresources = [
        {"subresource": name, "responseKind": {**own, **kind}, "verbs": _STATUS_VERBS}
        for name, kind in _subresources(resource)
    ]
    if subresources:
        entry["subresources"] = subresources
    return entry
