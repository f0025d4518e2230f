"""What every store can do, and the part of it that does not depend on where the bytes lie."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from modelyard.api.artifacts import MANIFEST, Artifact, Manifest, artifact_key, artifact_uri
from modelyard.api.identity import digest

from modelyard_runtimes.store.artifact import ArtifactReader, build_manifest, parse_manifest
from modelyard_runtimes.store.errors import DigestMismatch

FileSource: TypeAlias = bytes | Path
"""Content of a file: its bytes, or the path of a local file that holds them."""


class Store(ABC):
    """A place for records and artifacts, laid out as `modelyard.api.artifacts` says.

    A `location` is a key relative to the store's root, or a full URI of the store's scheme.

    Attributes:
        uri: URI of the root, without a slash at the end.
    """

    uri: str

    @abstractmethod
    def read_bytes(self, location: str) -> bytes:
        """Return the bytes at a location.

        Raises:
            FileNotFoundError: nothing lies there.
        """

    @abstractmethod
    def exists(self, location: str) -> bool:
        """Return whether a file lies at a location."""

    @abstractmethod
    def version(self, location: str) -> str:
        """Return a text that changes whenever the file at a location does.

        Raises:
            FileNotFoundError: nothing lies there.
        """

    @abstractmethod
    def list(self, prefix: str) -> Sequence[str]:
        """Return the sorted keys of all files below a folder; none when there is no such folder."""

    @abstractmethod
    def write_record(self, key: str, data: bytes) -> None:
        """Write a file whole or not at all, replacing what was there; durable on return."""

    @abstractmethod
    def local_folder(self, uri: str, paths: Iterable[str]) -> Path:
        """Return a local folder that holds at least these files of the folder at `uri`.

        Raises:
            FileNotFoundError: a file is missing.
        """

    @abstractmethod
    def _commit(self, key: str, manifest: Manifest, files: Mapping[str, FileSource]) -> None:
        """Make an artifact visible at `key`, its manifest last."""

    def put_artifact(self, media_type: str, files: Mapping[str, FileSource]) -> Artifact:
        """Commit files as an artifact and return it; the same files give the same artifact.

        One that is there already but was changed or lost files since is replaced.

        Args:
            media_type: What the artifact is, for example `modelyard/model.v1`.
            files: Content (bytes, or path of a local file) by path within the artifact.

        Raises:
            StoreError: a path is not inside the artifact.
            StoreUnavailable: the store refuses.
        """
        manifest = build_manifest(media_type, files)
        artifact_digest = manifest.artifact_digest()
        key = artifact_key(artifact_digest)
        if not self.holds(key, manifest):
            self._commit(key, manifest, files)
        return Artifact(
            uri=artifact_uri(self.uri, artifact_digest),
            digest=artifact_digest,
            size_bytes=manifest.size(),
        )

    def holds(self, key: str, manifest: Manifest) -> bool:
        """Return whether an artifact lies at `key` with every byte that its manifest tells."""
        if not self.exists(f"{key}/{MANIFEST}"):
            return False
        try:
            reader = self.open_artifact(f"{self.uri}/{key}", manifest.artifact_digest())
            for entry in manifest.files:
                reader.read(entry.path)
        except (FileNotFoundError, DigestMismatch):
            return False
        return True

    def open_artifact(self, uri: str, expected: str | None = None) -> ArtifactReader:
        """Return verified access to an artifact.

        Args:
            uri: URI of the artifact's folder.
            expected: Digest that the artifact must have; any when unset.

        Raises:
            FileNotFoundError: there is no artifact at `uri`.
            DigestMismatch: its digest is another.
        """
        folder = uri.rstrip("/")
        data = self.read_bytes(f"{folder}/{MANIFEST}")
        return ArtifactReader(self, folder, parse_manifest(folder, data, expected), digest(data))
