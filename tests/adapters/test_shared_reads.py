"""Reconciles that wait for their turn share an answer, never one from before they were woken."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from modelyard.adapters import shared_reads
from modelyard.adapters.shared_reads import SharedReads
from modelyard.api.resources import OURS, Resource
from modelyard.ports.cluster import ClusterError, Manifest, Reader

PROJECT, POLICY = OURS["Project"], OURS["Policy"]


class Server:
    """Answers when it is told to, with what was true then; counts the questions."""

    def __init__(self) -> None:
        self.questions: list[tuple[str, str, str]] = []
        self.policies: list[Manifest] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.fails = False

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        await self._asked(resource, namespace, name)
        return {"metadata": {"name": name}}

    async def list_objects(self, resource: Resource, namespace: str) -> list[Manifest]:
        await self._asked(resource, namespace, "")
        return list(self.policies)

    async def _asked(self, resource: Resource, namespace: str, name: str) -> None:
        self.questions.append((resource.kind, namespace, name))
        await self.answers.wait()
        if self.fails:
            raise ClusterError("it does not answer")


def woken(shared: SharedReads) -> Reader:
    """Return what a reconcile reads by that is woken now."""
    return shared.since(time.monotonic())


async def test_all_who_were_woken_before_the_question_get_its_answer() -> None:
    server = Server()
    shared = SharedReads(server)
    reconciles = [woken(shared) for _ in range(50)]
    found = await asyncio.gather(*(one.list_objects(POLICY, "n") for one in reconciles))
    found += [await one.list_objects(POLICY, "n") for one in reconciles]
    assert server.questions == [("Policy", "n", "")]
    assert found == [[]] * 100


async def test_who_is_woken_by_a_change_sees_it_though_others_were_just_told_otherwise() -> None:
    server = Server()
    shared = SharedReads(server)
    earlier = woken(shared)
    assert await earlier.list_objects(POLICY, "n") == []
    server.policies.append({"metadata": {"name": "strict"}})
    assert await woken(shared).list_objects(POLICY, "n") == server.policies
    assert await earlier.list_objects(POLICY, "n") == server.policies, "nobody goes back in time"


async def test_an_answer_under_way_is_not_for_who_is_woken_meanwhile() -> None:
    server = Server()
    shared = SharedReads(server)
    server.answers.clear()
    first = asyncio.create_task(woken(shared).list_objects(POLICY, "n"))
    await asyncio.sleep(0)
    second = asyncio.create_task(woken(shared).list_objects(POLICY, "n"))
    await asyncio.sleep(0)
    server.answers.set()
    await asyncio.gather(first, second)
    assert len(server.questions) == 2


async def test_other_questions_are_asked() -> None:
    server = Server()
    reconcile = woken(SharedReads(server))
    for _ in range(2):
        await reconcile.list_objects(POLICY, "n")
        await reconcile.list_objects(POLICY, "other")
        await reconcile.list_objects(PROJECT, "n")
        await reconcile.get(POLICY, "n", "a")
        assert await reconcile.get(POLICY, "n", "b") == {"metadata": {"name": "b"}}
    assert len(server.questions) == 5


async def test_a_failure_is_told_to_who_waits_for_it_and_kept_for_nobody() -> None:
    server = Server()
    reconcile = woken(SharedReads(server))
    server.fails = True
    waiting = (reconcile.list_objects(POLICY, "n") for _ in range(2))
    for found in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(found, ClusterError)
    server.fails = False
    assert await reconcile.list_objects(POLICY, "n") == []


async def test_a_worker_that_is_stopped_leaves_the_answer_to_the_others() -> None:
    server = Server()
    reconcile = woken(SharedReads(server))
    server.answers.clear()
    stopped, other = (asyncio.create_task(reconcile.list_objects(POLICY, "n")) for _ in range(2))
    await asyncio.sleep(0)
    stopped.cancel()
    await asyncio.wait({stopped})
    server.answers.set()
    assert await other == []


async def test_nothing_is_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_reads, "KEPT_SECONDS", 0.01)
    shared = SharedReads(Server())
    reconcile: Any = woken(shared)
    await reconcile.list_objects(POLICY, "n")
    while shared.asked:  # noqa: ASYNC110 - a timer does it
        await asyncio.sleep(0.005)
