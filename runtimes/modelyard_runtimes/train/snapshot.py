"""Reads the snapshot that a run learns from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from modelyard.api.dataset import ColumnProfile, ColumnType
from modelyard.api.records import PROFILE_FILE, SNAPSHOT_FILE

from modelyard_runtimes.store import Store


@dataclass(frozen=True)
class Snapshot:
    """The rows in their canonical order, and the type of each column.

    Attributes:
        table: The rows.
        types: Type by name of the column.
        orders: Values of each Ordinal column, the lowest first.
    """

    table: pa.Table
    types: dict[str, ColumnType]
    orders: dict[str, list[str]] = field(default_factory=dict)


def read_snapshot(store: Store, uri: str, digest: str) -> Snapshot:
    """Return the snapshot at a URI.

    Raises:
        DigestMismatch: it is another one.
        FileNotFoundError: it is not there.
    """
    artifact = store.open_artifact(uri, digest)
    profile = json.loads(artifact.read(PROFILE_FILE))
    profiles = [ColumnProfile.model_validate(column) for column in profile["columns"]]
    table = pq.read_table(artifact.path(SNAPSHOT_FILE))
    return Snapshot(
        table,
        {column.name: column.type for column in profiles},
        {column.name: column.order for column in profiles if column.order},
    )
