"""The Cluster port over the official asynchronous Kubernetes client."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from modelyard.api.meta import FIELD_MANAGER
from modelyard.api.resources import SECRET, Resource
from modelyard.ports.cluster import BackendMissing, ClusterError, Conflict, Manifest, Refused

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
TIMEOUT_SECONDS = 20
REFUSALS = (400, 403, 422)


class KubernetesCluster:
    """Talks to one API server; knows resources by path, so it needs no discovery."""

    def __init__(self, client: ApiClient, may_write: Callable[[], bool] = lambda: True) -> None:
        """Talk through a client.

        Args:
            client: The client.
            may_write: Asked before each write; one that is no longer the leader may not.
        """
        self._client = client
        self._may_write = may_write

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        """Return an object, or None when there is none."""
        return await self._request("GET", resource.path(namespace, name), missing=None)

    async def list_objects(self, resource: Resource, namespace: str) -> list[Manifest]:
        """Return all objects of a resource in a namespace."""
        answer = await self._request("GET", resource.path(namespace), missing={"items": []})
        items: list[Manifest] = (answer or {}).get("items") or []
        for item in items:
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        return items

    async def create(self, resource: Resource, manifest: Manifest) -> bool:
        """Create an object and return whether it was; nothing happens when it exists."""
        path = resource.path(manifest["metadata"]["namespace"])
        try:
            await self._request("POST", path, manifest, query=[("fieldManager", FIELD_MANAGER)])
        except Conflict:
            return False
        return True

    async def apply(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Server-side apply an object under the operator's field manager."""
        metadata = manifest["metadata"]
        path = resource.path(metadata["namespace"], metadata["name"])
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        applied = await self._request("PATCH", path, manifest, content_type=APPLY, query=query)
        if applied is None:
            raise BackendMissing(resource)
        return applied

    async def replace(self, resource: Resource, manifest: Manifest) -> None:
        """Replace an object that was read before."""
        metadata = manifest["metadata"]
        path = resource.path(metadata["namespace"], metadata["name"])
        query = [("fieldManager", FIELD_MANAGER)]
        if await self._request("PUT", path, manifest, query=query) is None:
            raise Conflict(f"PUT {path}: it is gone")

    async def apply_status(self, resource: Resource, manifest: Manifest) -> None:
        """Replace the status of an object.

        By a JSON patch: server-side apply would leave what another manager has added.
        """
        metadata = manifest["metadata"]
        await self._request(
            "PATCH",
            resource.path(metadata["namespace"], metadata["name"]) + "/status",
            [{"op": "add", "path": "/status", "value": manifest["status"]}],
            content_type=JSON,
            query=[("fieldManager", FIELD_MANAGER)],
            missing=None,
        )

    async def set_finalizers(self, resource: Resource, manifest: Manifest, to: list[str]) -> None:
        """Replace the finalizers of an object, if it is still the one that was read."""
        metadata = manifest["metadata"]
        body = {"metadata": {"finalizers": to, "resourceVersion": metadata["resourceVersion"]}}
        await self._request(
            "PATCH",
            resource.path(metadata["namespace"], metadata["name"]),
            body,
            content_type=MERGE,
            query=[("fieldManager", FIELD_MANAGER)],
            missing=None,
        )

    async def delete(self, resource: Resource, namespace: str, name: str) -> None:
        """Delete an object and, in the background, what it owns."""
        query = [("propagationPolicy", "Background")]
        await self._request("DELETE", resource.path(namespace, name), query=query, missing=None)

    async def secret(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """Return the decoded data of a Secret."""
        found = await self.get(SECRET, namespace, name)
        if found is None:
            return None
        data: dict[str, str] = found.get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    async def serves(self, resource: Resource) -> bool:
        """Return whether the API server serves a resource at the moment."""
        return resource in await self.served([resource])

    async def served(self, resources: Collection[Resource]) -> frozenset[Resource]:
        """Return those of the resources that the API server serves at the moment."""
        found: set[Resource] = set()
        for version in sorted({resource.api_version for resource in resources}):
            listed = await self._request("GET", f"/apis/{version}", missing={"resources": []})
            names = {(version, entry["name"]) for entry in (listed or {}).get("resources") or []}
            found |= {one for one in resources if (one.api_version, one.plural) in names}
        return frozenset(found)

    async def check(self) -> None:
        """Ask the API server for its version: whether it answers at all."""
        await self._request("GET", "/version")

    async def _request(  # noqa: PLR0913 - an HTTP request has that many parts
        self,
        method: str,
        path: str,
        body: Manifest | list[Manifest] | None = None,
        *,
        content_type: str = "application/json",
        query: list[tuple[str, str]] | None = None,
        missing: Manifest | None = None,
    ) -> Manifest | None:
        if method != "GET" and not self._may_write():
            raise ClusterError(f"{method} {path}: this operator does not lead")
        try:
            request = await self._client.param_serialize(
                method,
                path,
                query_params=query or [],
                header_params={"Accept": "application/json", "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._client.call_api(*request, _request_timeout=TIMEOUT_SECONDS)
            text = await response.read()  # type: ignore[no-untyped-call]
        except ApiException as error:
            status, text = error.status, error.body
        except (OSError, TimeoutError) as error:
            raise ClusterError(f"{method} {path}: {error or type(error).__name__}") from error
        else:
            status = response.status
        return _answer(method, path, status, text, missing)


def _answer(
    method: str, path: str, status: int, text: Any, missing: Manifest | None
) -> Manifest | None:
    """Return the decoded answer, or raise what the status code means."""
    if status == 404 and method != "POST":
        return missing
    if status == 409:
        raise Conflict(f"{method} {path}: conflict")
    if status in REFUSALS:
        raise Refused(f"{method} {path}: {status} {_message(text)}")
    if not 200 <= status <= 299:
        raise ClusterError(f"{method} {path}: {status} {_message(text)}")
    decoded: Manifest = json.loads(text)
    return decoded


def _message(text: Any) -> str:
    try:
        return str(json.loads(text)["message"])
    except (KeyError, TypeError, ValueError):
        return str(text)[:200]
