"""Where the payload log lies: a folder of bounded chunks, in a directory or in an S3 bucket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from modelyard.api.runtime import StoreConfig

from modelyard_runtimes.payloads import OPEN_FOR, SUFFIX, chunk_name, chunk_writer
from modelyard_runtimes.store.files import path_of

CHUNK_BYTES = 1024 * 1024
FOLDER_BYTES = 256 * 1024 * 1024
"""Size of the folder beyond which the oldest chunks are removed."""
LISTED_SHARE = 16
"""The folder is listed again once its writers can have added this part, one in so many: a look at
all chunks takes longer than writing one."""


class Folder(Protocol):
    """A place for chunks."""

    def append(self, name: str, data: bytes) -> None:
        """Add whole lines to a chunk, which is created when it is not there."""

    def sizes(self) -> Mapping[str, int]:
        """Return the size of each chunk in bytes, by name."""

    def remove(self, name: str) -> None:
        """Remove a chunk; another process may have been first."""


class DirectoryFolder:
    """Chunks as files of a directory."""

    def __init__(self, uri: str) -> None:
        self._path = path_of(uri)

    def append(self, name: str, data: bytes) -> None:
        """Append to the file in one write.

        Raises:
            OSError: not all of it could be written.
        """
        self._path.mkdir(parents=True, exist_ok=True)
        with (self._path / name).open("ab", buffering=0) as stream:
            if stream.write(data) != len(data):
                raise OSError("the disk is full")

    def sizes(self) -> Mapping[str, int]:
        """Return the sizes of the files."""
        sizes: dict[str, int] = {}
        for path in self._path.glob(f"*{SUFFIX}"):
            sizes[path.name] = _size(path)
        return sizes

    def remove(self, name: str) -> None:
        """Remove the file."""
        (self._path / name).unlink(missing_ok=True)


class BucketFolder:
    """Chunks as objects of an S3 bucket; a growing one is put whole each time."""

    def __init__(self, uri: str, config: StoreConfig, environ: Mapping[str, str]) -> None:
        # Loading boto3 takes half a second, which a directory need not pay.
        from modelyard_runtimes.store.s3 import connect, split  # noqa: PLC0415

        self._bucket, key = split(uri)
        self._prefix = f"{key.strip('/')}/"
        self._client = connect(
            config, environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        )
        self._growing: tuple[str, bytes] = ("", b"")

    def append(self, name: str, data: bytes) -> None:
        """Put the chunk with the new lines."""
        before = self._growing[1] if self._growing[0] == name else b""
        whole = before + data
        self._client.put_object(Bucket=self._bucket, Key=f"{self._prefix}{name}", Body=whole)
        self._growing = (name, whole)

    def sizes(self) -> Mapping[str, int]:
        """Return the sizes of the objects."""
        pages = self._client.get_paginator("list_objects_v2")
        return {
            entry["Key"].removeprefix(self._prefix): entry["Size"]
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix)
            for entry in page.get("Contents", [])
        }

    def remove(self, name: str) -> None:
        """Remove the object."""
        self._client.delete_object(Bucket=self._bucket, Key=f"{self._prefix}{name}")


def open_folder(uri: str, config: StoreConfig, environ: Mapping[str, str] = os.environ) -> Folder:
    """Return the folder at a file:// or s3:// URI.

    Raises:
        StoreError: the URI is neither.
    """
    if uri.startswith("s3://"):
        return BucketFolder(uri, config, environ)
    return DirectoryFolder(uri)


class ChunkWriter:
    """Writes lines into the chunks of one process and keeps the folder bounded."""

    def __init__(self, folder: Folder, folder_bytes: int = FOLDER_BYTES) -> None:
        """Start without a chunk.

        Args:
            folder: Where the chunks go.
            folder_bytes: Size of the folder that is kept, of all processes together.
        """
        self._folder = folder
        self._folder_bytes = folder_bytes
        self._writer = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._name = ""
        self._started = datetime.min.replace(tzinfo=UTC)
        self._size = 0
        self._until_listed = 0
        """Bytes to be written before the folder is listed again."""

    def write(self, lines: bytes, now: datetime) -> None:
        """Add whole lines.

        Args:
            lines: Lines, each with its end.
            now: The present time, in UTC.

        Raises:
            OSError: the directory refuses; the next lines go to a new chunk, since this one may
                end in half a line. A bucket's client raises errors of its own.
        """
        if now - self._started > OPEN_FOR or self._size + len(lines) > CHUNK_BYTES:
            self._started = now
            self._name = chunk_name(now, self._writer)
            self._size = 0
            if self._until_listed <= 0:
                self._remove_oldest()
        self._size += CHUNK_BYTES  # a chunk whose writing fails counts as full
        self._folder.append(self._name, lines)
        self._size += len(lines) - CHUNK_BYTES
        self._until_listed -= len(lines)

    def _remove_oldest(self) -> None:
        """Make room for what is written before the next look."""
        sizes = self._folder.sizes()
        share = self._folder_bytes // LISTED_SHARE
        excess = sum(sizes.values()) + share - self._folder_bytes
        for name in sorted(sizes):
            if excess <= 0:
                break
            self._folder.remove(name)
            excess -= sizes[name]
        self._until_listed = share // len({self._writer, *map(chunk_writer, sizes)})


def _size(path: Path) -> int:
    """Return the size of a file; 0 when another process just removed it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
