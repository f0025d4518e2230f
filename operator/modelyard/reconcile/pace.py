"""How often progress is told: whoever watches an object hears of each write of its status."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from modelyard.api.resources import Key

PROGRESS_SECONDS = 5.0
"""How long progress that was told stands, unless something else of the status changes."""


class Pace:
    """Remembers when progress was written, for as long as that holds further progress back.

    A run's child may change many times a second, and each change wakes its owner.
    """

    def __init__(self) -> None:
        self._written: dict[Key, datetime] = {}

    def note(self, key: Key, now: datetime) -> None:
        """Remember that progress of an object was written."""
        self._written.pop(key, None)
        self._written[key] = now
        for oldest in list(self._written):
            if self.left(oldest, now):
                return
            del self._written[oldest]

    def left(self, key: Key, now: datetime) -> float:
        """Return for how many seconds the progress of an object alone is not to be written."""
        written = self._written.get(key)
        passed = PROGRESS_SECONDS if written is None else (now - written).total_seconds()
        return PROGRESS_SECONDS - passed if 0 <= passed < PROGRESS_SECONDS else 0.0


def only_progress(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Return whether two statuses are the same but for their progress."""
    return {**before, "progress": None} == {**after, "progress": None}
