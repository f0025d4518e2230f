"""Tells how far a search is: progress.json in the run's folder, at most once a second."""

from __future__ import annotations

import time

from modelyard.api.artifacts import PROGRESS
from modelyard.api.experiment import Progress
from modelyard.api.identity import canonical_json

from modelyard_runtimes.store import Store

INTERVAL = 1.0


class ProgressFile:
    """The progress of one run."""

    def __init__(self, store: Store, folder: str) -> None:
        self._store = store
        self._key = f"{folder}/{PROGRESS}"
        self._written_at = -INTERVAL
        self.latest = Progress(done=0, total=0)

    def report(self, progress: Progress) -> None:
        """Take in the progress; writes it unless that was done within the last second."""
        self.latest = progress
        if time.monotonic() - self._written_at >= INTERVAL:
            self.flush()

    def flush(self) -> None:
        """Write the latest progress."""
        self._store.write_record(self._key, canonical_json(self.latest.to_json()))
        self._written_at = time.monotonic()
