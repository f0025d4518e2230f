"""What the supervisor does: start in order, start again what dies, stop in reverse order.

One thread and the standard library, so that it stays small. It sleeps until a child ends or a
signal comes. When the supervisor itself is killed, the kernel sends SIGTERM to its children, and
the stand-ins stop what they run. When the stand-ins are killed, runs and model servers go on, and
the next stand-ins adopt them.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard.embedded.procfs import (
    ProcessId,
    identify,
    is_running,
    kill_session,
    send_signal,
)
from modelyard.embedded.standins.attempts import kill_all
from modelyard.embedded.supervisor.process import Layout, Process
from modelyard.embedded.supervisor.record import (
    PlaneRecord,
    ProcessState,
    read_record,
    write_record,
)

logger = logging.getLogger(__name__)

STOP_SECONDS = 20.0
"""How long a process may take from SIGTERM until it is killed."""

_FIRST_BACKOFF_SECONDS = 0.1
_MOST_BACKOFF_SECONDS = 10.0
_STABLE_SECONDS = 10.0
_READY_SECONDS = 30.0
_POLL_SECONDS = 0.02
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_STOP_SIGNALS = _SIGNALS - {signal.SIGCHLD}
_PR_SET_PDEATHSIG = 1
_MOST_LOG_BYTES = 10_000_000


class AnotherSupervisor(Exception):
    """Another supervisor runs for this state directory."""


class Stopped(Exception):
    """The supervisor was told to stop."""


@dataclass
class Child:
    """A process in the supervisor's care.

    Attributes:
        started: When it was last started, in seconds of the monotonic clock.
        due: When it is to be started again; in the past for one that runs.
        restarts: How often it has been started again.
        crashes: How often in a row it ended soon after its start.
    """

    process: Process
    popen: subprocess.Popen[bytes] | None = None
    id: ProcessId | None = None
    started: float = 0.0
    due: float = 0.0
    restarts: int = 0
    crashes: int = 0


class Supervisor:
    """Keeps the processes of one plane running."""

    def __init__(self, layout: Layout, processes: Sequence[Process]) -> None:
        self._layout = layout
        self._children = [Child(process) for process in processes]
        self._libc = ctypes.CDLL(None)
        self._id = identify(os.getpid())

    def run(self) -> None:
        """Run the plane until SIGTERM, SIGINT or SIGHUP.

        Raises:
            AnotherSupervisor: one already runs for this state directory.
        """
        # Before anything starts: from here on signals wait until they are asked for.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        with _lock(self._layout.lock):
            end_leftovers(self._layout)
            try:
                for child in self._children:
                    self._start(child)
                    self._await_ready(child)
                while True:
                    self._wait(self._next_due())
                    self._restart_dead()
            except Stopped:
                logger.info("stopping")
            finally:
                self._stop_all()
                self._layout.plane.unlink(missing_ok=True)

    def _start(self, child: Child) -> None:
        child.started = time.monotonic()
        try:
            child.popen = self._spawn(child.process)
        except OSError as error:
            self._schedule(child, str(error))
        else:
            child.id = identify(child.popen.pid)
            logger.info("%s: process %d", child.process.name, child.popen.pid)
        self._write_record()

    def _spawn(self, process: Process) -> subprocess.Popen[bytes]:
        log = self._layout.log(process.name)
        _rotate(log)
        with log.open("ab") as output:
            return subprocess.Popen(
                list(process.command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **process.environment},
                start_new_session=True,
                preexec_fn=self._in_child,  # noqa: PLW1509 - there is one thread
            )

    def _in_child(self) -> None:
        """Prepare a child between fork and exec."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != self._id.pid:  # killed before the kernel knew to tell
            os._exit(1)

    def _await_ready(self, child: Child) -> None:
        """Wait for the file that lets the next process start; a process that dies starts again."""
        deadline = time.monotonic() + _READY_SECONDS
        ready = child.process.ready
        while ready is not None and not ready.exists() and time.monotonic() < deadline:
            self._wait(_POLL_SECONDS)
            self._restart_dead()

    def _wait(self, seconds: float) -> None:
        """Sleep until a child ends, the time is over, or the supervisor is told to stop."""
        received = signal.sigtimedwait(_SIGNALS, seconds)
        if received is not None and received.si_signo in _STOP_SIGNALS:
            raise Stopped

    def _next_due(self) -> float:
        """Return the seconds until the next process is to be started again."""
        now = time.monotonic()
        waiting = [child.due - now for child in self._children if child.popen is None]
        return max(min(waiting, default=3600.0), 0.0)

    def _restart_dead(self) -> None:
        for child in self._children:
            if child.popen is not None and child.popen.poll() is not None:
                self._schedule(child, f"ended with {child.popen.returncode}")
                self._write_record()
            if child.popen is None and child.due and time.monotonic() >= child.due:
                child.restarts += 1
                self._start(child)

    def _schedule(self, child: Child, why: str) -> None:
        """Clear up after a process that has ended, and decide when it starts again."""
        if child.id is not None:
            kill_session(child.id)
        now = time.monotonic()
        child.crashes = child.crashes + 1 if now - child.started < _STABLE_SECONDS else 0
        backoff = min(_FIRST_BACKOFF_SECONDS * 2**child.crashes, _MOST_BACKOFF_SECONDS)
        child.popen, child.id, child.due = None, None, now + backoff
        logger.warning("%s: %s, starts again in %.1f s", child.process.name, why, backoff)

    def _stop_all(self) -> None:
        for child in reversed(self._children):
            if child.popen is not None:
                logger.info("%s: stopping", child.process.name)
                child.popen.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.popen.wait(STOP_SECONDS)
                if child.id is not None:
                    kill_session(child.id)
                child.popen.wait()
        kill_all(self._layout.state_dir)

    def _write_record(self) -> None:
        processes = tuple(
            ProcessState(
                name=child.process.name,
                id=child.id,
                restarts=child.restarts,
                log=self._layout.log(child.process.name),
            )
            for child in self._children
        )
        write_record(self._layout, PlaneRecord(self._id, processes))


def end_leftovers(layout: Layout) -> None:
    """End what a killed supervisor left; the kernel has told it to end, and it may take a while."""
    record = read_record(layout)
    leftovers = [process.id for process in record.processes if process.id] if record else []
    deadline = time.monotonic() + STOP_SECONDS
    for leftover in leftovers:
        send_signal(leftover, signal.SIGTERM)
    for leftover in leftovers:
        while is_running(leftover) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        kill_session(leftover)


def _rotate(log: Path) -> None:
    """Keep one earlier log beside one that has grown large."""
    if log.exists() and log.stat().st_size > _MOST_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AnotherSupervisor(f"another supervisor runs for {path.parent}") from error
        yield
