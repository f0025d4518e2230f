"""Where trials run: the contract of executors, and the pool of warm processes of this machine."""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from modelyard.api.records import PROCESS_ENDED, TOOK_LONGER

from modelyard_runtimes.train.numerics import fixed_numerics
from modelyard_runtimes.train.task import SearchData, open_data

PRELOADED = ["modelyard_runtimes.train.refit"]
"""What worker processes find imported: all learners with their libraries."""

MAX_REASON = 300

READY_SECONDS = 600.0
"""Time within which a process is ready and has loaded what its job needs: minutes where many start
at once, or from a slow disk."""

TIMEOUT = "spec.search.trialTimeout"
NOT_READY = "the most that its process may take to get ready"
BUDGET = "spec.budget.wallClock"
KILLED = "killed by SIGKILL"
"""Stand in the reasons of jobs that took too long, by themselves, until they began or for the whole
search, and of those that probably lacked memory."""

_BEGUN = "Begun"
"""What a worker sends when the time of its job begins; how the job ended follows."""

_CONTEXT = multiprocessing.get_context("forkserver")


def start_forkserver() -> None:
    """Start the process that workers are forked from, if it does not run; it warms up by itself."""
    _CONTEXT.set_forkserver_preload(PRELOADED)
    with fixed_numerics():
        forkserver.ensure_running()


class Job(Protocol):
    """Work for one process; it and what it returns can be pickled."""

    def load(self) -> None:
        """Import what it needs; its time begins afterwards."""

    def run(self, data: SearchData) -> Any:
        """Do the work."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        key: The key it was submitted under.
        status: Done; Raised an exception; Died with its process; or TimedOut.
        value: What it returned.
        reason: Why there is no value.
    """

    key: int
    status: Literal["Done", "Raised", "Died", "TimedOut"]
    value: Any = None
    reason: str = ""


class Executor(Protocol):
    """Runs jobs somewhere, at most as many at once as it has places."""

    def submit(self, key: int, job: Job, deadline: float = math.inf) -> None:
        """Take a job; it starts as soon as a place is free.

        Args:
            key: What its outcome is known by.
            job: The job.
            deadline: When it is ended, by `time.monotonic`, if its own time was not over before.
        """

    def wait(self) -> Sequence[Outcome]:
        """Return outcomes that were not returned before, at least one while jobs are under way."""

    def close(self) -> None:
        """End all processes at once."""


class ProcessPool:
    """Worker processes that stay warm; one that dies or takes too long is replaced."""

    def __init__(
        self, workers: int, data: Path, timeout: float, ready_within: float = READY_SECONDS
    ) -> None:
        """Start the workers.

        Args:
            workers: Number of processes.
            data: Folder of a saved `SearchData`.
            timeout: Seconds that a job may take, from when its worker begins with it.
            ready_within: Seconds that a worker may take until then.
        """
        self._data = data
        self._timeout = timeout
        self._ready_within = ready_within
        self._waiting: list[tuple[int, Job, float]] = []
        self._workers = [self._start() for _ in range(workers)]

    def submit(self, key: int, job: Job, deadline: float = math.inf) -> None:
        """Take a job; it starts as soon as a worker is free."""
        self._waiting.append((key, job, deadline))
        self._assign()

    def wait(self) -> Sequence[Outcome]:
        """Return the jobs that ended, waiting for the first."""
        while busy := [worker for worker in self._workers if worker.key is not None]:
            left = min(worker.end.at for worker in busy) - time.monotonic()
            ready = connection.wait([worker.pipe for worker in busy], max(left, 0))
            told = [self._collect(worker) for worker in busy if worker.pipe in ready]
            outcomes = [outcome for outcome in told if outcome is not None]
            late = [worker for worker in busy if worker.key is not None and worker.late()]
            outcomes += [self._expire(worker) for worker in late]
            self._assign()
            if outcomes:
                return outcomes
        return []

    def close(self) -> None:
        """Kill the workers; what they were doing is lost."""
        for worker in self._workers:
            worker.kill()

    def _assign(self) -> None:
        for worker in self._workers:
            if worker.key is None and self._waiting:
                key, job, deadline = self._waiting.pop(0)
                worker.give(key, job, deadline)
                worker.end = end_of(self._ready_within, deadline, NOT_READY)

    def _collect(self, worker: _Worker) -> Outcome | None:
        """Return how the job of a worker ended; None where it has only begun."""
        try:
            told = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            code = worker.process.exitcode or 0
            self._replace(worker)
            return Outcome(worker.take_key(), "Died", reason=PROCESS_ENDED + _exit_name(code))
        if told == _BEGUN:
            worker.end = end_of(self._timeout, worker.deadline)
            return None
        return Outcome(worker.take_key(), *told)

    def _expire(self, worker: _Worker) -> Outcome:
        key, reason = worker.take_key(), worker.end.reason
        worker.kill()
        self._replace(worker)
        return Outcome(key, "TimedOut", reason=reason)

    def _replace(self, worker: _Worker) -> None:
        self._workers[self._workers.index(worker)] = self._start()

    def _start(self) -> _Worker:
        ours, theirs = _CONTEXT.Pipe()
        start_forkserver()
        process = _CONTEXT.Process(target=_serve, args=(theirs, self._data), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)


