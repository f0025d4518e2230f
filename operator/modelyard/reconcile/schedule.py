"""The schedule of a run: claim a slot that is due, once, before its run starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from modelyard.api.deployment import DeploymentSpec
from modelyard.api.experiment import ExperimentSpec
from modelyard.api.meta import RememberedRun
from modelyard.api.schedule import Schedule, ScheduleStatus
from modelyard.build.common import Manifest
from modelyard.judge.conditions import (
    Readiness,
    is_ready,
    progressing,
    ready,
    ready_condition,
    stalled,
)
from modelyard.judge.schedule import (
    Decision,
    ScheduleInvalid,
    begin,
    check_schedule,
    due,
    earlier_slots,
    paused,
    rule,
    slot_text,
    slot_time,
)
from modelyard.reconcile.context import Halt, Ports
from modelyard.reconcile.events import post_event

LOOKED_FOR = 1000
"""How many slots back a run is looked for where the status was lost: hourly ones for six weeks."""
LONGEST_WAIT_SECONDS = 300.0
"""A machine that sleeps stops the timers of its processes, not the clock that slots are read by."""


def check(schedule: Schedule) -> None:
    """Check what a schema cannot.

    Raises:
        Halt: a field of it cannot be read.
    """
    try:
        check_schedule(schedule)
    except ScheduleInvalid as invalid:
        message = f"spec.schedule.{invalid.field}: {invalid}."
        raise Halt(stalled("InvalidSpec", message)) from invalid


def recent_slots(schedule: Schedule, now: datetime) -> Iterator[str]:
    """Yield the slots whose runs the store may hold, the latest first."""
    yield from map(slot_text, earlier_slots(schedule, now, LOOKED_FOR))


def stand(
    spec: ExperimentSpec | DeploymentSpec,
    before: ScheduleStatus | None,
    now: datetime,
    recorded: Sequence[RememberedRun],
) -> ScheduleStatus | None:
    """Return where the schedule stands before anything is decided; None without one.

    Args:
        spec: The object's.
        before: Where the schedule stood; None when it is new or the status was lost.
        now: The present time.
        recorded: Runs that the store holds: the last slot must not give way to an earlier run.
    """
    schedule = spec.schedule
    if schedule is None:
        return None
    last = max((run.slot for run in recorded if run.slot is not None), default=None)
    known = before or ScheduleStatus(rule="", last_slot=last)
    if spec.suspend or spec.run.cancel:
        return paused(known)
    return known if known.rule == rule(schedule) else begin(schedule, now, known)


def between(manifest: Manifest) -> Readiness:
    """Return what Ready says until the next reconcile follows a decision: what it says now."""
    known = ready_condition(manifest)
    if is_ready(manifest):
        return ready(known["reason"], known["message"])
    if known and known["status"] != "True":
        return progressing(known["reason"], known["message"])
    return progressing("SlotDue", "A slot of spec.schedule is due.")


def decide(schedule: Schedule, status: ScheduleStatus, now: datetime, *, busy: bool) -> Decision:
    """Decide the slots up to now."""
    undecided = slot_time(status.next_slot) if status.next_slot else None
    return due(schedule, undecided, now, busy=busy)


async def tell_missed(
    manifest: Manifest, schedule: Schedule, missed: list[datetime], ports: Ports
) -> None:
    """Post an Event about slots that passed without a run."""
    if not missed:
        return
    if len(missed) == 1:
        what = f"The slot {slot_text(missed[0])} passed"
    else:
        what = f"{len(missed)} slots from {slot_text(missed[0])} to {slot_text(missed[-1])} passed"
    limit = f"within startingDeadline {schedule.starting_deadline} " * bool(
        schedule.starting_deadline
    )
    message = (
        f"{what} without a run: none could start {limit}before the next was due. "
        "A new spec.run.token starts one now."
    )
    await post_event(manifest, "Warning", "SlotsMissed", message, ports)


def wait(status: ScheduleStatus, now: datetime, otherwise: float | None) -> float | None:
    """Return in how many seconds to look again: at the next slot, if that is sooner."""
    if status.next_slot is None:
        return otherwise
    until = (slot_time(status.next_slot) - now).total_seconds()
    if until <= 0:  # it waits for a run to end, or for its result to be told
        return otherwise or 0.0
    return min(until, LONGEST_WAIT_SECONDS, otherwise or LONGEST_WAIT_SECONDS)
