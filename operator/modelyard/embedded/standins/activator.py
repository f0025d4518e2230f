"""Holds requests for services that have no server, until one has started.

The connections wait in the queue of the service's socket, which the stand-ins hold open: the server
that starts finds them there. Whoever waited too long is told to come back later.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass

from modelyard.embedded.standins.attempts import Owner

HOLD_SECONDS = 30.0
"""How long a request waits for a server: less than the minute after which most clients give up."""
RETRY_AFTER_SECONDS = 5
BACKLOG = 2048
"""How many connections wait at most; the kernel takes no more."""
_READ_SECONDS = 5.0
_MOST_READ = 1 << 20

_BODY = b'{"error": "no server has started yet; its log says why"}\n'
_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Content-Type: application/json\r\n"
    b"Content-Length: %d\r\n"
    b"Retry-After: %d\r\n"
    b"Connection: close\r\n\r\n"
) % (len(_BODY), RETRY_AFTER_SECONDS) + _BODY


@dataclass
class _Held:
    owner: Owner
    listener: socket.socket
    timer: asyncio.TimerHandle | None = None
    """Runs since somebody asked."""


class Activator:
    """Knows the services without a server, and who of them is asked for."""

    def __init__(self, wake: Callable[[Owner], None], hold_seconds: float = HOLD_SECONDS) -> None:
        """Prepare.

        Args:
            wake: Called with a service that is asked for.
            hold_seconds: How long a request waits for a server.
        """
        self._wake = wake
        self._hold_seconds = hold_seconds
        self._held: dict[str, _Held] = {}
        self._refusals: set[asyncio.Task[None]] = set()

    def hold(self, owner: Owner, listener: socket.socket) -> None:
        """Watch the socket of a service that has no server."""
        if owner.uid in self._held:
            return
        listener.setblocking(False)
        listener.listen(BACKLOG)
        held = self._held[owner.uid] = _Held(owner, listener)
        asyncio.get_running_loop().add_reader(listener, self._on_request, held)

    def is_asked(self, uid: str) -> bool:
        """Return whether a request waits for a server of a service, or did and was refused."""
        held = self._held.get(uid)
        return held is not None and held.timer is not None

    def let_go(self, uid: str) -> None:
        """Leave the socket of a service alone: a server answers there, or it is to be closed."""
        held = self._held.pop(uid, None)
        if held is None:
            return
        asyncio.get_running_loop().remove_reader(held.listener)
        if held.timer is not None:
            held.timer.cancel()

    def close(self) -> None:
        """Leave all sockets alone."""
        for uid in list(self._held):
            self.let_go(uid)
        for task in self._refusals:
            task.cancel()

    def _on_request(self, held: _Held) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(held.listener)
        held.timer = loop.call_later(self._hold_seconds, self._give_up, held)
        self._wake(held.owner)

    def _give_up(self, held: _Held) -> None:
        asyncio.get_running_loop().add_reader(held.listener, self._refuse_next, held)

    def _refuse_next(self, held: _Held) -> None:
        try:
            connection, _ = held.listener.accept()
        except OSError:  # its client has gone, or a server was faster
            return
        task = asyncio.get_running_loop().create_task(_refuse(connection))
        self._refusals.add(task)
        task.add_done_callback(self._refusals.discard)


async def _refuse(connection: socket.socket) -> None:
    """Answer one request. What is sent is read to its end: else the client may lose the answer."""
    connection.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=connection)
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_READ_SECONDS):
            await reader.read(_MOST_READ)
            writer.write(_UNAVAILABLE)
            await writer.drain()
            writer.write_eof()
            while await reader.read(_MOST_READ):
                pass
    writer.close()
