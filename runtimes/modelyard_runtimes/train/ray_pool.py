"""Trials on a Ray cluster: one actor a place, each in a process of its own, on any node."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from modelyard.api.records import ACTOR_ENDED
from ray.exceptions import RayActorError, RayError

from modelyard_runtimes.train.executor import End, Job, Outcome, attempt, end_of
from modelyard_runtimes.train.numerics import numerics
from modelyard_runtimes.train.task import open_data


class RayPool:
    """The `Executor` of a Ray cluster; an actor that dies or takes too long is replaced."""

    def __init__(self, workers: int, data: Path, timeout: float) -> None:
        """Join the cluster that RAY_ADDRESS names and start the actors.

        Args:
            workers: Number of actors, each on a CPU of its own.
            data: Folder of a saved `SearchData`; its files travel to the actors.
            timeout: Seconds that a job may take.
        """
        ray.init(logging_level=logging.WARNING, log_to_driver=False)
        files = {str(p.relative_to(data)): p.read_bytes() for p in data.rglob("*") if p.is_file()}
        self._files = ray.put(files)
        self._timeout = timeout
        self._waiting: list[tuple[int, Job, float]] = []
        self._actors = [self._start() for _ in range(workers)]
        # A job's time begins when its actor can run it, however long nodes take to come up.
        ray.get([actor.handle.__ray_ready__.remote() for actor in self._actors])

    def submit(self, key: int, job: Job, deadline: float = math.inf) -> None:
        """Take a job; it starts as soon as an actor is free."""
        self._waiting.append((key, job, deadline))
        self._assign()

    def wait(self) -> Sequence[Outcome]:
        """Return the jobs that ended, waiting for the first."""
        while busy := [actor for actor in self._actors if actor.key is not None]:
            left = max(min(actor.end.at for actor in busy) - time.monotonic(), 0.0)
            results = [actor.result for actor in busy]
            ended, _ = ray.wait(results, num_returns=1, timeout=left)
            outcomes = [self._collect(actor) for actor in busy if actor.result in ended]
            late = [a for a in busy if a.key is not None and time.monotonic() >= a.end.at]
            outcomes += [self._expire(actor) for actor in late]
            self._assign()
            if outcomes:
                return outcomes
        return []

    def close(self) -> None:
        """Leave the cluster; its actors end with the driver."""
        ray.shutdown()

    def _assign(self) -> None:
        for actor in self._actors:
            if actor.key is None and self._waiting:
                key, job, deadline = self._waiting.pop(0)
                actor.give(key, job, end_of(self._timeout, deadline))

    def _collect(self, actor: _Actor) -> Outcome:
        key = actor.take_key()
        try:
            status, value, reason = ray.get(actor.result)
        except RayActorError as error:
            self._replace(actor)
            return Outcome(key, "Died", reason=ACTOR_ENDED + _first_line(error))
        except RayError as error:
            return Outcome(key, "Raised", reason=_first_line(error))
        return Outcome(key, status, value, reason)

    def _expire(self, actor: _Actor) -> Outcome:
        key, reason = actor.take_key(), actor.end.reason
        ray.kill(actor.handle)
        self._replace(actor)
        return Outcome(key, "TimedOut", reason=reason)

    def _replace(self, actor: _Actor) -> None:
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

    def run(self, job: Job) -> tuple[str, Any, str]:
        """Return how a job ended, its value, and why there is none."""
        return attempt(job, self._data)


class _Actor:
    """An actor, and the job it has."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.key: int | None = None
        self.result: Any = None
        self.end = End(0.0, "")

    def give(self, key: int, job: Job, end: End) -> None:
        self.key = key
        self.end = end
        self.result = self.handle.run.remote(job)

    def take_key(self) -> int:
        key, self.key = self.key, None
        assert key is not None  # noqa: S101  (only busy actors are collected)
        return key


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
