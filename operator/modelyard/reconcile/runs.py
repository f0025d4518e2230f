"""Runs as Datasets and Experiments share them: read what is known, start, stop, remember."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar

from pydantic import ValidationError

from modelyard.api.artifacts import FAILURE, PROGRESS, RECORD, Failure, relocated, run_key
from modelyard.api.meta import Model, RunStatus
from modelyard.api.project import Quota
from modelyard.api.resources import LOCAL_QUEUE, RAY_JOB, WORKFLOW, WORKLOAD, Resource
from modelyard.judge.conditions import stalled
from modelyard.judge.queueing import NO_QUEUE, Queue, queue_of
from modelyard.judge.run import RunFacts, RunVerdict, is_under_way
from modelyard.ports.artifacts import ArtifactStore
from modelyard.ports.cluster import BackendMissing, Cluster, Manifest
from modelyard.reconcile.context import Halt

RecordT = TypeVar("RecordT", bound=Model)

CARRIERS: Mapping[str, tuple[Resource, ...]] = MappingProxyType(
    {"Dataset": (WORKFLOW,), "Experiment": (WORKFLOW, RAY_JOB), "Deployment": (WORKFLOW,)}
)
"""What may carry the runs of a kind out: a spec may ask for another backend than before."""


async def read_record(store: ArtifactStore, key: str, model: type[RecordT]) -> RecordT | None:
    """Return what is stored under a key, with its artifacts where the store is now; or None.

    Raises:
        Halt: another version of Modelyard has written it so that this one cannot read it.
    """
    data = await store.read(key)
    if data is None:
        return None
    try:
        return model.model_validate_json(relocated(data, store.config.uri), extra="ignore")
    except ValidationError as error:
        fault = error.errors()[0]
        path = ".".join(str(part) for part in fault["loc"])
        message = (
            f"{store.config.uri}/{key} cannot be read by this version of Modelyard: {path}: "
            f"{fault['msg']}; go back to the version that wrote it, or set a new spec.run.token."
        )
        raise Halt(stalled("RecordUnreadable", message)) from error


class RunFolder:
    """The folder of one run in the artifact store."""

    def __init__(self, store: ArtifactStore, manifest: Manifest, identity: str) -> None:
        metadata = manifest["metadata"]
        self.identity = identity
        self._store = store
        self._key = run_key(metadata["namespace"], manifest["kind"], metadata["name"], identity)

    async def record(self, model: type[RecordT]) -> RecordT | None:
        """Return the record of the finished run, or None."""
        return await self._read(RECORD, model)

    async def failure(self) -> Failure | None:
        """Return why the run failed, or None."""
        return await self._read(FAILURE, Failure)

    async def progress(self, model: type[RecordT]) -> RecordT | None:
        """Return how far the run is, or None."""
        return await self._read(PROGRESS, model)

    async def remember(self, failure: Failure) -> None:
        """Store a failure that only the operator saw, so that the run never starts again."""
        await self._store.write(
            f"{self._key}/{FAILURE}", failure.model_dump_json(by_alias=True).encode()
        )

    async def _read(self, name: str, model: type[RecordT]) -> RecordT | None:
        return await read_record(self._store, f"{self._key}/{name}", model)


def child_name(prefix: str, name: str, identity: str) -> str:
    """Return the name of a run's child: it tells the run, and never exceeds 63 characters."""
    return f"{prefix}-{name[:40].rstrip('-')}-{identity[:10]}"


def rested(child: Manifest | None, now: datetime) -> float:
    """Return seconds since a child ended; 0 while it has not."""
    status = (child or {}).get("status") or {}
    ended = status.get("finishedAt") or status.get("endTime")
    return (now - datetime.fromisoformat(ended)).total_seconds() if ended else 0.0


async def gather_run(
    folder: RunFolder,
    model: type[RecordT],
    child: Manifest | None,
    name: str,
    now: datetime,
) -> tuple[RunFacts, RecordT | None]:
    """Return what is known of a run, and its record.

    Args:
        folder: The run's folder.
        model: Model of its record.
        child: The child as it was read before: the record may be newer, never older.
        name: Name of the child.
        now: The present time.
    """
    record = await folder.record(model)
    facts = RunFacts(
        identity=folder.identity,
        child_name=name,
        recorded=record is not None,
        failure=await folder.failure(),
        child=child,
        rested=rested(child, now),
    )
    return facts, record


async def gather_queue(quota: Quota, facts: RunFacts, namespace: str, cluster: Cluster) -> Queue:
    """Return what Kueue says of a run that is not over."""
    name = quota.local_queue
    if facts.recorded or facts.lasting_failure is not None:
        return NO_QUEUE
    if name is not None and facts.child is None:
        return Queue(name, exists=await cluster.get(LOCAL_QUEUE, namespace, name) is not None)
    if name is None and (facts.child is None or queue_of(facts.child) is None):
        return NO_QUEUE
    return Queue(name, workloads=await cluster.list_objects(WORKLOAD, namespace))


async def apply_run(
    verdict: RunVerdict, facts: RunFacts, desired: Manifest, resource: Resource, cluster: Cluster
) -> None:
    """Start or stop the child of a run; write nothing when all is well."""
    if verdict.clear_child or (facts.cancelled and facts.child is not None):
        await cluster.delete(
            resource, desired["metadata"]["namespace"], desired["metadata"]["name"]
        )
        return
    if verdict.start and facts.child is None:
        await cluster.apply(resource, desired)


async def stop(manifest: Manifest, run: RunStatus | None, cluster: Cluster) -> bool:
    """Stop a run that the status tells of, whatever became of what it was for.

    What it has stored stays: it goes on from there when it is asked for again.

    Args:
        manifest: The object.
        run: Its run; None where it had none.
        cluster: Where it runs.

    Returns:
        Whether it was under way.
    """
    if run is None or not run.child or run.state in ("Succeeded", "Failed"):
        return False
    namespace = manifest["metadata"]["namespace"]
    for resource in CARRIERS[manifest["kind"]]:
        try:
            child = await cluster.get(resource, namespace, run.child)
        except BackendMissing:
            continue
        if child is not None and is_under_way(child):
            await cluster.delete(resource, namespace, run.child)
            return True
    return False
