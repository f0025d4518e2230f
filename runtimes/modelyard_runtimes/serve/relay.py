"""Passes the bytes of one connection on to another, and back, at the pace of the slower end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast


class End(asyncio.Protocol):
    """One of the two connections."""

    peer: End

    def __init__(self, lost: Callable[[], None] = lambda: None) -> None:
        """Start without a connection.

        Args:
            lost: Called once the connection is gone.
        """
        self.transport = cast(asyncio.Transport, None)
        self._lost = lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Close the other one."""
        del error
        self.peer.transport.close()
        self._lost()

    def data_received(self, data: bytes) -> None:
        """Pass on what was read."""
        self.peer.transport.write(data)

    def pause_writing(self) -> None:
        """Let the other side wait."""
        self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """Let it go on."""
        self.peer.transport.resume_reading()


async def relay(near: asyncio.Transport, address: str, first: bytes, end: End) -> None:
    """Join a connection that is not read at present to the Unix socket at an address.

    Args:
        near: The connection.
        address: Path of the socket.
        first: What was read from it already.
        end: Its protocol from now on.

    Raises:
        OSError: nobody listens at the address.
    """
    far = End()
    end.peer, far.peer = far, end
    end.transport = near
    await asyncio.get_running_loop().create_unix_connection(lambda: far, address)
    if near.is_closing():
        far.transport.close()
        return
    near.set_protocol(end)
    far.transport.write(first)
    near.resume_reading()
