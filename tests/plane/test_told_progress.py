"""What a run tells many times a second reaches the status now and then: etcd keeps every write."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from modelyard.api.artifacts import PROGRESS, run_key
from modelyard.api.resources import WORKFLOW

from .at_once import FIRST, NAMESPACE, of_first, prepare
from .running import Site, until

WRITES = 'modelyard_status_writes_total{kind="Experiment"}'
SECONDS, WATCHED = 5.0, 22.0
"""How far two writes are apart at least, and how long that is watched."""
PAUSE = 0.05
"""Between two changes of what is told."""
TOLERANCE = 0.5
"""A change is seen by asking now and then, and asking takes its time on a busy machine."""


def report(site: Site, status: dict[str, Any]) -> None:
    """Let the backend's controller report of the child of the Experiment."""
    path = WORKFLOW.path(NAMESPACE, of_first(site, WORKFLOW)["metadata"]["name"])
    site.client._request("PATCH", path, {}, {"status": status}, "application/merge-patch+json")


def tell(site: Site) -> Callable[[int], None]:
    """Return what lets the run leave its progress in its folder."""
    identity = site.get("Experiment", FIRST)["status"]["run"]["identity"]
    folder = site.directory / "store" / run_key(NAMESPACE, "Experiment", FIRST, identity)
    folder.mkdir(parents=True, exist_ok=True)

    def write(done: int) -> None:
        fresh = folder / "fresh.json"
        fresh.write_text(json.dumps({"done": done, "total": 10_000}))
        fresh.replace(folder / PROGRESS)

    return write


@contextmanager
def again_and_again(step: Callable[[int], None]) -> Iterator[None]:
    """Take steps many times a second."""
    over = threading.Event()

    def walk() -> None:
        done = 0
        while not over.wait(PAUSE):
            done += 1
            step(done)

    walking = threading.Thread(target=walk)
    walking.start()
    try:
        yield
    finally:
        over.set()
        walking.join()


def done(site: Site) -> int:
    """Return how many trials the status tells of."""
    status = site.get("Experiment", FIRST)["status"]
    return int((status.get("progress") or {}).get("done", 0))


def written(site: Site) -> list[float]:
    """Watch the Experiment for a while; return the moments at which it was seen to be another."""
    moments: list[float] = []
    version = site.get("Experiment", FIRST)["metadata"]["resourceVersion"]
    end = time.monotonic() + WATCHED
    while time.monotonic() < end:
        time.sleep(0.1)
        now = site.get("Experiment", FIRST)["metadata"]["resourceVersion"]
        if now != version:
            version = now
            moments.append(time.monotonic())
    return moments


@pytest.mark.soak
@pytest.mark.parametrize("talkative", ["run", "run and child"])
def test_what_changes_twenty_times_a_second_is_written_once_in_five(
    site: Site, talkative: str
) -> None:
    operator = prepare(site)
    report(site, {"phase": "Running", "progress": "0/1"})
    state = lambda: site.get("Experiment", FIRST)["status"]["run"]["state"]  # noqa: E731
    until(lambda: state() == "Running", "the search runs")
    told = tell(site)

    def step(number: int) -> None:
        told(number)
        if talkative == "run and child":
            report(site, {"progress": f"{number}/10000"})

    with again_and_again(step):
        first = until(lambda: done(site), "some progress is told")
        before = operator.metric(WRITES)
        moments = written(site)
        count = operator.metric(WRITES) - before
        last = done(site)
    gaps = [after - earlier for earlier, after in pairwise(moments)]
    print(f"{count:.0f} writes in {WATCHED:g} s, {gaps} s apart, to trial {last}")
    assert last > first
    assert WATCHED / SECONDS - 2 < count <= WATCHED / SECONDS + 1
    assert min(gaps) > SECONDS - TOLERANCE
