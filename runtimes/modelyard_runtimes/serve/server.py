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

from modelyard_runtimes.serve.application import Application
from modelyard_runtimes.serve.connection import Connection
from modelyard_runtimes.serve.sockets import BACKLOG, notify_ready

GRACE_SECONDS = 5.0
TICK_SECONDS = 1.0


class Server:
    """Serves one application on one socket until told to end."""

    def __init__(self, application: Application, ready: Callable[[], None] = notify_ready) -> None:
        """Prepare.

        Args:
            application: What answers.
            ready: Called once requests are answered.
        """
        self._application = application
        self._ready = ready
        self._connections: set[Connection] = set()
        self._stopping = asyncio.Event()

    async def serve(self, listener: socket.socket) -> None:
        """Serve on a listening socket until SIGTERM or SIGINT, then drain the connections."""
        loop = asyncio.get_running_loop()
        self._tick()
        server = await loop.create_server(
            lambda: Connection(self._application, self._connections),
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
        self._application.draining = True
        self._application.stop_rpc(GRACE_SECONDS)
        server.close()
        listener.close()
        await self._drain()

    def _tick(self) -> None:
        now = asyncio.get_running_loop().time()
        self._application.tell_date()
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
