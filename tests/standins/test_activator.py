"""A request to a service without a server waits for one, and not for ever."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio
from modelyard.embedded.standins.activator import RETRY_AFTER_SECONDS, Activator
from modelyard.embedded.standins.attempts import Owner

OWNER = Owner("u", "InferenceService", "n", "churn")
PATIENCE_SECONDS = 60.0


class Service:
    """A socket at which nobody listens, and whoever is woken for it."""

    def __init__(self, hold_seconds: float) -> None:
        self.woken: asyncio.Queue[Owner] = asyncio.Queue()
        self.activator = Activator(self.woken.put_nowait, hold_seconds)
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/"

    async def ask(self) -> tuple[int, str, str]:
        """Return status, Retry-After and text of an answer."""
        async with aiohttp.ClientSession() as session, session.post(self.url, data=b"x") as answer:
            return answer.status, answer.headers.get("Retry-After", ""), await answer.text()

    async def start(self) -> asyncio.Server:
        """Let a server begin to answer."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
            writer.close()

        return await asyncio.start_server(answer, sock=self.socket.dup())


@pytest_asyncio.fixture
async def patient() -> AsyncIterator[Service]:
    service = Service(hold_seconds=PATIENCE_SECONDS)
    yield service
    service.activator.close()
    service.socket.close()


@pytest_asyncio.fixture
async def impatient() -> AsyncIterator[Service]:
    service = Service(hold_seconds=0.0)
    yield service
    service.activator.close()
    service.socket.close()


async def woken(service: Service) -> Owner:
    return await asyncio.wait_for(service.woken.get(), PATIENCE_SECONDS)


async def test_requests_wait_for_the_server_that_they_wake(patient: Service) -> None:
    patient.activator.hold(OWNER, patient.socket)
    assert not patient.activator.is_asked("u")
    requests = [asyncio.create_task(patient.ask()) for _ in range(5)]
    assert await woken(patient) == OWNER
    assert patient.activator.is_asked("u")
    patient.activator.hold(OWNER, patient.socket)
    assert patient.activator.is_asked("u"), "to hold again forgets nobody"
    server = await patient.start()
    patient.activator.let_go("u")
    assert await asyncio.gather(*requests) == [(200, "", "hi")] * 5
    assert patient.woken.empty(), "one wake is enough"
    server.close()


async def test_whoever_waited_too_long_is_told_when_to_come_back(impatient: Service) -> None:
    impatient.activator.hold(OWNER, impatient.socket)
    for _ in range(2):
        status, after, text = await asyncio.wait_for(impatient.ask(), PATIENCE_SECONDS)
        assert (status, after) == (503, str(RETRY_AFTER_SECONDS))
        assert "no server has started yet" in text
    assert impatient.activator.is_asked("u"), "it is tried on"


async def test_once_a_server_answers_nobody_is_turned_away(impatient: Service) -> None:
    impatient.activator.hold(OWNER, impatient.socket)
    assert (await impatient.ask())[0] == 503
    server = await impatient.start()
    impatient.activator.let_go("u")
    assert [(await impatient.ask())[0] for _ in range(5)] == [200] * 5
    assert not impatient.activator.is_asked("u")
    server.close()


async def test_a_service_that_rests_again_is_woken_again(patient: Service) -> None:
    for _ in range(2):
        patient.activator.hold(OWNER, patient.socket)
        request = asyncio.create_task(patient.ask())
        await woken(patient)
        server = await patient.start()
        patient.activator.let_go("u")
        assert (await request)[0] == 200
        server.close()
        await server.wait_closed()


async def test_an_unknown_service_is_not_asked_for(patient: Service) -> None:
    patient.activator.let_go("nobody")
    assert not patient.activator.is_asked("nobody")
