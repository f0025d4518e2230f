"""Dataset: start the snapshot, read its record, ask the dataset gate."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from typing import Any

from modelyard.api.dataset import DatasetSpec, DatasetStatus, Source
from modelyard.api.meta import SOURCE_DIRECTORY
from modelyard.api.records import DatasetRecord
from modelyard.api.resources import WORKFLOW
from modelyard.api.runtime import PRIVACY_KEY_VARIABLE
from modelyard.build.common import (
    CODE_VERSION,
    Images,
    Manifest,
    config_variable,
    secret_variable,
    store_variables,
)
from modelyard.build.pods import pod_needs
from modelyard.build.run_config import dataset_config
from modelyard.build.workflow import workflow
from modelyard.judge.conditions import Readiness, progressing, ready, stalled
from modelyard.judge.identity import dataset_identity
from modelyard.judge.run import RunFacts, RunVerdict, judge_run
from modelyard.reconcile.context import (
    Halt,
    Observation,
    Ports,
    ProjectContext,
    check_grants,
    gather_project,
)
from modelyard.reconcile.gates import GateOutcome, ask_gate
from modelyard.reconcile.runs import (
    RunFolder,
    apply_run,
    child_name,
    gather_queue,
    gather_run,
    stop,
)

POLL_SECONDS = 5.0


@dataclass(frozen=True)
class Inputs:
    """What a reconcile of a Dataset read."""

    project: ProjectContext
    spec: DatasetSpec
    folder: RunFolder
    facts: RunFacts
    record: DatasetRecord | None


async def observe(manifest: Manifest, ports: Ports) -> Observation:
    """Bring a Dataset one step nearer to its snapshot and return what is true now."""
    inputs = await gather(manifest, ports)
    earlier = DatasetStatus.of(manifest).run
    if earlier is not None and earlier.identity != inputs.facts.identity:
        await stop(manifest, earlier, ports.cluster)
    if inputs.record is None:
        check_grants(inputs.spec, inputs.project)
    verdict = judge_run(inputs.facts, "snapshot")
    if verdict.failure_to_record:
        await inputs.folder.remember(verdict.failure_to_record)
    await apply_run(
        verdict, inputs.facts, desired(manifest, inputs, ports.images), WORKFLOW, ports.cluster
    )
    if inputs.record is None:
        return _unfinished(inputs, verdict)
    status = snapshot_status(
        inputs.record, verdict.status(inputs.facts, inputs.record.provenance.code_version)
    )
    judged = {**manifest, "status": status.to_json()}
    gate = await ask_gate("dataset", judged, inputs.project, ports)
    status = status.model_copy(update={"verdicts": gate.verdicts})
    return Observation(status, readiness(inputs.record, gate), requeue_after=gate.requeue_after)


async def gather(manifest: Manifest, ports: Ports) -> Inputs:
    """Read all that the judgement of a Dataset needs. The child first: its record may be newer."""
    metadata = manifest["metadata"]
    spec = DatasetSpec.model_validate(manifest["spec"])
    project = await gather_project(metadata["namespace"], ports)
    identity = dataset_identity(manifest, spec)
    name = child_name("dataset", metadata["name"], identity)
    child = await ports.cluster.get(WORKFLOW, metadata["namespace"], name)
    folder = RunFolder(project.store, manifest, identity)
    facts, record = await gather_run(folder, DatasetRecord, child, name, ports.clock.now())
    queue = await gather_queue(project.spec.quota, facts, metadata["namespace"], ports.cluster)
    facts = replace(facts, suspended=spec.suspend, queue=queue)
    return Inputs(project, spec, folder, facts, record)


def desired(manifest: Manifest, inputs: Inputs, images: Images) -> Manifest:
    """Return the Workflow that takes the snapshot."""
    spec, project = inputs.spec, inputs.project
    annotations = manifest["metadata"].get("annotations") or {}
    env = store_variables(project.store_secret)
    field = "spec.source.connectionRef"
    source_store, secret = project.reach(spec.source.uri, spec.source.connection_ref, field)
    env += store_variables(secret, "SOURCE_")
    if spec.privacy.key_ref is not None:
        key = spec.privacy.key_ref
        env.append(secret_variable(PRIVACY_KEY_VARIABLE, key.name, key.key))
    source = resolve_path(spec.source, annotations.get(SOURCE_DIRECTORY), "spec.source")
    config = dataset_config(
        manifest,
        spec.model_copy(update={"source": source}),
        inputs.facts.identity,
        project.store.config,
        source_store,
    )
    queue = project.spec.quota.local_queue
    needs = pod_needs(spec.resources, project.spec.scheduling, queue=queue)
    env = [config_variable(config), *env]
    return workflow(manifest, inputs.facts.child_name, "dataset", env, images, needs)


def resolve_path(source: Source, directory: str | None, field: str) -> Source:
    """Return the source with an absolute path; `field` is the path of the source.

    Raises:
        Halt: the path is relative and nothing says to which directory.
    """
    if source.path is None or source.path.startswith("/"):
        return source
    if directory is None:
        message = (
            f"{field}.path {source.path!r} is relative and the object was not applied from a "
            f"directory; use an absolute path or set the annotation {SOURCE_DIRECTORY}."
        )
        raise Halt(stalled("RelativePath", message))
    return source.model_copy(update={"path": posixpath.join(directory, source.path)})


def snapshot_status(record: DatasetRecord, run: Any) -> DatasetStatus:
    """Return the bounded status of a finished snapshot."""
    results = sorted(record.expectations, key=lambda result: (result.passed, result.name))
    return DatasetStatus(
        run=run,
        fingerprint=record.fingerprint,
        snapshot=record.snapshot,
        schema_=record.schema_[:100],
        preview=[row[:1024] for row in record.preview[:5]],
        quarantine=record.quarantine,
        quality=record.quality,
        expectations=results[:50],
        pii=record.pii[:50],
    )


def readiness(record: DatasetRecord, gate: GateOutcome) -> Readiness:
    """Return whether what depends on the snapshot may go on."""
    if record.blocked:
        failed = [
            f"{result.name}: {result.message}"
            for result in record.expectations
            if not result.passed and result.on_fail == "Block"
        ]
        message = "; ".join(failed[:5]) + ". Mend the data, or change the expectation's onFail."
        return stalled("ExpectationFailed", message)
    if gate.closed is not None:
        return gate.closed
    rows, quarantined = record.snapshot.rows, record.quarantine.rows
    message = f"The snapshot has {rows} rows and {record.snapshot.columns} columns"
    return ready(
        "SnapshotReady", message + (f"; {quarantined} rows quarantined." if quarantined else ".")
    )


def _unfinished(inputs: Inputs, verdict: RunVerdict) -> Observation:
    why = verdict.readiness or progressing("SnapshotRunning", "The snapshot is running.")
    status = DatasetStatus(run=verdict.status(inputs.facts, CODE_VERSION))
    waits = POLL_SECONDS if verdict.look_again else None
    return Observation(status, why, requeue_after=waits)
