"""A synchronous client of the Kubernetes API, for what the commands need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from modelyard.api.meta import API_VERSION
from modelyard.api.resources import OURS, Key, Resource
from modelyard.cli.faults import CommandError
from modelyard.cli.manifests import CLUSTER_SCOPED
from modelyard.embedded.kubeconfig import KubeconfigError, read_kubeconfig

Object = dict[str, Any]
FIELD_MANAGER = "modelyard-git"


class Refused(CommandError):
    """The API server answered that it will not do this."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Unreachable(CommandError):
    """No API server answers."""


class Client:
    """Reads, applies and deletes objects; survives a restart of the server."""

    def __init__(self, kubeconfig: Path) -> None:
        """Remember where the connection is described; nothing is opened yet."""
        self.kubeconfig = kubeconfig
        self._read_at: int | None = None
        self._http: httpx.Client | None = None
        self._resources: dict[tuple[str, str], Resource] = {}

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._http is not None:
            self._http.close()
        self._http = None

    def get(self, api_version: str, key: Key) -> Object | None:
        """Return an object, None when there is none."""
        try:
            return self._request("GET", self._path(api_version, key))
        except Refused as refused:
            if refused.code == 404:
                return None
            raise

    def list(self, resource: Resource, namespace: str | None = None, **query: str) -> list[Object]:
        """Return the objects of a kind, of one namespace or all."""
        items = self._request("GET", resource.path(namespace), query).get("items", [])
        known = {"apiVersion": resource.api_version, "kind": resource.kind}
        return [{**known, **item} for item in items]

    def apply(self, body: Object, key: Key, *, dry_run: bool = False) -> Object:
        """Apply an object server-side as `modelyard-git`; git wins over other field managers."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        path = self._path(str(body["apiVersion"]), key)
        return self._request("PATCH", path, query, body, "application/apply-patch+yaml")

    def delete(self, api_version: str, key: Key) -> None:
        """Delete an object and, in the background, what it owns; it may be gone already."""
        try:
            options = {"propagationPolicy": "Background"}
            self._request("DELETE", self._path(api_version, key), options)
        except Refused as refused:
            if refused.code != 404:
                raise

    def ensure_namespace(self, name: str) -> None:
        """Create a namespace unless there is one."""
        if self.get("v1", Key("Namespace", "", name)) is not None:
            return
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        try:
            self._request("POST", "/api/v1/namespaces", {}, body)
        except Refused as refused:
            if refused.code != 409:
                raise

    def is_ready(self) -> bool:
        """Return whether the API server answers."""
        try:
            self._send("GET", "/readyz")
        except CommandError:
            return False
        return True

    def server(self) -> str:
        """Return the URL of the API server."""
        return str(self._connection().base_url)

    def _path(self, api_version: str, key: Key) -> str:
        return self._resource(api_version, key.kind).path(key.namespace or None, key.name)

    def _resource(self, api_version: str, kind: str) -> Resource:
        if api_version == API_VERSION and kind in OURS:
            return OURS[kind]
        found = self._resources.get((api_version, kind))
        if found is None:
            found = self._discover(api_version, kind)
            self._resources[(api_version, kind)] = found
        return found

    def _discover(self, api_version: str, kind: str) -> Resource:
        root = "/apis" if "/" in api_version else "/api"
        try:
            served = self._request("GET", f"{root}/{api_version}")["resources"]
        except Refused as refused:
            if refused.code != 404:
                raise
            served = []
        for entry in served:
            if entry["kind"] == kind and "/" not in entry["name"]:
                return Resource(api_version, kind, entry["name"])
        raise Refused(
            404, f"the API server serves no kind {kind} in {api_version}; remove the manifest"
        )

    def _request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        document: Object = self._send(method, path, query, body, content_type).json()
        return document

    def _send(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> httpx.Response:
        headers = {"Content-Type": content_type} if body is not None else {}
        try:
            answer = self._connection().request(
                method, path, params=query, json=body, headers=headers
            )
        except httpx.HTTPError as error:
            self.close()
            raise Unreachable(
                f"the API server of {self.kubeconfig} does not answer ({error}); "
                "start it with `modelyard up`"
            ) from error
        if answer.status_code >= 400:
            raise Refused(answer.status_code, _message(answer))
        return answer

    def _connection(self) -> httpx.Client:
        """Return the open connection; a rewritten kubeconfig (another port) opens a new one."""
        try:
            changed = self.kubeconfig.stat().st_mtime_ns
            if self._http is None or changed != self._read_at:
                self.close()
                endpoint = read_kubeconfig(self.kubeconfig)
                self._http = httpx.Client(
                    base_url=endpoint.server,
                    headers=dict(endpoint.headers),
                    verify=endpoint.tls,
                    timeout=30,
                    trust_env=False,
                )
                self._read_at = changed
        except (OSError, KubeconfigError) as error:
            raise Unreachable(f"no usable kubeconfig at {self.kubeconfig}: {error}") from error
        return self._http


def our_objects(client: Client, namespaces: list[str] | None) -> Iterator[Object]:
    """Yield all objects of the seven kinds, kind by kind, of some namespaces or (None) of all."""
    for resource in OURS.values():
        if namespaces is None:
            yield from client.list(resource)
        else:
            for namespace in namespaces:
                yield from client.list(resource, namespace)


def key_of(body: Object) -> Key:
    """Return the key of an object as the server gave it."""
    metadata = body["metadata"]
    namespace = "" if body["kind"] in CLUSTER_SCOPED else metadata.get("namespace", "")
    return Key(body["kind"], namespace, metadata["name"])


def default_kubeconfig() -> Path | None:
    """Return the kubeconfig that kubectl would use, None when there is none."""
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    path = Path(named) if named else Path.home() / ".kube" / "config"
    return path if path.is_file() else None


def context_namespace(kubeconfig: Path) -> str:
    """Return the namespace of the current context."""
    document = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    current = document.get("current-context")
    for entry in document.get("contexts", []):
        if entry["name"] == current:
            return str(entry["context"].get("namespace") or "default")
    return "default"


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}: {answer.text[:500]}"
