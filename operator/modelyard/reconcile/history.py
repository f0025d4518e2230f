"""The past of an object's runs as the artifact store knows it, for one whose status is lost.

That is one that was applied from git to a new cluster, or deleted and applied again: nothing else
remembers which slot of its schedule ran last, and which versions came of its earlier runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from modelyard.api.artifacts import RECORD, run_key
from modelyard.api.experiment import PastRun
from modelyard.api.identity import model_version_name
from modelyard.api.records import BatchRecord, TrainRecord
from modelyard.api.resources import OURS
from modelyard.build.common import Manifest
from modelyard.build.modelversion import model_version
from modelyard.ports.artifacts import ArtifactStore
from modelyard.ports.cluster import Cluster
from modelyard.reconcile.runs import read_record

RecordT = TypeVar("RecordT", TrainRecord, BatchRecord)
PastT = TypeVar("PastT")


async def recorded_runs(  # noqa: PLR0913, PLR0917 - what tells one kind's runs from another's
    store: ArtifactStore,
    manifest: Manifest,
    slots: Iterable[str],
    identity: Callable[[str], str],
    model: type[RecordT],
    past: Callable[[str, str | None, RecordT], PastT],
) -> list[PastT]:
    """Return the runs of an object that left a result in the store, the latest first.

    Args:
        store: The artifact store.
        manifest: The object.
        slots: Slots of its schedule that may have run.
        identity: Returns the identity of the run of a slot.
        model: Model of a record.
        past: Returns what is remembered of a run: by its identity, its slot and its record.
    """
    metadata = manifest["metadata"]
    folder = run_key(metadata["namespace"], manifest["kind"], metadata["name"], "")
    identities = await store.folders(folder)
    slot_of = {identity(slot): slot for slot in slots} if identities else {}

    async def read(found: str) -> tuple[str, PastT] | None:
        record = await read_record(store, f"{folder}{found}/{RECORD}", model)
        if record is None:
            return None
        return record.provenance.finished_at, past(found, slot_of.get(found), record)

    ended = [one for one in await asyncio.gather(*map(read, identities)) if one is not None]
    return [run for _, run in sorted(ended, key=lambda one: one[0], reverse=True)]


def past_search(experiment: str, identity: str, slot: str | None, record: TrainRecord) -> PastRun:
    """Return what is remembered of a search of an Experiment."""
    return PastRun(
        identity=identity,
        slot=slot,
        source_revision=record.provenance.source_revision or None,
        state="Succeeded",
        model_version=model_version_name(experiment, identity),
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
