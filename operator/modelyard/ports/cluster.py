"""The Kubernetes API as the reconcilers see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from modelyard.api.resources import Resource

Manifest = dict[str, Any]


class ClusterError(Exception):
    """The Kubernetes API could not be reached or refused a request; the message says which."""


class BackendMissing(ClusterError):
    """The API server does not know a resource: its backend is not installed."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(
            f"{resource.kind} ({resource.api_version}) is not installed in this cluster; "
            "install its controller and CRDs, no restart is needed"
        )
        self.resource = resource


class Refused(ClusterError):
    """The API server will not do it: a quota, an admission policy or a missing right forbids it.

    Asking again helps only once somebody has changed that.
    """


class Conflict(ClusterError):
    """Another writer was faster; the same reconcile simply runs again."""


class Reader(Protocol):
    """Reads objects. All methods raise ClusterError when the API does not answer.

    What is read is not changed: others may have been given the same.
    """

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        """Return an object, or None when there is none (or its resource is not installed)."""

    async def list_objects(self, resource: Resource, namespace: str) -> list[Manifest]:
        """Return all objects of a resource in a namespace; none when it is not installed."""


class Cluster(Reader, Protocol):
    """Reads objects as they are now, and writes them."""

    async def serves(self, resource: Resource) -> bool:
        """Return whether a resource is installed."""

    async def create(self, resource: Resource, manifest: Manifest) -> bool:
        """Create an object and return whether it was; nothing happens when it exists."""

    async def apply(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Server-side apply an object under the operator's field manager; return the result.

        Raises:
            BackendMissing: the resource is not installed.
            Refused: the API server forbids it.
        """

    async def replace(self, resource: Resource, manifest: Manifest) -> None:
        """Replace an object that was read before.

        Raises:
            Conflict: the object changed since it was read, or is gone.
        """

    async def apply_status(self, resource: Resource, manifest: Manifest) -> None:
        """Replace the status of an object, whoever wrote what is there: status is ours."""

    async def set_finalizers(self, resource: Resource, manifest: Manifest, to: list[str]) -> None:
        """Replace the finalizers of an object.

        Raises:
            Conflict: the object changed since it was read.
        """

    async def delete(self, resource: Resource, namespace: str, name: str) -> None:
        """Delete an object and, in the background, what it owns; nothing when it is gone."""

    async def secret(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """Return the decoded data of a Secret, or None when there is none."""
