"""When an engine does not answer, nobody is let through and nothing hangs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from modelyard.adapters.opa import OpaEngine
from modelyard.adapters.regorus import RegorusEngine
from modelyard.api.policy import PolicySpec
from modelyard.judge.rego import RegoModule, compile_policy
from modelyard.ports.policy import Decision, PolicyEngineUnavailable


def module(*lines: str) -> RegoModule:
    spec = {"gates": ["deploy"], "rego": "\n".join(["package p", *lines])}
    return compile_policy("example", PolicySpec.model_validate(spec))


ALLOW = module("allow if input.x == 1")
ONE = {"x": 1}
PATTERN = "x := count([1 | some a in numbers.range(1, 100000); some b in numbers.range(1, 100000)])"


@pytest.fixture
async def regorus() -> AsyncIterator[RegorusEngine]:
    engine = RegorusEngine()
    yield engine
    await engine.aclose()


@pytest.mark.parametrize(
    "lines",
    [
        ["x := [a | some a in numbers.range(1, 100000000)]", "allow if count(x) > 1"],
        [f"x := {'[' * 3000}{']' * 3000}", "allow := true"],
    ],
    ids=["too much memory", "never ends in the parser"],
)
async def test_a_module_that_outgrows_its_limits_denies_and_the_next_one_is_answered(
    regorus: RegorusEngine, lines: list[str]
) -> None:
    said = await regorus.evaluate(module(*lines), ONE)
    assert not said.allowed
    assert "it needs more than 5 s or 2048 MiB" in said.reasons[0]
    assert await regorus.evaluate(ALLOW, ONE) == Decision(True)


async def test_a_killed_process_is_replaced(regorus: RegorusEngine) -> None:
    assert await regorus.evaluate(ALLOW, ONE) == Decision(True)
    process = regorus._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    assert await regorus.evaluate(ALLOW, ONE) == Decision(True)


async def test_a_cancelled_question_leaves_no_answer_for_the_next(regorus: RegorusEngine) -> None:
    assert await regorus.evaluate(ALLOW, ONE) == Decision(True)
    asking = asyncio.create_task(regorus.evaluate(module(PATTERN, "allow if x == 1"), ONE))
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await regorus.evaluate(ALLOW, ONE) == Decision(True)


async def test_questions_at_once_get_their_own_answers(regorus: RegorusEngine) -> None:
    asked = [regorus.evaluate(ALLOW, {"x": n % 2}) for n in range(40)]
    assert [said.allowed for said in await asyncio.gather(*asked)] == [False, True] * 20


async def test_a_process_that_cannot_start_is_unavailable(
    regorus: RegorusEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(PolicyEngineUnavailable, match="ended with status 1 as it started"):
        await regorus.evaluate(ALLOW, ONE)


async def refuse(_: web.Request) -> web.StreamResponse:
    return web.json_response({"code": "unauthorized", "message": "no"}, status=401)


async def break_down(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503, text="down")


async def fail(_: web.Request) -> web.StreamResponse:
    return web.json_response({"code": "other", "message": "no"}, status=500)


async def babble(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>")


async def answer_a_list(_: web.Request) -> web.StreamResponse:
    return web.json_response([1])


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(2)
    return web.Response()


async def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@pytest.mark.parametrize(
    "behaviour", [refuse, break_down, fail, babble, answer_a_list, hang, hang_up]
)
async def test_a_server_that_is_not_well_is_unavailable(behaviour: Any) -> None:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", behaviour)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    engine = OpaEngine(f"http://127.0.0.1:{port}", timeout_seconds=0.3)
    try:
        with pytest.raises(PolicyEngineUnavailable, match="OPA"):
            await engine.evaluate(ALLOW, ONE)
    finally:
        await engine.aclose()
        await runner.cleanup()


async def test_the_token_is_sent_and_kept_out_of_errors() -> None:
    seen = []

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        if request.method == "PUT":
            return web.json_response({})
        return web.json_response({"code": "x", "message": json.dumps(seen)}, status=403)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    engine = OpaEngine(f"http://127.0.0.1:{runner.addresses[0][1]}", token="s3cret")
    try:
        with pytest.raises(PolicyEngineUnavailable) as raised:
            await engine.evaluate(ALLOW, ONE)
    finally:
        await engine.aclose()
        await runner.cleanup()
    assert seen == ["Bearer s3cret"] * 2
    assert "s3cret" not in str(raised.value)


async def test_no_server_at_all_is_unavailable() -> None:
    engine = OpaEngine("http://127.0.0.1:1")
    with pytest.raises(PolicyEngineUnavailable, match=r"no answer from OPA at http://127\.0\.0\.1"):
        await engine.evaluate(ALLOW, ONE)
    await engine.aclose()


@pytest.mark.parametrize("url", ["127.0.0.1:8181", "ftp://opa", "http://opa/v1/data", "http://"])
def test_an_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="give http"):
        OpaEngine(url)


async def test_a_server_started_anew_gets_its_modules_again(other_opa: Any) -> None:
    engine = OpaEngine(other_opa.url)
    try:
        assert await engine.evaluate(ALLOW, ONE) == Decision(True)
        other_opa.stop()
        with pytest.raises(PolicyEngineUnavailable):
            await engine.evaluate(ALLOW, ONE)
        other_opa.start()
        assert await engine.evaluate(ALLOW, ONE) == Decision(True)
    finally:
        await engine.aclose()
