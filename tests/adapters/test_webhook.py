"""Alerts over HTTP: delivered, refused, unreachable."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from modelyard.adapters.clock import SystemClock
from modelyard.adapters.webhook import WebhookNotifier


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[str, list[object]]]:
    told: list[object] = []

    async def take(request: web.Request) -> web.Response:
        told.append(await request.json())
        return web.Response(status=500 if request.path == "/broken" else 204)

    application = web.Application()
    application.router.add_post("/{any}", take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}", told
    await runner.cleanup()


async def test_an_alert_reaches_its_receiver(receiver: tuple[str, list[object]]) -> None:
    url, told = receiver
    await WebhookNotifier().post(f"{url}/hook", {"alert": "drift"})
    assert told == [{"alert": "drift"}]


async def test_a_receiver_that_refuses_is_an_error(receiver: tuple[str, list[object]]) -> None:
    url, _ = receiver
    with pytest.raises(OSError, match="500"):
        await WebhookNotifier().post(f"{url}/broken", {})


async def test_a_receiver_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="Cannot connect"):
        await WebhookNotifier().post("http://127.0.0.1:9/hook", {})


def test_the_clock_tells_utc() -> None:
    assert SystemClock().now().utcoffset().total_seconds() == 0  # type: ignore[union-attr]
