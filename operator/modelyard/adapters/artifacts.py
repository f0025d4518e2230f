"""The ArtifactStore port on a directory and on S3."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from modelyard.api.artifacts import S3_REFUSED
from modelyard.api.runtime import StoreConfig
from modelyard.ports.artifacts import ArtifactStore, StoreUnavailable

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError
    from types_boto3_s3 import S3Client

ResultT = TypeVar("ResultT")


class OpenedStores:
    """Opens stores by the scheme of their URI and keeps them open."""

    def __init__(self, default: StoreConfig) -> None:
        self._default = default
        self._open: dict[tuple[str, tuple[tuple[str, str], ...]], ArtifactStore] = {}

    def default(self) -> StoreConfig:
        """Return the store that is used when a Project declares none."""
        return self._default

    def open(self, config: StoreConfig, credentials: Mapping[str, str]) -> ArtifactStore:
        """Open a store; one object serves all who ask with the same credentials."""
        key = (config.model_dump_json(), tuple(sorted(credentials.items())))
        if key not in self._open:
            scheme = urlsplit(config.uri).scheme
            self._open[key] = (
                S3Store(config, credentials) if scheme == "s3" else DirectoryStore(config)
            )
        return self._open[key]


class DirectoryStore:
    """A store in a directory."""

    def __init__(self, config: StoreConfig) -> None:
        self.config = config
        self._root = Path(unquote(urlsplit(config.uri).path))

    async def read(self, key: str) -> bytes | None:
        """Return a file's bytes, or None when there is none."""
        return self._read(self._root / key)

    async def read_uri(self, uri: str) -> bytes | None:
        """Return a file's bytes by its file:// URI."""
        return self._read(Path(unquote(urlsplit(uri).path)))

    async def write(self, key: str, data: bytes) -> None:
        """Write a file atomically: a reader sees the whole or nothing."""
        path = self._root / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(file.name).rename(path)
        except OSError as error:
            raise StoreUnavailable(f"cannot write {path}: {error}") from error

    async def folders(self, key: str) -> list[str]:
        """Return the names of the folders directly under a key."""
        path = self._root / key
        try:
            return sorted(entry.name for entry in path.iterdir() if entry.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreUnavailable(f"cannot list {path}: {error}") from error

    async def remove(self, key: str) -> None:
        """Remove everything under a key."""
        try:
            shutil.rmtree(self._root / key)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreUnavailable(f"cannot remove {self._root / key}: {error}") from error

    @staticmethod
    def _read(path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreUnavailable(f"cannot read {path}: {error}") from error


class S3Store:
    """A store under a prefix of an S3 bucket."""

    def __init__(self, config: StoreConfig, credentials: Mapping[str, str]) -> None:
        self.config = config
        parts = urlsplit(config.uri)
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/")
        self._credentials = dict(credentials)
        self._client_or_none: S3Client | None = None
        self._connecting = threading.Lock()

    async def read(self, key: str) -> bytes | None:
        """Return an object's bytes, or None when there is none."""
        return await self._run(self._read, self._bucket, self._key(key))

    async def read_uri(self, uri: str) -> bytes | None:
        """Return an object's bytes by its s3:// URI."""
        parts = urlsplit(uri)
        return await self._run(self._read, parts.netloc, parts.path.lstrip("/"))

    async def write(self, key: str, data: bytes) -> None:
        """Write an object; S3 makes it visible whole."""
        await self._run(self._write, self._key(key), data)

    async def folders(self, key: str) -> list[str]:
        """Return the names of the folders directly under a key."""
        return await self._run(self._folders, self._key(key).rstrip("/") + "/")

    async def remove(self, key: str) -> None:
        """Remove everything under a key."""
        await self._run(self._remove, self._key(key).rstrip("/") + "/")

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    async def _run(self, call: Callable[..., ResultT], *arguments: Any) -> ResultT:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - loads slowly

        try:
            return await asyncio.to_thread(call, *arguments)
        except (BotoCoreError, ClientError) as error:
            raise StoreUnavailable(f"{self.config.uri}: {self._remedy(error)}") from error

    def _remedy(self, error: BotoCoreError | ClientError) -> str:
        """Return what is wrong and what to do; the server's own text may quote a key."""
        response: dict[str, Any] = getattr(error, "response", None) or {}
        code = response.get("Error", {}).get("Code")
        if code is None:
            endpoint = self.config.endpoint or "the endpoint"
            return (
                f"{endpoint} does not answer ({type(error).__name__}); start it, or correct "
                "endpoint in spec.connections of the Project"
            )
        if code == "NoSuchBucket":
            return (
                f"there is no bucket {self._bucket}; create it, or correct spec.artifactStore.uri "
                "of the Project"
            )
        if code in S3_REFUSED:
            return (
                f"it refuses the keys ({code}); correct the Secret that secretRef names in "
                "spec.connections of the Project, or let its user read and write there"
            )
        return f"it answers {code}; check endpoint and region in spec.connections of the Project"

    def _client(self) -> S3Client:
        with self._connecting:
            if self._client_or_none is None:
                self._client_or_none = self._connect()
        return self._client_or_none

    def _connect(self) -> S3Client:
        # These load slowly, and only S3 stores need them.
        from boto3.session import Session  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        # A session of its own: the default one must not be used by several threads.
        return Session().client(
            "s3",
            endpoint_url=self.config.endpoint,
            region_name=self.config.region or "us-east-1",
            aws_access_key_id=self._credentials.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=self._credentials.get("AWS_SECRET_ACCESS_KEY"),
            config=Config(
                connect_timeout=5,
                read_timeout=20,
                retries={"mode": "standard", "max_attempts": 2},
                s3={"addressing_style": "path" if self.config.endpoint else "auto"},
                # Other S3 servers than Amazon's do not know the newer trailing checksums.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def _read(self, bucket: str, key: str) -> bytes | None:
        client = self._client()
        try:
            return client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except client.exceptions.NoSuchKey:
            return None

    def _write(self, key: str, data: bytes) -> None:
        self._client().put_object(Bucket=self._bucket, Key=key, Body=data)

    def _folders(self, prefix: str) -> list[str]:
        pages = self._client().get_paginator("list_objects_v2")
        found = [
            entry["Prefix"].removeprefix(prefix).rstrip("/")
            for page in pages.paginate(Bucket=self._bucket, Prefix=prefix, Delimiter="/")
            for entry in page.get("CommonPrefixes", [])
        ]
        return sorted(found)

    def _remove(self, prefix: str) -> None:
        client = self._client()
        for page in client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix
        ):
            for entry in page.get("Contents", []):
                client.delete_object(Bucket=self._bucket, Key=entry["Key"])
