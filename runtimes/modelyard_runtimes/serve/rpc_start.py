"""The gRPC server of a process, which is there from the first client on that speaks gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelyard_runtimes.serve.rpc import RpcServer


class LazyRpc:
    """Starts a gRPC server once, or again after a start that failed."""

    def __init__(self) -> None:
        """Prepare, starting nothing."""
        self._task: asyncio.Task[RpcServer] | None = None

    async def address(self, start: Callable[[], RpcServer]) -> str:
        """Return the Unix socket at which it listens.

        Args:
            start: Starts the server, in a thread; called by the first who asks.

        Raises:
            Exception: what `start` raises.
        """
        if self._task is None or _has_failed(self._task):
            self._task = asyncio.create_task(asyncio.to_thread(start))
        return (await asyncio.shield(self._task)).address

    def stop(self, grace: float) -> None:
        """Take no more calls; those in flight get a grace in seconds."""
        if self._task is not None and self._task.done() and not _has_failed(self._task):
            self._task.result().stop(grace)


def _has_failed(task: asyncio.Task[RpcServer]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
