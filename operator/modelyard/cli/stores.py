"""Reads run records and model cards from wherever a Project keeps its artifacts."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from urllib.parse import urlsplit

from modelyard.adapters.artifacts import OpenedStores
from modelyard.api.project import Connection, ProjectSpec
from modelyard.api.resources import Key
from modelyard.api.runtime import StoreConfig
from modelyard.cli.client import Client
from modelyard.ports.artifacts import ArtifactStore, StoreUnavailable


@dataclass(frozen=True)
class StoreReader:
    """Opens the artifact store of a Project with the keys that its API server holds."""

    default: StoreConfig
    """The store of a Project that declares none."""
    client: Client | None
    """The API server with the Secrets; None where none runs."""

    def read(self, namespace: str, project: ProjectSpec | None, key: str) -> bytes | None:
        """Return an object of a Project's store, None when there is none.

        Raises:
            StoreUnavailable: the store cannot be read; the message says why and what to do.
        """
        return asyncio.run(self._open(namespace, project).read(key))

    def read_uri(self, namespace: str, project: ProjectSpec | None, uri: str) -> bytes | None:
        """Return an object by its URI, None when there is none.

        Raises:
            StoreUnavailable: the store cannot be read; the message says why and what to do.
        """
        if urlsplit(uri).scheme == "file":
            store = OpenedStores(self.default).open(StoreConfig(uri=uri), {})
        else:
            store = self._open(namespace, project)
        return asyncio.run(store.read_uri(uri))

    def _open(self, namespace: str, project: ProjectSpec | None) -> ArtifactStore:
        stores = OpenedStores(self.default)
        declared = project.artifact_store if project else None
        if project is None or declared is None:
            return stores.open(self.default, {})
        if declared.connection_ref is None:
            return stores.open(StoreConfig(uri=declared.uri), {})
        wanted = declared.connection_ref.name
        connection = next(entry for entry in project.connections if entry.name == wanted)
        config = StoreConfig(
            uri=declared.uri, endpoint=connection.endpoint, region=connection.region
        )
        return stores.open(config, self._keys(namespace, connection))

    def _keys(self, namespace: str, connection: Connection) -> dict[str, str]:
        if connection.secret_ref is None:
            return {}
        name = connection.secret_ref.name
        if self.client is None:
            raise StoreUnavailable(
                f"its keys are in Secret {name}, which only a running plane holds; "
                "start it with `modelyard up`"
            )
        secret = self.client.get("v1", Key("Secret", namespace, name))
        if secret is None:
            raise StoreUnavailable(f"Secret {name} is missing in namespace {namespace}; create it")
        data = secret.get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}
