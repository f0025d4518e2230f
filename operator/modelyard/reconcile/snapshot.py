"""The snapshot of a Dataset, as what reads it needs it."""

from __future__ import annotations

from modelyard.api.dataset import DatasetStatus
from modelyard.api.records import DatasetRecord
from modelyard.api.resources import OURS
from modelyard.build.common import Manifest
from modelyard.judge.conditions import is_ready, progressing, ready_condition
from modelyard.reconcile.context import Halt, Ports, ProjectContext
from modelyard.reconcile.runs import RunFolder

POLL_SECONDS = 5.0


async def gather_snapshot(
    name: str, field: str, project: ProjectContext, ports: Ports
) -> tuple[Manifest, DatasetRecord]:
    """Return a Dataset that is ready, and the record of its snapshot.

    Args:
        name: Name of the Dataset.
        field: Path of the field that names it.
        project: The Project of both.
        ports: The outside.

    Raises:
        Halt: the Dataset is missing or not ready.
    """
    namespace = project.manifest["metadata"]["namespace"]
    dataset = await ports.shared.get(OURS["Dataset"], namespace, name)
    if dataset is None:
        message = f"{field}: there is no Dataset {name} in namespace {namespace}; commit one."
        raise Halt(progressing("DatasetMissing", message))
    if not is_ready(dataset):
        condition = ready_condition(dataset)
        why = (
            f"{condition['reason']}: {condition['message']}"
            if condition
            else "it was not judged yet"
        )
        raise Halt(progressing("DatasetNotReady", f"Dataset {name} is not ready: {why}"))
    return dataset, await _record(dataset, project)


async def _record(dataset: Manifest, project: ProjectContext) -> DatasetRecord:
    name = dataset["metadata"]["name"]
    status = DatasetStatus.of(dataset)
    if status.run is None or status.fingerprint is None:
        raise Halt(progressing("DatasetNotReady", f"Dataset {name} has no snapshot yet."))
    data = await RunFolder(project.store, dataset, status.run.identity).record(DatasetRecord)
    if data is None:
        message = f"The record of Dataset {name} is not in the artifact store."
        raise Halt(progressing("RecordMissing", message), requeue_after=POLL_SECONDS)
    return data
