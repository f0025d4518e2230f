"""What every stand-in works with."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from modelyard.embedded.client import Client, Object, Resource, merge_patch
from modelyard.embedded.standins.activator import Activator
from modelyard.embedded.standins.attempts import Owner
from modelyard.embedded.standins.containers import DEFAULT_MODULES
from modelyard.embedded.standins.processes import ProcessTable
from modelyard.embedded.standins.sockets import ServingSockets


@dataclass(frozen=True)
class Context:
    """The API, the processes, and what may run.

    Attributes:
        allowed_modules: Patterns of modules that a container may run.
        python: The interpreter that stands for the one in the images.
        now: The clock, in seconds since the epoch.
    """

    client: Client
    processes: ProcessTable
    sockets: ServingSockets
    activator: Activator
    allowed_modules: Sequence[str] = DEFAULT_MODULES
    python: str = sys.executable
    now: Callable[[], float] = time.time

    def forget(self, owner: Owner) -> None:
        """Stop and delete what there is for an object that is gone."""
        self.processes.forget(owner)
        self.activator.let_go(owner.uid)
        self.sockets.release(owner.uid)

    async def write_status(
        self, resource: Resource, current: Object, status: Object, subresource: str
    ) -> None:
        """Patch the status of an object to be `status`; writes nothing when it is already.

        Takes the answer over into `current`, so that the next look does not start from what the
        object was before.
        """
        patch = merge_patch(current.get("status") or {}, status)
        if not patch:
            return
        metadata = current["metadata"]
        written = await self.client.merge(
            resource, metadata["namespace"], metadata["name"], {"status": patch}, subresource
        )
        if written["metadata"]["uid"] == metadata["uid"]:
            current.update(written)


class StandIn(Protocol):
    """Stands in for one controller: brings the processes and the status of an object in line."""

    resource: Resource

    async def reconcile(self, current: Object) -> float | None:
        """Do what is due for an object that exists.

        Args:
            current: The object as the API has it.

        Returns:
            Seconds after which to look again, or None to wait for a change.
        """


def owner_of(current: Object) -> Owner:
    """Return the owner of the processes of an object."""
    metadata = current["metadata"]
    return Owner(metadata["uid"], current["kind"], metadata["namespace"], metadata["name"])
