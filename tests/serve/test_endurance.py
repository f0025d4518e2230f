"""Ten minutes at three times the capacity, and hostile bodies amid them: nothing fails or grows.

MODELYARD_SOAK_SECONDS makes them shorter or longer.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.test_malformed import ADVERSARIAL, V1, V1_BODIES, V2, V2_BODIES
from tests.serve.test_overload import LIMIT, capacity, pressed

SECONDS = float(os.environ.get("MODELYARD_SOAK_SECONDS", "600"))
SLO_SECONDS = 0.1
TIMES_THE_CAPACITY = 3
GROWTH, SLACK_MIB = 1.1, 8
"""Memory after all, against that after the first tenth: at most a tenth and some MiB more."""
MOST_MIB = 1024
"""Memory at any time while bodies of 30 MiB are read, four of which are in flight at most."""
TOO_LARGE = 100 * 2**20

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
    print(f"{dict(found)}, p95 of the accepted {p95:.4f} s, {before} MiB, then {after} MiB")
    assert set(found) == {200, 429}, found
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
    print(f"hostile {dict(answers)}, others {dict(found)}, at most {most} MiB")
    assert set(answers) <= {400, 413, 429}, answers
    assert answers[400] > 0
    assert set(found) == {200, 429}, found
    assert accepted
    assert most < MOST_MIB
    assert served.process.poll() is None
