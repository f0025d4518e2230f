"""Runs the application on uvicorn, and hands over without losing a request.

When the process is told to end (SIGTERM), it closes its listener at once; other processes may hold
the same socket and go on accepting. Connections that are open get `Connection: close` with their
next answer, and the process ends when none is left, or after a grace.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from modelyard_runtimes.serve.application import Application
from modelyard_runtimes.serve.connection import Connection
from modelyard_runtimes.serve.sockets import BACKLOG, notify_ready

GRACE_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 75
"""Time after which an idle connection is closed; longer than the usual 60 s of proxies."""


class Server(uvicorn.Server):
    """A uvicorn server that drains its connections."""

    def __init__(self, application: Application, ready: Callable[[], None] = notify_ready) -> None:
        """Configure uvicorn.

        Args:
            application: What answers.
            ready: Called once requests are answered.
        """
        super().__init__(
            uvicorn.Config(
                application,
                http=Connection,
                loop="uvloop",
                ws="none",
                lifespan="off",
                interface="asgi3",
                proxy_headers=False,
                server_header=False,
                access_log=False,
                log_config=None,
                log_level="warning",
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=1,
            )
        )
        self._application = application
        self._ready = ready
        self._listeners: list[socket.socket] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell that requests are answered."""
        self._listeners = sockets or []
        await super().startup(sockets=sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain on SIGTERM and SIGINT, for as long as the context lasts."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.drain)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def drain(self) -> None:
        """Stop accepting; answers from now on close their connection."""
        self._application.draining = True
        for server in getattr(self, "servers", []):
            server.close()
        for listener in self._listeners:
            listener.close()
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait until all connections are closed or the grace is over, then end."""
        clock = asyncio.get_running_loop().time
        end = clock() + GRACE_SECONDS
        # uvicorn tells nobody when a connection is gone, so there is nothing to wait for but time.
        while self.server_state.connections and clock() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await super().shutdown(sockets=sockets)
