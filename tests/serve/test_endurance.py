"""Ten minutes at three times the capacity, and hostile bodies amid them: nothing fails or grows.

Also a minute of ordinary traffic, as much as one server answers, and a hundred models.
MODELYARD_SOAK_SECONDS makes the ten minutes shorter or longer.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from modelyard.api.runtime import ServeConfig

from tests.bench import servers
from tests.bench.load import load, request
from tests.serve.test_malformed import ADVERSARIAL, V1, V1_BODIES, V2, V2_BODIES
from tests.serve.test_overload import LIMIT, capacity, pressed

SECONDS = float(os.environ.get("MODELYARD_SOAK_SECONDS", "600"))
SLO_SECONDS = 0.1
TIMES_THE_CAPACITY = 3
REALLY_SENT = 0.9
"""Of the requests that were meant to be sent; a client that waits for an answer may fall behind."""
GROWTH, SLACK_MIB = 1.1, 8
"""Memory after all, against that after the first tenth: at most a tenth and some MiB more."""
MOST_MIB = 1024
"""Memory at any time while bodies of 30 MiB are read, four of which are in flight at most."""
TOO_LARGE = 100 * 2**20
THROUGHPUT_SECONDS = 15.0
REPLICAS = ("killed", "left")
CONNECTIONS = 16
ANSWERED_BY = "x-modelyard-source-revision"
"""A header of every answer; each of two replicas is given another value to tell them apart."""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS * 2 + 600)]


def memory(process: int, name: str) -> int:
    """Return how many MiB a process has in memory: VmRSS now, VmHWM at most so far."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (kibibytes,) = [line.split()[1] for line in lines if line.startswith(name)]
    return int(kibibytes) // 1024


def test_at_three_times_the_capacity_the_accepted_are_within_the_slo_and_memory_is_flat(
    serve: Any,
) -> None:
    served = serve(max_in_flight=LIMIT)
    rate = TIMES_THE_CAPACITY * capacity(served.url)
    asyncio.run(pressed(served.url, LIMIT * 16, 0.1 * SECONDS, rate))
    before = memory(served.process.pid, "VmRSS")

    found, accepted = asyncio.run(pressed(served.url, LIMIT * 16, 0.9 * SECONDS, rate))

    after = memory(served.process.pid, "VmRSS")
    p95 = sorted(accepted)[int(0.95 * len(accepted))]
    print(
        f"{rate:.0f} a second, {dict(found)}, p95 of the accepted {p95:.4f} s, "
        f"{before} MiB, then {after} MiB"
    )
    assert set(found) == {200, 429}, found
    assert found.total() >= REALLY_SENT * rate * 0.9 * SECONDS
    assert p95 < SLO_SECONDS
    assert after <= before * GROWTH + SLACK_MIB


HOSTILE = [
    *((V1, content) for content, _ in V1_BODIES.values()),
    *((V2, json.dumps(content).encode()) for content, _ in V2_BODIES.values()),
    *((V1, content) for content, _ in ADVERSARIAL.values()),
    (V1, b" " * TOO_LARGE),
]


async def hostile(url: str, stop: asyncio.Event) -> Counter[int]:
    """Send hostile bodies, one after the other and again, until told to stop; count the answers."""
    found: Counter[int] = Counter()
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        for path, content in itertools.cycle(HOSTILE):
            if stop.is_set():
                break
            found[(await client.post(path, content=content)).status_code] += 1
    return found


async def test_hostile_bodies_amid_the_load_crash_nothing(serve: Any) -> None:
    served = serve(max_in_flight=LIMIT)
    rate = TIMES_THE_CAPACITY * await asyncio.to_thread(capacity, served.url)
    stop = asyncio.Event()
    attack = asyncio.create_task(hostile(served.url, stop))
    found, accepted = await pressed(served.url, LIMIT * 16, 0.2 * SECONDS, rate)
    stop.set()
    answers = await attack

    most = memory(served.process.pid, "VmHWM")
    print(f"{rate:.0f} a second, hostile {dict(answers)}, others {dict(found)}, at most {most} MiB")
    assert set(answers) <= {400, 413, 429}, answers
    assert answers[400] > 0
    assert set(found) == {200, 429}, found
    assert found.total() >= REALLY_SENT * rate * 0.2 * SECONDS
    assert accepted
    assert most < MOST_MIB
    assert served.process.poll() is None


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    """A model of 200 trees over 30 numbers."""
    path = tmp_path / "model.txt"
    servers.write_model(path)
    return path


