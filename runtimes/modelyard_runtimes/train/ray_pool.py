"""Trials on a Ray cluster: one actor a place, each in a process of its own, on any node."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from modelyard.api.records import ACTOR_ENDED
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.train.executor import (
    KILLED,
    NOT_READY,
    READY_SECONDS,
    End,
    Job,
    Outcome,
    attempt,
    end_of,
)
from modelyard_runtimes.train.numerics import numerics
from modelyard_runtimes.train.task import SearchData, open_data

Ended = tuple[str, Any, str]
"""How a job ended, its value, and why there is none."""

MAX_TOLD = 200

log = logging.getLogger("modelyard")


class RayPool:
    """The `Executor` of a Ray cluster; an actor that dies or takes too long is replaced."""

    def __init__(
        self, workers: int, data: Path, timeout: float, ready_within: float = READY_SECONDS
    ) -> None:
        """Join the cluster that RAY_ADDRESS names and start the actors.

        Args:
            workers: Number of actors, each on a CPU of its own.
            data: Folder of a saved `SearchData`; its files travel to the actors.
            timeout: Seconds that a job may take, from when its actor begins with it.
            ready_within: Seconds that all actors may take to start, and each one until then.

        Raises:
            RunFailure: the cluster has no place for so many actors.
        """
        ray.init(logging_level=logging.WARNING, log_to_driver=False)
        files = {str(p.relative_to(data)): p.read_bytes() for p in data.rglob("*") if p.is_file()}
        self._files = ray.put(files)
        self._timeout = timeout
        self._ready_within = ready_within
        self._waiting: list[tuple[int, Job, float]] = []
        self._actors = [self._start() for _ in range(workers)]
        self._await_start()

    def submit(self, key: int, job: Job, deadline: float = math.inf) -> None:
        """Take a job; it starts as soon as an actor is free."""
        self._waiting.append((key, job, deadline))
        self._assign()

    def wait(self) -> Sequence[Outcome]:
        """Return the jobs that ended, waiting for the first."""
        while busy := [actor for actor in self._actors if actor.key is not None]:
            left = max(min(actor.end.at for actor in busy) - time.monotonic(), 0.0)
            ended = _ended([actor.awaited for actor in busy], left)
            told = [self._collect(actor) for actor in busy if actor.awaited in ended]
            outcomes = [outcome for outcome in told if outcome is not None]
            late = [a for a in busy if a.key is not None and time.monotonic() >= a.end.at]
            # One of them may have ended meanwhile: it is collected the next time.
            over = _ended([actor.awaited for actor in late], 0.0) if late else []
            outcomes += [self._expire(actor) for actor in late if actor.awaited not in over]
            self._assign()
            if outcomes:
                return outcomes
        return []

    def close(self) -> None:
        """Leave the cluster; its actors end with the driver."""
        ray.shutdown()

    def _await_start(self) -> None:
        """Wait for all actors: nodes may come up for minutes, and a lack of them has no other end.

        An actor that died meanwhile is none that is waited for: the job it is given replaces it.
        """
        ready = [actor.handle.__ray_ready__.remote() for actor in self._actors]
        _, absent = ray.wait(ready, num_returns=len(ready), timeout=self._ready_within)
        if absent:
            self.close()
            raise RunFailure(
                "BackendMissing",
                f"spec.execution: {len(absent)} of {len(ready)} actors did not start within "
                f"{self._ready_within:g} s; the Ray cluster lacks a free CPU for each, or its "
                "nodes are slow to come up. Lower spec.execution.parallelism, or give the cluster "
                "more workers",
                retryable=True,
            )

    def _assign(self) -> None:
        for actor in self._actors:
            if actor.key is None and self._waiting:
                key, job, deadline = self._waiting.pop(0)
                actor.give(key, job, deadline)
                actor.end = end_of(self._ready_within, deadline, NOT_READY)

    def _collect(self, actor: _Actor) -> Outcome | None:
        """Return how the job of an actor ended; None where it has only begun."""
        try:
            told = ray.get(actor.take_awaited())
        except RayTaskError as error:
            # The job did not reach the runner, or its value not this process.
            self._replace(actor)
            return Outcome(actor.take_key(), "Raised", reason=_last_line(error))
        except RayError as error:
            self._replace(actor)
            return Outcome(actor.take_key(), "Died", reason=ACTOR_ENDED + _end_told(error))
        if actor.under_way:
            actor.end = end_of(self._timeout, actor.deadline)
            return None
        return Outcome(actor.take_key(), *told)

    def _expire(self, actor: _Actor) -> Outcome:
        self._replace(actor)
        return Outcome(actor.take_key(), "TimedOut", reason=actor.end.reason)

    def _replace(self, actor: _Actor) -> None:
        # It may live, out of reach or at work, and would keep the CPU that the next one needs.
        ray.kill(actor.handle)
        self._actors[self._actors.index(actor)] = self._start()

    def _start(self) -> _Actor:
        options = {"num_cpus": 1, "runtime_env": {"env_vars": dict(numerics())}}
        return _Actor(ray.remote(TrialRunner).options(**options).remote(self._files))


class TrialRunner:
    """Runs jobs one after another: the life of an actor."""

    def __init__(self, files: dict[str, bytes]) -> None:
        with tempfile.TemporaryDirectory(prefix="modelyard-trials-") as folder:
            for name, content in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            self._data = open_data(Path(folder))

    def load(self, job: Job) -> None:
        """Take a job and import what it needs; its time begins afterwards."""
        self._job = job
        self._loaded = attempt(_Loading(job), self._data)

    def run(self) -> Ended:
        """Return how the job ended that was loaded."""
        status, *_ = self._loaded
        return attempt(_Running(self._job), self._data) if status == "Done" else self._loaded


@dataclass(frozen=True)
class _Loading:
    """The part of a job that comes before its time begins."""

    job: Job

    def load(self) -> None:
        self.job.load()

    def run(self, data: SearchData) -> None:
        """Leave the work to the other part."""


@dataclass(frozen=True)
class _Running:
    """The rest of a job."""

    job: Job

    def load(self) -> None:
        """Need nothing more."""

    def run(self, data: SearchData) -> Any:
        return self.job.run(data)


class _Actor:
    """An actor, and the job it has."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.key: int | None = None
        self.deadline = math.inf
        self.end = End(0.0, "")
        self._calls: list[Any] = []

    def give(self, key: int, job: Job, deadline: float) -> None:
        self.key = key
        self.deadline = deadline
        # Both at once: a job goes on as soon as it is loaded, whatever this process does then.
        self._calls = [self.handle.load.remote(job), self.handle.run.remote()]

    @property
    def awaited(self) -> Any:
        """The call that ends next."""
        return self._calls[0]

    @property
    def under_way(self) -> bool:
        """Whether a call was not taken yet."""
        return bool(self._calls)

    def take_awaited(self) -> Any:
        return self._calls.pop(0)

    def take_key(self) -> int:
        key, self.key = self.key, None
        assert key is not None  # noqa: S101  (only busy actors are collected)
        return key


def _ended(calls: list[Any], seconds: float) -> list[Any]:
    """Return all calls that ended, waiting so long for the first."""
    ray.wait(calls, num_returns=1, timeout=seconds, fetch_local=False)
    # The first alone is no answer: another one that ended in time would be taken for late.
    ended, _ = ray.wait(calls, num_returns=len(calls), timeout=0, fetch_local=False)
    return list(ended)


def _end_told(error: RayError) -> str:
    """Return how an actor ended, for a person."""
    told = str(error).strip().partition("\n")[0][:MAX_TOLD]
    if isinstance(error, OutOfMemoryError):
        # Reasons are kept with the result, which is to name no node; the log may.
        log.warning("Ray killed an actor: %s", told)
        return f"{KILLED} for want of memory"
    return told


def _last_line(error: RayTaskError) -> str:
    """Return what was raised; lines before tell where."""
    return str(error).strip().rpartition("\n")[2][:MAX_TOLD]
