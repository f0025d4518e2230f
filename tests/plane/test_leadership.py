"""The loop around the Lease, on a cluster that conforms and with a clock that is set."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from modelyard.api.resources import LEASE, Resource
from modelyard.build.lease import Candidate
from modelyard.judge.leadership import LeaseTimes
from modelyard.plane.leadership import LeadershipLost, LeaseLeadership
from modelyard.ports.cluster import ClusterError, Manifest

from tests.reconcile.conftest import MemoryCluster

TIMES = LeaseTimes()


class Time:
    """A monotonic clock; sleeping moves it, and lets a test do something meanwhile."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.meanwhile: Callable[[], Awaitable[Any]] | None = None

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)
        if self.meanwhile is not None:
            await self.meanwhile()

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)


class Cluster(MemoryCluster):
    """Answers as long as it is up."""

    up = True

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        if not self.up:
            raise ClusterError("no answer")
        return await super().get(resource, namespace, name)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def candidate(cluster: Cluster, time: Time, identity: str) -> LeaseLeadership:
    return LeaseLeadership(
        cluster, Candidate("system", "operator", identity), time, TIMES, time.monotonic, time.sleep
    )


async def holder(cluster: Cluster) -> Any:
    found = await cluster.get(LEASE, "system", "operator")
    return found and found["spec"]["holderIdentity"]


async def test_the_first_candidate_leads_at_once(cluster: Cluster) -> None:
    time = Time()
    one = candidate(cluster, time, "one")
    assert not one.leads()
    await one.acquire()
    assert one.leads()
    assert time.seconds == 0
    assert await holder(cluster) == "one"


async def test_of_two_that_begin_at_once_one_leads(cluster: Cluster) -> None:
    time = Time()
    both = [candidate(cluster, time, name) for name in ("one", "two")]
    tasks = [asyncio.create_task(one.acquire()) for one in both]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [one.leads() for one in both].count(True) == 1
    for task in tasks:
        task.cancel()


async def test_a_standby_takes_over_from_a_leader_that_died(cluster: Cluster) -> None:
    time = Time()
    await candidate(cluster, time, "one").acquire()
    two = candidate(cluster, time, "two")
    await two.acquire()
    assert two.leads()
    assert TIMES.duration <= time.seconds <= TIMES.duration + TIMES.retry
    found = await cluster.get(LEASE, "system", "operator")
    assert found is not None
    assert found["spec"]["leaseTransitions"] == 1


class Enough(Exception):
    """The test has seen enough."""


async def test_a_leader_that_renews_is_not_taken_over(cluster: Cluster) -> None:
    time = Time()
    one, two = candidate(cluster, time, "one"), candidate(cluster, time, "two")
    await one.acquire()

    async def two_looks() -> None:
        assert one.leads()
        assert not await two.attempt()
        if time.seconds > 10 * TIMES.duration:
            raise Enough

    time.meanwhile = two_looks
    with pytest.raises(Enough):
        await one.hold()
    found = await cluster.get(LEASE, "system", "operator")
    assert found is not None
    assert found["spec"]["leaseTransitions"] == 0
    assert found["spec"]["leaseDurationSeconds"] == TIMES.duration


async def test_a_leader_that_cannot_renew_has_stopped_before_another_may_take_over(
    cluster: Cluster,
) -> None:
    time = Time()
    one, two = candidate(cluster, time, "one"), candidate(cluster, time, "two")
    await one.acquire()
    await two.attempt()
    cluster.up = False
    with pytest.raises(LeadershipLost, match="not renewed"):
        await one.hold()
    assert not one.leads()
    cluster.up = True
    assert not await two.attempt(), "the claim still stands when its holder has stopped"
    await two.acquire()
    assert two.leads()


async def test_a_leader_survives_a_short_failure(cluster: Cluster) -> None:
    time = Time()
    one = candidate(cluster, time, "one")
    await one.acquire()

    async def outage() -> None:
        cluster.up = not TIMES.retry < time.seconds < TIMES.renew_deadline
        if time.seconds > 3 * TIMES.duration:
            raise Enough

    time.meanwhile = outage
    with pytest.raises(Enough):
        await one.hold()
    assert one.leads()


async def test_a_leader_that_was_paused_too_long_may_not_write(cluster: Cluster) -> None:
    time = Time()
    one, two = candidate(cluster, time, "one"), candidate(cluster, time, "two")
    await one.acquire()
    time.seconds += TIMES.renew_deadline
    assert not one.leads()
    await two.acquire()
    with pytest.raises(LeadershipLost, match="held by two"):
        await one.hold()
    assert await holder(cluster) == "two"


async def test_a_released_lease_is_taken_at_the_next_look(cluster: Cluster) -> None:
    time = Time()
    one, two = candidate(cluster, time, "one"), candidate(cluster, time, "two")
    await one.acquire()
    assert not await two.attempt()
    await one.release()
    assert not one.leads()
    assert await holder(cluster) == ""
    await two.acquire()
    assert time.seconds == 0


async def test_releasing_leaves_the_lease_of_another_alone(cluster: Cluster) -> None:
    time = Time()
    one, two = candidate(cluster, time, "one"), candidate(cluster, time, "two")
    await one.acquire()
    await two.acquire()
    await one.release()
    assert await holder(cluster) == "two"


async def test_an_api_server_that_is_away_delays_taking_and_releasing_and_ends_neither(
    cluster: Cluster,
) -> None:
    time = Time()
    one = candidate(cluster, time, "one")
    cluster.up = False

    async def back() -> None:
        cluster.up = time.seconds > 30

    time.meanwhile = back
    await one.acquire()
    assert time.seconds > 30
    cluster.up = False
    await one.release()
    assert not one.leads()
