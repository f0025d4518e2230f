"""A plane as a whole: it starts, mends itself, and stops without a trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from modelyard.embedded.client import Client
from modelyard.embedded.plane import Plane, PlaneError, Process, attach, start, sweep
from modelyard.embedded.procfs import ProcessId, is_running, send_signal, session_members

from .conftest import MODULES, PATIENCE_SECONDS, Cluster, StandIns, eventually, is_alive, workflow
from .test_inferenceservices import ask, inference_service, is_ready, server_pids
from .test_workflows import waits


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = os.pathsep.join([str(MODULES), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    directory = tmp_path / "project" / ".modelyard"
    yield directory
    if (plane := attach(directory)) is not None:
        plane.stop()
    sweep(directory)


def start_plane(state_dir: Path, *extra: Process) -> Plane:
    return start(state_dir, extra, allowed_modules=["tiny_*"])


def sleeper(name: str = "sleeper") -> Process:
    return Process(name, [sys.executable, "-c", "import time; time.sleep(3600)"])


def ids(plane: Plane) -> dict[str, ProcessId]:
    """Return the processes by name. The last ones start after the API answers: wait for them."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all(process.running for process in plane.processes()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return {process.name: process.id for process in plane.processes() if process.id}


def test_it_starts_answers_and_is_found_again(state_dir: Path) -> None:
    plane = start_plane(state_dir, sleeper())
    kubectl = ["kubectl", f"--kubeconfig={plane.kubeconfig}", "get", "crd", "-o", "name"]
    names = subprocess.run(kubectl, check=True, capture_output=True, text=True).stdout
    assert "inferenceservices.serving.kserve.io" in names
    assert plane.kubeconfig == state_dir / "kubeconfig"
    assert attach(state_dir) == plane
    assert list(ids(plane)) == ["apiserver", "standins", "sleeper"]
    assert (state_dir / ".gitignore").read_text() == "*\n"


def test_a_second_one_for_the_same_state_is_impossible(state_dir: Path) -> None:
    plane = start_plane(state_dir)
    with pytest.raises(PlaneError, match="already runs"):
        start_plane(state_dir)
    with pytest.raises(PlaneError, match="stop it instead"):
        sweep(state_dir)
    command = [sys.executable, "-m", "modelyard.embedded.supervisor"]
    second = subprocess.run(
        [*command, "--state-dir", str(state_dir)], check=False, capture_output=True, text=True
    )
    assert second.returncode == 3
    assert "another supervisor" in second.stderr
    assert attach(state_dir) == plane


async def test_whatever_is_killed_is_started_again(state_dir: Path) -> None:
    plane = start_plane(state_dir, sleeper())
    before = ids(plane)
    for process in before.values():
        assert send_signal(process, signal.SIGKILL)

    def mended() -> bool:
        now = plane.processes()
        return all(one.running and one.restarts and one.id != before[one.name] for one in now)

    await eventually(mended, bool)
    server = yaml.safe_load(plane.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    async with Client(plane.kubeconfig) as client:
        cluster = Cluster(client, "default", stand_ins_of(state_dir), state_dir.parent)

        async def answers() -> bool:
            try:
                await cluster.create(
                    workflow("run", environment={"EXITS": "[0]", "RUNS": "/dev/null"})
                )
            except OSError:
                return False
            return True

        await eventually(answers, bool)
        await cluster.status("Workflow", "run", lambda status: status.get("phase"))
    again = yaml.safe_load(plane.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    assert again == server, "kubectl of a user must go on working"


def stand_ins_of(state_dir: Path) -> StandIns:
    return StandIns(state_dir / "kubeconfig", state_dir)


async def test_stopping_leaves_no_process_and_the_next_start_goes_on(state_dir: Path) -> None:
    plane = start_plane(state_dir, sleeper())
    async with Client(plane.kubeconfig) as client:
        cluster = Cluster(client, "default", stand_ins_of(state_dir), state_dir.parent)
        await cluster.create(workflow("run", "tiny_wait", environment=waits(cluster)))
        await cluster.create(inference_service("one"))
        url = (await is_ready(cluster))["url"]
        trainer, worker = map(int, (await cluster.some_lines("pids"))[0].split())
    [server] = server_pids(cluster)
    processes = [plane.supervisor, *ids(plane).values()]
    plane.stop()
    assert not [process for process in processes if is_running(process)]
    assert not [process for process in processes if session_members(process)]
    assert not [pid for pid in (trainer, worker, server) if is_alive(pid)]
    assert attach(state_dir) is None
    assert plane.processes() == []

    plane = start_plane(state_dir)
    cluster.file("go").touch()
    async with Client(plane.kubeconfig) as client:
        cluster.client = client
        await cluster.phase("run", "Succeeded")
        await eventually(lambda: server_pids(cluster), bool)
        assert (await is_ready(cluster))["url"] == url
        assert await eventually(lambda: ask(url), bool) == "one"


def test_a_plane_that_cannot_start_says_why_and_leaves_nothing(state_dir: Path) -> None:
    state_dir.mkdir(parents=True)
    (state_dir / "supervisor.lock").mkdir()
    with pytest.raises(PlaneError, match="IsADirectoryError"):
        start_plane(state_dir)
    assert attach(state_dir) is None


async def test_a_killed_supervisor_takes_its_plane_along(state_dir: Path) -> None:
    plane = start_plane(state_dir, sleeper())
    processes = list(ids(plane).values())
    os.kill(plane.supervisor.pid, signal.SIGKILL)
    await eventually(lambda: [is_running(one) for one in processes], lambda alive: not any(alive))
    assert attach(state_dir) is None
    assert start_plane(state_dir).running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_to_the_supervisor_stops_the_plane(
    state_dir: Path, number: signal.Signals
) -> None:
    plane = start_plane(state_dir, sleeper())
    processes = [plane.supervisor, *ids(plane).values()]
    os.kill(plane.supervisor.pid, number)
    await eventually(lambda: [is_running(one) for one in processes], lambda alive: not any(alive))


async def test_a_process_that_dies_at_once_is_tried_again_ever_later(state_dir: Path) -> None:
    plane = start_plane(state_dir, Process("broken", [sys.executable, "-c", "raise SystemExit(7)"]))

    def restarts() -> int:
        return plane.processes()[-1].restarts

    await eventually(restarts, lambda count: count >= 2)
    log = (state_dir / "logs" / "supervisor.log").read_text()
    assert "broken: ended with 7, starts again in 0.2 s" in log
    assert "broken: ended with 7, starts again in 0.4 s" in log


async def test_a_program_that_is_not_there_is_named_and_leaves_the_rest_running(
    state_dir: Path,
) -> None:
    plane = start_plane(state_dir, Process("broken", ["no-such-program"]), sleeper())
    states = await eventually(plane.processes, lambda found: found[-1].running)
    assert [one.name for one in states if not one.running] == ["broken"]
    assert [one.name for one in states if one.id is None] == ["broken"]
    log = (state_dir / "logs" / "supervisor.log").read_text()
    assert "broken: [Errno 2] No such file or directory: 'no-such-program'" in log


def test_what_it_hands_to_processes_is_for_its_owner_only(state_dir: Path) -> None:
    start_plane(state_dir, Process("extra", ["sleep", "3600"], {"TOKEN": "secret"}))
    for name in ("processes.json", "plane.json"):
        assert (state_dir / name).stat().st_mode & 0o077 == 0
    listed = json.loads((state_dir / "processes.json").read_text())
    assert [one["name"] for one in listed] == ["apiserver", "standins", "extra"]
