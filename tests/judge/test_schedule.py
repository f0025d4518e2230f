"""Which slot of a schedule is due: daylight saving, rests, deadlines, runs that overlap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

import pytest
from modelyard.api.schedule import Schedule, ScheduleStatus
from modelyard.judge.schedule import (
    ScheduleInvalid,
    begin,
    check_schedule,
    decided,
    due,
    earlier_slots,
    slot_text,
    slot_time,
    slots,
)

BLANK = ScheduleStatus(rule="")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def schedule(**fields: Any) -> Schedule:
    return Schedule.model_validate(fields)


def claims(
    declared: Schedule, start: datetime, moments: list[datetime]
) -> tuple[list[datetime], ScheduleStatus]:
    """Look at a schedule at some moments; return the claimed slots and where it stands."""
    status = begin(declared, start, BLANK)
    claimed = []
    for now in moments:
        undecided = slot_time(status.next_slot) if status.next_slot else None
        decision = due(declared, undecided, now, busy=False)
        claimed += [decision.slot] if decision.slot else []
        status = decided(status, decision)
    return claimed, status


def every_minutes(start: datetime, end: datetime, minutes: int) -> list[datetime]:
    count = int((end - start) / timedelta(minutes=minutes))
    return [start + timedelta(minutes=minutes * number) for number in range(count + 1)]


@pytest.mark.parametrize(
    ("declared", "zone_days"),
    [
        pytest.param({"cron": "30 2 * * *", "timeZone": "Europe/Berlin"}, 1, id="half past two"),
        pytest.param({"cron": "30 2 * * *", "timeZone": "America/New_York"}, 1, id="overseas"),
        pytest.param({"cron": "0 3 * * *"}, 1, id="UTC"),
        pytest.param({"every": "1d"}, 1, id="an interval of a day"),
        pytest.param({"every": "6h"}, 4, id="an interval of hours"),
    ],
)
@pytest.mark.parametrize(
    "start",
    [
        pytest.param("2026-02-10T11:00:00", id="clocks put forward"),
        pytest.param("2026-09-10T11:00:00", id="clocks put back"),
    ],
)
def test_in_ninety_days_with_a_change_of_clocks_no_slot_is_missed_or_comes_twice(
    declared: dict[str, Any], zone_days: int, start: str
) -> None:
    begins, ends = at(start), at(start) + timedelta(days=90)
    claimed, status = claims(schedule(**declared), begins, every_minutes(begins, ends, 7))
    assert len(claimed) == len(set(claimed)) == 90 * zone_days
    assert claimed == sorted(claimed)
    assert status.missed_slots == 0


def test_a_time_that_the_clocks_skip_runs_right_after_and_one_they_repeat_runs_once() -> None:
    nightly = schedule(cron="30 2 * * *", timeZone="Europe/Berlin")
    [spring] = takewhile(
        lambda s: s < at("2026-03-29T12:00:00"), slots(nightly, at("2026-03-28T12:00:00"))
    )
    [autumn] = takewhile(
        lambda s: s < at("2026-10-25T12:00:00"), slots(nightly, at("2026-10-24T12:00:00"))
    )
    assert (slot_text(spring), slot_text(autumn)) == (
        "2026-03-29T01:00:00Z",
        "2026-10-25T00:30:00Z",
    )


@pytest.mark.parametrize(
    "cron", ["30 2 * * *", "0 * * * *", "*/15 * * * *", "30 2,3 * * *", "0 0 * * MON"]
)
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "UTC"])
@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01"])
def test_the_slots_are_the_same_from_wherever_they_are_read(cron: str, zone: str, day: str) -> None:
    declared = schedule(cron=cron, timeZone=zone)
    middle = at(f"{day}T00:00:00")
    first, last = middle - timedelta(days=8), middle + timedelta(days=8)
    all_slots = list(takewhile(lambda slot: slot < last, slots(declared, first)))
    for minutes in range(-300, 900, 61):
        now = middle + timedelta(minutes=minutes)
        assert next(slots(declared, now)) == next(slot for slot in all_slots if slot > now)
        assert earlier_slots(declared, now, 1) == [slot for slot in all_slots if slot <= now][-1:]


@pytest.mark.parametrize(
    ("fields", "claimed", "missed", "upcoming"),
    [
        pytest.param({}, "2026-01-01T14:30:00Z", 3, "2026-01-01T15:00:00Z", id="no deadline: the latest"),
        pytest.param({"startingDeadline": "20m"}, "2026-01-01T14:30:00Z", 3, "2026-01-01T15:00:00Z", id="in time"),
        pytest.param({"startingDeadline": "10m"}, None, 4, "2026-01-01T15:00:00Z", id="too late"),
    ],
)  # fmt: skip
def test_after_two_hours_of_rest_at_most_the_latest_slot_starts(
    fields: dict[str, Any], claimed: str | None, missed: int, upcoming: str
) -> None:
    declared = schedule(every="30m", **fields)
    decision = due(declared, at("2026-01-01T13:00:00"), at("2026-01-01T14:42:00"), busy=False)
    assert (slot_text(decision.slot) if decision.slot else None) == claimed
    assert len(decision.missed) == missed
    assert decision.next is not None
    assert slot_text(decision.next) == upcoming


@pytest.mark.parametrize(
    ("fields", "minute", "claimed", "missed"),
    [
        pytest.param({"concurrencyPolicy": "Replace"}, 1, True, 0, id="Replace starts at once"),
        pytest.param({}, 1, False, 0, id="Forbid waits"),
        pytest.param({}, 45, False, 1, id="Forbid: the next slot takes its place"),
        pytest.param({"startingDeadline": "10m"}, 11, False, 1, id="Forbid, until the deadline"),
    ],
)
def test_a_slot_that_meets_a_run_under_way(
    fields: dict[str, Any], minute: int, claimed: bool, missed: int
) -> None:
    start = at("2026-01-01T12:00:00")
    decision = due(
        schedule(every="30m", **fields), start, start + timedelta(minutes=minute), busy=True
    )
    assert (decision.slot is not None, len(decision.missed)) == (claimed, missed)


def test_slots_count_from_when_a_schedule_is_first_seen() -> None:
    status = begin(schedule(every="6h"), at("2026-01-01T07:00:00"), BLANK)
    assert (status.last_slot, status.next_slot) == (None, "2026-01-01T12:00:00Z")


@pytest.mark.parametrize(
    ("when", "deadline", "expected"),
    [
        pytest.param("2026-01-02T03:00:00+01:00", {}, ["2026-01-02T02:00:00Z"], id="to come"),
        pytest.param("2026-01-01T00:00:00Z", {}, ["2026-01-01T00:00:00Z"], id="just over"),
        pytest.param("2026-01-01T00:00:00Z", {"startingDeadline": "1h"}, [], id="long over"),
    ],
)
def test_one_time_runs_once(when: str, deadline: dict[str, str], expected: list[str]) -> None:
    start = at("2026-01-01T12:00:00")
    moments = every_minutes(start, start + timedelta(days=2), 30)
    claimed, status = claims(schedule(at=when, **deadline), start, moments)
    assert list(map(slot_text, claimed)) == expected
    assert status.next_slot is None
    assert status.missed_slots == 1 - len(expected)


def test_a_week_of_minutes_is_counted_and_not_run_in_a_burst() -> None:
    start = at("2026-01-01T00:00:00")
    decision = due(schedule(cron="* * * * *"), start, start + timedelta(days=5), busy=False)
    assert decision.slot == start + timedelta(days=5)
    assert len(decision.missed) == 5 * 24 * 60


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        pytest.param({"cron": "61 * * * *"}, "cron", "Bad minute", id="a minute that is none"),
        pytest.param({"cron": "0 0 0 * * *"}, "cron", "6 fields", id="seconds"),
        pytest.param({"cron": "0 0 30 2 *"}, "cron", "Bad day", id="30 February"),
        pytest.param({"cron": "0 3 * * *", "timeZone": "Mars/Base"}, "timeZone", "Mars", id="no zone"),
        pytest.param({"cron": "0 3 * * *", "timeZone": "../etc"}, "timeZone", "etc", id="a path"),
        pytest.param({"cron": "0 3 * * *", "timeZone": "Europe"}, "timeZone", "Europe", id="a folder"),
        pytest.param({"every": "9999999d"}, "every", "fewer days", id="an age"),
        pytest.param({"at": "0001-01-01T00:00:00+23:59"}, "at", "no time", id="before all time"),
        pytest.param({"at": "2026-02-30T00:00:00Z"}, "at", "no time", id="no such date"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(fields: dict[str, str], field: str, told: str) -> None:
    with pytest.raises(ScheduleInvalid, match=told) as refused:
        check_schedule(schedule(**fields))
    assert refused.value.field == field
