"""Connections that are idle nearly all the time keep little."""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol

import pytest
from modelyard import tls


async def test_a_connection_keeps_a_small_buffer_to_read_into(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SSLProtocol, "max_size", SSLProtocol.max_size)  # undone afterwards
    tls.shrink_read_buffers()
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context()
    connection = SSLProtocol(loop, asyncio.Protocol(), context, loop.create_future())
    buffer = connection.get_buffer(-1)
    connection.connection_lost(None)
    assert len(buffer) == 64 * 1024
