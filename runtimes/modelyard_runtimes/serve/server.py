"""Listens, keeps time for all connections, and hands over without losing a request.

When the process is told to end (SIGTERM), it closes its listener at once; other processes may hold
the same socket and go on accepting. Connections that are open get `Connection: close` with their
next answer, and the process ends when none is left, or after a grace.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from modelyard_runtimes.serve.connection import Connection
from modelyard_runtimes.serve.heads import KnownHeads
from modelyard_runtimes.serve.http import Route
from modelyard_runtimes.serve.outbox import Outbox
from modelyard_runtimes.serve.sockets import BACKLOG, notify_ready
from modelyard_runtimes.serve.upload import Places

GRACE_SECONDS = 5.0
TICK_SECONDS = 1.0


class Front(Protocol):
    """What takes all requests of a server: its one model, or what stands before many."""

    def find(self, method: bytes, target: bytes) -> Route:
        """Return what answers a request, be it with an error."""

    def tell_date(self) -> None:
        """Have the next answers say that they are from now; called about once a second."""

    def drain(self) -> None:
        """Ask clients to go elsewhere: the process is about to end."""

    async def rpc_address(self) -> str:
        """Return the Unix socket at which gRPC is served, from the first call on."""

    def stop_rpc(self, grace: float) -> None:
        """Tell clients of gRPC to go elsewhere; calls in flight get a grace in seconds."""


class Server:
    """Serves on one socket until told to end."""

    def __init__(self, front: Front, ready: Callable[[], None] = notify_ready) -> None:
        """Prepare.

        Args:
            front: What takes all requests.
            ready: Called once requests are answered.
        """
        self._front = front
        self._ready = ready
        self._connections: set[Connection] = set()
        self._stopping = asyncio.Event()

    async def serve(self, listener: socket.socket) -> None:
        """Serve on a listening socket until SIGTERM or SIGINT, then drain the connections."""
        loop = asyncio.get_running_loop()
        heads, outbox, places = KnownHeads(), Outbox(loop), Places()
        self._tick()
        server = await loop.create_server(
            lambda: Connection(self._front, self._connections, heads, outbox, places),
            sock=listener,
            backlog=BACKLOG,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        self._ready()
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._stopping.wait()
            self._tick()
        self._front.drain()
        self._front.stop_rpc(GRACE_SECONDS)
        server.close()
        listener.close()
        await self._drain()

    def _tick(self) -> None:
        now = asyncio.get_running_loop().time()
        self._front.tell_date()
        for connection in list(self._connections):
            connection.expire(now)

    async def _drain(self) -> None:
        """Wait until all connections are closed or the grace is over, then close them."""
        clock = asyncio.get_running_loop().time
        end = clock() + GRACE_SECONDS
        while self._connections and clock() < end:
            await asyncio.sleep(0.02)
            self._tick()
        for connection in list(self._connections):
            connection.close()
