"""What the reconcilers rely on: the same of the HTTP adapter and of the servers in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from modelyard.adapters.prober import HttpProber
from modelyard.api.runtime import (
    MODEL_DIGEST_HEADER,
    MODEL_VERSION_HEADER,
    SERVER_REVISION_HEADER,
    LoadFailure,
    ServedModel,
)
from modelyard.ports.prober import NoAnswer, Prober

from .conftest import ModelServers

ONE = ServedModel(model_version="v1", model_digest="sha256:" + "1" * 64, revision="r1")
FAILURE = LoadFailure(revision="r2", reason="ModelLoadFailed", message="it does not load")
TWO = ServedModel(model_version="v2", model_digest="sha256:" + "2" * 64, revision="r2")


@dataclass
class Subject:
    """A prober, and a URL at which some models answer in turn."""

    prober: Prober
    url: str
    serve: Callable[..., None]


class Behind:
    """One URL with several servers behind it, as a Service has; each connection meets the next."""

    def __init__(self) -> None:
        self.models: list[ServedModel] = []
        self.name, self._next = "", 0
        self.connections: set[object] = set()

    def serve(self, _url: str, name: str, *models: ServedModel) -> None:
        self.name, self.models = name, list(models)

    async def answer(self, request: web.Request) -> web.Response:
        self.connections.add(request.transport)
        if not self.models or request.path != f"/v2/models/{self.name}/ready":
            return web.Response(status=404)
        model = self.models[self._next % len(self.models)]
        self._next += 1
        failure = {"failure": model.failure.to_json()} if model.failure else {}
        headers = {
            MODEL_VERSION_HEADER: model.model_version,
            MODEL_DIGEST_HEADER: model.model_digest,
            SERVER_REVISION_HEADER: model.revision,
        }
        body = {"name": self.name, "ready": True} | failure
        return web.json_response(body, headers=headers)


Start = Callable[[Callable[[web.Request], Awaitable[web.Response]]], Awaitable[str]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts HTTP servers and returns their URLs."""
    runners: list[web.AppRunner] = []

    async def run(handler: Callable[[web.Request], Awaitable[web.Response]]) -> str:
        application = web.Application()
        application.router.add_get("/{path:.*}", handler)
        runners.append(web.AppRunner(application))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runners[-1].addresses[0][1]}"

    yield run
    for runner in runners:
        await runner.cleanup()


@pytest.fixture(params=["memory", "http"])
async def subject(request: pytest.FixtureRequest, start: Start) -> Subject:
    if request.param == "memory":
        servers = ModelServers()
        return Subject(servers, "http://api.example", servers.serve)
    behind = Behind()
    return Subject(HttpProber(), await start(behind.answer), behind.serve)


async def test_what_answers_says_what_it_serves(subject: Any) -> None:
    subject.serve(subject.url, "api", ONE)
    assert await subject.prober.served_model(subject.url, "api") == ONE


async def test_what_answers_says_what_it_cannot_serve_instead(subject: Any) -> None:
    failing = ONE.model_copy(update={"failure": FAILURE})
    subject.serve(subject.url, "api", failing)
    assert await subject.prober.served_model(subject.url, "api") == failing


async def test_what_cannot_answer_says_why(start: Start) -> None:
    async def answer(_: web.Request) -> web.Response:
        body = {"error": "it does not load", "failure": FAILURE.to_json()}
        return web.json_response(body, status=503)

    with pytest.raises(NoAnswer, match="answered 503") as refused:
        await HttpProber().served_model(await start(answer), "api")
    assert refused.value.failure == FAILURE


async def test_asking_twice_may_reach_another_server(subject: Any) -> None:
    subject.serve(subject.url, "api", ONE, TWO)
    found = [await subject.prober.served_model(subject.url, "api") for _ in range(2)]
    assert sorted(model.model_version for model in found) == ["v1", "v2"]


async def test_a_server_of_another_model_is_no_answer(subject: Any) -> None:
    subject.serve(subject.url, "api", ONE)
    with pytest.raises(NoAnswer):
        await subject.prober.served_model(subject.url, "other")


async def test_a_url_where_nothing_listens_is_no_answer(subject: Any) -> None:
    with pytest.raises(NoAnswer):
        await subject.prober.served_model("http://127.0.0.1:9", "api")


@pytest.mark.parametrize("status", [200, 302, 404, 503])
async def test_what_is_no_model_server_is_no_answer(start: Start, status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"location": "/elsewhere"})

    said = "names no model" if status == 200 else f"answered {status}"
    with pytest.raises(NoAnswer, match=said):
        await HttpProber().served_model(await start(answer), "api")


async def test_each_question_opens_a_connection(start: Start) -> None:
    behind = Behind()
    url = await start(behind.answer)
    behind.serve(url, "api", ONE)
    for _ in range(3):
        await HttpProber().served_model(url, "api")
    assert len(behind.connections) == 3


@pytest.mark.parametrize("url", ["ftp://nowhere", "http://", "nonsense"])
async def test_a_url_that_is_none_is_no_answer(url: str) -> None:
    with pytest.raises(NoAnswer):
        await HttpProber().served_model(url, "api")
