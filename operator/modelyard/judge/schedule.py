"""Which slot of a schedule is due: from the declared times, the slot to decide next and the clock.

A slot is decided once: it is either claimed, and then gives a run its identity, or missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import dropwhile, islice, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from modelyard.api.deployment import DeploymentSpec
from modelyard.api.experiment import ExperimentSpec
from modelyard.api.meta import seconds
from modelyard.api.schedule import SLOT_FORMAT, Schedule, ScheduleStatus

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CRON_FIELDS = 5
CRON = "write minute, hour, day of the month, month and day of the week, for example 0 3 * * MON"
CLOCKS_CHANGE = timedelta(hours=3)
"""Cron is read from this much before, or after, the time asked of: in an hour that clocks repeat,
the library takes a time of the second round for one of the first, and would give a slot twice."""
MOST_COUNTED = 10_000
"""Missed slots that are counted at most in one decision."""


class ScheduleInvalid(ValueError):
    """A field of a schedule that its schema cannot check is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        """Name within `spec.schedule`."""


@dataclass(frozen=True)
class Decision:
    """What became due, and what is decided next."""

    slot: datetime | None
    """The slot to claim; None when none is."""
    next: datetime | None
    """The first slot that is undecided; None when there is none ever again."""
    missed: list[datetime]
    """Slots that passed without a run."""


def due(schedule: Schedule, undecided: datetime | None, now: datetime, *, busy: bool) -> Decision:
    """Decide all slots up to now.

    Args:
        schedule: The declared times.
        undecided: The first slot that was not decided yet.
        now: The present time.
        busy: Whether the run of the last slot is under way.
    """
    if undecided is None or undecided > now:
        return Decision(None, undecided, [])
    latest, after = earlier_slots(schedule, now, 1)[0], next(slots(schedule, now), None)
    since = slots(schedule, undecided - timedelta(seconds=1))
    passed = list(islice(takewhile(lambda slot: slot < latest, since), MOST_COUNTED))
    late = schedule.starting_deadline is not None and now - latest > timedelta(
        seconds=seconds(schedule.starting_deadline)
    )
    if late:
        return Decision(None, after, [*passed, latest])
    if busy and schedule.concurrency_policy == "Forbid":
        return Decision(None, latest, passed)
    return Decision(latest, after, passed)


def slots(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """Yield the slots after a time in their order, in UTC.

    Raises:
        ScheduleInvalid: a field cannot be read; it is named.
    """
    if schedule.at is not None:
        moment = _moment(schedule.at)
        return iter([moment] if moment > after else [])
    if schedule.every is not None:
        return _regular(seconds(schedule.every), after)
    found = _cron(schedule, after - CLOCKS_CHANGE)
    return dropwhile(lambda slot: slot <= after, found)


def earlier_slots(schedule: Schedule, now: datetime, count: int) -> list[datetime]:
    """Return the last slots up to now, the latest first."""
    if schedule.cron is not None:
        found = _cron(schedule, now + CLOCKS_CHANGE, reverse=True)
        return list(islice(dropwhile(lambda slot: slot > now, found), count))
    if schedule.every is not None:
        step = seconds(schedule.every)
        latest = int((now - EPOCH).total_seconds()) // step
        numbers = range(latest, max(latest - count, -1), -1)
        return [EPOCH + timedelta(seconds=number * step) for number in numbers]
    return [slot for slot in slots(schedule, EPOCH) if slot <= now]


def _regular(step: int, after: datetime) -> Iterator[datetime]:
    number = int((after - EPOCH).total_seconds()) // step
    while True:
        number += 1
        yield EPOCH + timedelta(seconds=number * step)


def _cron(schedule: Schedule, start: datetime, *, reverse: bool = False) -> Iterator[datetime]:
    try:
        zone = ZoneInfo(schedule.time_zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # Europe is a folder of zones
        message = f"there is no time zone {schedule.time_zone!r}; write one such as Europe/Berlin"
        raise ScheduleInvalid("timeZone", message) from error
    expression = " ".join(str(schedule.cron).split())
    fields = len(expression.split())
    if fields != CRON_FIELDS:
        raise ScheduleInvalid("cron", f"{expression!r} has {fields} fields; {CRON}")
    try:
        found = CronSim(expression, start.astimezone(zone), reverse)
    except CronSimError as error:
        raise ScheduleInvalid("cron", f"{expression!r} cannot be read: {error}; {CRON}") from error
    return (slot.astimezone(UTC) for slot in found)


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        message = f"{text!r} is no time: {error}; write one such as 2027-01-31T03:00:00Z"
        raise ScheduleInvalid("at", message) from error


def check_schedule(schedule: Schedule) -> None:
    """Check what a schema cannot.

    Raises:
        ScheduleInvalid: a field cannot be read, or no slot ever comes.
    """
    try:
        next(slots(schedule, EPOCH), None)
    except OverflowError as error:
        message = f"{schedule.every} is longer than time goes on; write fewer days"
        raise ScheduleInvalid("every", message) from error


def slot_text(slot: datetime) -> str:
    """Return a slot as it is written in status and in a run's identity."""
    return slot.astimezone(UTC).strftime(SLOT_FORMAT)


def slot_time(text: str) -> datetime:
    """Return the time of a written slot."""
    return datetime.strptime(text, SLOT_FORMAT).replace(tzinfo=UTC)


def run_token(spec: ExperimentSpec | DeploymentSpec, last_slot: str | None) -> str:
    """Return the token of the run that is asked for: the declared one, and the slot's time."""
    slotted = spec.schedule is not None and last_slot is not None
    return f"{spec.run.token}@{last_slot}" if slotted else spec.run.token


PAUSED = "paused"
"""Rule of a schedule whose slots pass, neither claimed nor missed."""


def begin(schedule: Schedule, now: datetime, before: ScheduleStatus) -> ScheduleStatus:
    """Return where a schedule stands that is new, changed or resumed: slots count from now on.

    A time given by `at` counts even when it is over.
    """
    first = next(slots(schedule, EPOCH if schedule.at else now), None)
    upcoming = slot_text(first) if first else None
    return before.model_copy(
        update={
            "rule": rule(schedule),
            "next_slot": None if upcoming == before.last_slot else upcoming,
        }
    )


def paused(before: ScheduleStatus) -> ScheduleStatus:
    """Return where a schedule stands while nothing may run."""
    return before.model_copy(update={"rule": PAUSED, "next_slot": None})


def rule(schedule: Schedule) -> str:
    """Return the declared times in a word."""
    if schedule.cron is not None:
        return f"cron {schedule.cron} {schedule.time_zone or 'UTC'}"
    return f"every {schedule.every}" if schedule.every else f"at {schedule.at}"


def decided(before: ScheduleStatus, decision: Decision) -> ScheduleStatus:
    """Return where a schedule stands after a decision."""
    return before.model_copy(
        update={
            "last_slot": slot_text(decision.slot) if decision.slot else before.last_slot,
            "next_slot": slot_text(decision.next) if decision.next else None,
            "missed_slots": before.missed_slots + len(decision.missed),
        }
    )
