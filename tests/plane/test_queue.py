"""The work queue: each key once, one worker at a time, failures again with growing delays."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

from modelyard.api.resources import Key
from modelyard.plane import queue as queue_module
from modelyard.plane.queue import WorkQueue

A, B = Key("Project", "n", "a"), Key("Project", "n", "b")


@asynccontextmanager
async def running(work: Callable[[Key, float], Awaitable[float | None]]):  # type: ignore[no-untyped-def]
    queue = WorkQueue(workers=2)
    task = asyncio.create_task(queue.run(work))
    yield queue
    task.cancel()


async def until(predicate: Callable[[], bool]) -> None:
    while not predicate():  # noqa: ASYNC110 - any condition
        await asyncio.sleep(0.005)


async def test_a_key_that_is_woken_many_times_is_worked_on_once() -> None:
    done: list[Key] = []

    async def work(key: Key, woken: float) -> None:
        done.append(key)

    queue = WorkQueue()
    for _ in range(5):
        queue.wake(A)
    queue.wake(B)
    assert queue.depth() == 2
    task = asyncio.create_task(queue.run(work))
    await until(lambda: len(done) >= 2)
    await asyncio.sleep(0.02)
    task.cancel()
    assert sorted(done) == [A, B]


async def test_a_key_woken_while_it_is_worked_on_runs_again_afterwards() -> None:
    started, release = asyncio.Event(), asyncio.Event()
    at_once, most, count = 0, 0, 0

    async def work(key: Key, woken: float) -> None:
        nonlocal at_once, most, count
        at_once += 1
        most, count = max(most, at_once), count + 1
        started.set()
        await release.wait()
        at_once -= 1

    async with running(work) as queue:
        queue.wake(A)
        await started.wait()
        queue.wake(A)
        queue.wake(A)
        release.set()
        await until(lambda: count == 2)
    assert most == 1


async def test_a_failing_key_is_tried_again_and_stops_no_other(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(queue_module, "FIRST_BACKOFF_SECONDS", 0.01)
    tries: list[Key] = []

    async def work(key: Key, woken: float) -> None:
        tries.append(key)
        if key == A and tries.count(A) < 3:
            raise RuntimeError("not yet")

    async with running(work) as queue:
        queue.wake(A)
        queue.wake(B)
        await until(lambda: tries.count(A) == 3)
    assert tries.count(B) == 1


async def test_work_may_ask_to_be_woken_later_and_an_earlier_wake_replaces_that() -> None:
    count = 0

    async def work(key: Key, woken: float) -> float | None:
        nonlocal count
        count += 1
        return {1: 0.01, 2: 3600.0}.get(count)

    async with running(work) as queue:
        queue.wake(A)
        await until(lambda: count == 2)
        queue.wake(A)
        await until(lambda: count == 3)
        await asyncio.sleep(0.03)
    assert count == 3


async def test_work_is_told_when_a_key_was_woken_last() -> None:
    told: list[float] = []

    async def work(key: Key, woken: float) -> None:
        told.append(woken)

    queue = WorkQueue()
    queue.wake(A)
    before = time.monotonic()
    queue.wake(A)
    after = time.monotonic()
    task = asyncio.create_task(queue.run(work))
    await until(lambda: bool(told))
    task.cancel()
    assert len(told) == 1
    assert before <= told[0] <= after
