"""Times and sizes that are promised, asserted on a real plane; `make soak` runs and prints them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.soak

MEBIBYTE = 1024 * 1024


def took(start: float, what: str) -> float:
    seconds = time.monotonic() - start
    print(f"{what}: {seconds:.1f} s")
    return seconds


def resident(pid: int) -> int:
    """Return the resident size of a process in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no resident size")


@pytest.fixture(scope="module")
def yard(make_yard: Callable[[], Any]) -> Iterator[Any]:
    yard = make_yard()
    monitor = {"deploymentRef": {"name": "tumor"}}
    document = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Monitor",
        "metadata": {"name": "tumor", "namespace": "cells"},
        "spec": monitor,
    }
    yard.write("monitor", document)
    yard.commit("Watch with the defaults as shipped")
    yield yard
    yard.down()


def test_up_answers_within_three_seconds(yard: Any) -> None:
    start = time.monotonic()
    yard.up()
    assert took(start, "up until the tree is applied") < 3
    yard.until_served()


def test_the_plane_is_small_when_idle(yard: Any) -> None:
    yard.until(lambda: yard.ready("Monitor"), "the Monitor is Ready")
    time.sleep(10)
    sizes = {name: resident(pid) / MEBIBYTE for name, pid in yard.processes().items()}
    print({name: f"{size:.0f} MiB" for name, size in sizes.items()})
    assert sum(sizes.values()) < 400
    assert sum(sizes[name] for name in ("apiserver", "operator", "standins")) < 200


def test_an_edit_is_applied_within_two_seconds(yard: Any) -> None:
    for text in ("one", "two", "three"):
        start = time.monotonic()
        yard.change("project", description=text)
        yard.until(
            lambda t=text: (yard.get("Project", "cells") or {})["spec"].get("description") == t,
            "the edit is applied",
        )
        assert took(start, "edit to applied") < 2


def test_a_revert_serves_within_fifteen_seconds(yard: Any) -> None:
    yard.commit("Describe")
    first = yard.digest()
    yard.change("experiment", seed=11)
    yard.commit("Another seed")
    yard.until(
        lambda: yard.status("Deployment").get("modelDigest") != first and yard.ready("Deployment"),
        "the other model serves",
    )
    start = time.monotonic()
    yard.git("revert", "--no-edit", "HEAD")
    yard.until(
        lambda: yard.status("Deployment").get("modelDigest") == first and yard.ready("Deployment"),
        "the earlier model serves",
    )
    assert took(start, "git revert to served") < 15


def shifted(rows: list[dict[str, Any]], share: float) -> list[dict[str, Any]]:
    """Return rows with a share of the features shifted by half a standard deviation."""
    rows = [dict(row) for row in rows]
    columns = sorted(rows[0])
    for column in columns[: round(share * len(columns))]:
        values = [row[column] for row in rows]
        mean = sum(values) / len(values)
        deviation = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
        for row in rows:
            row[column] += 0.5 * deviation
    return rows


def test_unshifted_traffic_raises_no_alarm_and_shifted_does_within_a_minute(yard: Any) -> None:
    rows = yard.rows(569)
    chance = random.Random(5)
    yard.predict(chance.choices(rows, k=500))
    yard.predict(chance.choices(rows, k=500))
    yard.until(lambda: yard.condition("Monitor", "NoData").get("status") == "False", "a first look")
    assert yard.condition("Monitor", "DriftDetected")["status"] == "False"
    start = time.monotonic()
    for _ in range(2):
        yard.predict(chance.choices(shifted(rows, 0.3), k=500))
    yard.until(lambda: yard.condition("Monitor", "DriftDetected").get("status") == "True", "drift")
    assert yard.status("Monitor")["alerts"][0]["state"] == "Firing"
    assert took(start, "shifted traffic to alert") < 60