class End(NamedTuple):
    """When a job is ended, by `time.monotonic`, and why."""

    at: float
    reason: str


def end_of(seconds: float, deadline: float, limit: str = TIMEOUT) -> End:
    """Return the end of what starts now and may take so many seconds, up to a deadline.

    Args:
        seconds: The time.
        deadline: The latest end.
        limit: What sets the time.
    """
    own = time.monotonic() + seconds
    if own <= deadline:
        return End(own, f"{TOOK_LONGER}{seconds:g} s, {limit}")
    return End(deadline, f"{TOOK_LONGER}{BUDGET} allows")


class _Worker:
    """A process, the pipe to it, and the job it has."""

    def __init__(self, process: ForkServerProcess, pipe: connection.Connection[Any, Any]) -> None:
        self.process = process
        self.pipe = pipe
        self.key: int | None = None
        self.deadline = math.inf
        self.end = End(0.0, "")

    def give(self, key: int, job: Job, deadline: float) -> None:
        self.key = key
        self.deadline = deadline
        try:
            self.pipe.send(job)
        except OSError:
            # It died while idle. Its closed pipe tells `wait`, which replaces it.
            return

    def take_key(self) -> int:
        key, self.key = self.key, None
        assert key is not None  # noqa: S101  (only busy workers are collected)
        return key

    def late(self) -> bool:
        """Return whether its job took too long; one that has told its end meanwhile did not."""
        return time.monotonic() >= self.end.at and not self.pipe.poll()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: connection.Connection[Any, Any], folder: Path) -> None:
    """Run jobs until the other end is gone: the life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    data = open_data(folder)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(attempt(job, data, begun=partial(pipe.send, _BEGUN)))


def attempt(
    job: Job, data: SearchData, begun: Callable[[], None] = lambda: None
) -> tuple[str, Any, str]:
    """Return how a job ended, its value, and why there is none.

    Args:
        job: The job.
        data: What it works on.
        begun: Called when what it needs is loaded and its time begins.
    """
    try:
        job.load()
        begun()
        return "Done", job.run(data), ""
    except Exception as error:  # any fault of one candidate is its own
        return "Raised", None, f"{type(error).__name__}: {error}"[:MAX_REASON]


def _end_with_parent(folder: Path) -> None:
    """End this process when the search was killed, and remove the data that it could not."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _exit_name(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    if -code == signal.SIGKILL:
        return f"{KILLED}, perhaps for want of memory"
    return f"killed by {signal.Signals(-code).name}"
