"""When an object runs again by itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelyard.api.meta import Duration, Model, Rule

SLOT_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
"""How a slot is written, in UTC. It is part of a run's identity, so it never changes."""


class Schedule(Model):
    """When a new run starts by itself. The times at which one falls due are called slots."""

    cel_rules = (
        Rule(
            "(has(self.cron) ? 1 : 0) + (has(self.every) ? 1 : 0) + (has(self.at) ? 1 : 0) == 1",
            "set exactly one of cron, every and at",
        ),
        Rule(
            "!has(self.timeZone) || has(self.cron)",
            "timeZone belongs to cron; remove it: every is the same in all zones, and at names its "
            "own offset",
            ".timeZone",
        ),
    )
    cron: str | None = Field(
        default=None,
        min_length=9,
        max_length=128,
        description="Five fields: minute, hour, day of the month, month, day of the week; for "
        "example `0 3 * * MON`. When clocks are put forward a time of day that does not exist "
        "runs right after; when they are put back it runs once.",
    )
    every: Annotated[str, Field(pattern=r"^[1-9][0-9]*(m|h|d)$", max_length=8)] | None = Field(
        default=None,
        description="Minutes, hours or days between two slots, counted from 1970 in UTC: 6h means "
        "0, 6, 12 and 18 o'clock.",
    )
    at: str | None = Field(
        default=None,
        max_length=25,
        pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(Z|[+-]\d{2}:\d{2})$",
        description="One time, RFC 3339 with its offset, for example 2027-01-31T03:00:00+01:00.",
    )
    time_zone: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Time zone of cron by its IANA name, such as Europe/Berlin; UTC when unset.",
    )
    starting_deadline: Duration | None = Field(
        default=None,
        description="How late a slot may start, for example because the operator was down; a "
        "later one is missed. Without it the latest slot starts however late it is. Earlier ones "
        "never follow in a burst.",
    )
    concurrency_policy: Literal["Forbid", "Replace"] = Field(
        default="Forbid",
        description="What a slot does while the run before is under way: Forbid waits for its end, "
        "within startingDeadline; Replace stops it.",
    )


class ScheduleStatus(Model):
    """Where a schedule stands."""

    rule: str = Field(description="The times that were read last, in a word.", max_length=256)
    last_slot: str | None = Field(
        default=None, max_length=20, description="The last slot that started a run, in UTC."
    )
    next_slot: str | None = Field(
        default=None, max_length=20, description="The slot that falls due next, in UTC."
    )
    missed_slots: int = Field(
        default=0, ge=0, description="Slots that passed without a run, in all."
    )
