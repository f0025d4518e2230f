"""Tells how far a search is: progress.json in the run's folder, a few times a second at most."""

from __future__ import annotations

import threading
from types import TracebackType

from modelyard.api.artifacts import PROGRESS
from modelyard.api.experiment import Progress
from modelyard.api.identity import canonical_json

from modelyard_runtimes.store import Store, StoreError

INTERVAL = 0.25
"""Seconds between two writes: with a look every half second, a person sees it within a second."""


class ProgressFile:
    """The progress of one run; a context manager.

    A thread writes it, so that the search waits for no store, and the last trial of a burst is told
    as well.
    """

    def __init__(self, store: Store, folder: str) -> None:
        self._store = store
        self._key = f"{folder}/{PROGRESS}"
        self._changed, self._closed = threading.Event(), threading.Event()
        self._writer = threading.Thread(target=self._write_changes, daemon=True)
        self._failure: StoreError | None = None
        self.latest = Progress(done=0, total=0)

    def __enter__(self) -> ProgressFile:
        """Begin to write."""
        self._writer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what was reported last, and end."""
        self._closed.set()
        self._changed.set()
        self._writer.join()

    def report(self, progress: Progress) -> None:
        """Take in the progress; it is written soon.

        Raises:
            StoreError: the store did not take what was reported before.
        """
        if self._failure is not None:
            raise self._failure
        self.latest = progress
        self._changed.set()

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
        except StoreError as error:
            self._failure = error
