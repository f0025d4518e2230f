"""The socket a server listens on, and how it tells that it answers: the contract with its starter.

Where LISTEN_FDS is set, descriptor 3 is a listening socket, which other processes may share. Where
NOTIFY_FD is set, `READY=1` and a line end are written to that descriptor once requests are
answered. Loads nothing heavy: the parent of several workers imports this.
"""

from __future__ import annotations

import os
import socket

BACKLOG = 2048
LISTEN_VARIABLE = "LISTEN_FDS"
LISTEN_DESCRIPTOR = 3
NOTIFY_VARIABLE = "NOTIFY_FD"
READY = b"READY=1\n"


def open_socket(host: str, port: int) -> socket.socket:
    """Return the listening socket: the inherited one where LISTEN_FDS is set, else a new one.

    Programs that this process starts do not inherit it: it would stay open with them.

    Raises:
        OSError: host and port cannot be bound, or descriptor 3 is no socket.
    """
    if os.environ.get(LISTEN_VARIABLE):
        os.set_inheritable(LISTEN_DESCRIPTOR, False)
        return socket.socket(fileno=LISTEN_DESCRIPTOR)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    return listener


def notify_ready() -> None:
    """Tell whoever started this process, through NOTIFY_FD, that requests are answered."""
    descriptor = os.environ.get(NOTIFY_VARIABLE)
    if descriptor is not None:
        os.set_inheritable(int(descriptor), False)
        os.write(int(descriptor), READY)
