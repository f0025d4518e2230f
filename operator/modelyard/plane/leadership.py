"""Leads while a Lease says so, so that of several operators one reconciles.

A leader goes on only until its renew deadline, which ends before its claim does: whoever cannot
renew has stopped when another may take over. A process that lost its lead ends; it does not stand
by again, because nothing it remembers can be trusted any more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from modelyard.api.resources import LEASE
from modelyard.build.common import Manifest
from modelyard.build.lease import Candidate, lease, released
from modelyard.judge.leadership import Claim, LeaseTimes, Sighting, may_take, sight
from modelyard.ports.clock import Clock
from modelyard.ports.cluster import Cluster, ClusterError, Conflict

LOGGER = logging.getLogger("modelyard.leadership")


class LeadershipLost(Exception):
    """This process must not reconcile any more; the message says why."""


class Leadership(Protocol):
    """Says whether this process may reconcile."""

    def leads(self) -> bool:
        """Return whether it may write right now."""

    async def acquire(self) -> None:
        """Return once it leads."""

    async def hold(self) -> None:
        """Go on leading until cancelled.

        Raises:
            LeadershipLost: it could not.
        """

    async def release(self) -> None:
        """Let another lead at once; called when nothing is reconciled any more."""


class Unopposed:
    """Leads always: there is no other operator."""

    def leads(self) -> bool:
        """Return that it leads."""
        return True

    async def acquire(self) -> None:
        """Return at once."""

    async def hold(self) -> None:
        """Wait until cancelled."""
        await asyncio.Event().wait()

    async def release(self) -> None:
        """Do nothing: nobody waits."""


class LeaseLeadership:
    """Leads while it holds a Lease."""

    def __init__(  # noqa: PLR0913, PLR0917 - time itself is given, so that tests can set it
        self,
        cluster: Cluster,
        candidate: Candidate,
        clock: Clock,
        times: LeaseTimes | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cluster = cluster
        self._candidate = candidate
        self._clock = clock
        self._times = times or LeaseTimes()
        self._monotonic = monotonic
        self._sleep = sleep
        self._sighting: Sighting | None = None
        self._until = float("-inf")

    def leads(self) -> bool:
        """Return whether the renew deadline is still ahead."""
        return self._monotonic() < self._until

    async def acquire(self) -> None:
        """Return once the Lease is held."""
        LOGGER.info("%s stands by for Lease %s", self._candidate.identity, self._name)
        while True:
            try:
                if await self.attempt():
                    LOGGER.info("%s leads", self._candidate.identity)
                    return
            except ClusterError as error:
                LOGGER.warning("Lease %s: %s; trying again", self._name, error)
            await self._sleep(self._times.retry)

    async def hold(self) -> None:
        """Renew the Lease until cancelled."""
        while True:
            await self._sleep(min(self._times.retry, max(self._left(), 0)))
            try:
                async with asyncio.timeout(max(self._left(), 0)):
                    await self._renew()
            except (ClusterError, TimeoutError) as error:
                LOGGER.warning("Lease %s is not renewed: %s", self._name, error or "no answer")
            if not self.leads():
                raise LeadershipLost(
                    f"Lease {self._name} was not renewed for {self._times.renew_deadline:g} s"
                )

    async def release(self) -> None:
        """Give the Lease up if it is held."""
        self._until = float("-inf")
        try:
            async with asyncio.timeout(self._times.retry):
                found = await self._read()
                if found is not None and self._holder(found) == self._candidate.identity:
                    await self._cluster.replace(LEASE, released(found))
        except (ClusterError, TimeoutError) as error:
            LOGGER.warning("Lease %s is not released: %s", self._name, error or "no answer")
        else:
            LOGGER.info("%s leads no more", self._candidate.identity)

    async def _renew(self) -> None:
        claimed = await self.attempt()
        claim = self._sighting.claim if self._sighting else None
        if not claimed and claim is not None and claim.holder != self._candidate.identity:
            self._until = float("-inf")
            raise LeadershipLost(f"Lease {self._name} is held by {claim.holder or 'nobody'}")

    async def attempt(self) -> bool:
        """Take or renew the Lease if that is allowed; return whether it is held now."""
        start = self._monotonic()
        found = await self._read()
        if self._sighting is None or not may_take(
            self._sighting, self._candidate.identity, self._monotonic()
        ):
            return False
        desired = lease(self._candidate, self._times.duration, self._clock.now(), found)
        try:
            if found is None:
                await self._cluster.create(LEASE, desired)
                found = await self._read()  # whoever created it first holds it
                if found is None or self._holder(found) != self._candidate.identity:
                    return False
            else:
                await self._cluster.replace(LEASE, desired)
        except Conflict:
            return False  # another was faster
        self._until = start + self._times.renew_deadline
        return True

    async def _read(self) -> Manifest | None:
        found = await self._cluster.get(LEASE, self._candidate.namespace, self._candidate.name)
        self._sighting = sight(self._sighting, _claim_of(found), self._monotonic())
        return found

    def _left(self) -> float:
        return self._until - self._monotonic()

    @property
    def _name(self) -> str:
        return f"{self._candidate.namespace}/{self._candidate.name}"

    @staticmethod
    def _holder(found: Manifest) -> str:
        return (found.get("spec") or {}).get("holderIdentity") or ""


def _claim_of(found: Manifest | None) -> Claim | None:
    if found is None:
        return None
    spec = found.get("spec") or {}
    return Claim(
        holder=spec.get("holderIdentity") or "",
        seconds=float(spec.get("leaseDurationSeconds") or 0),
        version=found["metadata"]["resourceVersion"],
    )
