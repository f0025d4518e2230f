"""Whatever is killed, no process is doubled and no exit code is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from modelyard.embedded.procfs import identify, parse_stat, session_members
from modelyard.embedded.standins.attempts import (
    INTERRUPTED,
    KEEPER,
    KILLED,
    Attempt,
    Owner,
    kill_all,
    load_attempts,
    new_attempt,
)
from modelyard.embedded.standins.processes import Launch, ProcessTable

from .conftest import ApiServer, Cluster, eventually, is_alive, workflow
from .test_workflows import exits, pods, waits


async def pid_of(cluster: Cluster) -> int:
    return int((await cluster.some_lines("pids"))[0].split()[0])


def parent(pid: int) -> int:
    return parse_stat(Path(f"/proc/{pid}/stat").read_text()).parent


async def test_killed_stand_ins_adopt_a_process_that_runs_on(cluster: Cluster) -> None:
    await cluster.create(workflow("run", "tiny_wait", environment=waits(cluster)))
    pid = await pid_of(cluster)
    for _ in range(3):
        cluster.stand_ins.kill()
        cluster.stand_ins.start()
        # They are at work again when they run something else.
        await cluster.create(workflow("other", environment=exits(cluster, 0)))
        await cluster.phase("other", "Succeeded")
        await cluster.delete("Workflow", "other")
        assert is_alive(pid)
    cluster.file("go").touch()
    await cluster.phase("run", "Succeeded")
    assert len(cluster.lines("pids")) == 1


async def test_an_exit_code_is_known_though_nobody_waited_for_it(cluster: Cluster) -> None:
    await cluster.create(workflow("run", "tiny_wait", environment=waits(cluster)))
    pid = await pid_of(cluster)
    cluster.stand_ins.kill()
    cluster.file("go").touch()
    await eventually(lambda: is_alive(pid), lambda alive: not alive)
    cluster.stand_ins.start()
    status = await cluster.phase("run", "Succeeded")
    assert pods(status)[0]["outputs"] == {"exitCode": "0"}


async def test_a_process_of_unknown_fate_counts_as_killed_and_is_tried_again(
    cluster: Cluster,
) -> None:
    await cluster.create(workflow("run", "tiny_wait", environment=waits(cluster)))
    pid = await pid_of(cluster)
    cluster.stand_ins.kill()
    os.kill(parent(pid), signal.SIGKILL)
    cluster.stand_ins.start()
    await cluster.some_lines("pids", 2)
    assert not is_alive(pid), "the first one must be gone before there is a second"
    cluster.file("go").touch()
    status = await cluster.phase("run", "Succeeded")
    assert [pod["outputs"]["exitCode"] for pod in pods(status)] == [str(KILLED), "0"]


async def test_stopped_stand_ins_stop_a_process_and_go_on_with_it_later(cluster: Cluster) -> None:
    await cluster.create(workflow("run", "tiny_wait", environment=waits(cluster)))
    pid = await pid_of(cluster)
    cluster.stand_ins.stop()
    assert not is_alive(pid)
    cluster.file("go").touch()
    cluster.stand_ins.start()
    status = await cluster.phase("run", "Succeeded")
    assert len(pods(status)) == 1, "being stopped with the plane is no failed try"
    assert len(cluster.lines("pids")) == 2


async def test_a_killed_api_server_changes_nothing(cluster: Cluster, api_server: ApiServer) -> None:
    await cluster.create(workflow("run", "tiny_wait", environment=waits(cluster)))
    pid = await pid_of(cluster)
    api_server.kill()
    cluster.file("go").touch()
    await eventually(lambda: is_alive(pid), lambda alive: not alive)
    api_server.start()
    await eventually(lambda: answers(cluster), bool)
    await cluster.phase("run", "Succeeded")
    assert len(cluster.lines("pids")) == 1


async def answers(cluster: Cluster) -> bool:
    try:
        await cluster.get("Workflow", "run")
    except OSError:
        return False
    return True


async def test_an_object_deleted_while_the_stand_ins_are_down_loses_its_process(
    cluster: Cluster,
) -> None:
    await cluster.create(workflow("run", "tiny_wait", environment=waits(cluster)))
    pid = await pid_of(cluster)
    cluster.stand_ins.kill()
    await cluster.delete("Workflow", "run")
    assert is_alive(pid)
    cluster.stand_ins.start()
    await eventually(lambda: is_alive(pid), lambda alive: not alive)


async def test_two_stand_ins_do_not_share_a_state_directory(cluster: Cluster) -> None:
    running, cluster.stand_ins.process = cluster.stand_ins.process, None
    cluster.stand_ins.start()
    assert cluster.stand_ins.process is not None
    assert cluster.stand_ins.process.wait() != 0
    assert "AlreadyRunning" in cluster.stand_ins.log
    cluster.stand_ins.process = running


OWNER = Owner("0000-1111", "Workflow", "default", "run")


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    kill_all(tmp_path)


def table_of(state_dir: Path) -> ProcessTable:
    return ProcessTable(state_dir, lambda owner: None)


async def test_an_intent_without_a_process_never_becomes_one(state_dir: Path) -> None:
    """The stand-ins died between writing the intent and starting the process."""
    attempt = new_attempt(state_dir, OWNER, 0, {}, 0.0)
    table = table_of(state_dir)
    table.adopt()
    [adopted] = table.attempts(OWNER.uid)
    assert (adopted.exit_code, adopted.stop_reason) == (KILLED, INTERRUPTED)
    late = ["sh", "-c", KEEPER, str(attempt.base), "touch", str(state_dir / "done")]
    shell = await asyncio.create_subprocess_exec(*late)
    assert await shell.wait() == 75
    assert not (state_dir / "done").exists(), "a shell that comes late must give up"


async def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(state_dir: Path) -> None:
    table = table_of(state_dir)
    command = "trap '' TERM; touch started; while :; do sleep 1; done"
    attempt = await start_in(state_dir, table, command)
    table.stop(attempt, "test", grace=0.3)
    await eventually(lambda: attempt.running, lambda running: not running)
    assert attempt.exit_code == KILLED
    assert attempt.process is not None
    assert session_members(attempt.process) == []


async def test_all_that_is_on_record_can_be_killed_without_stand_ins(state_dir: Path) -> None:
    table = table_of(state_dir)
    attempt = await start_in(state_dir, table, "touch started; sleep 3600")
    table.close()
    kill_all(state_dir)
    assert attempt.process is not None
    assert session_members(attempt.process) == []
    [loaded] = load_attempts(state_dir)
    assert (loaded.exit_code, loaded.stop_reason) == (KILLED, INTERRUPTED)


async def start_in(directory: Path, table: ProcessTable, command: str) -> Attempt:
    """Start a shell command that makes the file `started`, and wait until it has."""
    attempt = table.start(OWNER, Launch(("sh", "-c", f"cd {directory}; {command}")))
    await eventually((directory / "started").exists, bool)
    return attempt


def test_a_process_is_not_taken_for_a_later_one_with_its_pid() -> None:
    own = identify(os.getpid())
    assert session_members(own._replace(start_time=own.start_time + 1)) == []
