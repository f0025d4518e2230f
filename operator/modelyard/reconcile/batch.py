"""A Deployment in mode Batch: score the input once for each model, rows and spec."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from modelyard.api.artifacts import batch_key
from modelyard.api.deployment import (
    Batch,
    BatchProgress,
    DeploymentSpec,
    DeploymentStatus,
    PastBatch,
)
from modelyard.api.meta import SOURCE_DIGEST, SOURCE_DIRECTORY, RunStatus
from modelyard.api.records import BatchRecord, DatasetRecord
from modelyard.api.resources import WORKFLOW
from modelyard.api.runtime import StoreConfig
from modelyard.build.common import (
    CODE_VERSION,
    Images,
    Manifest,
    config_variable,
    store_variables,
)
from modelyard.build.pods import pod_needs
from modelyard.build.run_config import batch_config
from modelyard.build.workflow import workflow
from modelyard.judge.batch_folders import REMEDY, overlap
from modelyard.judge.conditions import Readiness, progressing, ready, stalled
from modelyard.judge.history import with_run
from modelyard.judge.identity import batch_identity
from modelyard.judge.run import RunVerdict, judge_run, outdated
from modelyard.judge.schedule import run_token
from modelyard.reconcile.candidate import Candidate, ask_deploy_gate, gather_candidate
from modelyard.reconcile.context import (
    Halt,
    Observation,
    Ports,
    check_grants,
    gather_project,
)
from modelyard.reconcile.dataset import resolve_path
from modelyard.reconcile.history import Remembering
from modelyard.reconcile.runs import apply_run
from modelyard.reconcile.schedule import check
from modelyard.reconcile.scheduled_run import (
    ScheduledRun,
    gather_scheduled,
    is_halted,
    observe_scheduled,
    stop_anyway,
)
from modelyard.reconcile.snapshot import gather_snapshot

POLL_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Inputs(ScheduledRun[DeploymentSpec, DeploymentStatus, BatchRecord]):
    """What a reconcile of a batch read."""

    batch: Batch
    candidate: Candidate
    data: DatasetRecord | None


async def observe(manifest: Manifest, ports: Ports) -> Observation:
    """Bring a batch one step nearer to its end and return what is true now."""
    try:
        inputs = await gather(manifest, ports)
        pursue = partial(_pursue, manifest, inputs, ports)
        return await observe_scheduled(manifest, inputs, WORKFLOW, pursue, ports)
    except Halt as halt:
        if not is_halted(DeploymentSpec.model_validate(manifest["spec"])):
            raise
        return await stop_anyway(manifest, DeploymentStatus.of(manifest), halt, ports)


async def gather(manifest: Manifest, ports: Ports) -> Inputs:
    """Read all that the judgement of a batch needs. The child first: its record may be newer.

    Raises:
        Halt: there is no model or no data yet, or the schedule cannot be read.
    """
    spec = DeploymentSpec.model_validate(manifest["spec"])
    if spec.batch is None:
        raise AssertionError("admission refuses mode Batch without spec.batch")
    if spec.schedule is not None:
        check(spec.schedule)
    project = await gather_project(manifest["metadata"]["namespace"], ports)
    candidate = await gather_candidate(spec.model, project, ports)
    if isinstance(candidate, Readiness):
        raise Halt(candidate)
    data = None
    if spec.batch.input.dataset_ref is not None:
        name = spec.batch.input.dataset_ref.name
        _, data = await gather_snapshot(name, "spec.batch.input.datasetRef", project, ports)
    run = await gather_scheduled(
        manifest,
        spec,
        project,
        before=DeploymentStatus.of(manifest),
        runtime="batch",
        resource=WORKFLOW,
        identity_of=partial(_identity, manifest, spec, spec.batch, candidate, data),
        remembering=Remembering("runs", BatchRecord, _past_batch),
        ports=ports,
    )
    return Inputs(**vars(run), batch=spec.batch, candidate=candidate, data=data)


def _past_batch(identity: str, slot: str | None, record: BatchRecord) -> PastBatch:
    return PastBatch(
        identity=identity,
        slot=slot,
        source_revision=record.provenance.source_revision or None,
        state="Succeeded",
        model_version=record.model_version,
        rows_written=record.result.rows_written,
        output_uri=record.result.output_uri,
    )


def _identity(  # noqa: PLR0913, PLR0917 - all that makes up a run
    manifest: Manifest,
    spec: DeploymentSpec,
    batch: Batch,
    candidate: Candidate,
    data: DatasetRecord | None,
    slot: str | None,
) -> str:
    annotations = manifest["metadata"].get("annotations") or {}
    rows = data.fingerprint if data else annotations.get(SOURCE_DIGEST, "")
    return batch_identity(batch, candidate.artifact.digest, rows, run_token(spec, slot))


async def _pursue(manifest: Manifest, inputs: Inputs, ports: Ports) -> Observation:
    """Bring the run of the last slot, or of the spec alone, one step nearer to its end."""
    verdict = judge_run(inputs.facts, "batch")
    if inputs.record is not None:
        return _finished(manifest, inputs, inputs.record, verdict)
    if not inputs.halted:
        check_grants(inputs.spec, inputs.project)
    if inputs.awaits_slot is not None:
        return Observation(_status(manifest, inputs, inputs.waiting), inputs.awaits_slot)
    gate = await ask_deploy_gate(manifest, inputs.candidate, inputs.project, ports)
    if gate.closed is not None and inputs.fresh:
        status = _status(manifest, inputs, inputs.waiting, verdicts=gate.verdicts)
        return Observation(status, gate.closed, requeue_after=gate.requeue_after)
    if verdict.failure_to_record:
        await inputs.folder.remember(verdict.failure_to_record)
    child = desired(manifest, inputs, ports.images)
    await apply_run(verdict, inputs.facts, child, WORKFLOW, ports.cluster)
    status = _status(
        manifest,
        inputs,
        verdict.status(inputs.facts, CODE_VERSION),
        progress=await inputs.folder.progress(BatchProgress),
        verdicts=gate.verdicts,
    )
    why = verdict.readiness or progressing("BatchRunning", "The batch is running.")
    return Observation(status, why, requeue_after=POLL_SECONDS if verdict.look_again else None)


def desired(manifest: Manifest, inputs: Inputs, images: Images) -> Manifest:
    """Return the Workflow that scores.

    Raises:
        Halt: where it reads or writes cannot be reached, or lie one inside the other.
    """
    metadata, project, batch = manifest["metadata"], inputs.project, inputs.batch
    env = store_variables(project.store_secret)
    source_store = output_store = None
    if batch.input.source is not None:
        directory = (metadata.get("annotations") or {}).get(SOURCE_DIRECTORY)
        source = resolve_path(batch.input.source, directory, "spec.batch.input.source")
        batch = batch.model_copy(
            update={"input": batch.input.model_copy(update={"source": source})}
        )
        field = "spec.batch.input.source.connectionRef"
        source_store, secret = project.reach(source.uri, source.connection_ref, field)
        env += store_variables(secret, "SOURCE_")
    folder = f"{metadata['name']}-{inputs.facts.identity[:10]}"
    root = project.store.config.uri.rstrip("/")
    uri = f"{root}/{batch_key(metadata['namespace'], metadata['name'])}/{inputs.facts.identity}"
    if batch.output.uri is not None:
        uri = f"{batch.output.uri.rstrip('/')}/{folder}"
        field = "spec.batch.output.connectionRef"
        output_store, secret = project.reach(uri, batch.output.connection_ref, field)
        output_store = output_store or StoreConfig(uri=uri)
        _check_apart(batch, source_store, output_store)
        env += store_variables(secret, "OUTPUT_")
    config = batch_config(
        manifest,
        batch,
        inputs.facts.identity,
        model=inputs.candidate.artifact,
        data=inputs.data,
        store=project.store.config,
        model_version=inputs.candidate.name,
        output_uri=uri,
        source_store=source_store,
        output_store=output_store,
    )
    queue = project.spec.quota.local_queue
    needs = pod_needs(inputs.spec.resources, project.spec.scheduling, queue=queue)
    env = [config_variable(config), *env]
    return workflow(manifest, inputs.facts.child_name, "batch", env, images, needs)


def _check_apart(batch: Batch, read: StoreConfig | None, written: StoreConfig) -> None:
    """Check that no run scores what another one wrote.

    Raises:
        Halt: input and output lie one inside the other; the message names both fields.
    """
    source, uri = batch.input.source, batch.output.uri
    if source is None or uri is None or (read is not None and read.endpoint != written.endpoint):
        return
    name, place = ("uri", source.uri) if source.uri else ("path", source.path)
    if place and overlap(place, uri):
        message = (
            f"spec.batch.output.uri ({uri}) and spec.batch.input.source.{name} ({place}) lie one "
            f"inside the other: {REMEDY}."
        )
        raise Halt(stalled("OutputOverlapsInput", message))


def _finished(
    manifest: Manifest, inputs: Inputs, record: BatchRecord, verdict: RunVerdict
) -> Observation:
    """A finished run is an event: its result stands, whatever the gates say by now."""
    run = verdict.status(inputs.facts, record.provenance.code_version)
    status = _status(manifest, inputs, run, verdicts=inputs.before.verdicts, record=record)
    result = record.result
    rejected = f"; {result.rows_rejected} were rejected" if result.rows_rejected else ""
    if result.most_rejected_for:
        rejected += f", most for {result.most_rejected_for}; see _rejected-*.jsonl"
    message = (
        f"{record.model_version} scored {result.rows_written} of {result.rows_read} rows"
        f"{rejected}. They lie in {result.output_uri}."
    )
    made_by = outdated(record.provenance.code_version, CODE_VERSION)
    return Observation(status, ready("BatchFinished", message), facts=[made_by])


def _status(
    manifest: Manifest,
    inputs: Inputs,
    run: RunStatus,
    record: BatchRecord | None = None,
    **fields: Any,
) -> DeploymentStatus:
    """Return the status; the result of the run before stands until the next one has its own."""
    before = inputs.before
    result = record.result if record else before.batch
    scored_by = record.model_version if record else before.model_version
    digest = record.model_digest if record else before.model_digest
    past = inputs.remembered(
        PastBatch,
        manifest,
        run,
        model_version=inputs.candidate.name,
        rows_written=record.result.rows_written if record else None,
        output_uri=record.result.output_uri if record else None,
    )
    if record is not None:
        fields["progress"] = BatchProgress(
            done=record.result.rows_read,
            total=record.result.rows_read,
            shards=record.result.shards,
        )
    return DeploymentStatus(
        run=run,
        model_version=scored_by,
        model_digest=digest,
        batch=result,
        runs=with_run(before.runs, past),
        **fields,
    )
