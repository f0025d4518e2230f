"""Artifacts: computing the manifest of files to commit, and reading verified files back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from modelyard.api.artifacts import MANIFEST, FileEntry, Manifest
from modelyard.api.identity import digest

from modelyard_runtimes.store.errors import DigestMismatch, StoreError

if TYPE_CHECKING:
    from modelyard_runtimes.store.base import FileSource, Store


def check_path(path: str) -> str:
    """Return a path within an artifact or a store, when it stays inside.

    Raises:
        StoreError: the path is absolute, empty, or leaves the folder.
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise StoreError(f"{path!r} is not a path inside the store; use a relative path with /")
    return "/".join(parts)


def digest_of(source: FileSource) -> str:
    """Return the digest of bytes, or of a file without loading it whole."""
    if isinstance(source, bytes):
        return digest(source)
    with source.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def build_manifest(media_type: str, files: Mapping[str, FileSource]) -> Manifest:
    """Return the manifest of files that are to become an artifact.

    Args:
        media_type: What the artifact is, for example `modelyard/model.v1`.
        files: Content (bytes, or path of a local file) by path within the artifact.

    Raises:
        StoreError: a path is not inside the artifact, or is the manifest's own.
    """
    entries = []
    for path in sorted(files):
        if check_path(path) != path or path == MANIFEST:
            raise StoreError(f"{path!r} cannot be the path of an artifact's file; choose another")
        source = files[path]
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        entries.append(FileEntry(path=path, size=size, digest=digest_of(source)))
    return Manifest(media_type=media_type, files=entries)


def parse_manifest(uri: str, data: bytes, expected: str | None) -> Manifest:
    """Return the manifest in `data`, once its digest is checked.

    Raises:
        DigestMismatch: the artifact's digest is not `expected`.
        StoreError: the bytes are no manifest.
    """
    found = digest(data)
    if expected is not None and found != expected:
        raise DigestMismatch(f"{uri}/{MANIFEST}", expected, found)
    try:
        manifest = Manifest.model_validate(json.loads(data))
    except ValueError as error:
        raise StoreError(f"{uri}/{MANIFEST} is not a manifest: {error}") from error
    for entry in manifest.files:
        check_path(entry.path)
    return manifest


class ArtifactReader:
    """Verified access to the files of one artifact.

    Every file is checked against the manifest before its bytes or its path are handed out.

    Attributes:
        uri: URI of the artifact's folder.
        digest: Digest of the artifact.
        manifest: Its list of files.
    """

    def __init__(self, store: Store, uri: str, manifest: Manifest, artifact_digest: str) -> None:
        self._store = store
        self._entries = {entry.path: entry for entry in manifest.files}
        self._verified: dict[str, Path] = {}
        self.uri = uri
        self.digest = artifact_digest
        self.manifest = manifest

    def read(self, path: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            FileNotFoundError: the artifact has no such file.
            DigestMismatch: the bytes are not those of the manifest.
        """
        uri = f"{self.uri}/{self._entry(path).path}"
        data = self._store.read_bytes(uri)
        self._check(path, uri, digest(data))
        return data

    def path(self, path: str) -> Path:
        """Return the local path of a file: in place for file://, a private copy for S3.

        Raises:
            FileNotFoundError: the artifact has no such file.
            DigestMismatch: the bytes are not those of the manifest.
        """
        if path not in self._verified:
            local = self._store.local_folder(self.uri, [self._entry(path).path]) / path
            self._check(path, f"{self.uri}/{path}", digest_of(local))
            self._verified[path] = local
        return self._verified[path]

    def folder(self) -> Path:
        """Return a local folder with all files, each verified: in place for file://.

        Raises:
            DigestMismatch: the bytes of a file are not those of the manifest.
        """
        folder = self._store.local_folder(self.uri, [*self._entries, MANIFEST])
        for path in self._entries:
            self.path(path)
        return folder

    def _entry(self, path: str) -> FileEntry:
        if path not in self._entries:
            raise FileNotFoundError(
                f"{self.uri} has no file {path}; it has {sorted(self._entries)}"
            )
        return self._entries[path]

    def _check(self, path: str, uri: str, found: str) -> None:
        expected = self._entry(path).digest
        if found != expected:
            raise DigestMismatch(uri, expected, found)
