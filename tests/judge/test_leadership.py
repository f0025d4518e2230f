"""Who may lead: what a Lease says, and for how long one's own clock has seen it say so."""

from __future__ import annotations

import pytest
from modelyard.judge.leadership import Claim, LeaseTimes, Sighting, may_take, sight

ME, OTHER = "me", "other"


def claim(holder: str, version: str = "1", seconds: float = 10) -> Claim:
    return Claim(holder, seconds, version)


@pytest.mark.parametrize(
    ("found", "waited", "allowed"),
    [
        pytest.param(None, 0, True, id="nobody ever led"),
        pytest.param(claim(""), 0, True, id="the last leader let go of it"),
        pytest.param(claim(ME), 0, True, id="it is mine already"),
        pytest.param(claim(OTHER), 0, False, id="another's, just seen for the first time"),
        pytest.param(claim(OTHER), 9.99, False, id="another's, not quite over"),
        pytest.param(claim(OTHER), 10, True, id="another's, unchanged for as long as it claims"),
        pytest.param(claim(OTHER, seconds=60), 10, False, id="another's, that claims longer"),
        pytest.param(claim(OTHER, seconds=0), 0, True, id="another's, that claims no time"),
    ],
)
def test_a_candidate_may_take(found: Claim | None, waited: float, allowed: bool) -> None:
    assert may_take(Sighting(found, since=100.0), ME, 100.0 + waited) is allowed


@pytest.mark.parametrize(
    ("before", "found", "since"),
    [
        pytest.param(None, claim(OTHER), 5.0, id="the first look"),
        pytest.param(Sighting(claim(OTHER), 1.0), claim(OTHER), 1.0, id="nothing changed"),
        pytest.param(Sighting(claim(OTHER), 1.0), claim(OTHER, "2"), 5.0, id="it was renewed"),
        pytest.param(Sighting(claim(OTHER), 1.0), claim("third", "2"), 5.0, id="a third took it"),
        pytest.param(Sighting(claim(OTHER), 1.0), None, 5.0, id="it was deleted"),
    ],
)
def test_the_clock_starts_again_with_each_change(
    before: Sighting | None, found: Claim | None, since: float
) -> None:
    assert sight(before, found, now=5.0) == Sighting(found, since)


@pytest.mark.parametrize(
    ("duration", "deadline", "retry"),
    [
        pytest.param(10, 10.0, 1.0, id="a leader would go on until its claim is over"),
        pytest.param(10, 12.0, 1.0, id="a leader would go on after its claim is over"),
        pytest.param(10, 6.0, 6.0, id="a leader would try to renew only once"),
        pytest.param(10, 6.0, 0.0, id="a candidate would ask without rest"),
    ],
)
def test_times_that_allow_two_leaders_are_refused(
    duration: int, deadline: float, retry: float
) -> None:
    with pytest.raises(ValueError, match="shorter"):
        LeaseTimes(duration, deadline, retry)


def test_another_takes_over_within_twenty_seconds() -> None:
    """It may have looked just before the last renewal, and looks again just after the claim."""
    times = LeaseTimes()
    assert times.duration + 2 * times.retry < 15, "the rest is for listing and watching"
