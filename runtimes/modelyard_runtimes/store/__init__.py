"""The artifact store as the runtimes see it: `open_store` for a directory or an S3 bucket."""

from modelyard_runtimes.store.artifact import ArtifactReader, build_manifest
from modelyard_runtimes.store.base import FileSource, Store
from modelyard_runtimes.store.errors import DigestMismatch, StoreError, StoreUnavailable
from modelyard_runtimes.store.open import open_store

__all__ = [
    "ArtifactReader",
    "DigestMismatch",
    "FileSource",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "build_manifest",
    "open_store",
]
