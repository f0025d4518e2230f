"""What a status remembers of the past: bounded, the latest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from modelyard.api.deployment import Served
from modelyard.api.meta import RememberedRun

LONGEST_HISTORY = 10

RunT = TypeVar("RunT", bound=RememberedRun)


def with_run(history: Sequence[RunT], run: RunT) -> list[RunT]:
    """Return a history with the present state of a run; one that did not start yet is left out.

    A run keeps the commit that it was first asked for from; one that is asked for again is the
    latest. One that did not end before another was asked for is superseded: it is stopped.
    """
    known = next((past for past in history if past.identity == run.identity), None)
    others = [_ended(past) for past in history if past is not known]
    if known is not None:
        run = run.model_copy(update={"source_revision": known.source_revision})
    elif run.state == "Waiting":
        return others
    return [run, *others][:LONGEST_HISTORY]


def _ended(run: RunT) -> RunT:
    ended = run.state in ("Succeeded", "Failed")
    return run if ended else run.model_copy(update={"state": "Superseded"})


def latest_runs(runs: Sequence[RunT], present: str) -> list[RunT]:
    """Return the history that runs make up, the latest first; before them the present one."""
    first = sorted(runs, key=lambda run: run.identity != present)
    return first[:LONGEST_HISTORY]


def with_version(history: Sequence[Served], served: Served) -> list[Served]:
    """Return a history with what serves now; unchanged while the same version goes on serving."""
    latest = history[0] if history else None
    if latest is not None and (latest.model_version, latest.model_digest) == (
        served.model_version,
        served.model_digest,
    ):
        return list(history)
    return [served, *history][:LONGEST_HISTORY]
