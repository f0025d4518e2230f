"""The operator's process: stands by, leads, reconciles, and ends in order."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass

from modelyard.adapters.cluster import KubernetesCluster
from modelyard.plane.leadership import Leadership
from modelyard.plane.operator import Operator
from modelyard.plane.probes import Unhealthy
from modelyard.plane.queue import Work, WorkQueue
from modelyard.plane.watch import Watch
from modelyard.ports.cluster import ClusterError


def stop_at_signals(stop: asyncio.Event) -> None:
    """Set an event at SIGTERM and SIGINT, whoever else may have taken them before."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


@dataclass(frozen=True)
class Process:
    """What runs in one operator process."""

    leadership: Leadership
    queue: WorkQueue
    operator: Operator
    watch: Watch
    api: KubernetesCluster

    async def run(self, work: Work, stop: asyncio.Event) -> None:
        """Stand by until this process leads, then work until it is told to stop.

        A standby watches nothing and so remembers nothing: when it comes to lead it lists all
        objects once, which takes less time than noticing that the leader is gone.

        Raises:
            ExceptionGroup: the lead was lost, or a part that must run has failed.
        """
        leading = asyncio.create_task(self._lead(work))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({leading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            leading.cancel()
            await asyncio.wait({leading})
        if not leading.cancelled():
            leading.result()

    def check_alive(self) -> None:
        """Raise Unhealthy when only a restart helps."""
        stuck = self.queue.stuck()
        if stuck is not None:
            raise Unhealthy(f"a worker of the queue does not get done with {stuck}")
        if self.watch.has_ended():
            raise Unhealthy("the watch has ended")

    async def check_ready(self) -> None:
        """Raise Unhealthy while the API server does not answer: so does a standby."""
        try:
            await self.api.check()
        except ClusterError as error:
            raise Unhealthy(f"the Kubernetes API does not answer: {error}") from error

    async def _lead(self, work: Work) -> None:
        await self.leadership.acquire()
        # Should one of these ever fail, the group ends the others: better restarted than deaf.
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work(work))
            group.create_task(self.leadership.hold())
            group.create_task(self.operator.resync())
            group.create_task(self.watch.run())

    async def _work(self, work: Work) -> None:
        """Work until cancelled; from then on another may lead, whatever else still ends here."""
        try:
            await self.queue.run(work)
        finally:
            await self.leadership.release()
