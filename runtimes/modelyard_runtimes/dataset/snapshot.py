"""Writes the snapshot: sampled, protected, in canonical order; and returns the record."""

from __future__ import annotations

import os
from typing import NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]
from modelyard.api.artifacts import Artifact
from modelyard.api.dataset import ColumnProfile, ColumnType, DatasetSpec, Quality, Snapshot
from modelyard.api.records import (
    CLEAN_FILE,
    DATASET_MEDIA_TYPE,
    PROFILE_FILE,
    SNAPSHOT_FILE,
    DatasetRecord,
)
from modelyard.api.runs import DatasetConfig

from modelyard_runtimes.dataset.canonical import (
    canonical_order,
    fingerprint,
    parquet_bytes,
    repeats,
    row_hashes,
    take_rows,
)
from modelyard_runtimes.dataset.jsonl import json_lines
from modelyard_runtimes.dataset.prepare import Prepared, prepare
from modelyard_runtimes.dataset.profile import (
    column_profiles,
    preview,
    profile_bytes,
    quality_score,
    statistics,
)
from modelyard_runtimes.dataset.protect import protect_table
from modelyard_runtimes.dataset.quarantine import write_quarantine
from modelyard_runtimes.dataset.sample import chosen_rows
from modelyard_runtimes.entry import now
from modelyard_runtimes.provenance import provenance
from modelyard_runtimes.store import Store

LIBRARIES = ("duckdb", "numpy", "pandas", "presidio-analyzer", "pyarrow", "scikit-learn")
"""Distributions whose versions stand in the provenance."""


class Final(NamedTuple):
    """What is written.

    Attributes:
        table: Rows in canonical order, after privacy actions.
        types: Type by column.
        columns: Profile of each column.
        score: Quality score.
    """

    table: pa.Table
    types: dict[str, ColumnType]
    columns: list[ColumnProfile]
    score: float


def make_snapshot(config: DatasetConfig, store: Store) -> DatasetRecord:
    """Return the record of a Dataset run, with its artifacts written.

    Raises:
        RunFailure: there are no rows to keep, or the spec does not suit them.
    """
    started = now()
    prepared = prepare(config, os.environ, started.replace(tzinfo=None))
    final = finalise(prepared, config.spec)
    detection = config.spec.privacy.detection == "Enabled"
    quarantine = write_quarantine(
        store, prepared.rejected, prepared.protection, detection=detection
    )
    artifact = _put(store, final, prepared.protection.hidden)
    return DatasetRecord(
        namespace=config.namespace,
        name=config.name,
        identity=config.identity,
        fingerprint=fingerprint(final.table, final.types, prepared.orders),
        snapshot=Snapshot(
            uri=artifact.uri,
            digest=artifact.digest,
            rows=final.table.num_rows,
            columns=final.table.num_columns,
        ),
        rows_read=prepared.table.num_rows + len(prepared.rejected),
        schema_=final.columns,
        preview=preview(final.table, prepared.protection),
        quarantine=quarantine,
        quality=Quality(score=final.score),
        expectations=prepared.results,
        blocked=any(not result.passed and result.on_fail == "Block" for result in prepared.results),
        pii=prepared.personal,
        privacy=prepared.protection.actions,
        files=prepared.files,
        config=config,
        provenance=provenance(started, config.source_revision, LIBRARIES),
    )


def finalise(prepared: Prepared, spec: DatasetSpec) -> Final:
    """Return the rows to write: the sample, after privacy actions, in canonical order."""
    table, hashes = prepared.table, prepared.hashes
    if spec.sample is not None:
        chosen = chosen_rows(table, hashes, spec.sample)
        table, hashes = table.take(chosen), hashes[chosen]
    if any(action != "Allow" for action in prepared.protection.actions.values()):
        table, types = protect_table(table, prepared.types, prepared.protection)
        hashes = row_hashes(table)
    else:
        types = prepared.types
    order = canonical_order(hashes)
    table = take_rows(table, order)
    reasons = dict(prepared.reasons)
    for name, action in prepared.protection.actions.items():
        reasons[name] = f"{reasons[name]}; {action} by spec.privacy"
    score = quality_score(table, int(repeats(hashes, order).sum()), len(prepared.rejected))
    columns = column_profiles(table, types, reasons, prepared.orders)
    return Final(table, types, columns, score)


def _put(store: Store, final: Final, hidden: frozenset[str]) -> Artifact:
    values = statistics(final.table, final.types, hidden)
    return store.put_artifact(
        DATASET_MEDIA_TYPE,
        {
            SNAPSHOT_FILE: parquet_bytes(final.table),
            CLEAN_FILE: json_lines(final.table),
            PROFILE_FILE: profile_bytes(final.table, final.columns, values, final.score),
        },
    )
