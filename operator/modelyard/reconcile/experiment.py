"""Experiment: ask the train gate, run the search, create the winner's ModelVersion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from modelyard.api.dataset import DatasetStatus
from modelyard.api.experiment import ExperimentSpec, ExperimentStatus, Progress
from modelyard.api.identity import model_version_name, run_identity
from modelyard.api.meta import SOURCE_REVISION, RunStatus
from modelyard.api.records import DatasetRecord, TrainRecord
from modelyard.api.resources import OURS, RAY_JOB, WORKFLOW, Resource
from modelyard.api.runtime import TrainConfig
from modelyard.build.common import (
    CODE_VERSION,
    Images,
    Manifest,
    config_variable,
    store_variables,
)
from modelyard.build.modelversion import model_version
from modelyard.build.pods import pod_needs
from modelyard.build.rayjob import ray_job
from modelyard.build.workflow import workflow
from modelyard.judge.conditions import Fact, is_ready, progressing, ready, ready_condition
from modelyard.judge.run import SUSPENDED, RunFacts, RunVerdict, judge_run
from modelyard.reconcile.context import (
    Halt,
    Observation,
    Ports,
    ProjectContext,
    check_grants,
    gather_project,
)
from modelyard.reconcile.gates import GateOutcome, ask_gate
from modelyard.reconcile.runs import RunFolder, apply_run, child_name, gather_run

POLL_SECONDS = 5.0


@dataclass(frozen=True)
class Inputs:
    """What a reconcile of an Experiment read."""

    project: ProjectContext
    spec: ExperimentSpec
    dataset: Manifest
    data: DatasetRecord
    folder: RunFolder
    facts: RunFacts
    record: TrainRecord | None

    @property
    def resource(self) -> Resource:
        """The resource that runs the search."""
        return RAY_JOB if self.spec.execution.backend == "Ray" else WORKFLOW


async def observe(manifest: Manifest, ports: Ports) -> Observation:
    """Bring an Experiment one step nearer to its ModelVersion and return what is true now."""
    inputs = await gather(manifest, ports)
    if inputs.record is not None:
        return await _finished(manifest, inputs, inputs.record, ports)
    check_grants(inputs.spec, inputs.project)
    gate = await ask_gate("train", manifest, inputs.project, ports, dataset=inputs.dataset)
    waits = inputs.facts.child is None and inputs.facts.lasting_failure is None
    if gate.closed is not None and waits:
        status = ExperimentStatus(run=_waiting(inputs), verdicts=gate.verdicts)
        return Observation(status, gate.closed, requeue_after=gate.requeue_after)
    verdict = judge_run(inputs.facts, "search")
    if verdict.failure_to_record:
        await inputs.folder.remember(verdict.failure_to_record)
    child = desired(manifest, inputs, ports.images)
    await apply_run(verdict, inputs.facts, child, inputs.resource, ports.cluster)
    return await _unfinished(inputs, verdict, gate)


async def gather(manifest: Manifest, ports: Ports) -> Inputs:
    """Read all that the judgement of an Experiment needs. The child first: its record may be newer.

    Raises:
        Halt: the Dataset is missing or not ready.
    """
    metadata = manifest["metadata"]
    namespace = metadata["namespace"]
    spec = ExperimentSpec.model_validate(manifest["spec"])
    project = await gather_project(namespace, ports)
    dataset = await _ready_dataset(namespace, spec.dataset_ref.name, ports)
    status = DatasetStatus.model_validate(dataset["status"])
    if status.run is None or status.fingerprint is None:
        raise Halt(
            progressing("DatasetNotReady", f"Dataset {spec.dataset_ref.name} has no snapshot yet.")
        )
    data = await RunFolder(project.store, dataset, status.run.identity).record(DatasetRecord)
    if data is None:
        message = f"The record of Dataset {spec.dataset_ref.name} is not in the artifact store."
        raise Halt(progressing("RecordMissing", message), requeue_after=POLL_SECONDS)
    identity = run_identity("Experiment", spec.shaping_fields(), status.fingerprint, spec.run.token)
    name = child_name("train", metadata["name"], identity)
    resource = RAY_JOB if spec.execution.backend == "Ray" else WORKFLOW
    child = await ports.cluster.get(resource, namespace, name)
    folder = RunFolder(project.store, manifest, identity)
    facts, record = await gather_run(folder, TrainRecord, child, name, ports.clock.now())
    facts = replace(facts, suspended=spec.suspend, cancelled=spec.run.cancel)
    return Inputs(project, spec, dataset, data, folder, facts, record)


async def _ready_dataset(namespace: str, name: str, ports: Ports) -> Manifest:
    dataset = await ports.cluster.get(OURS["Dataset"], namespace, name)
    if dataset is None:
        message = (
            f"spec.datasetRef: there is no Dataset {name} in namespace {namespace}; commit one."
        )
        raise Halt(progressing("DatasetMissing", message))
    if not is_ready(dataset):
        condition = ready_condition(dataset)
        why = (
            f"{condition['reason']}: {condition['message']}"
            if condition
            else "it was not judged yet"
        )
        raise Halt(progressing("DatasetNotReady", f"Dataset {name} is not ready: {why}"))
    return dataset


def desired(manifest: Manifest, inputs: Inputs, images: Images) -> Manifest:
    """Return the Workflow or RayJob that runs the search."""
    metadata = manifest["metadata"]
    parallelism = inputs.spec.execution.parallelism
    config = TrainConfig(
        namespace=metadata["namespace"],
        name=metadata["name"],
        identity=inputs.facts.identity,
        spec=inputs.spec,
        parallelism=parallelism,
        snapshot_uri=inputs.data.snapshot.uri,
        snapshot_digest=inputs.data.snapshot.digest,
        fingerprint=inputs.data.fingerprint,
        privacy=inputs.data.privacy,
        pii=[found.column for found in inputs.data.pii if found.action is None],
        store=inputs.project.store.config,
        source_revision=(metadata.get("annotations") or {}).get(SOURCE_REVISION, ""),
    )
    env = [config_variable(config), *store_variables(inputs.project.store_secret)]
    spec, name = inputs.spec, inputs.facts.child_name
    needs = pod_needs(spec.resources, inputs.project.spec.scheduling, spec.execution.spot)
    if inputs.resource is RAY_JOB:
        return ray_job(manifest, name, parallelism, env, images, needs)
    return workflow(manifest, name, "train", env, images, needs)


async def _finished(
    manifest: Manifest, inputs: Inputs, record: TrainRecord, ports: Ports
) -> Observation:
    """A finished run is an event: its result stands, whatever the gates say by now."""
    name = model_version_name(manifest["metadata"]["name"], inputs.facts.identity)
    namespace = manifest["metadata"]["namespace"]
    if await ports.cluster.get(OURS["ModelVersion"], namespace, name) is None:
        winner = model_version(manifest, name, inputs.facts.identity)
        await ports.cluster.apply(OURS["ModelVersion"], winner)
    verdict = judge_run(inputs.facts, "search")
    value = format(record.metrics[record.metric], ".6g")
    status = ExperimentStatus(
        run=verdict.status(inputs.facts, record.provenance.code_version),
        progress=record.progress,
        metric=record.metric,
        leaderboard=record.leaderboard[:10],
        best_model_version=name,
        best_metric=value,
        verdicts=_previous(manifest).verdicts,
    )
    message = f"{name} won with {record.metric} {value} on the holdout."
    return Observation(status, ready("SearchFinished", message), facts=_result_facts(record))


def _result_facts(record: TrainRecord) -> list[Fact]:
    made_by = record.provenance.code_version
    outdated = made_by != CODE_VERSION
    return [
        Fact(
            "Outdated",
            outdated,
            "OtherVersion" if outdated else "SameVersion",
            f"The run was made by Modelyard {made_by}"
            + (
                f", this is {CODE_VERSION}; a new spec.run.token runs it again."
                if outdated
                else "."
            ),
        ),
        Fact(
            "Replayable",
            record.replayable,
            "TrialsBudget" if record.replayable else "WallClockBudget",
            "The same spec and data give the same model."
            if record.replayable
            else "budget.wallClock cut the search; the same spec may give another model.",
        ),
    ]


async def _unfinished(inputs: Inputs, verdict: RunVerdict, gate: GateOutcome) -> Observation:
    why = verdict.readiness or progressing("SearchRunning", "The search is running.")
    progress = await inputs.folder.progress(Progress)
    status = ExperimentStatus(
        run=verdict.status(inputs.facts, CODE_VERSION), progress=progress, verdicts=gate.verdicts
    )
    waits = None if why.state == "Stalled" or why.reason == SUSPENDED else POLL_SECONDS
    return Observation(status, why, requeue_after=waits)


def _waiting(inputs: Inputs) -> RunStatus:
    return RunStatus(
        identity=inputs.facts.identity,
        state="Waiting",
        child=inputs.facts.child_name,
        code_version=CODE_VERSION,
    )


def _previous(manifest: dict[str, Any]) -> ExperimentStatus:
    return ExperimentStatus.model_validate(manifest.get("status") or {})
