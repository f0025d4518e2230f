"""Reads run records and model cards from wherever a Project keeps its artifacts."""

from __future__ import annotations

import asyncio
import base64
import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from modelyard.adapters.artifacts import OpenedStores
from modelyard.api.project import Connection, ProjectSpec
from modelyard.api.resources import Key
from modelyard.api.runtime import StoreConfig
from modelyard.build.common import AWS_KEYS
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

    def folders(self, namespace: str, project: ProjectSpec | None, key: str) -> list[str]:
        """Return the names of the folders directly under a key of a Project's store.

        Raises:
            StoreUnavailable: the store cannot be read; the message says why and what to do.
        """
        return asyncio.run(self._open(namespace, project).folders(key))

    def reach(
        self, namespace: str, project: ProjectSpec | None
    ) -> tuple[StoreConfig, dict[str, str]]:
        """Return how to reach a Project's store, and the keys to it.

        Raises:
            StoreUnavailable: nobody tells the keys; the message says what to do.
        """
        declared = project.artifact_store if project else None
        if project is None or declared is None:
            return self.default, {}
        if declared.connection_ref is None:
            return StoreConfig(uri=declared.uri), {}
        connection = connection_of(project, declared.connection_ref.name)
        config = StoreConfig(
            uri=declared.uri, endpoint=connection.endpoint, region=connection.region
        )
        return config, self.keys(namespace, connection)

    def keys(self, namespace: str, connection: Connection, prefix: str = "") -> dict[str, str]:
        """Return the keys of a connection: from its Secret, or without a plane the environment.

        Args:
            namespace: Where the Secret lies.
            connection: The connection.
            prefix: What the names of the keys begin with in the environment.

        Raises:
            StoreUnavailable: nobody tells them; the message says what to do.
        """
        if connection.secret_ref is None:
            return {}
        name = connection.secret_ref.name
        if self.client is not None:
            return self.secret(namespace, name)
        variables = [prefix + key for key in AWS_KEYS]
        if not all(os.environ.get(variable) for variable in variables):
            raise StoreUnavailable(
                f"its keys are in Secret {name}, which only a running plane holds; "
                f"start it with `modelyard up`, or set {' and '.join(variables)}"
            )
        return {key: os.environ[prefix + key] for key in AWS_KEYS}

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        """Return the entries of a Secret of the running plane.

        Raises:
            StoreUnavailable: no plane runs, or there is no such Secret.
        """
        if self.client is None:
            raise StoreUnavailable(f"Secret {name} is held by the plane, which does not run")
        secret = self.client.get("v1", Key("Secret", namespace, name))
        if secret is None:
            raise StoreUnavailable(f"Secret {name} is missing in namespace {namespace}; create it")
        data = secret.get("data") or {}
        # Nobody asks for those entries that are no texts.
        return {
            key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()
        }

    def _open(self, namespace: str, project: ProjectSpec | None) -> ArtifactStore:
        return OpenedStores(self.default).open(*self.reach(namespace, project))


def connection_of(project: ProjectSpec, name: str) -> Connection:
    """Return a connection of a Project by its name.

    Raises:
        StoreUnavailable: it has none of this name.
    """
    for connection in project.connections:
        if connection.name == name:
            return connection
    raise StoreUnavailable(f"the Project has no connection {name!r}; add it to spec.connections")
