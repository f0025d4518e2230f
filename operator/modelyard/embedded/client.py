"""A small asynchronous client of the Kubernetes REST API.

It follows its kubeconfig: a rewritten file (another port, another token) takes effect with the next
request, so a client survives a restart of the server.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from modelyard.embedded.kubeconfig import Endpoint, KubeconfigError, read_kubeconfig

Object = dict[str, Any]
"""A Kubernetes object as JSON."""

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
WATCH_SECONDS = 240
"""How long one watch lasts before the server ends it and the client begins another."""


@dataclass(frozen=True)
class Resource:
    """A resource of the API: where its objects are found."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """Return `group/version`, or `version` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Return the path of a collection or of one object."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


SECRETS = Resource("", "v1", "secrets", "Secret")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    namespaced=False,
)


class ApiError(Exception):
    """The API server refused a request.

    Attributes:
        code: HTTP status, for example 404.
        reason: The Status object's reason, for example NotFound.
    """

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class WatchEvent:
    """One event of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, and its object."""

    type: str
    object: Object


class Client:
    """Reads and writes objects; use it as an async context manager.

    Every method raises ApiError for an answer of 400 and above, aiohttp.ClientError when the server
    cannot be reached, and KubeconfigError while there is no kubeconfig.
    """

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._changed: int | None = None
        self._endpoint: Endpoint | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=WATCH_SECONDS + 30)
        self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """Return one object."""
        return await self._request("GET", resource.path(namespace, name))

    async def list(self, resource: Resource, namespace: str | None = None) -> Object:
        """Return the list of a namespace's objects, or of all namespaces."""
        return await self._request("GET", resource.path(namespace))

    async def create(self, resource: Resource, namespace: str | None, document: Object) -> Object:
        """Create an object."""
        return await self._request("POST", resource.path(namespace), document)

    async def merge(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        patch: Object,
        subresource: str = "",
    ) -> Object:
        """Change an object, or its subresource such as `status`, by a JSON merge patch."""
        path = resource.path(namespace, name) + (f"/{subresource}" if subresource else "")
        return await self._request("PATCH", path, patch, content_type=MERGE_PATCH)

    async def apply(self, resource: Resource, document: Object, field_manager: str) -> Object:
        """Apply an object server-side and take over fields that others own."""
        metadata = document["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"])
        return await self._request(
            "PATCH",
            path,
            document,
            content_type=APPLY_PATCH,
            parameters={"fieldManager": field_manager, "force": "true"},
        )

    async def delete(self, resource: Resource, namespace: str | None, name: str, uid: str) -> None:
        """Delete the object with this uid; it is no error when it is gone or another one."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        try:
            await self._request("DELETE", resource.path(namespace, name), options)
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    async def watch(
        self, resource: Resource, resource_version: str, namespace: str | None = None
    ) -> AsyncIterator[WatchEvent]:
        """Yield what happens after a resource version, until the server ends the watch."""
        parameters = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        async with self._send("GET", resource.path(namespace), parameters=parameters) as response:
            await _raise_for_status(response)
            # Not readline: it refuses lines longer than its buffer.
            pending = b""
            async for chunk in response.content.iter_any():
                *lines, pending = (pending + chunk).split(b"\n")
                for line in filter(bytes.strip, lines):
                    event = json.loads(line)
                    yield WatchEvent(event["type"], event["object"])

    def _send(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        content_type: str = "application/json",
        parameters: Mapping[str, str] | None = None,
    ) -> Any:
        if self._session is None:
            raise RuntimeError("use the client as an async context manager")
        endpoint = self._current_endpoint()
        return self._session.request(
            method,
            endpoint.server + path,
            data=None if body is None else json.dumps(body),
            params=parameters,
            headers={**endpoint.headers, "Content-Type": content_type},
            ssl=endpoint.tls,
        )

    async def _request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        content_type: str = "application/json",
        parameters: Mapping[str, str] | None = None,
    ) -> Object:
        async with self._send(method, path, body, content_type, parameters) as response:
            await _raise_for_status(response)
            document: Object = json.loads(await response.read())
            return document

    def _current_endpoint(self) -> Endpoint:
        try:
            changed = self._kubeconfig.stat().st_mtime_ns
        except OSError as error:
            raise KubeconfigError(f"{self._kubeconfig}: {error.strerror}") from error
        if self._endpoint is None or changed != self._changed:
            self._endpoint = read_kubeconfig(self._kubeconfig)
            self._changed = changed
        return self._endpoint


async def _raise_for_status(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    text = await response.text()
    try:
        status = json.loads(text)
        reason, message = str(status.get("reason", "")), str(status.get("message", ""))
    except (ValueError, AttributeError):
        reason, message = response.reason or "", text[:500]
    raise ApiError(response.status, reason, message)


def merge_patch(old: Object, new: Object) -> Object:
    """Return the JSON merge patch (RFC 7386) that turns `old` into `new`; empty when equal."""
    patch: Object = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := merge_patch(before, value):
                patch[key] = inner
        elif key not in old or value != before:
            patch[key] = value
    return patch
