"""A store in an S3 bucket: s3://bucket/prefix.

One object is written whole or not at all by S3 itself; an artifact is visible once its manifest is,
which is written last.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from modelyard.api.artifacts import MANIFEST, S3_REFUSED, Manifest
from modelyard.api.runtime import StoreConfig

from modelyard_runtimes.store.artifact import check_path
from modelyard_runtimes.store.base import FileSource, Store
from modelyard_runtimes.store.errors import StoreError, StoreUnavailable

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

MISSING = {"NoSuchKey", "404", "NotFound"}
DEFAULT_REGION = "us-east-1"


def connect(config: StoreConfig, access_key: str | None, secret_key: str | None) -> S3Client:
    """Return a client for the endpoint of a store; the default credential chain without keys."""
    return boto3.client(
        "s3",
        endpoint_url=config.endpoint,
        region_name=config.region or DEFAULT_REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            connect_timeout=10,
            read_timeout=60,
            retries={"mode": "standard", "max_attempts": 5},
            s3={"addressing_style": "path" if config.endpoint else "auto"},
            # Other S3 servers than Amazon's do not know the newer trailing checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def split(uri: str) -> tuple[str, str]:
    """Return bucket and key of an s3:// URI.

    Raises:
        StoreError: it is not one.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise StoreError(f"{uri!r} is not an s3:// URI; write s3://bucket/prefix")
    return bucket, key


@contextmanager
def translated(location: str) -> Iterator[None]:
    """Turn errors of the client into those that `Store` documents."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in MISSING:
            raise FileNotFoundError(f"{location}: nothing lies there") from error
        raise StoreUnavailable(f"{location}: {_remedy(code)}") from error
    except BotoCoreError as error:
        raise StoreUnavailable(
            f"{location}: the store does not answer: {error}; start it, or correct the "
            "connection's endpoint"
        ) from error


def _remedy(code: str) -> str:
    """Return what is wrong and what to do; the server's own text may quote a key."""
    if code == "NoSuchBucket":
        return "there is no such bucket; create it, or correct the URI"
    if code in S3_REFUSED:
        return (
            f"the store refuses the keys ({code}); correct the Secret that the connection's "
            "secretRef names, or let its user read and write there"
        )
    return f"the store refuses with {code}; check the connection's endpoint and region"


class S3Store(Store):
    """Records and artifacts in a bucket."""

    def __init__(self, uri: str, client: S3Client) -> None:
        self.uri = uri.rstrip("/")
        self._client = client
        self._cache: Path | None = None
        split(self.uri)

    def read_bytes(self, location: str) -> bytes:
        """Return the bytes at a location."""
        bucket, key = self._locate(location)
        with translated(location):
            return self._client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def exists(self, location: str) -> bool:
        """Return whether an object lies at a location."""
        bucket, key = self._locate(location)
        try:
            with translated(location):
                self._client.head_object(Bucket=bucket, Key=key)
        except FileNotFoundError:
            return False
        return True

    def version(self, location: str) -> str:
        """Return the entity tag of the object at a location."""
        bucket, key = self._locate(location)
        with translated(location):
            return str(self._client.head_object(Bucket=bucket, Key=key)["ETag"])

    def list(self, prefix: str) -> Sequence[str]:
        """Return the sorted keys of all objects below a folder."""
        bucket, root = split(f"{self.uri}/")
        folder = f"{root}{check_path(prefix)}/" if prefix else root
        pages = self._client.get_paginator("list_objects_v2")
        with translated(f"s3://{bucket}/{folder}"):
            return sorted(
                entry["Key"].removeprefix(root)
                for page in pages.paginate(Bucket=bucket, Prefix=folder)
                for entry in page.get("Contents", [])
            )

    def write_record(self, key: str, data: bytes) -> None:
        """Write an object, replacing what was there."""
        bucket, full = self._locate(key)
        with translated(f"{self.uri}/{key}"):
            self._client.put_object(Bucket=bucket, Key=full, Body=data)

    def local_folder(self, uri: str, paths: Iterable[str]) -> Path:
        """Return a folder of this process with copies of the files; removed when it ends."""
        bucket, key = split(uri)
        prefix = f"{check_path(key)}/" if key else ""
        folder = self._cache_folder() / bucket / key
        for path in paths:
            local = folder / path
            if not local.exists():
                local.parent.mkdir(parents=True, exist_ok=True)
                with translated(f"{uri}/{path}"):
                    self._client.download_file(bucket, f"{prefix}{path}", str(local))
        return folder

    def _cache_folder(self) -> Path:
        if self._cache is None:
            self._cache = Path(tempfile.mkdtemp(prefix="modelyard-"))
            weakref.finalize(self, shutil.rmtree, self._cache, ignore_errors=True)
        return self._cache

    def _locate(self, location: str) -> tuple[str, str]:
        if "://" in location:
            bucket, key = split(location)
            return bucket, check_path(key)
        return split(f"{self.uri}/{check_path(location)}")

    def _commit(self, key: str, manifest: Manifest, files: Mapping[str, FileSource]) -> None:
        for path, source in files.items():
            self._upload(f"{key}/{path}", source)
        self.write_record(f"{key}/{MANIFEST}", manifest.to_bytes())

    def _upload(self, key: str, source: FileSource) -> None:
        if isinstance(source, bytes):
            self.write_record(key, source)
            return
        bucket, full = self._locate(key)
        with translated(f"{self.uri}/{key}"):
            self._client.upload_file(str(source), bucket, full)
