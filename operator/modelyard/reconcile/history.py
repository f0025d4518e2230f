"""The past of an object's runs as the artifact store knows it, for one whose status is lost.

That is one that was applied from git to a new cluster, or deleted and applied again: nothing else
remembers which slot of its schedule ran last, and which versions came of its earlier runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from modelyard.api.artifacts import RECORD, run_key
from modelyard.api.experiment import PastRun
from modelyard.api.identity import model_version_name
from modelyard.api.meta import RememberedRun
from modelyard.api.records import BatchRecord, TrainRecord
from modelyard.api.resources import OURS
from modelyard.build.common import Manifest
from modelyard.build.modelversion import model_version
from modelyard.ports.artifacts import ArtifactStore
from modelyard.ports.cluster import Cluster
from modelyard.reconcile.runs import read_record

RecordT = TypeVar("RecordT", TrainRecord, BatchRecord)
PastT = TypeVar("PastT", bound=RememberedRun)


@dataclass(frozen=True)
class Remembering(Generic[RecordT, PastT]):
    """How the past of one kind of run is read.

    Attributes:
        field: Field of the status that remembers runs.
        record: Model of a record.
        past: Returns what is remembered of a run: by its identity, its slot and its record.
    """

    field: str
    record: type[RecordT]
    past: Callable[[str, str | None, RecordT], PastT]


async def recorded_runs(
    store: ArtifactStore,
    manifest: Manifest,
    slots: Iterable[str],
    identity: Callable[[str], str],
    remembering: Remembering[RecordT, PastT],
) -> list[PastT]:
    """Return the runs of an object that left a result in the store, the latest first.

    Args:
        store: The artifact store.
        manifest: The object.
        slots: Slots of its schedule that may have run.
        identity: Returns the identity of the run of a slot.
        remembering: How its past is read.
    """
    metadata = manifest["metadata"]
    folder = run_key(metadata["namespace"], manifest["kind"], metadata["name"], "")
    identities = await store.folders(folder)
    slot_of = {identity(slot): slot for slot in slots} if identities else {}

    async def read(found: str) -> tuple[str, PastT] | None:
        record = await read_record(store, f"{folder}{found}/{RECORD}", remembering.record)
        if record is None:
            return None
        past = remembering.past(found, slot_of.get(found), record)
        return record.provenance.finished_at, past

    ended = [one for one in await asyncio.gather(*map(read, identities)) if one is not None]
    return [run for _, run in sorted(ended, key=lambda one: one[0], reverse=True)]


def past_search(identity: str, slot: str | None, record: TrainRecord) -> PastRun:
    """Return what is remembered of a search."""
    return PastRun(
        identity=identity,
        slot=slot,
        source_revision=record.provenance.source_revision or None,
        state="Succeeded",
        model_version=model_version_name(record.name, identity),
        best_metric=best_metric(record),
    )


async def restore_versions(manifest: Manifest, runs: Sequence[PastRun], cluster: Cluster) -> None:
    """Create the ModelVersions of earlier runs where they are missing."""
    namespace = manifest["metadata"]["namespace"]
    for run in runs:
        name = model_version_name(manifest["metadata"]["name"], run.identity)
        if await cluster.get(OURS["ModelVersion"], namespace, name) is None:
            version = model_version(manifest, name, run.identity)
            await cluster.apply(OURS["ModelVersion"], version)


def best_metric(record: TrainRecord) -> str:
    """Return the holdout value of a winner's metric, as text."""
    return format(record.metrics[record.metric], ".6g")
