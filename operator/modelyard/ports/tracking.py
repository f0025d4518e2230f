"""A tracking server, where runs are told of besides their records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

TOKEN = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 - the name of a key, not a token
USERNAME, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
"""Keys of a Secret that logs in: the token, or name and password."""


class TrackingUnavailable(Exception):
    """The tracking server could not be reached or refused; the message says which and why."""


@dataclass(frozen=True)
class TrackedMetric:
    """One value of a metric; `step` orders several of the same name."""

    name: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class TrackedRun:
    """A finished run as a tracking server shows it.

    Attributes:
        experiment: Under which runs are compared.
        name: Name of the run, for people.
        identity: Identity of the run; a server holds one run of it.
        started_at: RFC 3339.
        finished_at: RFC 3339.
        parameters: What was declared, by path of the field.
        metrics: What came of it.
        tags: Where it came from and what it made.
    """

    experiment: str
    name: str
    identity: str
    started_at: str
    finished_at: str
    parameters: Mapping[str, str]
    metrics: Sequence[TrackedMetric]
    tags: Mapping[str, str]


class RunTracker(Protocol):
    """Tells a tracking server of runs."""

    async def track(self, uri: str, credentials: Mapping[str, str], run: TrackedRun) -> str:
        """Write a run, or what is missing of it, and return its id at the server.

        Args:
            uri: URL of the server.
            credentials: Data of the Secret that belongs to it; empty for none.
            run: The run.

        Raises:
            TrackingUnavailable: the server cannot be reached or refuses.
        """