def times(asked: list[tuple[servers.Server, bytes]], rate: float) -> list[float]:
    """Ask so many times a second, one after the other; return the seconds of each, sorted."""
    found: list[float] = []
    start = time.perf_counter()
    for turn, (server, content) in enumerate(asked):
        time.sleep(max(0.0, start + turn / rate - time.perf_counter()))
        since = time.perf_counter()
        server.answer(content)
        found.append(time.perf_counter() - since)
    return sorted(found)


def test_a_minute_of_a_hundred_requests_a_second_is_answered_fast(trees: Path) -> None:
    with servers.started(servers.OURS, trees) as server:
        bodies = servers.bodies(100)
        server.first_answer(bodies[0])
        found = times([(server, content) for content in bodies * 60], rate=100)

    p95 = found[int(0.95 * len(found))]
    print(f"p95 {p95:.4f} s, at most {found[-1]:.4f} s")
    assert p95 < 0.02
    assert found[-1] < 0.1


async def half_to_each(url: str, clients: AsyncExitStack) -> list[httpx.AsyncClient]:
    """Return clients with one connection each, to the two replicas in turn.

    Which of those that share a socket takes a connection is up to the kernel, so more are opened
    than are kept.
    """
    held: dict[str, list[httpx.AsyncClient]] = {name: [] for name in REPLICAS}
    while min(map(len, held.values())) < CONNECTIONS // 2:
        client = await clients.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
        same = held[(await client.get("/healthz")).headers[ANSWERED_BY]]
        if len(same) < CONNECTIONS // 2:
            same.append(client)
        else:
            await client.aclose()
    return [client for pair in zip(*held.values(), strict=True) for client in pair]


async def test_a_replica_killed_at_a_hundred_requests_a_second_fails_one_at_most(
    serve: Any,
) -> None:
    killed, left = (serve(source_revision=name) for name in REPLICAS)
    rate, seconds, kill_at = 100, 10.0, 5.0
    body = {"instances": [{"age": 30, "member": True, "plan": "gold"}]}
    answered: dict[str, list[float]] = {name: [] for name in REPLICAS}
    failed: list[str] = []

    async def ask(client: httpx.AsyncClient, position: int) -> None:
        for turn in range(position, int(rate * seconds), CONNECTIONS):
            await asyncio.sleep(start + turn / rate - time.perf_counter())
            sent = time.perf_counter() - start
            try:
                response = await client.post(V1, json=body)
            except httpx.TransportError as error:
                failed.append(f"{sent:.3f} s: {error!r}")
                continue
            if response.status_code == 200:
                answered[response.headers[ANSWERED_BY]].append(sent)
            else:
                failed.append(f"{sent:.3f} s: {response.status_code}")

    async def kill() -> None:
        await asyncio.sleep(start + kill_at - time.perf_counter())
        killed.process.kill()

    async with AsyncExitStack() as clients:
        connected = await half_to_each(left.url, clients)
        start = time.perf_counter()
        await asyncio.gather(kill(), *map(ask, connected, range(CONNECTIONS)))
        took = time.perf_counter() - start

    print(f"answered { ({name: len(sent) for name, sent in answered.items()}) }, failed {failed}")
    before = {name: sum(one < kill_at for one in sent) for name, sent in answered.items()}
    assert min(before.values()) >= 0.45 * rate * kill_at, "both answer until then"
    assert max(answered["killed"]) < kill_at + 0.1, "it was killed"
    assert len(failed) <= 1, failed
    assert len(answered["left"]) - before["left"] >= rate * (seconds - kill_at) - 10
    assert took < seconds + 1, "so many a second were really sent"
    assert left.process.poll() is None


def together(contents: Sequence[bytes], rows: int) -> list[bytes]:
    """Return bodies of so many instances each, made of bodies of one."""
    instances = [json.loads(content)["instances"][0] for content in contents]
    return [
        json.dumps({"instances": instances[start : start + rows]}).encode()
        for start in range(0, len(instances), rows)
    ]


