"""Experiment: ask the train gate, run the search, create the winner's ModelVersion."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from modelyard.api.experiment import (
    ExperimentSpec,
    ExperimentStatus,
    PastRun,
    Progress,
    ReusedTrial,
)
from modelyard.api.identity import model_version_name, run_identity
from modelyard.api.meta import RunStatus
from modelyard.api.records import DatasetRecord, TrainRecord
from modelyard.api.resources import OURS, RAY_JOB, WORKFLOW, Resource
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
from modelyard.build.run_config import train_config
from modelyard.build.workflow import workflow
from modelyard.judge.conditions import (
    Fact,
    progressing,
    ready,
)
from modelyard.judge.grants import workers
from modelyard.judge.history import with_run
from modelyard.judge.run import RunVerdict, judge_run, outdated
from modelyard.judge.schedule import run_token
from modelyard.reconcile.context import (
    Halt,
    Observation,
    Ports,
    check_grants,
    gather_project,
)
from modelyard.reconcile.gates import GateOutcome, ask_gate
from modelyard.reconcile.history import (
    Remembering,
    best_metric,
    past_search,
    restore_versions,
)
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
from modelyard.reconcile.tracking import track

POLL_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Inputs(ScheduledRun[ExperimentSpec, ExperimentStatus, TrainRecord]):
    """What a reconcile of an Experiment read."""

    dataset: Manifest
    data: DatasetRecord

    @property
    def resource(self) -> Resource:
        """The resource that runs the search."""
        return _resource(self.spec)

    def identity(self, slot: str | None) -> str:
        """Return the identity of the run of a slot."""
        return _identity(self.spec, self.data.fingerprint, slot)


async def observe(manifest: Manifest, ports: Ports) -> Observation:
    """Bring an Experiment one step nearer to its ModelVersion and return what is true now."""
    try:
        inputs = await gather(manifest, ports)
        return await _observe(manifest, inputs, ports)
    except Halt as halt:
        if not is_halted(ExperimentSpec.model_validate(manifest["spec"])):
            raise
        return await stop_anyway(manifest, ExperimentStatus.of(manifest), halt, ports)


async def _observe(manifest: Manifest, inputs: Inputs, ports: Ports) -> Observation:
    if inputs.before.run is None:
        await restore_versions(manifest, inputs.before.history, ports.cluster)
    pursue = partial(_pursue, manifest, inputs, ports)
    return await observe_scheduled(manifest, inputs, inputs.resource, pursue, ports)


async def _pursue(manifest: Manifest, inputs: Inputs, ports: Ports) -> Observation:
    """Bring the run of the last slot, or of the spec alone, one step nearer to its end."""
    if inputs.record is not None:
        return await _finished(manifest, inputs, inputs.record, ports)
    if not inputs.halted:
        check_grants(inputs.spec, inputs.project)
    if inputs.awaits_slot is not None:
        return Observation(_status(manifest, inputs, inputs.waiting), inputs.awaits_slot)
    gate = await ask_gate("train", manifest, inputs.project, ports, dataset=inputs.dataset)
    if gate.closed is not None and inputs.fresh:
        status = _status(manifest, inputs, inputs.waiting, verdicts=gate.verdicts)
        return Observation(status, gate.closed, requeue_after=gate.requeue_after)
    verdict = judge_run(inputs.facts, "search")
    if verdict.failure_to_record:
        await inputs.folder.remember(verdict.failure_to_record)
    child = desired(manifest, inputs, ports.images)
    await apply_run(verdict, inputs.facts, child, inputs.resource, ports.cluster)
    return await _unfinished(manifest, inputs, verdict, gate)


async def gather(manifest: Manifest, ports: Ports) -> Inputs:
    """Read all that the judgement of an Experiment needs. The child first: its record may be newer.

    Raises:
        Halt: the Dataset is missing or not ready, or the schedule cannot be read.
    """
    spec = ExperimentSpec.model_validate(manifest["spec"])
    if spec.schedule is not None:
        check(spec.schedule)
    project = await gather_project(manifest["metadata"]["namespace"], ports)
    name = spec.dataset_ref.name
    dataset, data = await gather_snapshot(name, "spec.datasetRef", project, ports)
    run = await gather_scheduled(
        manifest,
        spec,
        project,
        before=ExperimentStatus.of(manifest),
        runtime="train",
        resource=_resource(spec),
        identity_of=partial(_identity, spec, data.fingerprint),
        remembering=Remembering("history", TrainRecord, past_search),
        ports=ports,
    )
    return Inputs(**vars(run), dataset=dataset, data=data)


def _resource(spec: ExperimentSpec) -> Resource:
    return RAY_JOB if spec.execution.backend == "Ray" else WORKFLOW


def _identity(spec: ExperimentSpec, fingerprint: str, slot: str | None) -> str:
    return run_identity("Experiment", spec.shaping_fields(), fingerprint, run_token(spec, slot))


def desired(manifest: Manifest, inputs: Inputs, images: Images) -> Manifest:
    """Return the Workflow or RayJob that runs the search."""
    store = inputs.project.store.config
    at_once = workers(inputs.spec.execution, inputs.project.spec.quota)
    config = train_config(
        manifest, inputs.spec, inputs.facts.identity, inputs.data, store, workers=at_once
    )
    env = [config_variable(config), *store_variables(inputs.project.store_secret)]
    spec, name = inputs.spec, inputs.facts.child_name
    project = inputs.project.spec
    needs = pod_needs(
        spec.resources, project.scheduling, spec.execution.spot, project.quota.local_queue
    )
    if inputs.resource is RAY_JOB:
        return ray_job(manifest, name, at_once, env, images, needs)
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
    value = best_metric(record)
    run = verdict.status(inputs.facts, record.provenance.code_version)
    tracked = await track(manifest, inputs.project, record, inputs.before, ports)
    status = ExperimentStatus(
        run=run,
        progress=record.progress,
        metric=record.metric,
        leaderboard=record.leaderboard[:10],
        pareto=[entry for entry in record.leaderboard if entry.pareto][:20] or None,
        reused_trials=[
            ReusedTrial(**trial.model_dump(exclude={"parameters", "tried"}))
            for trial in record.warm_start
            if trial.tried
        ]
        or None,
        best_model_version=name,
        best_metric=value,
        verdicts=inputs.before.verdicts,
        tracking=tracked.status,
        history=_history(manifest, inputs, run, name, value),
    )
    message = f"{name} won with {record.metric} {value} on the holdout."
    facts = [*_result_facts(record), *tracked.facts]
    return Observation(status, ready("SearchFinished", message), facts, tracked.requeue_after)


def _result_facts(record: TrainRecord) -> list[Fact]:
    return [
        outdated(record.provenance.code_version, CODE_VERSION),
        Fact(
            "Replayable",
            record.replayable,
            "TrialsBudget" if record.replayable else "WallClockBudget",
            "The same spec and data give the same model."
            if record.replayable
            else "budget.wallClock cut the search; the same spec may give another model.",
        ),
    ]


async def _unfinished(
    manifest: Manifest, inputs: Inputs, verdict: RunVerdict, gate: GateOutcome
) -> Observation:
    why = verdict.readiness or progressing("SearchRunning", "The search is running.")
    waits = POLL_SECONDS if verdict.look_again else None
    status = _status(
        manifest,
        inputs,
        verdict.status(inputs.facts, CODE_VERSION),
        progress=await inputs.folder.progress(Progress),
        verdicts=gate.verdicts,
    )
    if status.best_model_version is not None and why.state == "Progressing":
        message = f"{status.best_model_version} stands. The run of slot {inputs.slot}: "
        why = ready("Retraining", message + why.message)
    return Observation(status, why, requeue_after=waits)


def _status(manifest: Manifest, inputs: Inputs, run: RunStatus, **fields: Any) -> ExperimentStatus:
    """Return the status while there is no result of the present run.

    The result of another slot stands meanwhile, if spec and data are still the same.
    """
    before = inputs.before
    standing = next((past for past in before.history if past.model_version is not None), None)
    if (
        inputs.spec.schedule is not None
        and standing is not None
        and standing.model_version == before.best_model_version
        and standing.identity == inputs.identity(standing.slot)
    ):
        fields |= {
            "metric": before.metric,
            "leaderboard": before.leaderboard,
            "pareto": before.pareto,
            "reused_trials": before.reused_trials,
            "best_model_version": before.best_model_version,
            "best_metric": before.best_metric,
        }
    return ExperimentStatus(run=run, history=_history(manifest, inputs, run), **fields)


def _history(
    manifest: Manifest,
    inputs: Inputs,
    run: RunStatus,
    model_version: str | None = None,
    best_metric: str | None = None,
) -> list[PastRun]:
    past = inputs.remembered(
        PastRun, manifest, run, model_version=model_version, best_metric=best_metric
    )
    return with_run(inputs.before.history, past)
