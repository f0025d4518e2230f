"""The table of processes that the stand-ins run: starts, adopts, stops and forgets them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.embedded.procfs import (
    ProcessId,
    identify,
    kill_session,
    send_signal,
    session_members,
)
from modelyard.embedded.standins.attempts import (
    CANNOT_START,
    INTERRUPTED,
    KEEPER,
    Attempt,
    Owner,
    load_attempts,
    new_attempt,
    processes_directory,
    remove_owner,
)

logger = logging.getLogger(__name__)

GRACE_SECONDS = 10.0
"""How long a process may take from SIGTERM until it is killed."""

LISTEN_DESCRIPTOR = 3
NOTIFY_DESCRIPTOR = 4
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")


@dataclass(frozen=True)
class Launch:
    """What to run.

    Attributes:
        command: Program and arguments.
        environment: Variables beside PATH, HOME, LANG, TMPDIR and PYTHONPATH; may hold secrets.
        listen: A bound socket, given to the process as descriptor 3 with LISTEN_FDS=1. Such a
            process writes READY=1 to the descriptor in NOTIFY_FD once it can answer.
    """

    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    listen: socket.socket | None = field(default=None, repr=False)


class ProcessTable:
    """All processes by the uid of their owner.

    Every process is the leader of a session of its own, so that all it started can be found and
    killed with it, and is watched by a pidfd, be it a child or an adopted one.
    """

    def __init__(self, state_dir: Path, on_exit: Callable[[Owner], None]) -> None:
        self._state_dir = state_dir
        self._on_exit = on_exit
        self._attempts: dict[str, list[Attempt]] = {}
        self._stopping: dict[Path, asyncio.Task[None]] = {}
        self._ends: dict[Path, asyncio.Event] = {}
        self._pidfds: set[int] = set()

    def adopt(self) -> None:
        """Take over what an earlier run of the stand-ins started."""
        for attempt in load_attempts(self._state_dir):
            self._attempts.setdefault(attempt.owner.uid, []).append(attempt)
            if not attempt.running:
                continue
            if attempt.process is None:
                attempt.mark_stopped(INTERRUPTED)
                attempt.finish()
            elif attempt.is_alive():
                self._watch(attempt, attempt.process)
            else:
                attempt.finish()

    def owners(self) -> list[Owner]:
        """Return the owners of all processes on record."""
        return [attempts[0].owner for attempts in self._attempts.values()]

    def attempts(self, uid: str) -> list[Attempt]:
        """Return the processes of an owner, oldest first."""
        return list(self._attempts.get(uid, ()))

    def folder(self, owner: Owner) -> Path:
        """Return the folder of what belongs to the processes of an owner; it goes with them."""
        return processes_directory(self._state_dir) / owner.uid

    def start(self, owner: Owner, launch: Launch, labels: dict[str, Any] | None = None) -> Attempt:
        """Start a process."""
        attempts = self._attempts.setdefault(owner.uid, [])
        number = attempts[-1].number + 1 if attempts else 0
        attempt = new_attempt(self._state_dir, owner, number, labels or {}, time.time())
        attempts.append(attempt)
        try:
            pid = _spawn(attempt, launch)
        except OSError as error:
            # An environment or a command too large for the kernel, or no more processes.
            attempt.log.write_text(f"the process could not be started: {error.strerror}\n")
            attempt.finish(CANNOT_START)
            asyncio.get_running_loop().call_soon(self._on_exit, owner)
            return attempt
        # The child is not reaped before its pidfd says so: it has an entry in /proc.
        attempt.process = identify(pid)
        self._watch(attempt, attempt.process)
        logger.info("%s %s/%s: process %d", owner.kind, owner.namespace, owner.name, pid)
        return attempt

    def stop(self, attempt: Attempt, reason: str, grace: float = GRACE_SECONDS) -> None:
        """Begin to stop a running process: SIGTERM, and after the grace SIGKILL."""
        attempt.mark_stopped(reason)
        if attempt.base not in self._stopping:
            task = asyncio.get_running_loop().create_task(self._stop(attempt, grace))
            self._stopping[attempt.base] = task
            task.add_done_callback(lambda _: self._stopping.pop(attempt.base, None))

    def forget(self, owner: Owner) -> None:
        """Stop what still runs for an owner that is gone, then delete all trace of it."""
        attempts = self._attempts.get(owner.uid, [])
        running = [attempt for attempt in attempts if attempt.running]
        for attempt in running:
            self.stop(attempt, "deleted")
        if not running:
            self.prune(attempts)
            self._attempts.pop(owner.uid, None)
            remove_owner(self._state_dir, owner)

    def prune(self, attempts: Iterable[Attempt]) -> None:
        """Delete records and logs of processes that are over."""
        for attempt in list(attempts):
            attempt.remove()
            self._attempts[attempt.owner.uid].remove(attempt)

    async def stop_all(self) -> None:
        """Stop everything with the whole plane; runs go on from there when it is up again."""
        for attempts in self._attempts.values():
            for attempt in attempts:
                if attempt.running:
                    self.stop(attempt, INTERRUPTED)
        await asyncio.gather(*self._stopping.values())

    def close(self) -> None:
        """Stop watching; the processes run on."""
        loop = asyncio.get_running_loop()
        for pidfd in self._pidfds:
            loop.remove_reader(pidfd)
            os.close(pidfd)
        self._pidfds.clear()
        for task in self._stopping.values():
            task.cancel()

    async def _stop(self, attempt: Attempt, grace: float) -> None:
        """Tell the command itself, not its workers and not its shell, as a kubelet does."""
        leader, end = attempt.process, self._ends.get(attempt.base)
        if leader is None or end is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while not _terminate(leader):  # noqa: ASYNC110 - /proc tells nobody of a new process
                    await asyncio.sleep(0.02)
                await end.wait()
        if not end.is_set():
            kill_session(leader)
            await end.wait()

    def _watch(self, attempt: Attempt, process: ProcessId) -> None:
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:  # an adopted one has ended this moment
            attempt.finish()
            return
        self._pidfds.add(pidfd)
        self._ends[attempt.base] = asyncio.Event()
        asyncio.get_running_loop().add_reader(
            pidfd, self._pidfd_readable, pidfd, attempt, process.pid
        )

    def _pidfd_readable(self, pidfd: int, attempt: Attempt, pid: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        self._pidfds.discard(pidfd)
        os.close(pidfd)
        self._ended(attempt, pid)

    def _ended(self, attempt: Attempt, pid: int) -> None:
        _reap(pid)
        attempt.finish()
        self._ends.pop(attempt.base).set()
        owner = attempt.owner
        logger.info(
            "%s %s/%s: process %d ended with exit code %s",
            *(owner.kind, owner.namespace, owner.name, pid, attempt.exit_code),
        )
        self._on_exit(owner)


def _spawn(attempt: Attempt, launch: Launch) -> int:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment = {**inherited, **launch.environment}
    with contextlib.ExitStack() as stack:
        actions: list[tuple[Any, ...]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(attempt.log), os.O_WRONLY | os.O_APPEND, 0),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        if launch.listen is not None:
            # Above the descriptors it becomes, so that one copy cannot overwrite the other.
            listen = fcntl.fcntl(launch.listen, fcntl.F_DUPFD_CLOEXEC, 10)
            stack.callback(os.close, listen)
            notify = (str(attempt.ready_file), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            actions.append((os.POSIX_SPAWN_DUP2, listen, LISTEN_DESCRIPTOR))
            actions.append((os.POSIX_SPAWN_OPEN, NOTIFY_DESCRIPTOR, *notify))
            environment["LISTEN_FDS"] = "1"
            environment["NOTIFY_FD"] = str(NOTIFY_DESCRIPTOR)
        return os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", KEEPER, str(attempt.base), *launch.command],
            environment,
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD],
        )


def _terminate(leader: ProcessId) -> bool:
    """Send SIGTERM to the command under a shell; return whether there was one, or no shell."""
    members = session_members(leader)
    commands = [found.id for found in members if found.parent == leader.pid]
    for command in commands:
        send_signal(command, signal.SIGTERM)
    return bool(commands) or not members


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
