"""Who may lead: pure rules over what a Lease says and a monotonic clock of one's own.

Times written into a Lease are for people. A candidate measures by its own clock how long it has
seen a claim unchanged, so no two machines have to agree on the time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LeaseTimes:
    """How long things take, in seconds.

    Attributes:
        duration: How long a claim stands that nobody renews.
        renew_deadline: How long a leader that cannot renew goes on leading.
        retry: How often a leader renews, and a candidate looks.
    """

    duration: int = 10
    renew_deadline: float = 6.0
    retry: float = 1.5

    def __post_init__(self) -> None:
        """Refuse times under which two could lead at once."""
        if not 0 < self.retry < self.renew_deadline < self.duration:
            raise ValueError("the retry must be shorter than the deadline, that than the duration")


@dataclass(frozen=True)
class Claim:
    """What a Lease says: who holds it, for how long unrenewed, and which version says so."""

    holder: str
    seconds: float
    version: str


@dataclass(frozen=True)
class Sighting:
    """A claim, or that there is none, and since when it has been seen unchanged."""

    claim: Claim | None
    since: float


def sight(before: Sighting | None, claim: Claim | None, now: float) -> Sighting:
    """Return the sighting of a claim that was just read."""
    if before is not None and before.claim == claim:
        return before
    return Sighting(claim, now)


def may_take(sighting: Sighting, identity: str, now: float) -> bool:
    """Return whether a candidate may write itself into the Lease."""
    claim = sighting.claim
    if claim is None or claim.holder in ("", identity):
        return True
    return now >= sighting.since + claim.seconds
