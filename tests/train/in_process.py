"""An executor without processes."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from modelyard_runtimes.train.executor import Job, Outcome, attempt
from modelyard_runtimes.train.task import SearchData


class InProcess:
    """Runs each job when it is waited for."""

    def __init__(self, data: SearchData) -> None:
        self._data = data
        self._jobs: list[tuple[int, Job]] = []

    def submit(self, key: int, job: Job, deadline: float = inf) -> None:
        self._jobs.append((key, job))

    def wait(self) -> Sequence[Outcome]:
        key, job = self._jobs.pop(0)
        return [Outcome(key, *attempt(job, self._data))]

    def close(self) -> None:
        self._jobs.clear()
