"""A run that a schedule may ask for: what a search and a batch have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from modelyard.api.deployment import DeploymentSpec, DeploymentStatus
from modelyard.api.experiment import ExperimentSpec, ExperimentStatus
from modelyard.api.meta import SOURCE_REVISION, RememberedRun, RunStatus
from modelyard.api.records import BatchRecord, TrainRecord
from modelyard.api.resources import Resource
from modelyard.api.schedule import ScheduleStatus
from modelyard.build.common import CODE_VERSION, Manifest, Runtime
from modelyard.judge.conditions import Readiness, kept_facts, ready
from modelyard.judge.history import latest_runs
from modelyard.judge.run import RunFacts
from modelyard.judge.schedule import decided
from modelyard.reconcile.context import Halt, Observation, Ports, ProjectContext
from modelyard.reconcile.history import Remembering, recorded_runs
from modelyard.reconcile.runs import RunFolder, child_name, gather_queue, gather_run, stop
from modelyard.reconcile.schedule import between, decide, recent_slots, stand, tell_missed, wait

SpecT = TypeVar("SpecT", ExperimentSpec, DeploymentSpec)
StatusT = TypeVar("StatusT", ExperimentStatus, DeploymentStatus)
RecordT = TypeVar("RecordT", TrainRecord, BatchRecord)
PastT = TypeVar("PastT", bound=RememberedRun)


@dataclass(frozen=True)
class ScheduledRun(Generic[SpecT, StatusT, RecordT]):
    """What a reconcile read of the run of the last slot, or of the spec alone.

    Attributes:
        project: What the Project grants.
        spec: The object's.
        before: The status as it was.
        schedule: Where the schedule stands; None without one.
        folder: Where the run keeps what must not be lost.
        facts: Where the run stands.
        record: Its result; None while it has none.
    """

    project: ProjectContext
    spec: SpecT
    before: StatusT
    schedule: ScheduleStatus | None
    folder: RunFolder
    facts: RunFacts
    record: RecordT | None

    @property
    def slot(self) -> str | None:
        """The slot that asked for the run; None without a schedule, or before its first slot."""
        return self.schedule.last_slot if self.schedule else None

    @property
    def fresh(self) -> bool:
        """Whether the run did not start yet, as far as anybody knows."""
        return not self._over and self.facts.child is None

    @property
    def busy(self) -> bool:
        """Whether the run is under way."""
        return not self._over and self.facts.child is not None

    @property
    def _over(self) -> bool:
        return self.record is not None or self.facts.lasting_failure is not None

    @property
    def untold(self) -> bool:
        """Whether the run is over and its result is not in the status yet."""
        told = self.before.run
        return self.record is not None and (
            told is None or (told.identity, told.state) != (self.facts.identity, "Succeeded")
        )

    @property
    def halted(self) -> bool:
        """Whether the spec asks for nothing to run."""
        return is_halted(self.spec)

    @property
    def awaits_slot(self) -> Readiness | None:
        """Why nothing may start before the first slot; None where it may."""
        if self.schedule is None or self.slot is not None or not self.fresh or self.halted:
            return None
        first = self.schedule.next_slot or "it passed; set spec.schedule.at to another time"
        return ready(
            "AwaitingSlot", f"Nothing runs before the first slot of spec.schedule: {first}."
        )

    def remembered(
        self, model: type[PastT], manifest: Manifest, run: RunStatus, **result: Any
    ) -> PastT:
        """Return what the status remembers of the run.

        Args:
            model: How its object remembers runs.
            manifest: The object.
            run: Where the run stands.
            result: What it made, by field of the model.
        """
        return model(
            identity=run.identity,
            slot=self.slot,
            source_revision=(manifest["metadata"].get("annotations") or {}).get(SOURCE_REVISION),
            state=run.state,
            **result,
        )

    @property
    def waiting(self) -> RunStatus:
        """What the status says of a run that may not start yet."""
        return RunStatus(
            identity=self.facts.identity,
            state="Waiting",
            child=self.facts.child_name,
            code_version=CODE_VERSION,
        )


def is_halted(spec: ExperimentSpec | DeploymentSpec) -> bool:
    """Return whether a spec asks for nothing to run."""
    return spec.suspend or spec.run.cancel


async def stop_anyway(manifest: Manifest, before: StatusT, halt: Halt, ports: Ports) -> Observation:
    """Stop what runs, where the spec says so and too little can be read for all else.

    Args:
        manifest: The object.
        before: Its status as it was.
        halt: Why no more can be read.
        ports: The outside.

    Raises:
        Halt: the given one, where nothing was to be stopped.
    """
    if not await stop(manifest, before.run, ports.cluster):
        raise halt
    status = _stopped(before)
    return Observation(status, halt.readiness, kept_facts(manifest), halt.requeue_after)


def _stopped(before: StatusT) -> StatusT:
    """Return a status whose run is not under way any more."""
    field = "history" if isinstance(before, ExperimentStatus) else "runs"
    run, past, waiting = before.run, getattr(before, field), {"state": "Waiting"}
    if run is None:
        return before
    told = [one.model_copy(update=waiting) if one.identity == run.identity else one for one in past]
    return before.model_copy(update={"run": run.model_copy(update=waiting), field: told})


async def gather_scheduled(  # noqa: PLR0913 - what tells one kind of run from another
    manifest: Manifest,
    spec: SpecT,
    project: ProjectContext,
    *,
    before: StatusT,
    runtime: Runtime,
    resource: Resource,
    identity_of: Callable[[str | None], str],
    remembering: Remembering[RecordT, PastT],
    ports: Ports,
) -> ScheduledRun[SpecT, StatusT, RecordT]:
    """Read where the run of the last slot stands; from the store what the status lost.

    Args:
        manifest: The object.
        spec: Its spec.
        project: What the Project grants.
        before: Its status as it was.
        runtime: What runs.
        resource: What carries the run out.
        identity_of: Returns the identity of the run of a slot.
        remembering: How the past of the object is read.
        ports: The outside.
    """
    metadata, now = manifest["metadata"], ports.clock.now()
    recorded: list[PastT] = []
    if before.run is None or (spec.schedule is not None and before.schedule is None):
        slots = recent_slots(spec.schedule, now) if spec.schedule else ()
        recorded = await recorded_runs(project.store, manifest, slots, identity_of, remembering)
    standing = stand(spec, before.schedule, now, recorded)
    identity = identity_of(standing.last_slot if standing else None)
    if before.run is None:
        known = {remembering.field: latest_runs(recorded, identity)}
        before = before.model_copy(update=known)
    name = child_name(runtime, metadata["name"], identity)
    child = await ports.cluster.get(resource, metadata["namespace"], name)
    folder = RunFolder(project.store, manifest, identity)
    facts, record = await gather_run(folder, remembering.record, child, name, now)
    queue = await gather_queue(project.spec.quota, facts, metadata["namespace"], ports.cluster)
    facts = replace(facts, suspended=spec.suspend, cancelled=spec.run.cancel, queue=queue)
    return ScheduledRun(project, spec, before, standing, folder, facts, record)


async def observe_scheduled(
    manifest: Manifest,
    run: ScheduledRun[SpecT, StatusT, RecordT],
    resource: Resource,
    pursue: Callable[[], Awaitable[Observation]],
    ports: Ports,
) -> Observation:
    """Claim the slot that is due; where none is, bring the run nearer to its end.

    A run that is not asked for any more, since the spec or the data changed, is stopped; so is one
    that goes on in another backend than is asked for now.

    Args:
        manifest: The object.
        run: Its run.
        resource: What carries the run out.
        pursue: Brings it nearer to its end.
        ports: The outside.
    """
    earlier = run.before.run
    if earlier is not None and (earlier.identity != run.facts.identity or run.facts.child is None):
        await stop(manifest, earlier, ports.cluster)
    claimed = await _claim(manifest, run, resource, ports)
    if claimed is not None:
        return claimed
    found = await pursue()
    if run.schedule is None:
        return found
    status = found.status.model_copy(update={"schedule": run.schedule})
    requeue_after = wait(run.schedule, ports.clock.now(), found.requeue_after)
    return replace(found, status=status, requeue_after=requeue_after)


async def _claim(
    manifest: Manifest,
    run: ScheduledRun[SpecT, StatusT, RecordT],
    resource: Resource,
    ports: Ports,
) -> Observation | None:
    """Decide the slots up to now, and return what is to be written before anything follows.

    So a slot that was claimed runs, whenever the operator dies, and one that was not is missed.
    """
    schedule = run.spec.schedule
    if schedule is None or run.schedule is None or run.untold:
        return None
    decision = decide(schedule, run.schedule, ports.clock.now(), busy=run.busy)
    if decision.slot is None and not decision.missed:
        return None
    if run.busy and decision.slot is not None:
        namespace = manifest["metadata"]["namespace"]
        await ports.cluster.delete(resource, namespace, run.facts.child_name)
    await tell_missed(manifest, schedule, decision.missed, ports)
    after = run.before.model_copy(update={"schedule": decided(run.schedule, decision)})
    return Observation(after, between(manifest), kept_facts(manifest), requeue_after=0.0)