@pytest.mark.parametrize(("rows", "least"), [(1, 1_000), (10, 2_000)], ids=["alone", "in tens"])
def test_one_server_answers_so_many_rows_a_second(trees: Path, rows: int, least: int) -> None:
    bodies = together(servers.bodies(100), rows)
    with servers.started(servers.OURS, trees) as server:
        server.first_answer(bodies[0])
        for body in bodies:
            assert len(server.answer(body)["predictions"]) == rows
        requests = [request(servers.PATH, body) for body in bodies]
        made = load(server.port, requests, CONNECTIONS, THROUGHPUT_SECONDS)

    rate = rows * len(made.latencies) / made.seconds
    print(f"{rate:.0f} rows a second, p99 {made.percentile(0.99):.4f} s, client {made.busy:.0%}")
    assert made.others == {}
    assert rate >= least


def test_a_hundred_models_fit_into_four_gibibytes_and_all_are_hot(trees: Path) -> None:
    models = 100
    bodies = servers.bodies(5)
    (many,) = together(bodies, len(bodies))
    with ExitStack() as stack:
        started, cold = [], []
        for _ in range(models):
            server = stack.enter_context(servers.started(servers.OURS, trees))
            server.first_answer(bodies[0])
            cold.append(time.perf_counter() - server.since)
            started.append(server)
        for server in started:
            assert len(server.answer(many)["predictions"]) == len(bodies)
        hot = times([(server, content) for content in bodies for server in started], rate=500)
        kibibytes = sum(proportional(server.process.pid) for server in started)

    p95 = sorted(cold)[95], hot[int(0.95 * len(hot))]
    print(f"p95 cold {p95[0]:.3f} s, hot {p95[1]:.4f} s; {kibibytes >> 10} MiB in all")
    assert kibibytes < 4 << 20
    assert p95[0] < 1.0
    assert p95[1] < 0.1


def test_a_hundred_models_in_one_process_are_small_soon_there_and_hot(
    shared: Any, trees: Path
) -> None:
    bodies = servers.bodies(10)
    names = [f"model-{number:03d}" for number in range(100)]
    config = ServeConfig.model_validate_json(servers.packed(trees))
    for name in names:
        changes = {"name": name, "payload_uri": f"{config.payload_uri}/{name}"}
        shared.write(name, json.dumps(config.model_copy(update=changes).to_json()))
    served = shared.start(3 * 2**30)

    def seconds(name: str, body: bytes) -> float:
        since = time.perf_counter()
        assert client.post(f"/v1/models/{name}:predict", content=body).status_code == 200
        return time.perf_counter() - since

    with served.client() as client:
        cold = [seconds(name, bodies[0]) for name in names]
        hot = sorted(seconds(name, body) for body in bodies for name in names)
        assert "modelyard_models_loaded 100.0" in client.get("/metrics").text
    mebibytes, p95 = memory(served.process.pid, "VmRSS"), hot[int(0.95 * len(hot))]
    print(f"at most {max(cold):.3f} s cold, p95 {p95:.4f} s hot; {mebibytes} MiB in all")
    assert mebibytes < 4096
    assert max(cold) < 1.0
    assert p95 < 0.1


def test_models_that_take_turns_in_memory_leave_nothing_there(shared: Any) -> None:
    size = 24 * 2**20
    for name in ("a", "b"):
        shared.put(name, padding=size)
    served = shared.start(size + 20 * 2**20)
    with served.client() as client:

        def turn() -> None:
            for name in ("a", "b"):
                body = {"instances": [{"age": 30, "member": True, "plan": "gold"}]}
                assert client.post(f"/v1/models/{name}:predict", json=body).status_code == 200

        for _ in range(10):
            turn()
        before = memory(served.process.pid, "VmRSS")
        for _ in range(200):
            turn()
    after = memory(served.process.pid, "VmRSS")
    print(f"{before} MiB, then {after} MiB after 400 loads")
    assert after <= before * GROWTH + SLACK_MIB


def proportional(process: int) -> int:
    """Return the KiB of a process, each page shared by the number of those that have it."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    (found,) = [line.split()[1] for line in lines if line.startswith("Pss:")]
    return int(found)
