"""The sockets of model servers: one for each InferenceService, at a port that stays.

The stand-ins bind the socket and hand it to every server process of the object, which listens on
it. So while one server takes over from another, or is started again after a crash, the socket stays
open and connections wait in its queue instead of failing.
"""

from __future__ import annotations

import ctypes
import errno
import json
import logging
import os
import socket
from pathlib import Path

from modelyard.embedded.procfs import ProcessId, is_running
from modelyard.embedded.standins.attempts import Owner, write_atomically
from modelyard.embedded.standins.processes import LISTEN_DESCRIPTOR

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
_PIDFD_GETFD = 438
"""Number of the system call pidfd_getfd(2), the same on all architectures but Alpha."""


class ServingSockets:
    """Sockets by the uid of their InferenceService."""

    def __init__(self, state_dir: Path) -> None:
        self._file = state_dir / "standins" / "ports.json"
        self._open: dict[str, socket.socket] = {}

    def acquire(self, owner: Owner, holder: ProcessId | None) -> socket.socket:
        """Return the object's socket.

        Args:
            owner: The InferenceService.
            holder: A process that holds the socket as descriptor 3 since before the stand-ins were
                started again; None when there is none.
        """
        if owner.uid not in self._open:
            self._open[owner.uid] = self._recover(owner, holder)
            self._remember(owner, self._open[owner.uid].getsockname()[1])
        return self._open[owner.uid]

    def url(self, owner: Owner) -> str:
        """Return the URL of an object that has had a socket."""
        return f"http://{HOST}:{self._ports()[_key(owner)]}"

    def release(self, uid: str) -> None:
        """Close the socket of an object that is gone."""
        if uid in self._open:
            self._open.pop(uid).close()

    def close(self) -> None:
        """Close all sockets; servers keep theirs."""
        for uid in list(self._open):
            self.release(uid)

    def _recover(self, owner: Owner, holder: ProcessId | None) -> socket.socket:
        port = self._ports().get(_key(owner), 0)
        if holder is not None:
            try:
                return _take(holder)
            except OSError as error:
                # Yama's ptrace_scope forbids it on some machines. A second socket at the same port
                # serves as well, but for connections queued at the first one when that closes.
                logger.info("%s: no copy of its socket (%s)", _key(owner), error)
                return _bind(port)
        try:
            _bind(port, alone=True).close()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            logger.warning("%s: port %d is taken, its URL changes", _key(owner), port)
            port = 0
        if port == 0:
            with _bind(0, alone=True) as probe:
                port = probe.getsockname()[1]
        return _bind(port)

    def _ports(self) -> dict[str, int]:
        try:
            ports: dict[str, int] = json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}
        return ports

    def _remember(self, owner: Owner, port: int) -> None:
        ports = self._ports()
        if ports.get(_key(owner)) != port:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, json.dumps({**ports, _key(owner): port}, sort_keys=True))


def _key(owner: Owner) -> str:
    return f"{owner.namespace}/{owner.name}"


def _bind(port: int, *, alone: bool = False) -> socket.socket:
    """Bind a socket that does not listen yet; `alone` fails when any other holds the port.

    SO_REUSEPORT would let one user's planes share a port unawares, so a port is tried alone first.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not alone:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound


def _take(holder: ProcessId) -> socket.socket:
    """Return a copy of the holder's listening socket (pidfd_getfd(2)).

    Raises:
        OSError: the holder is gone or this user may not look into it.
    """
    pidfd = os.pidfd_open(holder.pid)
    try:
        if not is_running(holder):
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = libc.syscall(_PIDFD_GETFD, pidfd, LISTEN_DESCRIPTOR, 0)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(pidfd)
    return socket.socket(fileno=descriptor)
