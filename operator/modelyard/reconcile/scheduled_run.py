"""A run that a schedule may ask for: what a search and a batch have in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from modelyard.api.deployment import DeploymentSpec, DeploymentStatus
from modelyard.api.experiment import ExperimentSpec, ExperimentStatus
from modelyard.api.meta import RunStatus
from modelyard.api.records import BatchRecord, TrainRecord
from modelyard.api.resources import Resource
from modelyard.api.schedule import ScheduleStatus
from modelyard.build.common import CODE_VERSION, Manifest
from modelyard.judge.conditions import Readiness, kept_facts, ready
from modelyard.judge.run import RunFacts
from modelyard.reconcile.context import Observation, Ports, ProjectContext
from modelyard.reconcile.runs import RunFolder
from modelyard.reconcile.schedule import between, claim

SpecT = TypeVar("SpecT", ExperimentSpec, DeploymentSpec)
StatusT = TypeVar("StatusT", ExperimentStatus, DeploymentStatus)
RecordT = TypeVar("RecordT", TrainRecord, BatchRecord)


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
        known = self.record is not None or self.facts.lasting_failure is not None
        return not known and self.facts.child is None

    @property
    def busy(self) -> bool:
        """Whether the run is under way."""
        known = self.record is not None or self.facts.lasting_failure is not None
        return not known and self.facts.child is not None

    @property
    def untold(self) -> bool:
        """Whether the run is over and its result is not in the status yet."""
        told = self.before.run
        return self.record is not None and (
            told is None or (told.identity, told.state) != (self.facts.identity, "Succeeded")
        )

    @property
    def awaits_slot(self) -> Readiness | None:
        """Why nothing may start before the first slot; None where it may."""
        halted = self.spec.suspend or self.spec.run.cancel
        if self.schedule is None or self.slot is not None or not self.fresh or halted:
            return None
        first = self.schedule.next_slot or "it passed; set spec.schedule.at to another time"
        return ready(
            "AwaitingSlot", f"Nothing runs before the first slot of spec.schedule: {first}."
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


async def claim_slot(
    manifest: Manifest,
    run: ScheduledRun[SpecT, StatusT, RecordT],
    resource: Resource,
    ports: Ports,
) -> Observation | None:
    """Decide the slots up to now, and return what is to be written before anything follows.

    Args:
        manifest: The object.
        run: Its run.
        resource: What carries the run out.
        ports: The outside.
    """
    if run.spec.schedule is None or run.schedule is None or run.untold:
        return None
    namespace = manifest["metadata"]["namespace"]
    stop = partial(ports.cluster.delete, resource, namespace, run.facts.child_name)
    status = await claim(
        manifest, run.spec.schedule, run.schedule, ports, stop if run.busy else None
    )
    if status is None:
        return None
    after = run.before.model_copy(update={"schedule": status})
    return Observation(after, between(manifest), kept_facts(manifest), requeue_after=0.0)
