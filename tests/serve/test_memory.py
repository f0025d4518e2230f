"""Which models leave memory, and that it is free when they have left."""

from __future__ import annotations

import asyncio
import weakref
from pathlib import Path
from typing import Any

import pytest
from modelyard.api.runtime import SharedServeConfig
from modelyard_runtimes.serve.memory import Held, give_back, leaving, resident, shown
from modelyard_runtimes.serve.metrics import Families
from modelyard_runtimes.serve.repository import Gone, Repository, Unavailable

HELD = [("a", Held(30, used=3)), ("b", Held(40, used=1)), ("c", Held(20, used=2))]
CASES = {
    "all-fit": (10, 100, []),
    "just-too-much": (11, 100, ["b"]),
    "the-oldest-go-first": (60, 100, ["b", "c"]),
    "all-for-one": (100, 100, ["b", "c", "a"]),
    "never-enough": (101, 100, ["b", "c", "a"]),
}


@pytest.mark.parametrize(("needed", "budget", "expected"), CASES.values(), ids=CASES)
def test_what_was_not_used_for_longest_leaves(
    needed: int, budget: int, expected: list[str]
) -> None:
    assert leaving(HELD, needed, budget) == expected


@pytest.mark.parametrize(
    ("size", "text"), [(1, "0.0 MiB"), (3 * 2**19, "1.5 MiB"), (2**31, "2048 MiB")]
)
def test_sizes_are_shown(size: int, text: str) -> None:
    assert shown(size) == text


def test_memory_that_is_given_back_is_no_longer_resident() -> None:
    held = [bytearray(10_000) for _ in range(5_000)]
    full = resident()
    held.clear()
    give_back()
    assert resident() < full - 20 * 2**20


@pytest.fixture
def repository(store: Any) -> Repository:
    config = SharedServeConfig.model_validate(
        {"namespace": "default", "memory": 2**30, "store": {"uri": store.uri}}
    )
    return Repository(config, Families())


async def test_a_model_that_leaves_is_free_at_once(repository: Any, configure: Any) -> None:
    repository.take({"a": configure(name="a", breaker={}, batching={})})
    version = repository.entries["a"].serving
    application = await repository.load(version)
    predictor = weakref.ref(application._predictor)
    del application
    repository.take({})
    await repository.close()
    for _ in range(500):  # the thread that has loaded it may not have looked up yet
        if predictor() is None:
            break
        await asyncio.sleep(0.01)
    assert predictor() is None, "something holds it still"


async def test_a_version_that_is_replaced_while_it_is_loaded_never_serves(
    repository: Any, configure: Any
) -> None:
    repository.take({"a": configure(name="a")})
    loading = asyncio.ensure_future(repository.load(repository.entries["a"].serving))
    await asyncio.sleep(0)
    repository.take({"a": configure(name="a", model_version="other")})
    with pytest.raises(Gone):
        await loading
    assert repository.in_memory() == []
    await repository.load(repository.entries["a"].serving)
    assert [one.config.model_version for one in repository.in_memory()] == ["other"]
    await repository.close()


async def test_going_back_to_what_serves_forgets_the_version_between(
    repository: Any, configure: Any
) -> None:
    first, broken = configure(name="a"), configure(name="a", model_uri="file:///nowhere")
    repository.take({"a": first})
    entry = repository.entries["a"]
    await repository.prove(entry)
    repository.take({"a": broken})
    await repository.prove(entry)
    assert entry.wanted.failure is not None
    repository.take({"a": first})
    assert entry.wanted.failure is None
    assert entry.wanted is entry.serving
    assert entry.serving.in_memory is not None
    await repository.close()


async def test_a_model_that_cannot_come_back_is_not_ready_until_it_can(
    repository: Any, configure: Any
) -> None:
    repository.take({"a": configure(name="a"), "b": configure(name="b")})
    entry = repository.entries["a"]
    await repository.load(entry.serving)
    repository._let_go(entry.serving)
    folder = Path(entry.serving.config.model_uri.removeprefix("file://"))
    folder.rename(folder.with_suffix(".away"))
    with pytest.raises(Unavailable):
        await repository.load(entry.serving)
    assert not entry.serving.proven
    folder.with_suffix(".away").rename(folder)
    await repository.prove(entry)
    assert not entry.serving.proven, "it is not tried again at once"
    entry.serving.retry_at = 0.0
    await repository.prove(entry)
    assert entry.serving.proven
    assert entry.serving.failure is None
    await repository.close()
