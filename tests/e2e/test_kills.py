"""kill -9 of anything at any moment: it converges to the same digests, and nothing is lost."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# A server that is killed amid a handshake leaves the client a socket that only the collector closes.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:Exception ignored in. <ssl\.SSLSocket:pytest.PytestUnraisableExceptionWarning"
)

TARGETS = ("operator", "apiserver", "trainer", "model server")


def pids_running(module: str, state: Path) -> list[int]:
    """Return the processes of one plane that run a module."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
            environment = (entry / "environ").read_bytes().decode(errors="replace")
            if f"modelyard_runtimes.{module}" in command and str(state) in environment:
                found.append(int(entry.name))
    return found


def kill(yard: Any, target: str) -> bool:
    """kill -9 a target; return whether there was one."""
    if target in ("operator", "apiserver"):
        pids = [pid for name, pid in yard.processes().items() if name == target]
    else:
        pids = pids_running("train" if target == "trainer" else "serve", yard.state)
    for pid in pids[:1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(pids)


def half_artifacts(store: Path) -> Iterator[str]:
    """Yield artifacts that can be seen but are not what their digest says."""
    for folder in (store / "artifacts").glob("*"):
        if folder.name.startswith("."):
            continue
        manifest = folder / "manifest.json"
        if not manifest.exists():
            yield f"{folder.name}: no manifest"
            continue
        data = manifest.read_bytes()
        if hashlib.sha256(data).hexdigest() != folder.name:
            yield f"{folder.name}: another digest"
        for entry in json.loads(data)["files"]:
            content = (folder / entry["path"]).read_bytes()
            if f"sha256:{hashlib.sha256(content).hexdigest()}" != entry["digest"]:
                yield f"{folder.name}/{entry['path']}: other bytes"


@pytest.fixture(scope="module")
def undisturbed(make_yard: Callable[[], Any]) -> str:
    """The digest of the model when nobody interferes."""
    yard = make_yard()
    yard.up()
    yard.until(lambda: yard.ready("Experiment"), "the Experiment is Ready")
    digest: str = yard.digest()
    yard.down()
    return digest


def disturb(yard: Any, seed: int, kills: int) -> int:
    """Kill at seeded moments until as many kills hit; return how many did."""
    chance = random.Random(seed)
    done = 0
    deadline = time.monotonic() + 60 + 20 * kills
    while done < kills and time.monotonic() < deadline:
        time.sleep(chance.uniform(0.3, 3.0))
        target = chance.choice(TARGETS)
        with contextlib.suppress(Exception):
            done += kill(yard, target)
        assert list(half_artifacts(yard.state / "artifacts")) == []
    return done


def check(make_yard: Callable[[], Any], undisturbed: str, seed: int, kills: int) -> None:
    yard = make_yard()
    yard.up()
    assert disturb(yard, seed, kills) == kills
    yard.until_served()
    assert yard.digest() == undisturbed
    assert len(yard.workflows()) == 2, "one snapshot, one search"
    assert_serving_needs_no_operator(yard)
    yard.down()


def assert_serving_needs_no_operator(yard: Any, requests: int = 50, pause: float = 0) -> None:
    """Stop the operator's process, so that nobody replaces it, and ask the model meanwhile."""
    servers = pids_running("serve", yard.state)
    operator: int = yard.send("operator", signal.SIGSTOP)
    try:
        for _ in range(requests):
            assert yard.predict(yard.rows(1))["predictions"]
            time.sleep(pause)
    finally:
        os.kill(operator, signal.SIGCONT)
    assert pids_running("serve", yard.state) == servers != []
    yard.until(lambda: yard.ready("Deployment"), "the operator goes on")


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_half_an_hour_without_an_operator_costs_no_request(make_yard: Callable[[], Any]) -> None:
    yard = make_yard()
    yard.up()
    yard.until_served()
    assert_serving_needs_no_operator(yard, requests=1800, pause=1)
    yard.down()


def test_a_few_kills_change_nothing(make_yard: Callable[[], Any], undisturbed: str) -> None:
    check(make_yard, undisturbed, seed=1, kills=6)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(6))
def test_many_kills_change_nothing(
    make_yard: Callable[[], Any], undisturbed: str, seed: int
) -> None:
    check(make_yard, undisturbed, seed=100 + seed, kills=6)


def test_clean_planes_agree_and_another_seed_does_not(
    make_yard: Callable[[], Any], undisturbed: str
) -> None:
    yard = make_yard()
    yard.up()
    yard.until(lambda: yard.ready("Experiment"), "the Experiment is Ready")
    assert yard.digest() == undisturbed
    identity = yard.status("Experiment")["run"]["identity"]
    yard.change("experiment", seed=3)
    yard.until(
        lambda: (
            yard.ready("Experiment") and yard.status("Experiment")["run"]["identity"] != identity
        ),
        "the other seed's run ends",
    )
    assert yard.digest() != undisturbed
    yard.down()
