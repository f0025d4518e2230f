"""Tells how far a search is: progress.json in the run's folder, a few times a second at most."""

from __future__ import annotations

import threading

from modelyard.api.artifacts import PROGRESS
from modelyard.api.experiment import Progress
from modelyard.api.identity import canonical_json

from modelyard_runtimes.store import Store, StoreError

INTERVAL = 0.25
"""Seconds between two writes: with a look every half second, a person sees it within a second."""


class ProgressFile:
    """The progress of one run, which is closed in the end.

    A thread writes it, so that the search waits for no store, and the last trial of a burst is told
    as well. What the store refused is raised by the next call: `StoreError`, or `OSError` where it
    is a directory of this machine.
    """

    def __init__(self, store: Store, folder: str) -> None:
        self._store = store
        self._key = f"{folder}/{PROGRESS}"
        self._changed, self._closed = threading.Event(), threading.Event()
        self._failure: StoreError | OSError | None = None
        self.latest = Progress(done=0, total=0)
        self._writer = threading.Thread(target=self._write_changes, daemon=True)
        self._writer.start()

    def report(self, progress: Progress) -> None:
        """Take in the progress; it is written soon."""
        self._raise_failure()
        self.latest = progress
        self._changed.set()

    def close(self) -> None:
        """Write what was reported last, and end."""
        self._closed.set()
        self._changed.set()
        self._writer.join()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _write_changes(self) -> None:
        while not self._closed.is_set():
            self._changed.wait()
            self._write()
            self._closed.wait(INTERVAL)
        if self._changed.is_set():
            self._write()

    def _write(self) -> None:
        self._changed.clear()
        try:
            self._store.write_record(self._key, canonical_json(self.latest.to_json()))
        except (StoreError, OSError) as error:
            self._failure = error
