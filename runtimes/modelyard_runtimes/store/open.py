"""Opens the store that a configuration names."""

from __future__ import annotations

import os
from collections.abc import Mapping

from modelyard.api.runtime import StoreConfig

from modelyard_runtimes.store.base import Store
from modelyard_runtimes.store.errors import StoreError
from modelyard_runtimes.store.files import FileStore


def open_store(
    config: StoreConfig, environ: Mapping[str, str] = os.environ, credentials: str = "AWS"
) -> Store:
    """Return the store at `config.uri`.

    Args:
        config: URI, and for S3 endpoint and region.
        environ: Where the credentials stand.
        credentials: Their prefix there: `AWS` reads AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

    Raises:
        StoreError: the scheme is neither file nor s3.
    """
    scheme, _, _ = config.uri.partition("://")
    if scheme == "file":
        return FileStore(config.uri)
    if scheme != "s3":
        raise StoreError(f"{config.uri!r}: unknown scheme; use file:///directory or s3://bucket")
    # Loading boto3 takes half a second, which a store in a directory need not pay.
    from modelyard_runtimes.store.s3 import S3Store, connect  # noqa: PLC0415

    client = connect(
        config,
        environ.get(f"{credentials}_ACCESS_KEY_ID"),
        environ.get(f"{credentials}_SECRET_ACCESS_KEY"),
    )
    return S3Store(config.uri, client)
