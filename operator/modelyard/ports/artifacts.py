"""The artifact store as the operator sees it: small records, never model bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from modelyard.api.runtime import StoreConfig


class StoreUnavailable(Exception):
    """The artifact store could not be reached; the message says which and why."""


class ArtifactStore(Protocol):
    """Reads and writes small objects by key. All methods raise StoreUnavailable."""

    @property
    def config(self) -> StoreConfig:
        """How to reach the store."""

    async def read(self, key: str) -> bytes | None:
        """Return an object's bytes, or None when there is none."""

    async def write(self, key: str, data: bytes) -> None:
        """Write an object atomically."""

    async def folders(self, key: str) -> list[str]:
        """Return the names of the folders directly under a key, in order."""

    async def remove(self, key: str) -> None:
        """Remove everything under a key."""

    async def read_uri(self, uri: str) -> bytes | None:
        """Return an object's bytes by its URI within the store, or None when there is none."""


class ArtifactStores(Protocol):
    """Opens artifact stores."""

    def default(self) -> StoreConfig:
        """Return the store that is used when a Project declares none."""

    def open(self, config: StoreConfig, credentials: Mapping[str, str]) -> ArtifactStore:
        """Open a store; credentials are those of its connection's Secret."""
