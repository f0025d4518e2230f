"""A model server's port stays, and is never shared with a stranger."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from modelyard.embedded.procfs import identify
from modelyard.embedded.standins.attempts import Owner
from modelyard.embedded.standins.sockets import ServingSockets

OWNER = Owner("0000-1111", "InferenceService", "default", "churn")


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[ServingSockets]:
    found = ServingSockets(tmp_path)
    yield found
    found.close()


def port_of(found: socket.socket) -> int:
    port: int = found.getsockname()[1]
    return port


def test_the_port_stays_over_restarts_and_for_a_new_object_of_the_name(
    sockets: ServingSockets, tmp_path: Path
) -> None:
    port = port_of(sockets.acquire(OWNER, None))
    assert sockets.url(OWNER) == f"http://127.0.0.1:{port}"
    sockets.close()
    again = ServingSockets(tmp_path)
    successor = Owner("2222-3333", OWNER.kind, OWNER.namespace, OWNER.name)
    assert port_of(again.acquire(successor, None)) == port
    again.close()


def test_a_port_that_is_taken_meanwhile_is_given_up(sockets: ServingSockets) -> None:
    port = port_of(sockets.acquire(OWNER, None))
    sockets.close()
    with socket.socket() as stranger:
        # As another plane of this user would.
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        assert port_of(sockets.acquire(OWNER, None)) != port


def test_where_the_socket_cannot_be_copied_a_second_one_serves_at_the_same_port(
    sockets: ServingSockets, tmp_path: Path
) -> None:
    """This process stands for a server that runs on but has no such descriptor to copy."""
    first = sockets.acquire(OWNER, None)
    first.listen()
    spare = os.dup(3) if os.path.exists("/proc/self/fd/3") else None
    if spare is not None:
        os.close(3)
    try:
        again = ServingSockets(tmp_path)
        second = again.acquire(OWNER, identify(os.getpid()))
        second.listen()
        assert port_of(second) == port_of(first)
        again.close()
    finally:
        if spare is not None:
            os.dup2(spare, 3)
            os.close(spare)
