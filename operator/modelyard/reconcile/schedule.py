"""The schedule of an Experiment: claim a slot that is due, once, before its run starts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from modelyard.api.experiment import ExperimentSpec
from modelyard.api.schedule import Schedule, ScheduleStatus
from modelyard.build.common import Manifest
from modelyard.judge.conditions import stalled
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

LOOKED_FOR = 10
"""How many slots back a run is looked for where the status was lost."""
LONGEST_WAIT_SECONDS = 300.0
"""A machine that sleeps stops the timers of its processes, not the clock that slots are read by."""

Recorded = Callable[[str], Awaitable[bool]]
"""Tells whether the run of a slot has left its record."""


async def stand(
    spec: ExperimentSpec, before: ScheduleStatus | None, now: datetime, recorded: Recorded
) -> ScheduleStatus | None:
    """Return where the schedule stands before anything is decided; None without one.

    Raises:
        Halt: a field of it cannot be read.
    """
    schedule = spec.schedule
    if schedule is None:
        return None
    try:
        check_schedule(schedule)
    except ScheduleInvalid as invalid:
        message = f"spec.schedule.{invalid.field}: {invalid}."
        raise Halt(stalled("InvalidSpec", message)) from invalid
    known = before or ScheduleStatus(
        rule="", last_slot=await _last_recorded(schedule, now, recorded)
    )
    if spec.suspend or spec.run.cancel:
        return paused(known)
    return known if known.rule == rule(schedule) else begin(schedule, now, known)


async def _last_recorded(schedule: Schedule, now: datetime, recorded: Recorded) -> str | None:
    """Return the last slot whose run the store holds: it must not give way to an earlier run."""
    for slot in earlier_slots(schedule, now, LOOKED_FOR):
        if await recorded(slot_text(slot)):
            return slot_text(slot)
    return None


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
