"""Reads the newest logged requests from the payload folder of a Deployment.

Nothing here needs NumPy: most looks end here, with nothing new.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from modelyard_runtimes.payloads import OPEN_FOR, chunk_start
from modelyard_runtimes.store import Store

SLACK = timedelta(seconds=30)
"""Time a server may need to write what it holds."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Window:
    """The newest rows of one model.

    Attributes:
        times: When each row was answered, oldest first: RFC 3339, UTC, microseconds, so that texts
            sort by time.
        batches: Reads the rows, values by feature, chunk by chunk: a large window is never in
            memory as a whole.
    """

    times: Sequence[str]
    batches: Callable[[], Iterator[Sequence[Row]]]

    def newer_than(self, time: str) -> int:
        """Return the number of rows that are newer than a time."""
        return len(self.times) - bisect_right(self.times, time)


class PayloadFolder:
    """The chunks of one Deployment as they are now."""

    def __init__(self, store: Store, uri: str) -> None:
        """List the chunks.

        Args:
            store: Store that holds the folder.
            uri: URI of the folder, below the store's root.
        """
        self._store = store
        keys = store.list(uri.removeprefix(store.uri).strip("/"))
        dated = [(start, key) for key in keys if (start := chunk_start(key)) is not None]
        self._chunks = sorted(dated, reverse=True)

    def fingerprint(self, now: datetime) -> str:
        """Return a text that differs once a row was added: names, and sizes of what may grow."""
        growing = [
            f"{key}:{len(self._read(key))}"
            for start, key in self._chunks
            if start > now - OPEN_FOR - SLACK
        ]
        newest = self._chunks[0][1] if self._chunks else ""
        return "|".join([newest, *growing])

    def newest(self, model_digest: str, max_rows: int) -> Window:
        """Return the newest rows that a model answered, at most `max_rows`."""
        times: list[str] = []
        keys: list[str] = []
        enough_before: datetime | None = None
        for start, key in self._chunks:
            # A chunk of another server that started a little earlier may hold newer rows.
            if enough_before is not None and start < enough_before - OPEN_FOR - SLACK:
                break
            keys.append(key)
            times.extend(time for time, _ in self._rows(key, model_digest))
            if enough_before is None and len(times) >= max_rows:
                enough_before = start
        times.sort()
        times = times[-max_rows:]
        return Window(times, lambda: self._batches(keys, model_digest, times))

    def _batches(
        self, keys: Sequence[str], model_digest: str, times: Sequence[str]
    ) -> Iterator[Sequence[Row]]:
        """Yield the rows of a window by chunk, the newest chunk first."""
        if not times:
            return
        oldest, newest = times[0], times[-1]
        room = bisect_right(times, oldest)
        for key in keys:
            found = [row for row in self._rows(key, model_digest) if oldest <= row[0] <= newest]
            batch = [row for time, row in found if time > oldest]
            # Rows of one request share their time: the window may hold only the last of them.
            edge = [row for time, row in found if time == oldest]
            batch += edge[-room:] if room else []
            room -= min(room, len(edge))
            if batch:
                yield batch

    def _rows(self, key: str, model_digest: str) -> Iterator[tuple[str, Row]]:
        for line in self._read(key).splitlines(keepends=True):
            if not line.endswith(b"\n"):
                return  # the server is writing this line, or was killed while it did
            record = json.loads(line)
            if record["modelDigest"] == model_digest:
                yield from ((record["time"], row) for row in record["instances"])

    def _read(self, key: str) -> bytes:
        try:
            return self._store.read_bytes(key)
        except FileNotFoundError:
            return b""  # the oldest chunks are removed at any time
