"""Serves /livez, /readyz and /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

ANSWER_SECONDS = 5.0
"""How long a check may take; the kubelet is told to wait a little longer."""


class Unhealthy(Exception):
    """A check failed; the message says what."""


class Checks(NamedTuple):
    """What is asked."""

    alive: Callable[[], None]
    """Raises Unhealthy when only a restart helps."""
    ready: Callable[[], Awaitable[None]]
    """Raises Unhealthy while the process cannot do its work."""
    metrics: Callable[[], bytes]


def address(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`, `[HOST]:PORT` or `:PORT`.

    Raises:
        ValueError: it is none of these.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is no address; write HOST:PORT, for example 127.0.0.1:8080")
    return host.strip("[]"), int(port)


@asynccontextmanager
async def serving(listen: tuple[str, int] | None, checks: Checks) -> AsyncIterator[None]:
    """Serve while the context lasts; nothing without an address."""
    if listen is None:
        yield
        return
    app = web.Application()
    app.router.add_get("/livez", _livez(checks))
    app.router.add_get("/readyz", _readyz(checks))
    app.router.add_get("/metrics", _metrics(checks))
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        host, port = listen
        await web.TCPSite(runner, host or None, port).start()
        yield
    finally:
        await runner.cleanup()


def _livez(checks: Checks) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def livez(_: web.Request) -> web.Response:
        try:
            checks.alive()
        except Unhealthy as problem:
            return web.Response(status=503, text=f"{problem}\n")
        return web.Response(text="ok\n")

    return livez


def _readyz(checks: Checks) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def readyz(_: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await checks.ready()
        except TimeoutError:
            return web.Response(status=503, text="the Kubernetes API does not answer in time\n")
        except Unhealthy as problem:
            return web.Response(status=503, text=f"{problem}\n")
        return web.Response(text="ok\n")

    return readyz


def _metrics(checks: Checks) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=checks.metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return metrics
